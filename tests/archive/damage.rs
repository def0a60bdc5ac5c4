//! Whatever becomes of the stored bytes is found and named, and what stands before it can be read and saved.

use std::sync::Arc;

use serde_json::Value;
use switchboard::domain::ConversationId;
use switchboard::log::{self, Cache, Directory, DiskLog, Log, Reader};
use switchboard::switchboard::PartSizes;
use switchboard::switchboard::slot::Slot;
use switchboard::tools::directory::DirectoryArchive;
use switchboard::tools::import::ImportOptions;
use switchboard::tools::source::{Question, whole_span};

use super::place::{Place, found, import_with};

/// The fault is named with its frame, and an export holds whole what stands before it, and no end.
fn assert_found_at(place: &Place, frame: u64, whole: &str, words: &str) {
    let (told, verified) = place.verify();
    let finding = verified.unwrap_err();
    assert!(finding.contains(&format!("frame {frame}, seq ")), "{finding}");
    assert!(finding.contains(words), "{finding}");
    assert!(told.contains(&format!("frames         {}\n", frame - 1)), "{told}");
    let (text, exported) = place.export(&[]);
    let failure = found(exported.unwrap_err());
    assert!(failure.contains(&format!("frame {frame}, seq ")), "{failure}");
    assert!(whole.starts_with(&text) && text.ends_with('\n'), "not what stood before");
    assert!(text.lines().count() as u64 >= frame, "all that stands before is saved");
    assert!(!text.contains("{\"head\":"));
    let saved = check_saved(&text);
    check_read(place, &saved);
}

/// What was saved is a log again, if somebody says that it may lack its end.
fn check_saved(text: &str) -> Place {
    let saved = Place::empty();
    let options = |cut| ImportOptions { data: saved.path.clone(), publish_from: None, cut };
    let refused = import_with(options(false), text.as_bytes()).unwrap_err();
    assert!(refused.to_string().contains("it was cut"), "{refused}");
    let told = import_with(options(true), text.as_bytes()).unwrap();
    assert!(told.contains("the end is missing"), "{told}");
    saved.assert_good();
    assert!(saved.exported().starts_with(&text.replacen("\"format\":1", "\"format\":2", 1)));
    saved
}

/// What stands before the fault is read as if the log ended there; then the fault is told.
fn check_read(place: &Place, saved: &Place) {
    let events = |place: &Place| {
        let mut archive = DirectoryArchive::open(&place.path).unwrap();
        let mut events = Vec::new();
        let mut span = whole_span();
        loop {
            let page = archive.answer(&Question::Log { span: span.clone() }).unwrap();
            let page: Value = serde_json::from_slice(&page).unwrap();
            events.extend(page["events"].as_array().unwrap().clone());
            match page["next_seq"].as_u64() {
                Some(next) => span.from_seq = Some(next),
                None => return (events, archive.conclude()),
            }
        }
    };
    let ((read, concluded), (expected, _)) = (events(place), events(saved));
    assert_eq!(read, expected);
    let told = found(concluded.unwrap_err());
    assert!(told.contains("frame ") && told.contains("what stands before it was read"), "{told}");
}

#[test]
fn a_good_log_is_good_and_told_of() {
    let place = Place::of_story();
    let told = place.assert_good();
    for words in ["conversations  6, 2 of them open", "sessions       7", "states as the log has them", "hash  "] {
        assert!(told.contains(words), "{words:?} in\n{told}");
    }
    assert_eq!(place.assert_good(), told, "looking changes nothing");
}

#[test]
fn a_flipped_bit_is_found() {
    let place = Place::of_story();
    let whole = place.exported();
    for (frame, at) in [(5, 150), (3, 60), (1, 1)] {
        place.tamper(frame, |mut bytes| {
            bytes[at] ^= 4;
            Some(bytes)
        });
        assert_found_at(&place, frame, &whole, "");
    }
}

#[test]
fn a_damaged_end_is_looked_at_all_the_same() {
    let place = Place::of_story();
    let (whole, last) = (place.exported(), place.frames());
    place.tamper(last, |mut bytes| {
        bytes[50] ^= 1;
        Some(bytes)
    });
    assert_found_at(&place, last, &whole, "the checksum does not match");
}

#[test]
fn a_lost_frame_is_found() {
    let place = Place::of_story();
    let whole = place.exported();
    place.tamper(7, |_| None);
    assert_found_at(&place, 7, &whole, "missing");
}

#[test]
fn a_cut_tail_is_found() {
    let place = Place::of_story();
    let (whole, last) = (place.exported(), place.frames());
    for frame in last - 3..=last {
        place.tamper(frame, |_| None);
    }
    assert_found_at(&place, last - 3, &whole, "missing");
}

#[test]
fn swapped_frames_are_found() {
    let place = Place::of_story();
    let whole = place.exported();
    let mut fourth = Vec::new();
    place.tamper(4, |bytes| {
        fourth = bytes;
        Some(fourth.clone())
    });
    place.tamper(5, |bytes| Some(std::mem::replace(&mut fourth, bytes)));
    place.tamper(4, |_| Some(fourth));
    assert_found_at(&place, 4, &whole, "frame 5 stands here");
}

#[test]
fn a_log_that_went_another_way_is_found() {
    let (place, other) = (Place::of_story(), Place::of_story());
    std::fs::copy(other.path.join("log.json"), place.path.join("log.json")).unwrap();
    let finding = place.finding();
    assert!(finding.contains("log.json") && finding.contains(&format!("frame {}", place.frames())), "{finding}");
}

#[test]
fn a_deleted_cache_is_no_fault() {
    let place = Place::of_story();
    std::fs::remove_dir_all(place.path.join("cache")).unwrap();
    std::fs::remove_file(place.path.join("cache.json")).unwrap();
    let told = place.assert_good();
    assert!(told.contains("none: the next start reads the whole log"), "{told}");
    assert!(!place.path.join("cache").exists(), "looking makes nothing");
}

#[test]
fn an_emptied_cache_is_found() {
    let place = Place::of_story();
    keep_cached(&place, |at, _| at == log::Place::Open);
    let finding = place.finding();
    assert!(finding.contains("is not in the cache") && finding.contains("delete cache and cache.json"), "{finding}");
}

#[test]
fn an_index_that_leads_elsewhere_is_found() {
    let place = Place::of_story();
    change_cached(&place, "c-1", |slot| slot.is_in_frame(1000, PartSizes::default()));
    let finding = place.finding();
    assert!(finding.contains("conversation c-1 differs in the cache: frames.tail is"), "{finding}");
}

#[test]
fn a_cache_that_differs_is_found() {
    let place = Place::of_story();
    change_cached(&place, "c-1", |slot| slot.c.epoch = 4);
    let finding = place.finding();
    assert!(finding.contains("conversation c-1") && finding.contains("conversation.epoch is 4"), "{finding}");
}

#[test]
fn a_state_that_the_cache_lacks_is_found() {
    let place = Place::of_story();
    keep_cached(&place, |_, id| id != "again-1");
    let finding = place.finding();
    assert!(finding.contains("conversation again-1 is not in the cache"), "{finding}");
}

#[test]
fn an_open_conversation_that_the_cache_has_among_the_closed_ones_alone_is_found() {
    let place = Place::of_story();
    put_as_closed(&place, "again-1");
    let finding = place.finding();
    assert!(finding.contains("conversation again-1 is not in the cache"), "{finding}");
}

/// One that was opened again may stand among the closed ones too, as it was then: that is passed over.
#[test]
fn what_the_cache_has_of_a_conversation_before_it_was_opened_again_is_no_fault() {
    let place = Place::of_story();
    let head = put_as_closed(&place, "again-1");
    change_cache(&place, |cache, through, reader| {
        cache.put([("again-1", log::Place::Open, head.as_slice())].into_iter(), through, reader).unwrap();
    });
    place.assert_good();
}

/// Moves an open conversation to where the closed ones are; gives back what is kept of it.
fn put_as_closed(place: &Place, id: &str) -> Vec<u8> {
    let mut kept = Vec::new();
    change_cache(place, |cache, through, reader| {
        let found = cache.scan_open().map(Result::unwrap).find(|(found, _)| found == id);
        kept = found.expect("it is open").1;
        cache.put([(id, log::Place::Closed, kept.as_slice())].into_iter(), through, reader).unwrap();
    });
    kept
}

fn change_cache(place: &Place, change: impl FnOnce(&Cache, u64, &Reader)) {
    let (cache, through, reader) = cache_of(place);
    change(&cache, through, &reader);
    cache.close().unwrap();
}

/// Makes the cache anew, of some of what stands in it.
fn keep_cached(place: &Place, is_kept: impl Fn(log::Place, &str) -> bool) {
    let (cache, through, reader) = cache_of(place);
    let closed = cache.closed_after(None, usize::MAX).map(|row| (log::Place::Closed, row.unwrap()));
    let all = closed.chain(cache.scan_open().map(|row| (log::Place::Open, row.unwrap())));
    let (kept, gone): (Vec<_>, Vec<_>) = all.partition(|(at, (id, _))| is_kept(*at, id));
    assert!(!kept.is_empty() && !gone.is_empty());
    let cache = cache.start_over().unwrap();
    cache.put(kept.iter().map(|(at, (id, head))| (id.as_str(), *at, head.as_slice())), through, &reader).unwrap();
    cache.close().unwrap();
}

fn cache_of(place: &Place) -> (Cache, u64, Reader) {
    let directory = Arc::new(Directory::open(&place.path).unwrap());
    let log = DiskLog::open(directory.clone()).unwrap();
    let (cache, through) = Cache::open(directory, &log.reader()).unwrap();
    (cache, through.expect("it is trusted"), log.reader())
}

/// Writes the cached state of a closed conversation anew, under a checksum that holds.
fn change_cached(place: &Place, id: &str, change: impl Fn(&mut Slot)) {
    change_cache(place, |cache, through, reader| {
        let state = cache.closed(id).unwrap().expect("it is closed");
        let nowhere = |part, number| Err(format!("{part:?} {number} is not there"));
        let id = ConversationId::parse(id).unwrap();
        let mut slot = Slot::from_head(&id, &state, PartSizes::default(), nowhere).unwrap();
        change(&mut slot);
        let changed = slot.to_head();
        assert_ne!(changed, state);
        cache.put([(id.as_str(), log::Place::Closed, changed.as_slice())].into_iter(), through, reader).unwrap();
    });
}
