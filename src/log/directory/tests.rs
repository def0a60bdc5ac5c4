use std::sync::Arc;

use super::metadata::FORMAT_WITH_BASE_BEFORE;
use super::*;
use crate::log::space::RESERVE_BYTES;
use crate::log::{DiskLog, Log};

fn new_log(path: &Path) -> DiskLog {
    DiskLog::open(Arc::new(Directory::open_or_create(path).unwrap())).unwrap()
}

fn refusal(path: &Path) -> LogError {
    match Directory::open_or_create(path).and_then(|directory| DiskLog::open(Arc::new(directory))) {
        Ok(_) => panic!("{} opens", path.display()),
        Err(why) => why,
    }
}

fn change_metadata(path: &Path, from: &str, to: &str) {
    let file = path.join(METADATA);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from));
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_new_directory_keeps_its_id_and_its_key() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("deep/data");
    let first = Directory::open_or_create(&path).unwrap();
    let (id, key) = (first.log_id(), *first.key());
    DiskLog::open(Arc::new(first)).unwrap();
    let second = Directory::open_or_create(&path).unwrap();
    assert_eq!((second.log_id(), *second.key()), (id, key));
    assert_eq!(fs::metadata(path.join("reserve")).unwrap().len(), RESERVE_BYTES);
}

#[test]
fn a_tool_makes_nothing() {
    let place = tempfile::tempdir().unwrap();
    assert!(matches!(Directory::open(place.path()), Err(LogError::NoLog(_))));
    assert!(matches!(Directory::open(&place.path().join("none")), Err(LogError::NoLog(_))));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn one_process_opens_it_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    let log = new_log(place.path());
    let refused = refusal(place.path());
    assert!(matches!(refused, LogError::InUse(_)));
    assert!(refused.to_string().ends_with("in use by a running switchboard: stop it, or ask it with --nats URL"));
    assert!(matches!(Directory::open(place.path()), Err(LogError::InUse(_))));
    drop(log);
    Directory::open(place.path()).unwrap();
}

#[test]
fn an_import_never_goes_over_a_log() {
    let place = tempfile::tempdir().unwrap();
    drop(new_log(place.path()));
    assert!(matches!(Directory::create(place.path(), Uuid::nil()), Err(LogError::Exists(_))));
}

#[test]
fn an_import_counts_once_it_is_finished() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::create(place.path(), Uuid::from_u128(7)).unwrap();
    let made = *directory.key();
    drop(DiskLog::open(Arc::new(directory)).unwrap());
    assert!(matches!(refusal(place.path()), LogError::Unfinished(_)));
    assert!(matches!(Directory::open(place.path()), Err(LogError::Unfinished(_))));
    let other = tempfile::tempdir().unwrap();
    let directory = Directory::create(other.path(), Uuid::from_u128(7)).unwrap();
    directory.finish(Some([9; 32])).unwrap();
    drop(directory);
    let found = Directory::open(other.path()).unwrap();
    assert_eq!((found.log_id(), *found.key()), (Uuid::from_u128(7), [9; 32]));
    assert_ne!(made, [9; 32]);
}

#[test]
fn an_import_wants_an_empty_place() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("lost+found")).unwrap();
    fs::write(place.path().join("notes.txt"), "mine").unwrap();
    let refused = Directory::create(place.path(), Uuid::nil());
    assert!(matches!(refused, Err(LogError::NotEmpty(_, name)) if name == "notes.txt"));
    fs::remove_file(place.path().join("notes.txt")).unwrap();
    Directory::create(place.path(), Uuid::nil()).unwrap();
}

#[test]
fn other_formats_and_sizes_are_named() {
    let place = tempfile::tempdir().unwrap();
    drop(new_log(place.path()));
    change_metadata(place.path(), "\"format\": 4", "\"format\": 6");
    assert!(matches!(refusal(place.path()), LogError::Format { found: 6, expected: 5, .. }));
    change_metadata(place.path(), "\"format\": 6", "\"format\": 4");
    change_metadata(place.path(), "8388608", "524288");
    assert!(matches!(refusal(place.path()), LogError::SegmentSize { found: 524_288, .. }));
    change_metadata(place.path(), "524288", "oops");
    assert!(matches!(refusal(place.path()), LogError::MetadataBroken(..)));
}

#[test]
fn a_directory_of_an_older_format_is_raised_when_it_is_written_to() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open_or_create(place.path()).unwrap();
    let (log_id, key) = (directory.log_id(), *directory.key());
    drop(DiskLog::open(Arc::new(directory)).unwrap());
    let file = place.path().join(METADATA);
    for format in [1, 2] {
        write_durably(&file, &Metadata::of(format, log_id, &key)).unwrap();
        drop(Directory::open(place.path()).unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("\"format\": {format}")), "looking changes nothing");
        assert_eq!(new_log(place.path()).directory().key(), &key);
        assert!(fs::read_to_string(&file).unwrap().contains("\"format\": 4"));
    }
}

#[test]
fn a_directory_whose_log_begins_with_a_base_still_does_when_its_format_is_raised() {
    let place = tempfile::tempdir().unwrap();
    drop(new_log(place.path()));
    let older = Metadata::of(FORMAT_WITH_BASE_BEFORE, Uuid::nil(), &[7; 32]);
    write_durably(&place.path().join(METADATA), &older).unwrap();
    let directory = Directory::open(place.path()).unwrap();
    for format in [FORMAT_WITH_BASE_BEFORE, FORMAT_WITH_BASE] {
        let metadata = directory.metadata().unwrap().unwrap();
        assert_eq!((metadata.format, metadata.has_base()), (format, true));
        directory.raise_format().unwrap();
    }
}

#[test]
fn a_lost_part_is_never_made_anew() {
    let place = tempfile::tempdir().unwrap();
    drop(new_log(place.path()));
    let metadata = fs::read(place.path().join(METADATA)).unwrap();
    fs::remove_file(place.path().join(METADATA)).unwrap();
    assert!(matches!(refusal(place.path()), LogError::MetadataLost(_)));
    fs::write(place.path().join(METADATA), metadata).unwrap();
    fs::remove_dir_all(place.path().join("log")).unwrap();
    assert!(matches!(refusal(place.path()), LogError::Corrupt(..)));
}

#[test]
fn an_interrupted_creation_is_begun_again() {
    let place = tempfile::tempdir().unwrap();
    drop(new_log(place.path()));
    fs::rename(place.path().join(METADATA), place.path().join(METADATA_NEW)).unwrap();
    let log = new_log(place.path());
    assert_eq!(log.reader().head().frames, 0);
    assert!(place.path().join(METADATA).exists() && !place.path().join(METADATA_NEW).exists());
}

#[test]
fn what_cannot_be_written_says_so() {
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
        assert!(matches!(LogError::io("open", Path::new("d"), kind.into()), LogError::ReadOnly(_)));
    }
    let read_only = Path::new("/proc/self");
    assert!(matches!(
        Directory::open_or_create(&read_only.join("data")),
        Err(LogError::ReadOnly(_) | LogError::Io { .. })
    ));
}
