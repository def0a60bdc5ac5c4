//! The contract written once more: a state of a few words, each move, and what comes of it.
//!
//! `tests/model` has another, which says every event in full and needs for it what no log tells: when activity was,
//! what falls due when, every rule of a configuration. Here an answer is tried at each place that it may have had, so a
//! state is what answers depend on and no more, and nothing in it is unknown to who was only told. What both say of
//! metadata they share ([`crate::metadata`]).

use switchboard::domain::config::AfterClose;

/// The three integrations, by their place in [`super::NAMES`].
pub const A: usize = 0;
/// The second.
pub const B: usize = 1;
/// The third.
pub const C: usize = 2;

/// What `b` does at an end user's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnEnd {
    Release,
    Hold,
    Pass(usize),
}

/// `a` has `b` for next and lets go at an end; `b` may take; `c` holds on, has `a` for next and can be switched off.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub on_end: OnEnd,
    pub default: Option<usize>,
    pub after: AfterClose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Unknown,
    Open,
    Ending,
    Closed,
}

/// A conversation in a few words, and whether `c` is enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub stage: Stage,
    pub owner: Option<usize>,
    pub offer: Option<usize>,
    pub accepted: bool,
    pub last_owner: Option<usize>,
    pub c_is_on: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum To {
    Named(usize),
    Next,
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Move {
    Start(Option<usize>),
    Message,
    LateMessage,
    OthersMessage,
    End,
    Pass(usize, To),
    Offer(usize, To),
    Accept(usize),
    Decline(usize),
    Withdraw(usize),
    Take(usize),
    Release(usize),
    Reply(usize),
    Finish(usize),
    OrderPass(To),
    OrderRelease,
    OrderEnd,
    Inactivity,
    Deadline,
    Expiry,
    SwitchC,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    Refused(&'static str),
    Unchanged,
    Becomes(World),
}

impl Rules {
    pub fn answer(self, w: World, asked: Move) -> Answer {
        use Answer::{Refused, Unchanged};
        if asked == Move::SwitchC {
            return Answer::Becomes(w.switched_c());
        }
        if asked.integration() == Some(C) && !w.c_is_on {
            return Refused("unknown_integration");
        }
        match (w.stage, asked) {
            (Stage::Unknown, Move::Start(owner)) => self.begin(w, owner),
            (Stage::Unknown, Move::Message | Move::LateMessage) => self.begin(w, None),
            (Stage::Unknown, _) => Refused("conversation_not_found"),
            (_, Move::OthersMessage) => Refused("wrong_channel"),
            (Stage::Closed, _) => self.after_the_close(w, asked),
            (_, Move::Start(Some(C))) if !w.c_is_on => Refused("invalid_target"),
            (_, Move::Start(_)) => Unchanged,
            (_, Move::Message | Move::LateMessage) => Answer::Becomes(match w.owner {
                None => w.held_by(self.default),
                Some(_) => w,
            }),
            (Stage::Open | Stage::Ending, Move::End) => self.end_users_end(w),
            (_, Move::OrderPass(_) | Move::OrderRelease | Move::OrderEnd) => self.ordered(w, asked),
            (_, Move::Inactivity | Move::Deadline | Move::Expiry) => fallen_due(w, asked),
            (_, _) => self.asked_by_an_integration(w, asked, asked.integration().expect("an integration asks")),
        }
    }

    fn begin(self, w: World, owner: Option<usize>) -> Answer {
        if owner == Some(C) && !w.c_is_on {
            return Answer::Refused("invalid_target");
        }
        let w = World { stage: Stage::Open, offer: None, last_owner: None, ..w };
        Answer::Becomes(w.held_by(owner.or(self.default)))
    }

    fn after_the_close(self, w: World, asked: Move) -> Answer {
        match (asked, self.after) {
            (Move::End | Move::OrderRelease | Move::OrderEnd | Move::LateMessage, _) => Answer::Unchanged,
            (Move::Inactivity | Move::Deadline | Move::Expiry, _) => Answer::Unchanged,
            (Move::Finish(who), _) if w.last_owner == Some(who) => Answer::Unchanged,
            (Move::Start(_), AfterClose::Reopens) => Answer::Unchanged,
            (Move::Message, AfterClose::Reopens) => {
                Answer::Becomes(World { stage: Stage::Open, ..w }.held_by(self.default))
            }
            (Move::Start(owner), AfterClose::StartsOver) => self.begin(w, owner),
            (Move::Message, AfterClose::StartsOver) => self.begin(w, None),
            _ => Answer::Refused("conversation_closed"),
        }
    }

    fn end_users_end(self, w: World) -> Answer {
        if self.after != AfterClose::Refuses {
            return Answer::Refused("end_not_allowed");
        }
        if w.stage == Stage::Ending {
            return Answer::Unchanged;
        }
        let ending = World { stage: Stage::Ending, offer: None, ..w };
        let on_end = match w.owner {
            None => return Answer::Becomes(w.closed()),
            Some(B) => self.on_end,
            Some(C) => OnEnd::Hold,
            Some(_) => OnEnd::Release,
        };
        Answer::Becomes(match on_end {
            OnEnd::Release => w.closed(),
            OnEnd::Pass(C) if !w.c_is_on => w.closed(),
            OnEnd::Hold | OnEnd::Pass(B) => ending,
            OnEnd::Pass(to) => ending.held_by(Some(to)),
        })
    }

    fn asked_by_an_integration(self, w: World, asked: Move, me: usize) -> Answer {
        use Answer::{Becomes, Refused, Unchanged};
        let is_offered = w.offer == Some(me);
        match asked {
            Move::Take(_) if me != B => return Refused("not_allowed"),
            Move::Take(_) if w.owner == Some(me) => return Unchanged,
            Move::Take(_) => return Becomes(w.held_by(Some(me))),
            Move::Accept(_) if w.owner == Some(me) && w.accepted => return Unchanged,
            Move::Accept(_) | Move::Decline(_) if !is_offered => return Refused("not_offered"),
            Move::Accept(_) => return Becomes(World { accepted: true, ..w.held_by(Some(me)) }),
            Move::Decline(_) => return Becomes(World { offer: None, ..w }),
            _ if w.owner != Some(me) => return Refused("not_in_control"),
            _ => {}
        }
        match asked {
            Move::Offer(..) if w.stage == Stage::Ending => Refused("conversation_ending"),
            Move::Pass(_, to) | Move::Offer(_, to) => match (w.target(Some(me), to), asked) {
                (None, _) => Refused("invalid_target"),
                (Some(to), Move::Pass(..)) if to == me => Unchanged,
                (Some(to), Move::Pass(..)) => Becomes(w.held_by(Some(to))),
                (Some(to), _) if to == me => Refused("invalid_target"),
                (Some(to), _) => Becomes(World { offer: Some(to), ..w }),
            },
            Move::Withdraw(_) if w.offer.is_none() => Unchanged,
            Move::Withdraw(_) => Becomes(World { offer: None, ..w }),
            Move::Release(_) => Becomes(w.released()),
            Move::Finish(_) => Becomes(w.closed()),
            _ => Becomes(w),
        }
    }

    fn ordered(self, w: World, asked: Move) -> Answer {
        match asked {
            Move::OrderPass(to) => match w.target(None, to) {
                None => Answer::Refused("invalid_target"),
                Some(to) if w.owner == Some(to) => Answer::Unchanged,
                Some(to) => Answer::Becomes(w.held_by(Some(to))),
            },
            Move::OrderRelease if w.owner.is_none() => Answer::Unchanged,
            Move::OrderRelease => Answer::Becomes(w.released()),
            _ => Answer::Becomes(w.closed()),
        }
    }
}

fn fallen_due(w: World, asked: Move) -> Answer {
    match (asked, w.stage) {
        (Move::Inactivity, Stage::Open) | (Move::Deadline, Stage::Ending) => Answer::Becomes(w.closed()),
        (Move::Expiry, _) if w.offer.is_some() => Answer::Becomes(World { offer: None, ..w }),
        _ => Answer::Unchanged,
    }
}

impl World {
    pub const BEGINNING: World =
        World { stage: Stage::Unknown, owner: None, offer: None, accepted: false, last_owner: None, c_is_on: true };

    fn held_by(self, owner: Option<usize>) -> World {
        World { owner, offer: None, accepted: false, ..self }
    }

    fn released(self) -> World {
        let stage = if self.stage == Stage::Ending { Stage::Closed } else { self.stage };
        World { stage, last_owner: self.owner.or(self.last_owner), ..self.held_by(None) }
    }

    fn closed(self) -> World {
        World { stage: Stage::Closed, ..self.released() }
    }

    fn switched_c(self) -> World {
        let w = World { c_is_on: !self.c_is_on, ..self };
        match () {
            _ if w.c_is_on => w,
            _ if w.owner == Some(C) => w.released(),
            _ if w.offer == Some(C) => World { offer: None, ..w },
            _ => w,
        }
    }

    fn target(self, me: Option<usize>, to: To) -> Option<usize> {
        let to = match (to, me) {
            (To::Named(to), _) => to,
            (To::Next, Some(A)) => B,
            (To::Next, Some(C)) => A,
            (To::Next | To::Nobody, _) => return None,
        };
        (to != C || self.c_is_on).then_some(to)
    }
}

impl Move {
    pub fn all() -> Vec<Move> {
        let targets = [To::Named(A), To::Named(B), To::Named(C), To::Next, To::Nobody];
        let mut all = vec![Move::Start(None), Move::Message, Move::LateMessage, Move::OthersMessage, Move::End];
        all.extend([Move::OrderRelease, Move::OrderEnd, Move::SwitchC]);
        all.extend([Move::Inactivity, Move::Deadline, Move::Expiry]);
        all.extend(targets.map(Move::OrderPass));
        for me in [A, B, C] {
            all.extend([Move::Start(Some(me)), Move::Accept(me), Move::Decline(me), Move::Withdraw(me)]);
            all.extend([Move::Take(me), Move::Release(me), Move::Reply(me), Move::Finish(me)]);
            all.extend(targets.map(|to| Move::Pass(me, to)));
            all.extend(targets.map(|to| Move::Offer(me, to)));
        }
        all
    }

    /// Another channel's message and a timer mean something else where there is no conversation yet.
    pub fn is_of(self, w: World) -> bool {
        let needs_one = matches!(self, Move::OthersMessage | Move::Inactivity | Move::Deadline | Move::Expiry);
        w.stage != Stage::Unknown || !needs_one
    }

    pub fn integration(self) -> Option<usize> {
        match self {
            Move::Pass(me, _) | Move::Offer(me, _) | Move::Accept(me) | Move::Decline(me) => Some(me),
            Move::Withdraw(me) | Move::Take(me) | Move::Release(me) | Move::Reply(me) | Move::Finish(me) => Some(me),
            _ => None,
        }
    }

    pub fn is_an_integrations(&self) -> bool {
        self.integration().is_some()
    }

    pub fn is_an_operators(&self) -> bool {
        matches!(self, Move::OrderPass(_) | Move::OrderRelease | Move::OrderEnd)
    }
}
