//! Machine, service, network and clients, moved one step at a time; after each step everything is held to the log.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::domain::{By, Time};
use switchboard::log::Log;
use switchboard::switchboard::port::Ask;

use super::clients::{Clients, What, channel_of, random_call, random_config, random_id, random_question, usual};
use super::machine::{Input, Machine, Process, Sent, Setup};
use super::network::Network;
use super::random::Dice;
use super::say::*;
use super::script::{Kind, Script, Step};
use super::witness::Witness;

/// When every run begins.
const BEGIN: Time = Time(1_800_000_000_000);

/// Where each step writes what it came to.
pub type Told = Rc<RefCell<Vec<String>>>;

pub struct World {
    pub setup: Setup,
    pub machine: Machine,
    pub process: Option<Process>,
    pub network: Network,
    pub clients: Clients,
    pub witness: Witness,
    /// What each step came to, where somebody wants to read it.
    pub told: Option<Told>,
}

impl World {
    pub fn new(setup: Setup, told: Option<Told>) -> World {
        let mut world = World {
            setup,
            machine: Machine::new(BEGIN),
            process: None,
            network: Network::default(),
            clients: Clients::default(),
            witness: Witness::default(),
            told,
        };
        world.start(&mut Dice::new(0));
        world.link();
        let first = world.clients.ask(By::config(), What::Put { config: usual(), id: None, is_file: true }, None, 0);
        world.deliver(first);
        world.set_ready(true);
        world.rest();
        world
    }

    pub fn run(script: &Script, told: Option<Told>) -> World {
        let mut world = World::new(script.setup, told);
        for step in &script.steps {
            world.step(*step);
        }
        world
    }

    pub fn step(&mut self, step: Step) {
        let mut dice = Dice::new(step.seed);
        self.tell(|| format!("{:?}", step.kind));
        match step.kind {
            Kind::Ask => (0..1 + dice.below(3)).for_each(|_| self.ask(&mut dice)),
            Kind::AskAgain => self.ask_again(&mut dice),
            Kind::Question => self.question(&mut dice),
            Kind::Configure => self.configure(&mut dice),
            Kind::Deliver => (0..1 + dice.below(3)).for_each(|_| self.deliver_one(0)),
            Kind::DeliverLate => self.deliver_one(dice.below(64) as usize),
            Kind::DeliverTwice => {
                self.network.requests.extend(self.network.requests.front().copied());
                self.deliver_one(0);
            }
            Kind::LoseRequest => drop(self.network.requests.pop_front()),
            Kind::Arrive | Kind::LoseAnswer => self.arrive(step.kind == Kind::LoseAnswer, 1 + dice.below(40)),
            Kind::Proof => self.proof(),
            Kind::LinkUp => self.link(),
            Kind::LinkLost => self.lose_link(&mut dice),
            Kind::Start => self.start(&mut dice),
            Kind::StartIsKilled => self.start_and_kill(&mut dice),
            Kind::StartIsCut => self.start_and_cut(&mut dice),
            Kind::TimePasses => self.pass_time(&mut dice),
            Kind::ClockJumps => self.jump(&mut dice),
            Kind::Rest => self.rest(),
            Kind::Kill => self.kill(&mut dice),
            Kind::KillInWrite => self.kill_in_write(&mut dice),
            Kind::KillInKeep => self.kill_in_keep(&mut dice),
            Kind::PowerCut => self.cut_power(&mut dice),
            Kind::SyncFails if self.process.is_some() => self.machine.disk.fail_syncs(true),
            Kind::DiskFull => self.machine.disk.fill(true),
            Kind::DiskFree => self.machine.disk.fill(false),
            Kind::CacheFails => self.machine.cache.fail_after(Some(dice.below(12) as usize)),
            Kind::CacheGone if self.process.is_none() => match dice.one_in(2) {
                true => self.machine.cache.delete(),
                false => self.machine.cache.delete_trust(),
            },
            Kind::CacheOld => self.swap_cache(),
            _ => self.of_a_thread(step.kind, &mut dice),
        }
        self.settle_accounts();
    }

    /// What one thread of the service does.
    fn of_a_thread(&mut self, kind: Kind, dice: &mut Dice) {
        let now = self.machine.clock;
        let Some(process) = &mut self.process else { return };
        match kind {
            Kind::Hear => while dice.below(6) > 0 && process.hear(now) {},
            Kind::Turn => process.turn(now),
            Kind::Write => drop(process.write()),
            Kind::Keep => drop(process.keep()),
            Kind::Read => drop(process.read()),
            Kind::Publish => drop(process.publish()),
            Kind::Fence => process.fence(),
            Kind::Ready => process.inputs.push_back(Input::Ready(dice.below(5) > 0)),
            Kind::Stop => process.inputs.push_back(Input::Stop),
            _ => {}
        }
    }

    /// The witness reads what the log holds now; then what was sent is held to it.
    pub fn settle_accounts(&mut self) {
        let Some(process) = &mut self.process else { return };
        self.witness.ready_at = process.ready_at;
        self.witness.read_log(&process.log.reader());
        let is_over = process.is_over();
        let (sent, sent_through) = (std::mem::take(&mut process.sent), process.sent_through());
        self.send(sent, sent_through);
        if is_over {
            self.end();
        }
    }

    /// What the service sends leaves, held to the log and to what of it the next power cut would leave.
    pub fn send(&mut self, sent: Vec<Sent>, sent_through: u64) {
        let (shown, stable) = (self.witness.frames(), self.machine.disk.stable_frames());
        assert!(sent.is_empty() || shown <= stable, "I6: {shown} frames are shown, {stable} are on stable storage");
        for sent in sent {
            self.network.send(sent, &mut self.clients, &mut self.witness, sent_through);
        }
    }

    // Clients and network

    fn ask(&mut self, dice: &mut Dice) {
        let id = random_id(dice, self.setup.conversations, self.clients.asked.len());
        let core = self.process.as_ref().map(|process| &process.core);
        let c = core.and_then(|core| core.conversation(&conversation(&id)));
        let names = c.as_ref().map(|c| (c.owner.clone(), c.offer.as_ref().map(|offer| offer.to.clone())));
        let (owner, offered) = names.unwrap_or_default();
        let holders: Vec<String> = owner.iter().chain(&offered).map(ToString::to_string).collect();
        let version = c.as_ref().map_or((0, 0), |c| (c.version, c.epoch));
        let call = random_call(dice, &id, self.clients.asked.len(), &holders, version);
        self.tell(|| format!("  {} {} {} {:?}", super::witness::said(&call.by), call.command.verb(), id, call));
        let number = self.clients.ask(call.by.clone(), What::Command(call), None, 0);
        self.network.requests.push_back(number);
    }

    fn ask_again(&mut self, dice: &mut Dice) {
        if self.clients.asked.is_empty() {
            return;
        }
        let back = dice.below(self.clients.asked.len().min(12) as u64) as usize;
        self.repeat(self.clients.asked.len() - 1 - back);
    }

    pub fn repeat(&mut self, number: usize) {
        let asked = &self.clients.asked[number];
        if !matches!(asked.what, What::Command(_)) {
            return;
        }
        let (by, what, first) = (asked.by.clone(), asked.what.clone(), asked.first);
        self.tell(|| format!("  number {number}"));
        let number = self.clients.ask(by, what, Some(first), 0);
        self.network.requests.push_back(number);
    }

    fn question(&mut self, dice: &mut Dice) {
        let id = random_id(dice, self.setup.conversations, self.clients.asked.len());
        let by = match dice.one_in(3) {
            true => channel(channel_of(&id)),
            false => anybody(),
        };
        let what = random_question(dice, id, self.machine.clock, self.witness.last_seq());
        let by = if matches!(what, What::State(_)) { by } else { anybody() };
        let number = self.clients.ask(by, what, None, self.witness.ids.len());
        self.network.requests.push_back(number);
    }

    fn configure(&mut self, dice: &mut Dice) {
        let config = random_config(dice);
        self.tell(|| format!("  {config}"));
        let id = dice.one_in(2).then(|| format!("p{}", dice.below(4)));
        let number = self.clients.ask(olga(), What::Put { config, id, is_file: false }, None, 0);
        self.network.requests.push_back(number);
    }

    fn deliver_one(&mut self, at: usize) {
        let at = at.min(self.network.requests.len().saturating_sub(1));
        let Some(number) = self.network.requests.remove(at) else { return };
        self.deliver(number);
    }

    pub fn deliver(&mut self, number: usize) {
        let Some(process) = self.process.as_mut().filter(|process| process.is_linked) else { return };
        let request = self.clients.deliver(number, self.machine.clock);
        debug_assert!(!matches!(request.ask, Ask::Config));
        process.inputs.push_back(Input::Request(Box::new(request)));
        self.tell(|| format!("  number {number}"));
    }

    pub fn arrive(&mut self, loses_answers: bool, messages: u64) {
        for _ in 0..messages {
            if !self.network.arrive(&mut self.clients, loses_answers) {
                return;
            }
        }
    }

    fn proof(&mut self) {
        let Some(through) = self.network.proofs.pop_front() else { return };
        if let Some(process) = &mut self.process {
            process.confirmed(through);
        }
    }

    pub fn link(&mut self) {
        if let Some(process) = self.process.as_mut().filter(|process| !process.is_linked) {
            process.link();
        }
    }

    fn lose_link(&mut self, dice: &mut Dice) {
        if let Some(process) = &mut self.process {
            process.is_linked = false;
            let arriving = if dice.one_in(2) { 0 } else { dice.below(40) };
            self.network.lose(arriving as usize, &mut self.clients);
        }
    }

    pub fn set_ready(&mut self, ready: bool) {
        if let Some(process) = &mut self.process {
            process.inputs.push_back(Input::Ready(ready));
        }
    }

    // Time

    fn pass_time(&mut self, dice: &mut Dice) {
        // Often to the very moment at which something falls due, or just before.
        let look = self.process.as_ref().and_then(|process| process.core.next_look());
        let look = look.map_or(0, |at| at.ms_since(self.machine.clock));
        let ms = match dice.below(24) {
            0 => DAY,
            1 | 2 => HOUR,
            3..5 => 11 * MINUTE,
            5..8 => MINUTE,
            8..11 => 25 * SECOND,
            11..16 => look,
            16 => look.saturating_sub(1),
            _ => dice.below(3000),
        };
        self.later(ms);
    }

    pub fn later(&mut self, ms: u64) {
        self.machine.clock = self.machine.clock.plus_ms(ms);
        self.tell(|| format!("  {ms} ms"));
    }

    fn jump(&mut self, dice: &mut Dice) {
        let ms = dice.pick(&[1, 5 * SECOND, 20 * MINUTE, 2 * HOUR]);
        let clock = &mut self.machine.clock;
        clock.0 = if dice.below(3) > 0 { clock.0 - ms } else { clock.0 + ms };
        self.clients.clock_is(self.machine.clock);
        let clock = self.machine.clock;
        self.tell(|| format!("  to {clock}"));
    }

    /// The service goes on until there is nothing to do at this moment; then nothing is late, and what is served is
    /// what the log says.
    pub fn rest(&mut self) {
        let now = self.machine.clock;
        for _ in 0..10_000 {
            let Some(process) = &mut self.process else { return };
            let mut moved = false;
            while process.hear(now) {
                moved = true;
            }
            process.look_for_room();
            process.turn(now);
            while process.write() || process.publish() || process.read() || process.keep() {
                moved = true;
            }
            let is_due = process.core.next_look().is_some_and(|at| at <= now);
            let is_busy = moved || is_due || process.core.has_work();
            self.settle_accounts();
            if !is_busy {
                return self.check_at_rest();
            }
        }
        panic!("the switchboard never comes to rest");
    }

    fn check_at_rest(&mut self) {
        let Some(process) = &self.process else { return };
        if process.core.is_idle() && !process.core.has_failed() {
            self.witness.check_served(process.core.conversations(), process.core.config());
            let is_at_work =
                !process.is_stopping && !process.gauges.storage_full.load(std::sync::atomic::Ordering::Relaxed);
            let now = self.machine.clock.max(self.witness.last_at());
            if let (Some(since), true) = (process.is_ready_since, is_at_work) {
                self.witness.check_nothing_is_late(now, since);
            }
        }
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(told) = &self.told {
            told.borrow_mut().push(what());
        }
    }
}
