//! Configurations: a file's TOML, or, where it begins with a brace, the body of a `config.put`.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use switchboard::domain::config::change::changes;
use switchboard::domain::config::document::FAULTS_MAX;
use switchboard::domain::config::{ConfigEvent, Document, Faults};
use switchboard::domain::{Config, Time};
use switchboard::edge::requests::{Headers, parse};
use switchboard::edge::subjects::Endpoint;
use switchboard::switchboard::port::Ask;
use switchboard::tools::config_file::ConfigFile;

/// The most that one fault may say.
const FAULT_BYTES_MAX: usize = 2048;

pub fn check(bytes: &[u8]) {
    match bytes.starts_with(b"{") {
        true => check_put(bytes),
        false => check_file(bytes),
    }
}

fn check_put(body: &[u8]) {
    match document_put(body) {
        Some(Ok(document)) => check_document(&document),
        Some(Err(faults)) => check_faults(faults.texts()),
        None => {}
    }
}

fn document_put(body: &[u8]) -> Option<Result<Document, Faults>> {
    match parse(Endpoint::Config, "olga.put", Headers::default(), body).ok()?.ask {
        Ask::Put(ask) => Some(ask.document),
        other => panic!("expected a put, got {other:?}"),
    }
}

/// A file is taken as the same document would be that an operator puts.
fn check_file(bytes: &[u8]) {
    let place = Place::new(bytes);
    let read = ConfigFile::read(&place.0);
    if let Err(faults) = &read {
        check_faults(faults);
        return;
    }
    let file = read.expect("no faults were told");
    check_document(&file.document);
    let said: Value = serde_json::from_slice(&file.canonical).expect("the canonical form is JSON");
    let put = document_put(json!({ "config": said }).to_string().as_bytes());
    assert_eq!(put, Some(Ok(file.document)), "a file and a put of the same differ");
}

fn check_faults(faults: &[String]) {
    assert!(!faults.is_empty() && faults.len() <= FAULTS_MAX + 1, "{} faults", faults.len());
    for fault in faults {
        assert!(fault.len() <= FAULT_BYTES_MAX, "a fault of {} bytes", fault.len());
    }
}

/// What was read can be recorded and read back, shown and put again, and the second time nothing changes.
fn check_document(document: &Document) {
    let mut config = Config::default();
    let events = changes(&config, document);
    for (at, event) in events.iter().enumerate() {
        config.evolve(event, at as u64 + 1, Time(1));
        let data = serde_json::to_string(event).expect("our values are JSON");
        let read = ConfigEvent::from_data(event.full_name(), &data).expect("what is written can be read");
        assert_eq!(read.as_ref(), Some(event));
    }
    assert_eq!(config.version(), events.len() as u64);
    assert_eq!(changes(&config, document), [], "a document put twice changes something");
    let again = Document::parse(&config.to_json()).expect("a configuration shown can be put");
    assert_eq!(changes(&config, &again), [], "a configuration as it is shown changes something");
}

/// A file with these bytes, as long as it is looked at.
struct Place(PathBuf);

impl Place {
    fn new(bytes: &[u8]) -> Place {
        let name = format!("switchboard-{}-{:?}.toml", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).expect("a file");
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
