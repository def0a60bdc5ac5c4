//! How the keys of the log are spread over the database's pages, so that each frame is written once.
//!
//! sled puts up to 16 keys into a page. The next one splits it, and both halves are written anew. Under ascending
//! keys every value is so written three times, and most of the file is what was written before. So pages are split
//! while nothing is in them: keys without a value, *stakes*, stand behind every seventh frame. Before the first of
//! seven frames is stored, as many stakes are put behind them as fill the last page, and half of the page is split
//! off: nine stakes, one below the seven frames and eight above them. The seven frames are added to that page one
//! by one, make it full, and are never moved again.
//!
//! | page | stakes before | frames | stakes behind |
//! |---|---|---|---|
//! | 0 | `0 ffff 08` | 1–7 | `7 ffff 00` … `7 ffff 07` |
//! | 1 | `7 ffff 08` | 8–14 | `14 ffff 00` … `14 ffff 07` |
//!
//! Nothing rests on it but the size of the file: a database that was begun without stakes gets none, and a
//! frame of several parts splits its page as any key does.

use std::iter;

use super::frame::key;

/// Frames in a page: with the stakes, as many keys as stay in one page, and fewer pieces than sled joins by itself.
const PAGE_FRAMES: u64 = 7;

/// Stakes in a page: sled splits seventeen keys into nine and eight.
const PAGE_STAKES: u64 = 9;

/// Of them those that stand above the frames.
const STAKES_ABOVE: u64 = PAGE_STAKES - 1;

/// What stands behind the number of a frame in a stake: no frame has so many parts.
const STAKE: u16 = u16::MAX;

/// Bytes of a stake.
const STAKE_BYTES: usize = 8 + 2 + 1;

/// The stakes to be put before a frame is stored, ascending, and one that shows whether the database has stakes;
/// none where the frame goes into the page of the one before. `is_first` says that the database is empty.
pub(super) fn before(frame: u64, is_first: bool) -> Option<(impl Iterator<Item = Vec<u8>>, Vec<u8>)> {
    let page = (frame - 1) / PAGE_FRAMES;
    let begins_page = (frame - 1).is_multiple_of(PAGE_FRAMES);
    let first = page * PAGE_STAKES;
    // The last page has those up to the lower half of the next, once it is staked.
    let end = first + PAGE_STAKES + STAKES_ABOVE;
    let from = if is_first { first } else { end - PAGE_STAKES };
    (is_first || begins_page).then(|| ((from..end).map(stake), stake(from.saturating_sub(1))))
}

/// Whether a key is a stake.
pub(super) fn is_stake(key: &[u8]) -> bool {
    key.len() == STAKE_BYTES && key[8..10] == STAKE.to_be_bytes()
}

fn stake(number: u64) -> Vec<u8> {
    let (page, place) = (number / PAGE_STAKES, number % PAGE_STAKES);
    let (behind, place) = match place {
        0 => (page * PAGE_FRAMES, STAKES_ABOVE),
        above => ((page + 1) * PAGE_FRAMES, above - 1),
    };
    key(behind, STAKE).into_iter().chain(iter::once(place as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pages of sled under ascending keys: a page of seventeen is split into nine and eight.
    fn pages(frames: u64, first: u64) -> Vec<Vec<Vec<u8>>> {
        let mut pages = vec![Vec::new()];
        let mut insert = |new: Vec<u8>| {
            if pages.last().is_some_and(|page: &Vec<_>| page.len() > 16) {
                let upper = pages.last_mut().unwrap().split_off(9);
                pages.push(upper);
            }
            let page = pages.iter_mut().rev().find(|page| page.first().is_none_or(|first| *first <= new));
            let page = page.expect("nothing is put before the first key");
            page.push(new);
            page.sort();
        };
        for frame in first..first + frames {
            if let Some((stakes, _)) = before(frame, frame == first) {
                stakes.for_each(&mut insert);
            }
            insert(key(frame, 0));
        }
        pages
    }

    #[test]
    fn seven_frames_share_a_page_and_none_is_split() {
        for first in [1, 4, 8] {
            let pages = pages(100, first);
            let frames = |page: &Vec<Vec<u8>>| page.iter().filter(|key| !is_stake(key)).count();
            let counts: Vec<_> = pages.iter().map(frames).collect();
            let begun = if first == 4 { 4 } else { 7 };
            assert_eq!(counts[..2], [begun, 7], "from frame {first}");
            assert!(counts[1..counts.len() - 2].iter().all(|count| *count == 7), "{counts:?}");
            assert!(pages[..pages.len() - 1].iter().all(|page| page.len() <= 16));
        }
    }

    #[test]
    fn stakes_ascend_and_are_no_keys_of_frames() {
        let stakes: Vec<_> = (0..100).map(stake).collect();
        assert!(stakes.is_sorted() && stakes.iter().all(|stake| is_stake(stake)));
        assert!(![key(7, 0), key(7, 1), key(7, u16::MAX - 1)].iter().any(|key| is_stake(key)));
        let (mut put, shown) = before(8, false).unwrap();
        assert_eq!((put.next(), shown), (Some(stake(17)), stake(16)), "they follow those before");
        assert!(before(9, false).is_none());
    }

    #[test]
    fn a_frame_is_written_about_once() {
        use std::sync::Arc;

        use super::super::conformance::noisy;
        use super::super::{Directory, DiskLog, Log};

        let place = tempfile::tempdir().unwrap();
        let directory = Arc::new(Directory::open_or_create(place.path()).unwrap());
        let mut log = DiskLog::open(directory).unwrap();
        let mut bytes = 0;
        for n in 0..500 {
            log.append(&[noisy(&log.reader().head(), n, 2_500)], 0).unwrap();
            bytes += u64::from(log.reader().header(n + 1).unwrap().unwrap().packed_bytes);
        }
        let file = std::fs::metadata(place.path().join("log/1/db")).unwrap().len();
        // The last segment may be new.
        assert!(file < bytes * 5 / 4 + (8 << 20), "{file} bytes for {bytes} of frames");
        Box::new(log).close(0).unwrap();
        let directory = Arc::new(Directory::open(place.path()).unwrap());
        let log = DiskLog::open(directory).unwrap();
        assert_eq!((log.reader().head().frames, log.reader().frames(1).filter(Result::is_ok).count()), (500, 500));
    }
}
