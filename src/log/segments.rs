//! Whether a database's file may be given to sled, which clears what it does not understand.
//!
//! The file stands in segments, each behind a header of twenty bytes: a checksum, where in the database it stands, and how
//! far that was stable when the segment was begun. When it opens, sled looks for the end from the segment on of which the
//! headers say last that it was stable. Where that one is missing it takes the database for empty, and a segment whose
//! header does not read for free: what stands there is overwritten, by whoever only looks. Damage leaves either, and a power
//! cut, which tears no header as that stands in one sector, only where a segment or more is unsynced: [`super::ahead`] holds
//! what is counted to less. So it is refused as it is.
//!
//! A header of zeros is that of a free segment, or of one that a power cut took: only where it takes all that sled would
//! go by, it is known for damage.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::LogError;
use super::store::SEGMENT_BYTES;

const HEADER_BYTES: usize = 20;

/// What a disk writes of a file, or does not.
const PAGE_BYTES: u64 = 4096;

/// The numbers stand there with these bits turned.
const TURNED: i64 = i64::MAX;

/// A header that reads.
struct Header {
    place: i64,
    stable: i64,
}

/// Refuses a database in that folder of which sled would clear what is not empty.
pub(super) fn check(folder: &Path) -> Result<(), LogError> {
    let path = folder.join("db");
    let looked = look(&path, snapshot(folder).map_err(|e| LogError::io("list", folder, e))?);
    let damage = looked.map_err(|e| LogError::io("read", &path, e))?;
    damage.map_or(Ok(()), |why| Err(LogError::Corrupt(folder.to_path_buf(), why)))
}

/// What is wrong with it; `end` is where it ended by its snapshot: sled begins to read with that segment.
fn look(path: &Path, end: i64) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let segment = SEGMENT_BYTES as i64;
    let from = end / segment * segment;
    let (mut places, mut stable) = (Vec::new(), from);
    for at in (0..file.metadata()?.len().saturating_sub(HEADER_BYTES as u64 - 1)).step_by(SEGMENT_BYTES as usize) {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, at)?;
        match Header::read(&bytes) {
            _ if bytes == [0; HEADER_BYTES] => {}
            None => return Ok(Some(format!("the header of the segment at byte {at} of its file db does not read"))),
            Some(header) if header.place >= from => {
                places.push(header.place);
                stable = stable.max(header.stable);
            }
            Some(_) => {}
        }
    }
    let sought = stable / segment * segment;
    let is_lost = match places.is_empty() {
        // A snapshot ends at a segment's end, or in one that is there; without one the file may be as it was made.
        true => end % segment != 0 || (end == 0 && begins_with_something(&file)?),
        false => !places.contains(&sought),
    };
    Ok(is_lost.then(|| format!("segment {} of its file db is lost", sought / segment)))
}

fn begins_with_something(file: &File) -> io::Result<bool> {
    let mut page = Vec::new();
    file.take(PAGE_BYTES).read_to_end(&mut page)?;
    Ok(page.iter().any(|byte| *byte != 0))
}

/// Up to where the newest snapshot has it: that is its name.
fn snapshot(folder: &Path) -> io::Result<i64> {
    let mut newest = 0;
    let files = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(newest),
        files => files?,
    };
    for file in files {
        let name = file?.file_name();
        let place = name.to_str().and_then(|name| i64::from_str_radix(name.strip_prefix("snap.")?, 16).ok());
        newest = newest.max(place.unwrap_or(0));
    }
    Ok(newest)
}

impl Header {
    fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (checksum, rest) = bytes.split_first_chunk()?;
        let (place, stable) = rest.split_first_chunk()?;
        let is_whole = u32::from_le_bytes(*checksum) == !crc32fast::hash(rest);
        let number = |bytes| i64::from_le_bytes(bytes) ^ TURNED;
        is_whole.then(|| Header { place: number(*place), stable: number(*stable.first_chunk().expect("eight bytes")) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::super::conformance::noisy;
    use super::super::{Directory, DiskLog, Inspection, Log, Reader};
    use super::SEGMENT_BYTES;

    fn whole(reader: &Reader) -> usize {
        reader.frames(1).filter(Result::is_ok).count()
    }

    #[test]
    fn a_database_with_a_damaged_segment_is_refused_and_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let directory = || Arc::new(Directory::open_or_create(place.path()).unwrap());
        let mut log = DiskLog::open(directory()).unwrap();
        for n in 0..14 {
            log.append(&[noisy(&log.reader().head(), n, 20_000)], 0).unwrap();
        }
        Box::new(log).close(0).unwrap();
        let file = place.path().join("log/1/db");
        let sound = fs::read(&file).unwrap();
        assert!(sound.len() as u64 > SEGMENT_BYTES, "{}", sound.len());
        for at in (0..sound.len()).step_by(SEGMENT_BYTES as usize) {
            let mut damaged = sound.clone();
            damaged[at + 9] ^= 1;
            fs::write(&file, &damaged).unwrap();
            let refused = DiskLog::open(directory()).err().expect("it is refused").to_string();
            assert!(refused.contains(&format!("the segment at byte {at} of its file db does not read")), "{refused}");
            assert!(Inspection::open(directory()).is_err());
            assert!(fs::read(&file).unwrap() == damaged, "somebody may know what to do with it");
        }
        fs::write(&file, &sound).unwrap();
        assert_eq!(whole(&DiskLog::open(directory()).unwrap().reader()), 14);
    }

    #[test]
    fn a_database_that_lacks_the_segment_at_its_end_is_refused_and_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("db");
        let header = |place: i64, stable: i64| {
            let numbers = [place, stable].map(|number| (number ^ super::TURNED).to_le_bytes()).concat();
            [(!crc32fast::hash(&numbers)).to_le_bytes().to_vec(), numbers].concat()
        };
        let segment = SEGMENT_BYTES as i64;
        for (headers, is_lost) in [
            (vec![(0, -1), (segment, segment - 9)], false),
            (vec![(0, -1), (2 * segment, segment + 9)], true),
            (vec![(0, -1), (2 * segment, segment - 9)], false),
            (vec![(segment, segment - 9)], true),
            (vec![], false),
        ] {
            let mut bytes = Vec::new();
            for (place, stable) in &headers {
                bytes.resize(bytes.len().next_multiple_of(SEGMENT_BYTES as usize), 0);
                bytes.extend(header(*place, *stable));
            }
            fs::write(&file, &bytes).unwrap();
            assert_eq!(super::check(place.path()).is_err(), is_lost, "{headers:?}");
        }
        fs::write(&file, [&[0; 20][..], b"something"].concat()).unwrap();
        assert!(super::check(place.path()).is_err(), "no header, and something behind it");
        // What a snapshot covers is not looked for.
        for (end, is_lost) in [(segment, false), (segment + 9, true)] {
            fs::write(&file, header(0, -1)).unwrap();
            let snapshot = place.path().join(format!("snap.{end:016X}"));
            fs::write(&snapshot, []).unwrap();
            assert_eq!(super::check(place.path()).is_err(), is_lost, "{end}");
            fs::remove_file(snapshot).unwrap();
        }
    }
}
