//! The timeline: what happened line by line, and below it who held control for how long.
//!
//! Written as the events come, in flat memory; only the periods of control of a single conversation are kept.

use std::io::{self, Write};

use super::holding::Holdings;
use super::past_event::PastEvent;
use super::phrases;
use super::screen::{self, Screen};
use super::words;
use crate::domain::Time;

/// Widest place reserved for the conversation's id; a longer one moves its line only.
const SUBJECT_CHARS_MAX: usize = 36;
const SUBJECT_CHARS_MIN: usize = 12;

/// A timeline under way.
#[derive(Debug)]
pub struct Timeline {
    screen: Screen,
    seq_digits: usize,
    day: Option<String>,
    scope: Scope,
}

#[derive(Debug)]
enum Scope {
    Conversation(Holdings),
    Part,
    Log { subject_chars: usize },
}

impl Timeline {
    /// One of a single conversation, whose last event is about that `seq`, and the first of what there is is this one.
    pub fn of_conversation(screen: Screen, last_seq: u64, first: &PastEvent) -> Timeline {
        match first.number("version") {
            Some(1) => Timeline::new(screen, last_seq, Scope::Conversation(Holdings::default())),
            _ => Timeline::of_part(screen, last_seq),
        }
    }

    /// One of some events of a single conversation, from which nobody could tell who held control for how long.
    pub fn of_part(screen: Screen, last_seq: u64) -> Timeline {
        Timeline::new(screen, last_seq, Scope::Part)
    }

    /// One of all conversations, each line saying which.
    pub fn of_log(screen: Screen, last_seq: u64) -> Timeline {
        Timeline::new(screen, last_seq, Scope::Log { subject_chars: SUBJECT_CHARS_MIN })
    }

    fn new(screen: Screen, last_seq: u64, scope: Scope) -> Timeline {
        Timeline { screen, seq_digits: last_seq.to_string().len(), day: None, scope }
    }

    /// Writes one event, below its day where that is another than the one before.
    pub fn write(&mut self, out: &mut dyn Write, event: &PastEvent) -> io::Result<()> {
        let day = words::day(event.time);
        if self.day.as_ref() != Some(&day) {
            writeln!(out, "{}", self.screen.bold(&format!("{day} (UTC)")))?;
            self.day = Some(day);
        }
        let position = format!("{}  {:>width$}  ", words::clock(event.time), event.seq(), width = self.seq_digits);
        let subject = self.subject(event);
        let told = format!("{position}{subject}{}", told(event));
        let indent = position.chars().count();
        for (n, line) in screen::wrapped(&told, self.screen.columns(), indent).iter().enumerate() {
            match line.strip_prefix(position.as_str()).filter(|_| n == 0) {
                Some(rest) => writeln!(out, "{}{rest}", self.screen.dim(&position))?,
                None => writeln!(out, "{line}")?,
            }
        }
        if let Scope::Conversation(holdings) = &mut self.scope {
            holdings.take(event);
        }
        Ok(())
    }

    /// Writes who held control for how long, what still lasts counted until then.
    pub fn finish(&self, out: &mut dyn Write, until: Option<Time>) -> io::Result<()> {
        match &self.scope {
            Scope::Conversation(holdings) => holdings.write(out, self.screen, until),
            Scope::Part | Scope::Log { .. } => Ok(()),
        }
    }

    fn subject(&mut self, event: &PastEvent) -> String {
        let Scope::Log { subject_chars } = &mut self.scope else { return String::new() };
        let subject = words::plain(&event.subject);
        *subject_chars = subject.chars().count().clamp(*subject_chars, SUBJECT_CHARS_MAX.max(*subject_chars));
        format!("{subject:width$}  ", width = *subject_chars)
    }
}

/// What happened, who acted, and the reason given.
fn told(event: &PastEvent) -> String {
    let mut told = format!("{} — {}", phrases::what_happened(event), event.who());
    if let Some(reason) = event.text("reason") {
        told.push_str(": ");
        told.push_str(&words::quoted(reason));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The contract's own examples, in the order of their seq, as they are published.
    fn examples() -> Vec<PastEvent> {
        let examples = [
            ("conversation.started", include_str!("../../schemas/examples/event/conversation.started.json")),
            ("control.assigned", include_str!("../../schemas/examples/event/control.assigned.json")),
            ("control.offered", include_str!("../../schemas/examples/event/control.offered.json")),
            ("control.offer_withdrawn", include_str!("../../schemas/examples/event/control.offer_withdrawn.json")),
            ("control.accepted", include_str!("../../schemas/examples/event/control.accepted.json")),
            (
                "conversation.end_requested",
                include_str!("../../schemas/examples/event/conversation.end_requested.json"),
            ),
            ("control.passed", include_str!("../../schemas/examples/event/control.passed.json")),
            ("control.released", include_str!("../../schemas/examples/event/control.released.json")),
            ("conversation.closed", include_str!("../../schemas/examples/event/conversation.closed.json")),
        ];
        let times = ["05:46.123", "05:46.123", "06:30.004", "06:41.500", "07:02.655", "21:07.310", "21:07.310"];
        let times = times.into_iter().chain(["22:58.447", "22:58.447"]);
        let event = |((name, data), time): ((&str, &str), &str)| {
            event(name, &format!("2026-11-22T14:{time}Z"), serde_json::from_str(data).unwrap())
        };
        examples.into_iter().zip(times).map(event).collect()
    }

    fn event(name: &str, time: &str, data: Value) -> PastEvent {
        let event = json!({ "type": format!("switchboard.{name}"), "subject": "c-7f3a", "time": time, "data": data });
        serde_json::from_value(event).unwrap()
    }

    fn written(mut timeline: Timeline, events: &[PastEvent], until: Option<&str>) -> String {
        let mut out = Vec::new();
        events.iter().for_each(|event| timeline.write(&mut out, event).unwrap());
        timeline.finish(&mut out, until.map(|until| Time::parse(until).unwrap())).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_conversation_is_told_line_by_line_and_its_owners_drawn() {
        let timeline = Timeline::of_conversation(Screen::unbounded(), 1050, &examples()[0]);
        let expected = r#"2026-11-22 (UTC)
14:05:46.123  1041  started on web for u-2041, with language=en order=A-1182 — channel web
14:05:46.123  1042  assigned to faq-bot, the default — channel web
14:06:30.004  1043  faq-bot offered to agents, until 14:16:30.004, with bot_confidence=0.31 topic=parcel — faq-bot: "asked for a person"
14:06:41.500  1044  agents declined the offer — agents (Jonas Berg): "not my language"
14:07:02.655  1046  agents accepted from faq-bot, with desk=parcels — agents (Maria Lind)
14:21:07.310  1047  the end user asked for the end, until 14:31:07.310 — channel web: "chose End conversation"
14:21:07.310  1048  agents passed to survey, as set for the end — channel web
14:22:58.447  1049  survey released control, with score=5 — survey
14:22:58.447  1050  closed after 17m 12s — survey

control
  14:05:46.123  faq-bot  ▇▇▇▇ 1m 16s
  14:07:02.655  agents   ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ 14m 4s
  14:21:07.310  survey   ▒▒▒▒▒▒ 1m 51s, ending
  14:22:58.447  closed
"#;
        assert_eq!(written(timeline, &examples(), None), expected);
    }

    #[test]
    fn what_lasts_is_counted_until_it_is_looked_at() {
        let timeline = Timeline::of_conversation(Screen::unbounded(), 1050, &examples()[0]);
        let text = written(timeline, &examples()[..5], Some("2026-11-22T14:08:18.655Z"));
        assert!(
            text.ends_with(
                "  14:07:02.655  agents   ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ 1m 16s so far\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn nobody_has_a_bar_too_and_a_new_day_a_line() {
        let state = |owner: Value, status: &str| json!({ "status": status, "owner": owner, "channel": "web" });
        let by = json!({ "role": "operator", "name": "alice", "actor": null });
        let events = [
            event(
                "control.passed",
                "2026-11-22T23:59:00Z",
                json!({ "seq": 8, "session": 1, "by": by, "from": null, "to": "agents", "cause": "operator", "reason": null, "metadata": {}, "conversation": state(json!("agents"), "open") }),
            ),
            event(
                "control.released",
                "2026-11-23T00:00:00Z",
                json!({ "seq": 9, "session": 1, "by": by, "from": "agents", "cause": "operator", "reason": "shift is over", "metadata": {}, "conversation": state(Value::Null, "open") }),
            ),
        ];
        let expected = "2026-11-22 (UTC)\n\
            23:59:00.000   8  passed to agents — operator alice\n\
            2026-11-23 (UTC)\n\
            00:00:00.000   9  taken from agents, nobody holds control — operator alice: \"shift is over\"\n\
            \n\
            control\n\
            \x20 23:59:00             agents  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ 1m\n\
            \x20 2026-11-23 00:00:00  nobody  ······················· 30s so far\n";
        let timeline = Timeline::of_conversation(Screen::unbounded(), 10, &examples()[0]);
        assert_eq!(written(timeline, &events, Some("2026-11-23T00:00:30Z")), expected);
    }

    #[test]
    fn a_type_that_came_later_is_told_by_its_own_fields() {
        let data =
            json!({ "seq": 3, "version": 1, "by": { "role": "timer" }, "to": "x y", "depth": 2, "reason": "why" });
        let timeline = Timeline::of_log(Screen::unbounded(), 3);
        let text = written(timeline, &[event("control.lent_out", "2026-11-22T14:00:00Z", data)], None);
        assert_eq!(
            text,
            "2026-11-22 (UTC)\n14:00:00.000  3  c-7f3a        control lent out: depth=2 to=\"x y\" — the timer: \"why\"\n"
        );
    }

    #[test]
    fn strangers_do_not_command_the_terminal() {
        let by = json!({ "role": "integration", "name": "bot", "actor": "\u{1b}]0;x\u{7}" });
        let data = json!({ "seq": 3, "by": by, "from": "bot", "cause": "integration", "reason": "\u{1b}[2J\nroot", "metadata": { "k\u{1b}": "\u{9b}1m" } });
        let timeline = Timeline::of_log(Screen::unbounded(), 3);
        let text = written(timeline, &[event("control.released", "2026-11-22T14:00:00Z", data)], None);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn lines_fit_the_screen_and_step_back_in_colour() {
        let timeline = Timeline::of_conversation(Screen::of_columns(60, false), 1050, &examples()[0]);
        let text = written(timeline, &examples(), None);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        let coloured =
            written(Timeline::of_conversation(Screen::of_columns(100, true), 1050, &examples()[0]), &examples(), None);
        assert!(coloured.contains("\u{1b}[2m14:05:46.123  1041  \u{1b}[0mstarted on web"), "{coloured}");
        assert!(coloured.contains("\u{1b}[36m▇▇"), "{coloured}");
    }
}
