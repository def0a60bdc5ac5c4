//! What is asked: text as it comes over the wire, read by the same code.

use serde_json::{Value, json};
use switchboard::domain::{ConversationId, Text};
use switchboard::edge::requests::{Headers, parse};
use switchboard::edge::subjects::Endpoint;

use super::{Script, Site, configuration};

impl Site {
    /// Somebody asks something.
    pub fn ask(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0..7 => self.ask_of_integration(script),
            7..12 => self.ask_of_channel(script),
            12 => self.ask_of_operator(script),
            13 => {
                let config = configuration(script);
                self.send(Endpoint::Config, "olga.put", script, &json!({"config": config}).to_string());
            }
            _ => self.ask_about(script),
        }
    }

    /// Puts a configuration, and waits until it applies.
    pub fn put(&mut self, config: &Value) {
        let body = json!({"config": config}).to_string();
        self.send(Endpoint::Config, "olga.put", &mut Script::new(&[]), &body);
        self.run();
    }

    fn ask_of_channel(&mut self, script: &mut Script<'_>) {
        let (channel, id) = conversation(script);
        let channel = if script.below(16) == 0 { "web" } else { channel };
        let (verb, fields) = match script.below(8) {
            0..2 => ("start", vec![user(script), metadata(script), owner(script)]),
            2..6 => ("message", vec![user(script), message_id(script), content(script), sent_at(script)]),
            6 => ("end", vec![last_message_id(script), reason(script)]),
            _ => ("state", vec![]),
        };
        self.command(Endpoint::Channel, &format!("{channel}.{verb}.{id}"), script, fields);
    }

    fn ask_of_integration(&mut self, script: &mut Script<'_>) {
        let (_, id) = conversation(script);
        let c = self.core.conversation(&ConversationId::parse(id).expect("an id")).filter(|_| script.below(8) > 0);
        let me = match &c {
            Some(c) => c.offer.as_ref().map(|offer| &offer.to).filter(|_| script.below(2) > 0).or(c.owner.as_ref()),
            None => None,
        };
        let me =
            me.map_or_else(|| script.pick(&["bot", "agents", "survey", "listener"]).to_owned(), |me| me.to_string());
        let (verb, fields) = match script.below(14) {
            0..2 => ("pass", vec![to(script), reason(script), metadata(script)]),
            2..5 => ("offer", vec![to(script), reason(script), metadata(script), expires_in(script)]),
            5..7 => ("accept", vec![metadata(script)]),
            7 => ("decline", vec![reason(script)]),
            8 => ("withdraw", vec![]),
            9 => ("take", vec![reason(script), metadata(script)]),
            10 => ("release", vec![last_message_id(script), reason(script), metadata(script)]),
            11 => ("reply", vec![message_id(script), content(script)]),
            12 => ("end", vec![last_message_id(script), reason(script)]),
            _ => return self.send(Endpoint::Integration, &format!("{me}.list"), script, ""),
        };
        self.command(Endpoint::Integration, &format!("{me}.{verb}.{id}"), script, fields);
    }

    fn ask_of_operator(&mut self, script: &mut Script<'_>) {
        let (_, id) = conversation(script);
        let (verb, fields) = match script.below(3) {
            0 => ("pass", vec![to(script), reason(script)]),
            1 => ("release", vec![reason(script)]),
            _ => ("end", vec![reason(script)]),
        };
        self.command(Endpoint::Operator, &format!("olga.{verb}.{id}"), script, fields);
    }

    fn ask_about(&mut self, script: &mut Script<'_>) {
        let (_, id) = conversation(script);
        let seq = script.byte();
        let (tail, body) = match script.below(8) {
            0 => (format!("conversation.{id}"), String::new()),
            1 => (format!("conversation.{id}"), format!("{{\"at_seq\":{seq}}}")),
            2 => (format!("history.{id}"), format!("{{\"limit\":{}}}", u16::from(seq) + 1)),
            3 => ("history._config".into(), String::new()),
            4 => ("log".into(), format!("{{\"from_seq\":{seq},\"limit\":5}}")),
            5 => ("config".into(), format!("{{\"at_seq\":{seq}}}")),
            6 => ("conversations".into(), format!("{{\"limit\":{},\"status\":\"open\"}}", u16::from(seq % 4) + 1)),
            _ => ("conversations".into(), "{\"owner\":null}".into()),
        };
        self.send(Endpoint::Query, &tail, script, &body);
    }

    fn command(&mut self, endpoint: Endpoint, tail: &str, script: &mut Script<'_>, fields: Vec<String>) {
        let mut fields: Vec<String> = fields.into_iter().filter(|field| !field.is_empty()).collect();
        match script.below(16) {
            0 => fields.push(format!("\"expected_epoch\":{}", script.below(8))),
            1 => fields.push(format!("\"expected_version\":{}", script.below(8))),
            2 => fields.push("\"actor\":\"ann\"".into()),
            _ => {}
        }
        let between = script.pick(&[",", ",", ",\n  "]);
        self.send(endpoint, tail, script, &format!("{{{}}}", fields.join(between)));
    }

    fn send(&mut self, endpoint: Endpoint, tail: &str, script: &mut Script<'_>, body: &str) {
        let command_id = script.pick(&[None, None, Some("i1"), Some("i2"), Some("i3")]);
        let traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let headers = Headers { command_id, traceparent: traceparent.filter(|_| script.below(4) == 1) };
        if let Ok(mut request) = parse(endpoint, tail, headers, body.as_bytes()) {
            let reply: Text = format!("_INBOX.{}", self.watch.expect_answer()).into();
            request.reply = Some(reply);
            self.core.request(request);
        }
    }
}

fn conversation(script: &mut Script<'_>) -> (&'static str, &'static str) {
    script.pick(&[
        ("web", "c1"),
        ("web", "c2"),
        ("thread", "t1"),
        ("reopening", "r1"),
        ("small", "s1"),
        ("small", "s2"),
    ])
}

fn field(key: &str, value: Option<&str>) -> String {
    value.map(|value| format!("\"{key}\":{}", json!(value))).unwrap_or_default()
}

fn user(script: &mut Script<'_>) -> String {
    field("user", script.pick(&[None, None, Some("u1"), Some("u2")]))
}

fn owner(script: &mut Script<'_>) -> String {
    field("owner", script.pick(&[None, None, None, Some("agents"), Some("nobody")]))
}

fn to(script: &mut Script<'_>) -> String {
    field("to", Some(script.pick(&["bot", "agents", "agents", "survey", "next", "nobody", "listener"])))
}

fn reason(script: &mut Script<'_>) -> String {
    match script.below(4) {
        0 => field("reason", Some(&script.text())),
        _ => String::new(),
    }
}

fn message_id(script: &mut Script<'_>) -> String {
    field("message_id", script.pick(&[None, Some("m1"), Some("m2")]))
}

fn last_message_id(script: &mut Script<'_>) -> String {
    field("last_message_id", script.pick(&[None, None, Some("m9")]))
}

fn sent_at(script: &mut Script<'_>) -> String {
    field("sent_at", script.pick(&[None, None, None, Some("2026-01-31T12:00:00Z"), Some("2037-01-31T12:00:00.5Z")]))
}

fn expires_in(script: &mut Script<'_>) -> String {
    field("expires_in", script.pick(&[None, Some("5s"), Some("1h"), Some("never")]))
}

fn content(script: &mut Script<'_>) -> String {
    match script.below(3) {
        0 => String::new(),
        _ => format!("\"content\":{}", json!({"text": script.text()})),
    }
}

fn metadata(script: &mut Script<'_>) -> String {
    match script.below(8) {
        0 => "\"metadata\":{\"a\":1,\"b\":1.50,\"c\":true}".into(),
        1 => "\"metadata\":{\n\"a\":null,\r\n\t\"d\":\"\\u00e9\\n\"}".into(),
        2 => format!("\"metadata\":{}", json!({script.text(): script.text()})),
        3 => format!("\"metadata\":{}", json!({"big": "x".repeat(16 * usize::from(script.byte()))})),
        4 => "\"metadata\":{ }".into(),
        _ => String::new(),
    }
}
