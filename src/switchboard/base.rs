//! What everything was where a log begins whose old volumes were removed.
//!
//! The log's [base](crate::log::base) has a line for the configuration and for each conversation, and after it, where
//! they are many, lines with the command ids that are remembered of it. They are kept for years, so each field
//! stands under its name, and fields are only ever added.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::command_ids::CommandIds;
use super::core::{Kept, PutDecided};
use super::marks::Marks;
use super::paged::Paged;
use super::record::{Entry, known_name};
use super::restore::remember_put;
use super::sizes::PartSizes;
use super::slot::Slot;
use crate::domain::event::Kind;
use crate::domain::words::CONFIG_ID;
use crate::domain::{Config, Conversation, ConversationId, Text, Time};
use crate::log::{Base, Reader};

/// Command ids on one line.
const IDS_OF_A_LINE: usize = 256;

/// Events of puts on one line, of some 60 bytes each; one put has some thousands at most, for it changes each name once
/// or twice. So a line is far shorter than the longest that a log takes.
const EVENTS_OF_A_LINE: usize = 4096;

/// What stands in the place of an erased text: as in the log, and nothing can be tried against it.
const ERASED: &str = "redacted:0000000000000000000000000000000000000000000000000000000000000000";

/// Takes one line under a key.
pub type Take<'a, E> = dyn FnMut(&str, &[u8]) -> Result<(), E> + 'a;

/// A line about a conversation: it, or more of what is remembered of it.
#[derive(Serialize, Deserialize)]
struct ConversationLine<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conversation: Option<Cow<'a, Conversation>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    decided: Vec<DecidedLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<SessionLine>,
}

/// What a command id decided.
#[derive(Serialize, Deserialize)]
struct DecidedLine {
    /// Fingerprint of the id, and of verb and body, in hex.
    id: String,
    digest: String,
    session: u32,
    seq: u64,
    events: Vec<Cow<'static, str>>,
}

#[derive(Serialize, Deserialize)]
struct SessionLine {
    session: u32,
    closed_at: Time,
}

/// A line about the configuration.
#[derive(Serialize, Deserialize)]
struct ConfigLine<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<Cow<'a, Config>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    puts: Vec<PutLine>,
}

#[derive(Serialize, Deserialize)]
struct PutLine {
    id: String,
    digest: String,
    events: Vec<(u64, Cow<'static, str>)>,
}

/// The lines under one key.
pub type Lines = (String, Vec<Vec<u8>>);

/// The configuration where the log begins, with what is kept beside it; nothing where it begins at its beginning.
pub fn config(reader: &Reader) -> Result<Kept, String> {
    match reader.base() {
        Some(base) => config_of(&base.get(CONFIG_ID).map_err(|fault| fault.to_string())?),
        None => Ok(Kept::default()),
    }
}

/// A conversation where the log begins; none where it was not yet, or the log begins at its beginning.
pub fn conversation(reader: &Reader, id: &ConversationId) -> Result<Option<Conversation>, String> {
    let Some(base) = reader.base() else { return Ok(None) };
    let lines = base.get(id.as_str()).map_err(|fault| fault.to_string())?;
    let Some(line) = lines.first() else { return Ok(None) };
    let line: ConversationLine<'_> = read(line)?;
    Ok(line.conversation.map(Cow::into_owned))
}

/// All conversations where the log begins, in the order of their ids, with what is remembered of each.
pub fn slots(reader: &Reader, sizes: PartSizes) -> impl Iterator<Item = Result<Slot, String>> + use<> {
    let is_conversation = |lines: &Result<Lines, String>| lines.as_ref().map_or(true, |(key, _)| key != CONFIG_ID);
    lines(reader).filter(is_conversation).map(move |lines| lines.and_then(|(key, lines)| slot(&key, &lines, sizes)))
}

/// The same, and nothing beside them.
pub fn conversations(reader: &Reader) -> impl Iterator<Item = Result<Conversation, String>> + use<> {
    slots(reader, PartSizes::default()).map(|slot| slot.map(|slot| slot.c))
}

/// All lines of the base, those under one key together. Ends after the first fault.
pub fn lines(reader: &Reader) -> impl Iterator<Item = Result<Lines, String>> + use<> {
    by_key(reader.base())
}

/// The same of a base that no log begins with yet.
pub(super) fn by_key(base: Option<&Arc<Base>>) -> impl Iterator<Item = Result<Lines, String>> + use<> {
    let mut lines = base.map(Base::lines).into_iter().flatten().peekable();
    std::iter::from_fn(move || {
        let (key, line) = match lines.next()? {
            Ok(line) => line,
            Err(fault) => return Some(Err(fault.to_string())),
        };
        let mut found = vec![line];
        while let Some(Ok((_, line))) = lines.next_if(|next| next.as_ref().is_ok_and(|(next, _)| *next == key)) {
            found.push(line);
        }
        Some(Ok((key, found)))
    })
}

/// Whether a line is one that a base may have under that key.
pub fn check(key: &str, line: &[u8]) -> Result<(), String> {
    if key == CONFIG_ID {
        return config_of(&[line.to_vec()]).map(drop);
    }
    let id = ConversationId::parse(key).map_err(|bad| bad.to_string())?;
    let line: ConversationLine<'_> = read(line)?;
    match line.conversation.is_none_or(|c| c.id == id) {
        true => Ok(()),
        false => Err(format!("expected conversation {key}, got another")),
    }
}

/// What lines say of the configuration.
pub(super) fn config_of(lines: &[Vec<u8>]) -> Result<Kept, String> {
    let mut kept = Kept::default();
    for line in lines {
        let line: ConfigLine<'_> = read(line)?;
        if let Some(config) = line.config {
            kept.config = Arc::new(config.into_owned());
            kept.file = line.file;
        }
        for put in line.puts {
            let name = |(seq, name): (u64, Cow<'_, str>)| Some((seq, known_name(&name)?));
            let events = put.events.into_iter().map(name).collect::<Option<Vec<_>>>();
            let events = events.ok_or("expected events of the configuration that this version knows")?;
            kept.remember(unhex(&put.id)?, unhex(&put.digest)?, events);
        }
    }
    Ok(kept)
}

/// Refuses lines that say something else of the configuration.
pub(super) fn check_config(kept: &Kept, lines: &[Vec<u8>]) -> Result<(), String> {
    let read = config_of(lines)?;
    let is_same = read.config == kept.config && read.file == kept.file && read.ids == kept.ids;
    if is_same { Ok(()) } else { Err("the configuration reads back otherwise than it was written".into()) }
}

/// Refuses lines that say something else of a conversation, or of what is remembered of it at that time.
pub(super) fn check_slot(slot: &Slot, lines: &[Vec<u8>], now: Time, sizes: PartSizes) -> Result<(), String> {
    let read = self::slot(slot.c.id.as_str(), lines, sizes)?;
    let ((decided, sessions), (expected, closed)) =
        (read.ids.remembered(read.c.session, now), slot.ids.remembered(slot.c.session, now));
    match read.c == slot.c && decided.eq(expected) && sessions.eq(closed) {
        true => Ok(()),
        false => Err(format!("conversation {} reads back otherwise than it was written", slot.c.id)),
    }
}

/// What lines say of a conversation.
pub(super) fn slot(key: &str, lines: &[Vec<u8>], sizes: PartSizes) -> Result<Slot, String> {
    let (mut conversation, mut ids) = (None, CommandIds::default());
    for line in lines {
        let line: ConversationLine<'_> = read(line)?;
        conversation = conversation.or(line.conversation);
        for one in line.decided {
            let kinds = one.events.iter().map(|name| Kind::from_full_name(name)).collect::<Option<Vec<_>>>();
            let kinds = kinds.ok_or("expected events that this version knows")?;
            let key = (unhex(&one.id)?, unhex(&one.digest)?);
            ids.remember(key, one.session, one.seq, kinds.into_iter(), sizes.page_items);
        }
        for one in line.sessions {
            ids.session_closed(one.session, one.closed_at, sizes.page_items);
        }
    }
    let c = conversation.filter(|c| c.id.as_str() == key);
    let c = c.ok_or_else(|| format!("expected conversation {key} where the log begins"))?.into_owned();
    let mut slot = Slot::restored(c, Some((ids, Paged::default(), Marks::default())));
    slot.is_dirty = true;
    Ok(slot)
}

/// Hands over the lines about a conversation; `now` is the time of the last entry before the log's new beginning.
pub(super) fn write_slot<E>(slot: &Slot, now: Time, take: &mut Take<'_, E>) -> Result<(), E> {
    let key = slot.c.id.as_str();
    let (decided, sessions) = slot.ids.remembered(slot.c.session, now);
    let decided: Vec<DecidedLine> = decided
        .map(|(one, session)| DecidedLine {
            id: hex(one.key),
            digest: hex(one.digest),
            session,
            seq: one.first_seq,
            events: one.events().map(|(_, kind)| kind.full_name().into()).collect(),
        })
        .collect();
    let sessions: Vec<SessionLine> = sessions.map(|(session, closed_at)| SessionLine { session, closed_at }).collect();
    let (mut decided, mut sessions) = (decided.into_iter(), sessions.into_iter());
    let mut conversation = Some(Cow::Borrowed(&slot.c));
    while conversation.is_some() || decided.len() + sessions.len() > 0 {
        let decided = decided.by_ref().take(IDS_OF_A_LINE).collect();
        let sessions = sessions.by_ref().take(IDS_OF_A_LINE).collect();
        let line = ConversationLine { conversation: conversation.take(), decided, sessions };
        take(key, &written(&line))?;
    }
    Ok(())
}

/// Hands over the lines about the configuration.
pub(super) fn write_config<E>(kept: &Kept, take: &mut Take<'_, E>) -> Result<(), E> {
    let line = ConfigLine { config: Some(Cow::Borrowed(&kept.config)), file: kept.file.clone(), puts: Vec::new() };
    take(CONFIG_ID, &written(&line))?;
    let mut ids: Vec<(&u64, &PutDecided)> = kept.ids.iter().collect();
    ids.sort_by_key(|(key, put)| (put.events.first().map(|(seq, _)| *seq), **key));
    for some in by_lines(&ids) {
        let put = |(key, put): &(&u64, &PutDecided)| PutLine {
            id: hex(**key),
            digest: hex(put.digest),
            events: put.events.iter().map(|(seq, name)| (*seq, Cow::Borrowed(*name))).collect(),
        };
        let puts = some.iter().map(put).collect();
        take(CONFIG_ID, &written(&ConfigLine { config: None, file: None, puts }))?;
    }
    Ok(())
}

/// The puts that stand on a line each.
fn by_lines<'a>(mut puts: &'a [(&'a u64, &'a PutDecided)]) -> impl Iterator<Item = &'a [(&'a u64, &'a PutDecided)]> {
    std::iter::from_fn(move || {
        let mut events = 0;
        let fits = |(_, put): &&(&u64, &PutDecided)| {
            events += put.events.len();
            events <= EVENTS_OF_A_LINE
        };
        let count = puts.iter().take(IDS_OF_A_LINE).take_while(fits).count().max(1).min(puts.len());
        let (line, rest) = puts.split_at(count);
        puts = rest;
        (count > 0).then_some(line)
    })
}

/// Folds a line of the log into the configuration, and what is kept beside it.
pub fn fold_config(kept: &mut Kept, line: &Entry<'_>) -> Result<(), String> {
    let mut config = Config::clone(&kept.config);
    line.fold_config(&mut config)?;
    kept.config = Arc::new(config);
    if line.file.is_some() {
        kept.file.clone_from(&line.file);
    }
    remember_put(kept, line)
}

/// A line without the personal values of its conversation.
pub fn erased(line: &[u8]) -> Result<Vec<u8>, String> {
    let mut read: ConversationLine<'_> = read(line)?;
    let Some(c) = read.conversation.as_mut().map(Cow::to_mut) else { return Ok(line.to_vec()) };
    let erase = |text: &mut Option<Text>| {
        if text.is_some() {
            *text = Some(ERASED.into());
        }
    };
    erase(&mut c.user);
    c.metadata = Default::default();
    if let Some(offer) = &mut c.offer {
        erase(&mut offer.reason);
        offer.metadata = Default::default();
    }
    if let Some(request) = &mut c.end_requested {
        erase(&mut request.reason);
    }
    Ok(written(&read))
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| format!("expected a line of the log's base: {error}"))
}

fn written(line: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(line).expect("our values are JSON")
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

fn unhex(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("expected a fingerprint in hex, got {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVERSATION: &str = concat!(
        r#"{"conversation":{"id":"c-1","session":2,"channel":"web","user":"u-1","continued_from":null,"status":"ending","#,
        r#""owner":"agents","owner_changed_at":"2027-01-16T08:07:00.000Z","owner_seq":62,"owner_accepted":true,"#,
        r#""last_owner":"bot","last_activity_at":"2027-01-16T08:07:00.000Z","offer":{"to":"survey","#,
        r#""by":{"role":"integration","name":"agents","actor":null},"reason":"why","metadata":{"a":true,"b":null},"#,
        r#""expires_at":null,"offered_at":"2027-01-16T08:07:00.000Z","seq":63},"version":9,"epoch":4,"seq":63,"#,
        r#""started_at":"2027-01-16T08:06:00.000Z","last_message_id":"m-1","end_requested":{"by":{"role":"channel","#,
        r#""name":"web","actor":null},"cause":"end_user","reason":"done","at":"2027-01-16T08:07:00.000Z","#,
        r#""deadline":"2027-01-16T08:17:00.000Z","last_message_id":"m-1"},"closed":null,"metadata":{"vip":1.5}},"#,
        r#""decided":[{"id":"00000000000000ff","digest":"470f7797baf1b17e","session":1,"seq":41,"#,
        r#""events":["switchboard.conversation.started","switchboard.control.assigned"]}],"#,
        r#""sessions":[{"session":1,"closed_at":"2027-01-16T08:05:00.000Z"}]}"#
    );
    const CONFIG: [&str; 2] = [
        concat!(
            r#"{"config":{"version":3,"settings":{"default_integration":"bot","multi_conversations":true,"reopen":false,"#,
            r#""end_user_can_end":true,"legacy_csat":false,"inactivity_timeout":"2h","release_deadline":"never","#,
            r#""open_conversations_max":10000000},"timeout_changed_at":"2027-01-15T08:07:00.000Z","#,
            r#""integrations":{"bot":{"value":{"name":"bot","next":"agents","on_end":{"pass":"survey"},"standby":false,"#,
            r#""can_take":false,"inactivity_timeout":null,"enabled":true},"#,
            r#""timeout_changed_at":"2027-01-15T08:00:00.000Z"}},"channels":{},"gone":{"trial":44}},"file":"aa"}"#
        ),
        r#"{"puts":[{"id":"000000000000000a","digest":"000000000000000b","events":[[1,"switchboard.settings.changed"]]}]}"#,
    ];

    /// Once common timeout and channels have changed: written by the release that knows of removed channels' counts.
    const CONFIG_CHANGED: &str = concat!(
        r#"{"config":{"version":7,"settings":{"default_integration":null,"multi_conversations":false,"reopen":false,"#,
        r#""end_user_can_end":false,"legacy_csat":false,"inactivity_timeout":"2h","release_deadline":"never","#,
        r#""open_conversations_max":10000000},"timeout_changed_at":"2027-01-15T08:07:00.000Z","#,
        r#""integrations":{},"channels":{},"gone":{},"dropped":{"quick":"2027-01-15T08:09:00.000Z"},"#,
        r#""before":{"until":"2027-01-15T08:07:00.000Z","timeout":"1d","since":"2027-01-14T08:00:00.000Z","#,
        r#""dropped":{"sms":"2027-01-14T09:00:00.000Z"}}}}"#
    );

    fn taken(write: impl FnOnce(&mut Take<'_, String>) -> Result<(), String>) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        write(&mut |key, line| {
            lines.push((key.to_owned(), String::from_utf8(line.to_vec()).unwrap()));
            Ok(())
        })
        .unwrap();
        lines
    }

    /// A base outlives the release that wrote it, and cannot be made again.
    #[test]
    fn lines_of_the_first_release_are_read_for_good() {
        let slot = slot("c-1", &[CONVERSATION.into()], PartSizes::default()).unwrap();
        let lines = taken(|take| write_slot(&slot, Time(0), take));
        assert_eq!(lines, [("c-1".to_owned(), CONVERSATION.to_owned())]);
        let kept = config_of(&CONFIG.map(|line| line.as_bytes().to_vec())).unwrap();
        let lines = taken(|take| write_config(&kept, take));
        assert_eq!(lines, CONFIG.map(|line| (CONFIG_ID.to_owned(), line.to_owned())));
    }

    #[test]
    fn counts_of_removed_channels_are_written_and_read_for_good() {
        let kept = config_of(&[CONFIG_CHANGED.into()]).unwrap();
        let lines = taken(|take| write_config(&kept, take));
        assert_eq!(lines, [(CONFIG_ID.to_owned(), CONFIG_CHANGED.to_owned())]);
    }

    #[test]
    fn many_command_ids_go_on_further_lines_and_come_back() {
        let mut slot = slot("c-1", &[CONVERSATION.into()], PartSizes::default()).unwrap();
        for n in 0..1000 {
            let kinds = [Kind::Passed].into_iter();
            slot.ids.remember((n, n), 2, 100 + n, kinds, PartSizes::default().page_items);
        }
        let lines = taken(|take| write_slot(&slot, Time(0), take));
        assert_eq!(lines.len(), 4);
        let lines: Vec<Vec<u8>> = lines.into_iter().map(|(_, line)| line.into()).collect();
        let again = super::slot("c-1", &lines, PartSizes::default()).unwrap();
        for n in [0, 255, 256, 999] {
            assert_eq!(again.ids.find(n, 2, None, Time(0)).map(|decided| decided.first_seq), Some(100 + n));
        }
        assert!(lines.iter().all(|line| check("c-1", line).is_ok()) && check("c-2", &lines[0]).is_err());
    }

    /// The present session may go on at its next message, however long it was closed: so do its commands.
    #[test]
    fn of_the_present_session_all_is_kept_and_of_those_before_what_is_remembered() {
        let mut slot = slot("c-1", &[CONVERSATION.into()], PartSizes::default()).unwrap();
        slot.ids.remember((7, 7), 2, 70, [Kind::Passed].into_iter(), PartSizes::default().page_items);
        let closed =
            r#"{"by":{"role":"timer"},"cause":"inactivity","at":"2027-01-16T09:00:00.000Z","last_message_id":null}"#;
        let at = |text| Time::parse(text).unwrap();
        for closed in [None, serde_json::from_str(closed).unwrap()] {
            slot.c.closed = closed;
            for (now, count) in
                [("2027-01-17T08:04:59.999Z", 2), ("2027-01-17T08:05:00Z", 1), ("2028-01-01T00:00:00Z", 1)]
            {
                let lines = taken(|take| write_slot(&slot, at(now), take));
                assert_eq!(lines[0].1.matches("digest").count(), count, "{now}");
                assert!(lines[0].1.contains(r#""session":2,"seq":70"#), "{now}");
                assert_eq!(lines[0].1.contains("sessions"), count > 1, "{now}");
            }
        }
    }

    /// As many as a document may change, under ids that are remembered for good.
    #[test]
    fn puts_of_many_events_stand_on_lines_that_a_log_takes() {
        let mut kept = Kept::default();
        for n in 0..500 {
            let name = known_name("switchboard.integration.registered").unwrap();
            kept.remember(n, n, (0..[2000, 1, 700][n as usize % 3]).map(|seq| ((1 << 60) + seq, name)).collect());
        }
        let lines = taken(|take| write_config(&kept, take));
        let longest = lines.iter().map(|(_, line)| line.len()).max().unwrap();
        assert!(longest < crate::log::LINE_BYTES_MAX / 4, "{longest} bytes in a line");
        let lines: Vec<Vec<u8>> = lines.into_iter().map(|(_, line)| line.into()).collect();
        let again = config_of(&lines).unwrap();
        assert_eq!(again.ids.len(), 500);
        for (key, put) in &kept.ids {
            assert_eq!((again.ids[key].digest, &again.ids[key].events), (put.digest, &put.events));
        }
    }

    #[test]
    fn nothing_personal_is_left_of_an_erased_line() {
        let erased = String::from_utf8(erased(CONVERSATION.as_bytes()).unwrap()).unwrap();
        for value in ["u-1", "why", "done", "vip", "\"a\""] {
            assert!(CONVERSATION.contains(value) && !erased.contains(value), "{value}: {erased}");
        }
        assert!(check("c-1", erased.as_bytes()).is_ok() && erased.contains("agents") && erased.contains("decided"));
        assert_eq!(super::erased(CONFIG[0].as_bytes()).unwrap(), CONFIG[0].as_bytes());
    }
}
