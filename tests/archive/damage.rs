//! Whatever becomes of the stored bytes is found and named, and what stands before it can be saved.

use super::place::{Place, found, open};

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
fn a_cache_that_differs_is_found() {
    let place = Place::of_story();
    open(&place.path.join("cache"), |db| {
        let tree = db.open_tree("closed").unwrap();
        let state = tree.get("c-1").unwrap().unwrap();
        let text = String::from_utf8(state[4..].to_vec()).unwrap();
        let changed = text.replacen("\"epoch\":5", "\"epoch\":4", 1).into_bytes();
        assert_ne!(changed, text.into_bytes());
        let mut sealed = crc32fast::hash(&changed).to_be_bytes().to_vec();
        sealed.extend_from_slice(&changed);
        tree.insert("c-1", sealed).unwrap();
        db.flush().unwrap();
    });
    let finding = place.finding();
    assert!(finding.contains("conversation c-1") && finding.contains("conversation.epoch is 4"), "{finding}");
}

#[test]
fn a_state_that_the_cache_lacks_is_found() {
    let place = Place::of_story();
    open(&place.path.join("cache"), |db| {
        db.open_tree("open").unwrap().remove("again-1").unwrap().unwrap();
        db.flush().unwrap();
    });
    let finding = place.finding();
    assert!(finding.contains("conversation again-1 is not in the cache"), "{finding}");
}
