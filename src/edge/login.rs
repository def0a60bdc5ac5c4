//! The files with which one logs in to NATS, and whether they are any use.

use std::fs;
use std::io;
use std::path::Path;

use async_nats::ConnectOptions;
use nkeys::KeyPair;

/// The seed of a user's nkey in the text of its file, where words may stand beside it.
pub fn seed(text: &str) -> Result<&str, String> {
    let mut seeds = text.split_whitespace().filter(|word| word.starts_with("SU"));
    let reads = |seed: &&str| KeyPair::from_seed(seed).is_ok();
    match (seeds.clone().find(reads), seeds.next()) {
        (Some(seed), _) => Ok(seed),
        (None, Some(_)) => Err("the seed of the nkey does not read: it is not as it was made".into()),
        (None, None) => Err("expected the seed of a user's nkey, which begins with SU".into()),
    }
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
    fn a_seed_is_found_among_words_and_must_read() {
        let known = KeyPair::new_user().seed().unwrap();
        for text in [known.clone(), format!("Seed: SUnday's\n  {known} # of the service\n")] {
            assert_eq!(seed(&text), Ok(known.as_str()), "{text}");
        }
        let (torn, account) = (&known[..known.len() - 1], KeyPair::new_account().seed().unwrap());
        for (text, why) in [("", "begins with SU"), ("secret", "begins with SU"), (&account, "SU"), (torn, "not read")]
        {
            assert!(
                seed(text).is_err_and(|told| told.contains(why) && !told.contains(text) | text.is_empty()),
                "{why}"
            );
        }
    }
}
