//! Fingerprints that are the same in every run and every version: of command ids, of bodies, and salts.

use sha2::{Digest, Sha256};

use crate::domain::By;

/// The secret of one log, kept beside it and never in it: without it nobody can try which body,
/// or which personal value, a fingerprint belongs to.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// What a command's verb and body are told from another's by.
    pub fn of_body(&self, verb: &str, canonical: &[u8]) -> u64 {
        first_eight(&[&self.0, verb.as_bytes(), b"\n", canonical])
    }

    /// The salt of one entry of the log.
    pub fn salt(&self, seq: u64, at: u64, conversation: &str) -> [u8; 16] {
        let hash = digest(&[&self.0, b"salt", &seq.to_be_bytes(), &at.to_be_bytes(), conversation.as_bytes()]);
        hash[..16].try_into().expect("a hash has 32 bytes")
    }
}

/// What a command under an id is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The fingerprint of the caller's id on that conversation.
    pub key: u64,
    /// That of verb and body.
    pub digest: u64,
}

/// What a command id of one caller on one conversation is known by.
pub fn of_command_id(by: &By, conversation: &str, command_id: &str) -> u64 {
    let name = by.name.as_ref().map_or("", |name| name.as_str());
    // None of the parts can hold a line feed: tokens have none, and a command id is printable.
    first_eight(&[
        by.role.as_str().as_bytes(),
        b"\n",
        name.as_bytes(),
        b"\n",
        conversation.as_bytes(),
        b"\n",
        command_id.as_bytes(),
    ])
}

/// What a configuration file is told from another by.
pub fn of_file(canonical: &[u8]) -> String {
    digest(&[canonical]).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first_eight(parts: &[&[u8]]) -> u64 {
    u64::from_be_bytes(digest(parts)[..8].try_into().expect("a hash has 32 bytes"))
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
