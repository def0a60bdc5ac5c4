//! The configuration file: read whole, or refused with everything that is wrong with it, each fault with the file's name.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::domain::config::document::Document;
use crate::domain::{By, Text};
use crate::switchboard::port::{Ask, PutAsk, Request};

/// Longest file, in bytes: as much as `config.put` may carry.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// A configuration file that keeps every requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it is, to be read again.
    pub path: PathBuf,
    /// What it says.
    pub document: Document,
    /// What it says in one canonical form: what a file is told apart by.
    pub canonical: Vec<u8>,
}

impl ConfigFile {
    /// Reads a file, or says all that is wrong with it.
    pub fn read(path: &Path) -> Result<ConfigFile, Vec<String>> {
        let fault = |text: String| vec![format!("{}: {text}", path.display())];
        let text = read_text(path).map_err(fault)?;
        let value = parse(&text).map_err(|(line, text)| vec![format!("{}:{line}: {text}", path.display())])?;
        let document = Document::parse(&value);
        let document = document
            .map_err(|faults| faults.texts().iter().flat_map(|text| fault(text.clone())).collect::<Vec<_>>())?;
        Ok(ConfigFile { path: path.to_owned(), document, canonical: value.to_string().into_bytes() })
    }

    /// The request to apply it: it changes nothing where it is the last file that was.
    pub fn into_request(self, reply: Option<Text>) -> Request {
        let ask = PutAsk {
            document: Ok(self.document),
            canonical: self.canonical,
            expected_version: None,
            command_id: None,
            traceparent: None,
            is_file: true,
        };
        Request { by: By::config(), ask: Ask::Put(Box::new(ask)), reply }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| format!("cannot open the configuration: {error}"))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read the configuration: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("expected a configuration of at most {FILE_BYTES_MAX} bytes, got more"));
    }
    String::from_utf8(bytes).map_err(|_| "expected UTF-8 text, got other bytes".into())
}

/// Reads TOML; a fault with the line that it is in.
fn parse(text: &str) -> Result<Value, (usize, String)> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let place = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..place].iter().filter(|b| **b == b'\n').count() + 1;
        (line, error.message().replace('\n', ", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConfigFile, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("switchboard.toml");
        std::fs::write(&path, text).unwrap();
        let dir = format!("{}/", dir.path().display());
        ConfigFile::read(&path).map_err(|faults| faults.iter().map(|fault| fault.replace(&dir, "")).collect())
    }

    #[test]
    fn a_fault_of_syntax_has_its_line() {
        let faults = read("[settings]\nreopen = true\nlegacy_csat = = 1\n").unwrap_err();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("switchboard.toml:3: "), "{faults:?}");
    }

    #[test]
    fn all_faults_are_told_at_once_each_with_the_file() {
        let faults = read("[settings]\nreopen = 1\nno_such = true\n[[integration]]\nname = \"a b\"\n").unwrap_err();
        assert!(faults.len() >= 3, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.starts_with("switchboard.toml: ")), "{faults:?}");
    }

    #[test]
    fn a_file_that_says_the_same_is_the_same() {
        let one = read("[settings]\nreopen = true\nlegacy_csat = false\n").unwrap();
        let other = read("settings = { legacy_csat = false, reopen = true } # in another order\n").unwrap();
        assert_eq!(one.canonical, other.canonical);
        assert!(one.document.settings.reopen);
    }

    #[test]
    fn a_missing_file_is_named() {
        let faults = ConfigFile::read(Path::new("no/such.toml")).unwrap_err();
        assert!(faults[0].starts_with("no/such.toml: cannot open"), "{faults:?}");
    }
}
