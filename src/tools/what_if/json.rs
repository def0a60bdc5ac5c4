//! The comparison for programs: one JSON document, a session on each line.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Report, own_fields};
use crate::domain::Event;
use crate::switchboard::what_if::{Difference, Otherwise, Tally, Way};

/// A document under way.
pub struct Json<'a> {
    out: &'a mut dyn Write,
    is_begun: bool,
}

impl<'a> Json<'a> {
    /// One that is written there.
    pub fn new(out: &'a mut dyn Write) -> Json<'a> {
        Json { out, is_begun: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        if !self.is_begun {
            write!(self.out, "{{\"sessions\":[")?;
        }
        Ok(())
    }
}

impl Report for Json<'_> {
    fn sessions(&mut self, sessions: &[Otherwise]) -> io::Result<()> {
        for session in sessions {
            self.begin()?;
            write!(self.out, "{}\n{}", if self.is_begun { "," } else { "" }, told(session))?;
            self.is_begun = true;
        }
        Ok(())
    }

    fn finish(&mut self, tally: Tally, fault: Option<&str>) -> io::Result<()> {
        self.begin()?;
        let ways: serde_json::Map<String, Value> =
            Way::ALL.iter().zip(tally.ways).map(|(way, count)| (name(*way), json!(count))).collect();
        let summary = json!({
            "sessions": tally.sessions,
            "same": tally.sessions.saturating_sub(tally.otherwise()),
            "otherwise": tally.otherwise(),
            "uncertain": tally.uncertain,
            "ways": ways,
            "last_at": tally.last_at,
        });
        writeln!(self.out, "\n],\"summary\":{summary},\"fault\":{}}}", json!(fault))?;
        self.out.flush()
    }
}

fn told(session: &Otherwise) -> Value {
    json!({
        "conversation": session.conversation.as_str(),
        "channel": session.channel.as_str(),
        "session": session.session,
        "way": session.way,
        "ended": session.ended,
        "would_end": session.would_end,
        "due": session.due.map(|(at, by)| json!({ "at": at, "by": by })),
        "uncertain": session.is_uncertain(),
        "first": difference(&session.first),
    })
}

fn difference(first: &Difference) -> Value {
    json!({
        "seq": first.seq,
        "at": first.at,
        "latest": first.latest,
        "by": first.by,
        "happened": events(&first.happened),
        "instead": events(&first.instead),
        "refused": first.refusal.as_ref().map(|refusal| refusal.code()),
        "why": first.why,
        "uncertain": first.uncertain,
    })
}

fn events(events: &[Event]) -> Vec<Value> {
    let told = |event: &Event| {
        let mut value = own_fields(event);
        value["type"] = json!(event.kind().full_name());
        value
    };
    events.iter().map(told).collect()
}

fn name(way: Way) -> String {
    json!(way).as_str().unwrap_or_default().to_owned()
}
