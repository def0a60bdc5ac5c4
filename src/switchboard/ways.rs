//! The two ways of a group to the disk: by the writer's thread, or by the owner of state itself.
//!
//! Through the other thread the owner can decide the next group while one is written, and groups are the fuller the more
//! there is to do. Where there is little, nobody gains from that, and to wake a thread and be woken by it takes a tenth
//! of a command's processor time. So the owner writes by itself where nothing else is under way and groups have been
//! small for a while. It stands still meanwhile: whatever comes waits for that write then, as its answer would have in
//! any case, and who may wait is not the owner's to say ([`super::admission`]). What may take longer than a write is
//! left to the thread: a disk that was slow or is full, and those who take what leaves and are behind.

use std::sync::mpsc::SyncSender;

use super::core::Core;
use super::group::{Group, Written};
use super::writer::{Shared, Unwritten};

/// Effects of a small group: those of one command or two. Where more come at once, the next are better decided while
/// these are written.
const SMALL_EFFECTS_MAX: usize = 5;
/// Bytes of a small group: to pack them takes less time than to wake a thread.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// So many groups one after the other were small where there is little to do; some are beside many commands too.
const SMALL_GROUPS_MIN: u32 = 16;
/// A disk that took longer lately may hang, and beside it a thread's waking does not count.
const WRITE_MS_MAX: u64 = 4;

/// How groups come to the disk.
pub struct Ways {
    groups: SyncSender<Group>,
    writer: Shared,
    /// How many were small, one after the other.
    small: u32,
}

impl Ways {
    /// To the thread that hears `groups`, or by `writer` itself.
    pub fn new(groups: SyncSender<Group>, writer: Shared) -> Ways {
        Ways { groups, writer, small: 0 }
    }

    /// Writes what there is to write, or has it written, once the last is: what is decided during a write goes into one
    /// group, which costs and takes as long as one. False where nobody writes any more.
    pub fn write(&mut self, core: &mut Core) -> bool {
        // A thread that ended by a panic, while it wrote, never says what became of its group.
        if self.writer.is_poisoned() {
            return false;
        }
        while core.all_is_written()
            && let Some(group) = core.take_group()
        {
            if !self.is_calm(&group) || core.last_writes_ms() > WRITE_MS_MAX {
                return self.hand_over(group);
            }
            match self.write_here(group) {
                // What waited for that may leave now, and be a group too.
                Ok(written) => core.written(written),
                Err(Unwritten::Failed) => core.log_failed(),
                Err(Unwritten::NotNow(group)) => return self.hand_over(*group),
            }
        }
        true
    }

    /// There is always room: one group at a time is under way.
    fn hand_over(&self, group: Group) -> bool {
        self.groups.try_send(group).is_ok()
    }

    /// Whether there has been little to do for a while.
    fn is_calm(&mut self, group: &Group) -> bool {
        let is_small = group.effects.len() <= SMALL_EFFECTS_MAX && group.bytes <= SMALL_BYTES_MAX;
        // Beside one who asks much the groups of another are small on purpose.
        self.small = if is_small && !group.tells_when_gone { self.small.saturating_add(1) } else { 0 };
        self.small > SMALL_GROUPS_MIN
    }

    fn write_here(&self, group: Group) -> Result<Written, Unwritten> {
        match self.writer.lock().as_deref_mut() {
            Ok(Some(writer)) => writer.write_at_once(group),
            // Its thread has ended, and says so by its channel.
            Ok(None) | Err(_) => Err(Unwritten::NotNow(Box::new(group))),
        }
    }

    /// Answers all that waits with the word that the log failed.
    pub fn give_up(&self, core: &mut Core) {
        if let Some(group) = core.give_up() {
            let _ = self.groups.send(group);
        }
    }
}
