//! Reads the log: by number, in order, and by seq or time with a binary search over the headers.

use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::base::Base;
use super::entry::{Entry, Hash};
use super::error::{Fault, Problem};
use super::frame::{Frame, HEADER_BYTES, Header, PART_BYTES_MAX, follows, key};

/// Where an engine keeps the values of frames.
pub(super) trait Values: Send + Sync {
    /// The value under a key.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;
    /// The last key; in a log of several volumes, that of the last.
    fn last_key(&self) -> Result<Option<Vec<u8>>, String>;
    /// Where a frame stands, for who looks at the files.
    fn place(&self, _frame: u64) -> Option<String> {
        None
    }
    /// The head of the log before what `last_key` speaks of, where that does not begin with the log.
    fn begin(&self) -> Option<Head> {
        None
    }
    /// The hash of the last entry up to the end of a frame, where that is known without reading any.
    fn hash_at(&self, _frame: u64) -> Option<Hash> {
        None
    }
    /// What the log begins with, where old volumes of it were removed.
    fn base(&self) -> Option<Arc<Base>> {
        None
    }
    /// The first and the last frame of the first volume of whose end this is so, where it is so of all that follow; of
    /// the last volume where of none.
    fn span(&self, _is_so: &dyn Fn(&Head) -> bool) -> (u64, u64) {
        (1, u64::MAX)
    }
}

/// The end of the log: what the next entry follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of the last frame, 0 in an empty log.
    pub frames: u64,
    /// The seq that the next event gets.
    pub next_seq: u64,
    /// Time of the last entry, 0 in an empty log.
    pub last_at: u64,
    /// Hash of the last entry; of the log's id in an empty log.
    pub hash: Hash,
    /// The seq of the last event known to be published, as far as the log was told.
    pub published_through: u64,
}

impl Head {
    /// The head of an empty log.
    pub fn empty(log_id: Uuid) -> Self {
        let hash = Sha256::digest(log_id.as_hyphenated().to_string()).into();
        Self { frames: 0, next_seq: 1, last_at: 0, hash, published_through: 0 }
    }

    /// Checks that a frame follows, and takes it in. From the empty head through every frame this proves
    /// that nothing was changed, lost or reordered up to here.
    pub fn follow(&mut self, frame: &Frame) -> Result<(), Fault> {
        let header = &frame.header;
        let fault = |problem| Fault::new(header.frame, Some(self.next_seq), problem);
        if header.frame != self.frames + 1 {
            return Err(Fault::new(self.frames + 1, Some(self.next_seq), Problem::Number(header.frame)));
        }
        if header.first_seq != self.next_seq {
            return Err(fault(Problem::Sequence { expected: self.next_seq, found: header.first_seq }));
        }
        if header.previous != self.hash {
            return Err(fault(Problem::Chain));
        }
        if header.first_at < self.last_at {
            return Err(fault(Problem::Time { expected: self.last_at, found: header.first_at }));
        }
        *self = Self::after(frame);
        Ok(())
    }

    /// Checks that an entry follows, with the hash that it was read with, and takes it in.
    pub fn follow_entry(&mut self, entry: &Entry) -> Result<(), Fault> {
        let fault = |problem| Fault::new(self.frames, Some(self.next_seq), problem);
        follows(self.next_seq, self.last_at, entry).map_err(fault)?;
        if entry.hash_after(&self.hash).map_err(fault)? != entry.hash {
            return Err(fault(Problem::Chain));
        }
        self.pass(entry.events, entry.at, entry.hash);
        Ok(())
    }

    pub(super) fn pass(&mut self, events: u32, at: u64, hash: Hash) {
        self.next_seq += u64::from(events);
        self.last_at = at;
        self.hash = hash;
    }

    fn after(frame: &Frame) -> Self {
        let header = &frame.header;
        Self {
            frames: header.frame,
            next_seq: header.next_seq,
            last_at: header.last_at,
            hash: frame.hash(),
            published_through: header.published_through,
        }
    }
}

/// A view on what is durable in a log. Cheap to clone, and free to be used from any thread.
#[derive(Clone)]
pub struct Reader {
    values: Arc<dyn Values>,
    head: Arc<RwLock<Head>>,
    log_id: Uuid,
    base: Option<Arc<Base>>,
    pause: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Reader {
    /// Reads the head of what is stored.
    pub(super) fn open(values: Arc<dyn Values>, log_id: Uuid) -> Result<Self, Fault> {
        let reader = Self::of(values, log_id);
        match reader.last_stored()? {
            Some(frame) => reader.adopt(Head::after(&reader.stored(frame)?)),
            None => reader.values.begin().into_iter().for_each(|head| reader.adopt(head)),
        }
        Ok(reader)
    }

    /// Looks at what is stored, however damaged, as a log of so many frames at least. Of its head only the
    /// number of frames is to be believed.
    pub(super) fn inspect(values: Arc<dyn Values>, log_id: Uuid, frames_min: u64) -> Result<Self, Fault> {
        let reader = Self::of(values, log_id);
        let before = reader.values.begin().map_or(0, |head| head.frames);
        let frames = reader.last_stored()?.unwrap_or(before).max(frames_min);
        reader.adopt(Head { frames, ..Head::empty(log_id) });
        Ok(reader)
    }

    fn of(values: Arc<dyn Values>, log_id: Uuid) -> Self {
        let base = values.base();
        Self { values, head: Arc::new(RwLock::new(Head::empty(log_id))), log_id, base, pause: None }
    }

    /// The same, which calls that before each frame that it reads: whoever reads much may stand back for others there.
    pub fn with_pause(self, pause: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { pause: Some(pause), ..self }
    }

    /// What the log begins with, where old volumes of it were removed.
    pub fn base(&self) -> Option<&Arc<Base>> {
        self.base.as_ref()
    }

    /// What the first entry that is there follows: an empty log, or what was removed.
    pub fn beginning(&self) -> Head {
        self.base.as_ref().map_or_else(|| Head::empty(self.log_id), |base| base.end().clone())
    }

    /// A view that ends before the first fault, and that fault; none where everything is as it was written.
    pub fn before_fault(&self) -> Option<(Reader, Fault)> {
        let mut head = self.beginning();
        let mut fault = self.frames(1).find_map(|frame| frame.and_then(|frame| head.follow(&frame)).err())?;
        fault.seq.get_or_insert(head.next_seq);
        let fault = self.placed(fault);
        let head = Arc::new(RwLock::new(head));
        Some((Reader { head, ..self.clone() }, fault))
    }

    fn last_stored(&self) -> Result<Option<u64>, Fault> {
        let fault = |problem| Fault::new(0, None, problem);
        let last = self.values.last_key().map_err(|why| fault(Problem::Storage(why)))?;
        let number = |key: Vec<u8>| key.first_chunk().map(|number| u64::from_be_bytes(*number));
        last.map(|key| number(key).ok_or_else(|| fault(Problem::Foreign))).transpose()
    }

    /// Lets readers see what has become durable.
    pub(super) fn adopt(&self, head: Head) {
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
    }

    /// The end of what is durable.
    pub fn head(&self) -> Head {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The id of the log.
    pub fn log_id(&self) -> Uuid {
        self.log_id
    }

    /// The frame of that number; `None` beyond the head.
    pub fn frame(&self, number: u64) -> Result<Option<Frame>, Fault> {
        if !self.holds(number)? {
            return Ok(None);
        }
        self.pause.iter().for_each(|pause| pause());
        self.stored(number).map(Some)
    }

    /// The header of the frame of that number; `None` beyond the head.
    pub fn header(&self, number: u64) -> Result<Option<Header>, Fault> {
        if !self.holds(number)? {
            return Ok(None);
        }
        self.stored_header(number).map(Some)
    }

    /// The number of the first frame, which may be yet to come.
    pub fn first_number(&self) -> u64 {
        self.removed_frames() + 1
    }

    /// The seq of the first event that is there, or is to come.
    pub fn first_seq(&self) -> u64 {
        self.base.as_ref().map_or(1, |base| base.end().next_seq)
    }

    /// A fault with the file that it is in, where there are files.
    pub fn placed(&self, fault: Fault) -> Fault {
        Fault { place: fault.place.or_else(|| self.values.place(fault.frame)), ..fault }
    }

    /// The hash of the last entry up to the end of that frame; `None` beyond the head.
    pub fn hash_after(&self, frame: u64) -> Result<Option<Hash>, Fault> {
        let head = self.head();
        if frame == head.frames {
            return Ok(Some(head.hash));
        }
        // Only what is there has a hash: a note may know of more than the volume has.
        if frame > head.frames || frame < self.removed_frames() {
            return Ok(None);
        }
        if let Some(hash) = self.values.hash_at(frame) {
            return Ok(Some(hash));
        }
        Ok(self.header(frame + 1)?.map(|next| next.previous))
    }

    /// The frames from that number, or from the first that is there, to the head as it is now. Ends after the first fault.
    pub fn frames(&self, from: u64) -> Frames {
        Frames { reader: self.clone(), next: from.max(self.first_number()), last: self.head().frames }
    }

    /// The number of the frame that holds the event; `None` for a seq that no event has, or one that was removed.
    pub fn frame_of_seq(&self, seq: u64) -> Result<Option<u64>, Fault> {
        if seq < self.first_seq() || seq >= self.head().next_seq {
            return Ok(None);
        }
        self.first_frame(|header| header.next_seq > seq, |end| end.next_seq > seq).map(Some)
    }

    /// The number of the last frame whose first entry is not after that time; `None` where the log begins later.
    pub fn frame_at(&self, time_ms: u64) -> Result<Option<u64>, Fault> {
        let after = self.first_frame(|header| header.first_at > time_ms, |end| end.last_at > time_ms)?;
        Ok((after > self.first_number()).then(|| after - 1))
    }

    /// The first frame of which this is so, where it is so of all that follow; one beyond the head where of none.
    /// `is_so_of_end` may be so of the end of a volume only if it is so of every frame that follows that volume, and must
    /// be so where it is so of a frame in it.
    fn first_frame(&self, is_so: impl Fn(&Header) -> bool, is_so_of_end: impl Fn(&Head) -> bool) -> Result<u64, Fault> {
        let (first, last) = self.values.span(&is_so_of_end);
        let head = self.head().frames;
        let (mut low, mut high) = (first.min(head + 1), last.min(head) + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match is_so(&self.stored_header(middle)?) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        Ok(low)
    }

    fn stored(&self, number: u64) -> Result<Frame, Fault> {
        let read = self.bytes(number).and_then(|bytes| Frame::read(number, &bytes));
        read.map_err(|fault| self.placed(fault))
    }

    fn stored_header(&self, number: u64) -> Result<Header, Fault> {
        let read = self.part(number, 0).and_then(|bytes| Header::read(number, &bytes));
        read.map_err(|fault| self.placed(fault))
    }

    fn holds(&self, number: u64) -> Result<bool, Fault> {
        if number > 0 && number <= self.removed_frames() {
            return Err(Fault::new(number, None, Problem::Removed(self.first_seq())));
        }
        Ok(number >= 1 && number <= self.head().frames)
    }

    fn removed_frames(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.end().frames)
    }

    fn bytes(&self, frame: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = self.part(frame, 0)?;
        if bytes.len() == PART_BYTES_MAX {
            let whole = Header::read(frame, &bytes)?.frame_bytes();
            let parts = whole.div_ceil(PART_BYTES_MAX);
            for part in 1..parts.min(usize::from(u16::MAX)) {
                bytes.extend_from_slice(&self.part(frame, part as u16)?);
            }
        }
        Ok(bytes)
    }

    fn part(&self, frame: u64, part: u16) -> Result<Vec<u8>, Fault> {
        let value = self.values.value(&key(frame, part));
        value
            .map_err(Problem::Storage)
            .and_then(|value| value.ok_or(Problem::Missing))
            .map_err(|problem| Fault::new(frame, None, problem))
    }
}

const _: () = assert!(HEADER_BYTES < PART_BYTES_MAX, "a header stands in the first part");

/// Frames in order; made by [`Reader::frames`].
pub struct Frames {
    reader: Reader,
    next: u64,
    last: u64,
}

impl Iterator for Frames {
    type Item = Result<Frame, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.last {
            return None;
        }
        let frame = self.reader.frame(self.next).transpose()?;
        self.next = if frame.is_ok() { self.next + 1 } else { u64::MAX };
        Some(frame)
    }
}
