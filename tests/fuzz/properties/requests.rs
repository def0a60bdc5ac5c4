//! A request, as text: `endpoint tail`, the command id and the trace on a line each (empty for none), then the body.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use switchboard::domain::{Refusal, Role};
use switchboard::edge::requests::{BODY_BYTES_MAX, CONFIG_BYTES_MAX, CONTENT_BYTES_MAX, Headers, parse};
use switchboard::edge::subjects::Endpoint;
use switchboard::switchboard::port::{Ask, CommandAsk, ListAsk, PastAsk, RecordedBody, Request};

/// The most that a refusal may say: what a caller sent is repeated in part only.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Bodies up to this can be laid out anew without coming upon a bound.
const LAID_OUT_BYTES_MAX: usize = 8 * 1024;

#[derive(Clone, Copy)]
struct Written<'a> {
    endpoint: Endpoint,
    tail: &'a str,
    headers: Headers<'a>,
}

impl<'a> Written<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Written<'a>, &'a [u8])> {
        let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
        let mut line = || std::str::from_utf8(parts.next()?).ok();
        let ((endpoint, tail), command_id, traceparent) = (line()?.split_once(' ')?, line()?, line()?);
        let endpoint = Endpoint::ALL.into_iter().find(|known| known.name() == endpoint)?;
        let given = |text: &'a str| (!text.is_empty()).then_some(text);
        let headers = Headers { command_id: given(command_id), traceparent: given(traceparent) };
        Some((Written { endpoint, tail, headers }, parts.next().unwrap_or_default()))
    }

    fn ask(&self, body: &[u8]) -> Result<Request, Refusal> {
        parse(self.endpoint, self.tail, self.headers, body)
    }
}

pub fn check(bytes: &[u8]) {
    let Some((written, body)) = Written::read(bytes) else { return };
    let answer = written.ask(body);
    match &answer {
        Err(refusal) => check_refusal(refusal, written.endpoint, body),
        Ok(request) => check_request(request, &written),
    }
    let Some(text) = std::str::from_utf8(body).ok().filter(|text| text.len() <= LAID_OUT_BYTES_MAX) else { return };
    let another_layout = written.ask(laid_out(text).as_bytes());
    match (&answer, &another_layout) {
        (Ok(one), Ok(other)) => check_same(one, other),
        (Err(one), Err(other)) => assert_eq!(one.code(), other.code(), "the layout decides"),
        _ => panic!("the layout decides: {answer:?}, {another_layout:?}"),
    }
    if let Ok(request) = answer {
        check_canonical(&request, &written);
    }
}

fn check_refusal(refusal: &Refusal, endpoint: Endpoint, body: &[u8]) {
    let bytes_max = if endpoint == Endpoint::Config { CONFIG_BYTES_MAX } else { BODY_BYTES_MAX };
    let expected = if body.len() > bytes_max { "too_large" } else { "bad_request" };
    assert_eq!(refusal.code(), expected);
    let message = refusal.message();
    assert!(!message.is_empty() && message.len() <= MESSAGE_BYTES_MAX, "{} bytes: {message}", message.len());
}

fn check_request(request: &Request, written: &Written<'_>) {
    assert!(request.reply.is_none());
    match &request.ask {
        Ask::Command(ask) => check_command(request, ask, written),
        Ask::Put(ask) => assert_eq!(ask.canonical.is_empty(), written.headers.command_id.is_none()),
        Ask::List(ask) => assert!((1..=1000).contains(&ask.limit)),
        Ask::Past(ask) => match &**ask {
            PastAsk::History { span, .. } | PastAsk::Log { span } => assert!((1..=1000).contains(&span.limit)),
            PastAsk::Conversation { .. } | PastAsk::Config { .. } | PastAsk::Export { .. } => {}
        },
        Ask::State { .. } | Ask::Config => {}
    }
}

/// Who asks what of which conversation is what the subject says, and the log gets what it can take.
fn check_command(request: &Request, ask: &CommandAsk, written: &Written<'_>) {
    let name = request.by.name.as_ref().expect("a caller has a name");
    assert_eq!(written.tail, format!("{name}.{}.{}", ask.command.verb(), ask.id));
    let role = [(Endpoint::Channel, Role::Channel), (Endpoint::Integration, Role::Integration)]
        .into_iter()
        .find_map(|(endpoint, role)| (endpoint == written.endpoint).then_some(role));
    assert_eq!(request.by.role, role.unwrap_or(Role::Operator));
    assert_eq!(ask.command_id.as_deref(), written.headers.command_id);
    assert_eq!(ask.body.canonical().is_empty(), ask.command_id.is_none());
    assert!(ask.content.as_ref().is_none_or(|content| content.get().len() <= CONTENT_BYTES_MAX));
    assert!(request.by.actor.as_ref().is_none_or(|actor| actor.len() <= 128));
    if let Some(trace) = &ask.traceparent {
        let is_plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
        assert!(trace.len() == 55 && trace.bytes().all(is_plain), "{trace:?}");
    }
    check_recorded(&ask.body);
}

/// What the log keeps of a body is the inside of an object, on one line, and knows what is personal in it.
fn check_recorded(body: &RecordedBody) {
    let text = std::str::from_utf8(body.fields()).expect("what is recorded is UTF-8");
    assert!(!text.contains('\n'), "recorded over several lines: {text}");
    let object = format!("{{{text}}}");
    let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(&object).expect("what is recorded is JSON");
    for key in ["content", "actor", "expected_epoch", "expected_version"] {
        assert!(!fields.contains_key(key), "{key} is recorded");
    }
    // By their places: another value may read the same.
    let place = |raw: &str| {
        let at = raw.as_ptr() as usize - object.as_ptr() as usize - 1;
        (at, at + raw.len())
    };
    let personal = ["user", "metadata", "reason"].iter().filter_map(|key| Some(place(fields.get(key)?.get())));
    let known = body.personal().iter().map(|value| (value.start as usize, value.end as usize));
    let sorted = |mut places: Vec<(usize, usize)>| {
        places.sort_unstable();
        places
    };
    assert_eq!(sorted(personal.collect()), sorted(known.collect()), "{text}");
}

/// The same body in another layout is the same request.
fn check_same(one: &Request, other: &Request) {
    assert_eq!(one.by, other.by);
    match (&one.ask, &other.ask) {
        (Ask::Command(one), Ask::Command(other)) => {
            assert_eq!((&one.id, &one.command, one.expected), (&other.id, &other.command, other.expected));
            assert_eq!((&one.command_id, one.body.canonical()), (&other.command_id, other.body.canonical()));
            assert_eq!((&one.traceparent, &one.sent_at), (&other.traceparent, &other.sent_at));
            let meaning = |ask: &CommandAsk| ask.content.as_ref().map(|raw| serde_json::from_str(raw.get()).ok());
            let meanings: [Option<Option<Value>>; 2] = [meaning(one), meaning(other)];
            assert_eq!(meanings[0], meanings[1]);
        }
        (Ask::List(one), Ask::List(other)) => assert_eq!(list(one), list(other)),
        (one, other) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
    }
}

fn list(ask: &ListAsk) -> String {
    format!("{ask:?}")
}

/// The canonical form is a body of the same kind, and its own canonical form.
fn check_canonical(request: &Request, written: &Written<'_>) {
    let canonical = |request: &Request| match &request.ask {
        Ask::Command(ask) => ask.body.canonical().to_vec(),
        Ask::Put(ask) => ask.canonical.clone(),
        _ => Vec::new(),
    };
    let once = canonical(request);
    let text = std::str::from_utf8(&once).expect("the canonical form is UTF-8");
    if once.is_empty() || once.len() > LAID_OUT_BYTES_MAX {
        return;
    }
    assert!(!text.contains('\n'));
    let again = written.ask(&once).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    assert_eq!(text, String::from_utf8_lossy(&canonical(&again)));
}

/// The text with space after every sign of JSON's that stands outside of strings.
fn laid_out(text: &str) -> String {
    let mut out = String::with_capacity(4 * text.len());
    each_sign(text, |c, is_structure| {
        out.push(c);
        if is_structure {
            out.push_str("\n\t ");
        }
    });
    out
}

fn each_sign(text: &str, mut hear: impl FnMut(char, bool)) {
    let (mut is_string, mut is_escaped) = (false, false);
    for c in text.chars() {
        hear(c, !is_string && matches!(c, '{' | '}' | '[' | ']' | ':' | ','));
        match c {
            '"' if !is_escaped => is_string = !is_string,
            _ => {}
        }
        is_escaped = is_string && c == '\\' && !is_escaped;
    }
}
