//! `switchboard.json`: which log this is, in which format, and the secret of its directory.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::codec::{hex, unhex};
use super::super::error::LogError;
use super::super::store::SEGMENT_BYTES;

/// The format of data directories that this program writes: what was written last may stand
/// [ahead](super::super::ahead) of the log's database. A release that does not know of it would go on without that, so it
/// must see another format.
pub(super) const FORMAT: u64 = 4;

/// The same for a log that begins with a [base](super::super::base): whoever knows of none would miss the volumes before
/// it. From the moment when a directory has this format its base counts, and must be there.
pub(super) const FORMAT_WITH_BASE: u64 = 5;

/// The formats before, read for good: at the first start they become the present ones. In the first the log was one
/// database; in the next it stood in volumes, and there was nothing ahead of them.
const FORMATS_BEFORE: RangeInclusive<u64> = 1..=2;
pub(super) const FORMAT_WITH_BASE_BEFORE: u64 = 3;

#[derive(Serialize, Deserialize)]
pub(super) struct Metadata {
    pub(super) format: u64,
    log_id: String,
    segment_size: u64,
    key: String,
    /// Of the other fields: another id or key would be as good as this one, and not be noticed. Older directories have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl Metadata {
    pub(super) fn of(format: u64, log_id: Uuid, key: &[u8; 32]) -> Self {
        let (log_id, key) = (log_id.to_string(), hex(key));
        let mut metadata = Self { format, log_id, segment_size: SEGMENT_BYTES, key, checksum: None };
        metadata.checksum = Some(metadata.expected_checksum());
        metadata
    }

    /// What a file says, where there is one.
    pub(super) fn read(file: &Path) -> Result<Option<Self>, LogError> {
        match std::fs::read(file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => Self::parse(file, &bytes.map_err(|e| LogError::io("read", file, e))?).map(Some),
        }
    }

    /// The id and the key, from the file where it stands.
    pub(super) fn identity(&self, file: &Path) -> Result<(Uuid, [u8; 32]), LogError> {
        if self.segment_size != SEGMENT_BYTES {
            let path = file.parent().unwrap_or(file).to_path_buf();
            return Err(LogError::SegmentSize { path, found: self.segment_size, expected: SEGMENT_BYTES });
        }
        let broken = |what: &str| LogError::MetadataBroken(file.to_path_buf(), what.into());
        if self.checksum.as_ref().is_some_and(|checksum| *checksum != self.expected_checksum()) {
            return Err(broken("its checksum does not match: the file was changed"));
        }
        let key = unhex(self.key.as_bytes()).ok_or_else(|| broken("key: expected 64 hex digits"))?;
        let log_id = Uuid::parse_str(&self.log_id).map_err(|_| broken("log_id: expected a UUID"))?;
        Ok((log_id, key))
    }

    /// Whether the log begins with a base.
    pub(super) fn has_base(&self) -> bool {
        [FORMAT_WITH_BASE_BEFORE, FORMAT_WITH_BASE].contains(&self.format)
    }

    /// The present format of what an older one says, if it is one.
    pub(super) fn raised(&self) -> Option<u64> {
        match self.format {
            FORMAT_WITH_BASE_BEFORE => Some(FORMAT_WITH_BASE),
            before if FORMATS_BEFORE.contains(&before) => Some(FORMAT),
            _ => None,
        }
    }

    /// Reads the format first: what else another format says is not ours to judge.
    fn parse(file: &Path, bytes: &[u8]) -> Result<Self, LogError> {
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        let broken = |e: serde_json::Error| LogError::MetadataBroken(file.to_path_buf(), e.to_string());
        let Format { format } = serde_json::from_slice(bytes).map_err(broken)?;
        if !(*FORMATS_BEFORE.start()..=FORMAT_WITH_BASE).contains(&format) {
            let path = file.parent().unwrap_or(file).to_path_buf();
            return Err(LogError::Format { path, found: format, expected: FORMAT_WITH_BASE });
        }
        serde_json::from_slice(bytes).map_err(broken)
    }

    fn expected_checksum(&self) -> String {
        let fields = format!("{} {} {} {}", self.format, self.log_id, self.segment_size, self.key);
        hex(&crc32fast::hash(fields.as_bytes()).to_be_bytes())
    }
}
