//! The network between clients and service, and what receivers make of what arrives.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::clients::Clients;
use super::machine::Sent;
use super::witness::Witness;

/// Everything on its way, and everything that arrived.
#[derive(Default)]
pub struct Network {
    /// Requests on their way, by number.
    pub requests: VecDeque<usize>,
    /// What the service sent on its connection, in order.
    pub sent: VecDeque<Sent>,
    /// Proofs of arrival on their way back.
    pub proofs: VecDeque<u64>,
    /// The hash under which each event arrived first, by seq, the first at 0.
    arrived: Vec<[u8; 32]>,
    /// The events of which each receiver has a copy, in the order of their first arrival.
    copies: BTreeMap<String, Vec<u64>>,
}

impl Network {
    /// What the service sends rests on the log.
    pub fn send(&mut self, sent: Sent, clients: &mut Clients, witness: &mut Witness, sent_through: u64) {
        match &sent {
            Sent::Event { seq, kind, hash } => {
                let known = witness.events.get(*seq as usize - 1);
                let known = known.unwrap_or_else(|| panic!("I6: event {seq} is published and not in the log"));
                assert_eq!((known.kind.as_str(), known.hash), (*kind, *hash), "I6: event {seq}");
            }
            Sent::Copy { seq, .. } => assert!(*seq <= witness.last_seq(), "I6: a copy of {seq}"),
            Sent::Relay(relay) => {
                let data: Value = serde_json::from_slice(&relay.data).expect("JSON");
                witness.check_relay(relay, &data, sent_through);
                clients.relayed(&data, relay.fingerprint);
            }
            Sent::Answer { to, body, code } => {
                let body = serde_json::from_slice(body).expect("JSON");
                clients.check_answer(to, &body, *code, witness);
            }
            Sent::Fence { .. } => {}
        }
        self.sent.push_back(sent);
    }

    /// One message of the service arrives at the server, and at all who listen.
    pub fn arrive(&mut self, clients: &mut Clients, loses_answers: bool) -> bool {
        let Some(sent) = self.sent.pop_front() else { return false };
        match sent {
            Sent::Event { seq, hash, .. } => self.event(seq, hash),
            Sent::Copy { to, seq } => {
                let known = self.copies.entry(to).or_default();
                if known.binary_search(&seq).is_err() {
                    assert!(known.last().is_none_or(|last| *last < seq), "a copy of {seq} comes out of order");
                    known.push(seq);
                }
            }
            Sent::Answer { to, body, code } if !loses_answers => {
                clients.hear(&to, &serde_json::from_slice(&body).expect("JSON"), code);
            }
            Sent::Fence { through } => self.proofs.push_back(through),
            Sent::Answer { .. } | Sent::Relay(_) => {}
        }
        true
    }

    fn event(&mut self, seq: u64, hash: [u8; 32]) {
        let at = seq as usize - 1;
        match self.arrived.get(at) {
            Some(first) => assert_eq!(*first, hash, "event {seq} came under two ids"),
            None => {
                assert_eq!(at, self.arrived.len(), "events are missing before {seq}");
                self.arrived.push(hash);
            }
        }
    }

    /// The connection is lost: of what is on its way only the first few messages arrive.
    pub fn lose(&mut self, arriving: usize, clients: &mut Clients) {
        for _ in 0..arriving.min(self.sent.len()) {
            self.arrive(clients, false);
        }
        self.sent.clear();
        self.proofs.clear();
    }

    /// Everything that was recorded has arrived, everywhere.
    pub fn check_all_arrived(&self, witness: &Witness) {
        assert_eq!(self.arrived.len() as u64, witness.last_seq(), "not all is published");
        assert_eq!(self.copies, witness.copies, "not everybody was told");
    }
}
