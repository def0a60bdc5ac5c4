//! The files with which one logs in to NATS, and whether they are any use.

use std::fs;
use std::io;
use std::path::Path;

use async_nats::ConnectOptions;
use nkeys::KeyPair;

/// The seed of an nkey in the text of its file: a line of its own.
pub fn seed(text: &str) -> Result<&str, String> {
    let is_seed = |line: &&str| line.starts_with('S') && !line.contains(' ');
    let missing = "expected the seed of an nkey, a line that begins with S";
    let seed = text.lines().map(str::trim).find(is_seed).ok_or(missing)?;
    KeyPair::from_seed(seed).map_err(|error| format!("the seed of the nkey does not read: {error}"))?;
    Ok(seed)
}

/// Why a file of credentials is no use, if it is none.
pub fn creds_fault(path: &Path) -> Option<String> {
    let parsed = |text: &str| ConnectOptions::new().credentials(text).map(drop);
    fault(path, |text| parsed(text).err().map(|error| format!("expected credentials of a user, {error}")))
}

/// Why a file with the seed of an nkey is no use, if it is none.
pub fn nkey_fault(path: &Path) -> Option<String> {
    fault(path, |text| seed(text).err())
}

/// What is no plain file, as a pipe that can be read once, is left to whoever needs it.
fn fault(path: &Path, wrong: impl Fn(&str) -> Option<String>) -> Option<String> {
    let unreadable = |error: io::Error| Some(format!("cannot read {}: {error}", path.display()));
    match path.metadata() {
        Ok(data) if data.is_dir() => unreadable(io::ErrorKind::IsADirectory.into()),
        Ok(data) if data.is_file() => match fs::read_to_string(path) {
            Ok(text) => wrong(&text).map(|why| format!("{}: {why}", path.display())),
            Err(error) => unreadable(error),
        },
        Ok(_) => None,
        Err(error) => unreadable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_line_of_its_own_and_must_read() {
        let known = KeyPair::new_user().seed().unwrap();
        for text in [known.clone(), format!("Some words of whoever made it\n  {known} \n")] {
            assert_eq!(seed(&text), Ok(known.as_str()), "{text}");
        }
        let torn = &known[..known.len() - 1];
        for (text, why) in [("", "a line that begins with S"), ("secret", "begins with S"), (torn, "does not read")] {
            assert!(seed(text).is_err_and(|told| told.contains(why) && !told.contains("SU")), "{why}");
        }
    }
}
