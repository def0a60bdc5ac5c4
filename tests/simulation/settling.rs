//! The end of every run: the faults are over, and everything settles.

use switchboard::domain::Conversation;
use switchboard::log::{Cache, Log, MemoryLog, Reader};
use switchboard::switchboard::PartSizes;
use switchboard::switchboard::audit::Audit;
use switchboard::switchboard::past::{Archive, answer_past, find_frames};
use switchboard::switchboard::port::{Moment, PastAsk};

use super::clients::What;
use super::life::check_nothing_is_sent_again;
use super::machine::{Input, LOG_ID};
use super::random::Dice;
use super::say::{DAY, HOUR, MINUTE};
use super::world::World;

/// Requests that are repeated at the end, the last that were not answered.
const REPEATED_MAX: usize = 24;
/// States of the past that are asked for at the end.
const PAST_MAX: usize = 6;

impl World {
    /// The faults are over: whatever was asked is answered, whatever is due falls due, everything is published, and a
    /// stop and a start find it so.
    pub fn settle(&mut self) {
        self.tell(|| "the faults are over".to_owned());
        self.serve_again();
        self.repeat_what_was_not_answered();
        for ms in [2 * MINUTE, 12 * MINUTE, HOUR + 10 * MINUTE, 2 * DAY, 2 * DAY] {
            self.later(ms);
            self.rest();
        }
        self.everything_arrives();
        self.check_settled();
        self.stop_and_start();
    }

    fn serve_again(&mut self) {
        self.machine.disk.fail_syncs(false);
        self.machine.disk.fill(false);
        self.machine.cache.fail_after(None);
        // One that stops, or failed, comes to its end first.
        for _ in 0..2 {
            self.rest();
            self.start(&mut Dice::new(1));
            self.link();
            self.set_ready(true);
        }
        self.rest();
        assert!(self.process.as_ref().is_some_and(|process| !process.has_failed()), "it serves again");
        while !self.network.requests.is_empty() {
            self.deliver_and_rest();
        }
    }

    fn deliver_and_rest(&mut self) {
        let number = self.network.requests.pop_front().expect("there is one");
        self.deliver(number);
        self.rest();
        while self.network.arrive(&mut self.clients, false) {}
    }

    fn repeat_what_was_not_answered(&mut self) {
        let unheard = self.clients.asked.iter().enumerate().rev();
        let unheard = unheard.filter(|(_, asked)| !asked.is_heard && matches!(asked.what, What::Command(_)));
        let unheard: Vec<usize> = unheard.map(|(number, _)| number).take(REPEATED_MAX).collect();
        for number in unheard.into_iter().rev() {
            self.repeat(number);
            self.deliver_and_rest();
            assert!(self.clients.asked.last().is_some_and(|asked| asked.is_heard), "{number} is not answered");
        }
    }

    fn check_settled(&mut self) {
        let Some(process) = &self.process else { panic!("it runs") };
        assert!(process.core.is_idle(), "something waits for ever");
        self.network.check_all_arrived(&self.witness);
        self.clients.check_refused_did_nothing(&self.witness);
        check_rules_hold(&process.log.reader(), self.setup.limits.parts, self.witness.last_seq());
        let archive = process.archive();
        let every = self.witness.past.len() / PAST_MAX + 1;
        for then in self.witness.past.iter().step_by(every) {
            check_past(&archive, then);
        }
    }

    fn stop_and_start(&mut self) {
        let process = self.process.as_mut().expect("it runs");
        process.inputs.push_back(Input::Stop);
        self.rest();
        assert!(self.process.is_none(), "it does not stop");
        self.check_cache();
        self.start(&mut Dice::new(3));
        self.link();
        let Some(process) = &self.process else { panic!("it does not start again") };
        let head = process.log.reader().head();
        if head.published_through == self.witness.last_seq() {
            check_nothing_is_sent_again(&process.sent);
        }
        self.witness.check_served(process.core.conversations(), process.core.config());
    }
}

impl World {
    /// What `verify` says of the cache that a stop leaves behind.
    fn check_cache(&self) {
        let log = MemoryLog::open(&self.machine.disk, LOG_ID).unwrap();
        let reader = log.reader();
        let (cache, through) = Cache::open_simulated(&self.machine.cache, &reader).unwrap();
        let Some(through) = through else { return };
        audit(&reader, self.setup.limits.parts).check_cache(&cache, through).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// What `verify` says of the log of a whole life.
fn check_rules_hold(reader: &Reader, sizes: PartSizes, last_seq: u64) {
    assert_eq!(audit(reader, sizes).tally().events, last_seq);
}

fn audit(reader: &Reader, sizes: PartSizes) -> Audit {
    let mut audit = Audit::of_parts(sizes);
    for frame in reader.frames(1).map(Result::unwrap) {
        for entry in &frame.entries {
            audit.take(frame.header.frame, entry).unwrap_or_else(|finding| panic!("{finding}"));
        }
    }
    audit
}

/// I8: what a conversation was can still be read.
fn check_past(archive: &Archive, then: &Conversation) {
    let frames = find_frames(&archive.reader, Some(&then.id)).unwrap();
    let ask = PastAsk::Conversation { id: then.id.clone(), at: Moment::Seq(then.seq) };
    let body = answer_past(&ask, &frames, archive).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let (shown, then) = (&body["conversation"], serde_json::to_value(then).unwrap());
    for field in ["version", "epoch", "seq", "session", "status", "owner", "metadata", "last_message_id", "user"] {
        assert_eq!(shown[field], then[field], "I8: {field}");
    }
}
