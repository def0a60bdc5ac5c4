//! Beginnings and ends of the service: starts, kills, power cuts, stops, and what must be so at each.

use std::collections::BTreeMap;

use serde_json::Value;
use switchboard::domain::{By, ConversationId};
use switchboard::log::{Cache, Log, Part, Reader};
use switchboard::switchboard::PartSizes;
use switchboard::switchboard::core::Restored;
use switchboard::switchboard::head::shown;
use switchboard::switchboard::slot::Slot;

use super::clients::{What, random_config};
use super::machine::{Machine, Opened, Process, Sent, Setup};
use super::random::Dice;
use super::world::World;

impl World {
    /// The service starts, if it does not run.
    pub fn start(&mut self, dice: &mut Dice) {
        if self.process.is_some() {
            return;
        }
        let opened = match self.machine.open(&self.setup) {
            Ok(opened) => opened,
            Err(why) => {
                self.machine.cache.kill(usize::MAX);
                return self.tell(|| format!("  does not start: {why}"));
            }
        };
        let reader = opened.log.reader();
        self.witness.check_nothing_is_lost(&reader);
        self.witness.read_log(&reader);
        if dice.one_in(2) {
            check_starts_agree(&reader, &opened, &self.setup);
        }
        self.witness.ready_at = None;
        let process = Process::start(&self.setup, opened, self.machine.clock);
        self.witness.check_served(process.core.conversations(), process.core.config());
        self.process = Some(process);
        self.tell(String::new);
        if dice.one_in(3) {
            let config = random_config(dice);
            let file = self.clients.ask(By::config(), What::Put { config, id: None, is_file: true }, None, 0);
            let request = self.clients.deliver(file, self.machine.clock);
            let process = self.process.as_mut().expect("it was started");
            process.inputs.push_back(super::machine::Input::Request(Box::new(request)));
        }
    }

    /// The service is killed while it starts.
    pub fn start_and_kill(&mut self, dice: &mut Dice) {
        if self.process.is_some() {
            return;
        }
        self.machine.cache.die_after(dice.below(8) as usize);
        drop(self.machine.open(&self.setup));
        self.machine.cache.kill(dice.below(4) as usize);
        if dice.one_in(3) {
            self.machine.cache.cut_power(|| dice.one_in(2));
        }
    }

    /// The power fails when the service has shown what it found, and has written nothing itself.
    pub fn start_and_cut(&mut self, dice: &mut Dice) {
        if self.process.is_some() {
            return;
        }
        self.start(dice);
        self.link();
        self.settle_accounts();
        self.cut_power_at_once(dice);
    }

    /// Nothing more is heard of it; what it had sent may still arrive, up to a point.
    pub fn kill(&mut self, dice: &mut Dice) {
        if self.process.take().is_some() {
            let arriving = if dice.one_in(2) { 0 } else { dice.below(60) };
            self.network.lose(arriving as usize, &mut self.clients);
            match dice.one_in(2) {
                true => self.machine.disk.kill(),
                false => self.machine.disk.cut_power(dice.below(4) as usize),
            }
            self.machine.cache.kill(dice.below(6) as usize);
        }
    }

    /// It is killed with states half kept.
    pub fn kill_in_keep(&mut self, dice: &mut Dice) {
        let Some(process) = &mut self.process else { return };
        self.machine.cache.die_after(dice.below(10) as usize);
        process.keep();
        self.kill(dice);
    }

    /// It is killed with a group written and not synced.
    pub fn kill_in_write(&mut self, dice: &mut Dice) {
        let Some(process) = &mut self.process else { return };
        self.machine.disk.fail_syncs(true);
        process.write();
        self.kill(dice);
    }

    pub fn cut_power(&mut self, dice: &mut Dice) {
        if dice.one_in(2) {
            self.kill_in_write(dice);
        }
        self.cut_power_at_once(dice);
    }

    fn cut_power_at_once(&mut self, dice: &mut Dice) {
        self.kill(dice);
        self.machine.disk.cut_power(dice.below(4) as usize);
        self.machine.cache.cut_power(|| dice.one_in(2));
    }

    /// A copy of the cache is made, or put back while nothing runs.
    pub fn swap_cache(&mut self) {
        match &self.machine.old_cache {
            Some(copy) if self.process.is_none() => self.machine.cache.put_back(copy),
            _ => self.machine.old_cache = Some(self.machine.cache.copy()),
        }
    }

    /// The threads have ended: the rest of a stop, or of a failure.
    pub fn end(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let mut dice = Dice::new(self.witness.last_seq());
        while process.read() {}
        process.fence();
        let (sent, sent_through) = (std::mem::take(&mut process.sent), process.sent_through());
        self.send(sent, sent_through);
        let arriving = if dice.one_in(4) { dice.below(60) as usize } else { self.network.sent.len() };
        self.arrive(false, arriving as u64);
        for through in std::mem::take(&mut self.network.proofs) {
            process.confirmed(through);
        }
        self.network.lose(0, &mut self.clients);
        self.tell(|| "  it has ended".to_owned());
        process.close(dice.one_in(4));
        self.machine.disk.cut_power(dice.below(4) as usize);
        self.machine.cache.kill(dice.below(6) as usize);
    }

    /// Everything on its way arrives, and is proved to have.
    pub fn everything_arrives(&mut self) {
        for _ in 0..2 {
            if let Some(process) = &mut self.process {
                process.fence();
            }
            self.rest();
            while self.network.arrive(&mut self.clients, false) {}
            while let Some(through) = self.network.proofs.pop_front() {
                self.process.as_mut().expect("it runs").confirmed(through);
            }
        }
    }
}

/// What is known of one conversation: its head, and the pages that stand beside it.
type Known = (Value, Vec<(Part, u64, Vec<u8>)>);

/// All that a start knows: every field, command id and frame of each conversation.
fn known(cache: &Cache, restored: &Restored, sizes: PartSizes) -> BTreeMap<String, Known> {
    let closed = cache.closed_after(None, usize::MAX).map(Result::unwrap).map(|(id, head)| {
        let part = |part, number| cache.part(&id, part, number).unwrap().ok_or("a page is missing".to_owned());
        let slot = Slot::from_head(&ConversationId::parse(&id).unwrap(), &head, sizes, part).unwrap();
        (id, known_of(&slot))
    });
    let resting = restored.heads().map(|(id, head)| (id.to_string(), (shown(&id, &head).unwrap(), Vec::new())));
    // Only what has no pages rests after a start.
    let awake = restored.slots.iter().map(|slot| (slot.c.id.to_string(), known_of(slot)));
    closed.chain(resting).chain(awake).collect()
}

fn known_of(slot: &Slot) -> Known {
    // Marks that the cache has are not read at a start.
    let pages = slot.parts().into_iter().filter(|(part, ..)| *part != Part::Mark);
    (shown(&slot.c.id, &slot.to_head()).unwrap(), pages.collect())
}

/// A start from the cache reads what one from the log alone reads.
pub fn check_starts_agree(reader: &Reader, opened: &Opened, setup: &Setup) {
    let sizes = setup.limits.parts;
    let (empty, whole) = Machine::restored_from_the_log(reader, sizes);
    let restored = &opened.restored;
    assert_eq!(known(&opened.cache, restored, sizes), known(&empty, &whole, sizes), "what a start knows");
    assert_eq!(restored.config.config, whole.config.config);
    assert_eq!(restored.config.frames, whole.config.frames);
    assert_eq!(restored.config.file, whole.config.file);
    let ids = |restored: &Restored| -> BTreeMap<u64, _> {
        restored.config.ids.iter().map(|(key, decided)| (*key, (decided.digest, decided.events.clone()))).collect()
    };
    assert_eq!(ids(restored), ids(&whole));
    let ends = |restored: &Restored| (restored.next_seq, restored.last_at, restored.durable_frame);
    assert_eq!(ends(restored), ends(&whole));
}

/// No event is sent again.
pub fn check_nothing_is_sent_again(sent: &[Sent]) {
    let again = sent.iter().find(|sent| matches!(sent, Sent::Event { .. } | Sent::Copy { .. }));
    assert!(again.is_none(), "published again after a stop: {again:?}");
}
