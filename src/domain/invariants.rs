//! What is always so, numbered. Rules and folding are written apart from this page, and held to it.
//!
//! - **I1** A closed conversation had its end requested, nobody holds control of it, and nothing is offered;
//!   it closed for the cause for which the end was requested.
//! - **I2** Nobody is offered what they hold, and an offer stands only while somebody holds control.
//! - **I3** Nothing follows the close but a restart or a reopening, and each event fits what it finds:
//!   control leaves only who holds it, an offer ends only where one is pending, an end is requested once.
//! - **I4** `version`, `epoch` and `seq` are dense and only grow, and so does `session`.
//! - **I5** Folding the log gives the state that was served.
//! - **I6** Nothing is answered or published that is not on stable storage.
//! - **I7** One command id, one decision.
//! - **I8** What a replay shows depends on the log alone, never on today's configuration or clock.
//!
//! [`check`] holds one event to I1–I4, [`check_at_rest`] a conversation between decisions. I5–I8 are
//! of the log and of whoever serves it. That `seq` is dense can be seen only over the whole log.

use super::conversation::{Conversation, Status};
use super::event::Event;
use super::words::Name;

/// Holds an event, and the conversation before and after it, to I1–I4; says which is broken, and how.
pub fn check(before: Option<&Conversation>, event: &Event, after: &Conversation) -> Result<(), String> {
    invariant_1_closed_is_released_after_a_request(event, after)?;
    invariant_2_nobody_is_offered_what_they_hold(after)?;
    invariant_3_an_event_fits_what_it_finds(before, event)?;
    invariant_4_counts_are_dense_and_only_grow(before, event, after)
}

/// Holds a conversation to what is so whenever nothing is being decided.
pub fn check_at_rest(c: &Conversation) -> Result<(), String> {
    invariant_2_nobody_is_offered_what_they_hold(c)?;
    if c.status == Status::Ending {
        hold(c.owner.is_some(), || "I1: ending, and nobody is there to release it".into())?;
        hold(c.offer.is_none(), || "I2: ending, and control is still offered".into())?;
    }
    Ok(())
}

fn invariant_1_closed_is_released_after_a_request(event: &Event, after: &Conversation) -> Result<(), String> {
    let (request, close) = (after.end_requested.as_ref(), after.closed.as_ref());
    let fits = match after.status {
        Status::Open => request.is_none() && close.is_none(),
        Status::Ending => request.is_some() && close.is_none(),
        Status::Closed => request.is_some() && close.is_some(),
    };
    hold(fits, || format!("I1: {:?} with end requested {request:?} and closed {close:?}", after.status))?;
    if after.status == Status::Closed {
        hold(after.owner.is_none(), || format!("I1: closed, and {} holds control", shown(after.owner.as_ref())))?;
        hold(after.offer.is_none(), || "I1: closed, and control is still offered".into())?;
    }
    if let Event::Closed(closed) = event {
        let asked = request.map(|request| request.cause);
        hold(asked == Some(closed.cause) && close.map(|close| close.cause) == asked, || {
            format!("I1: expected to close for {asked:?}, got {:?}", closed.cause)
        })?;
    }
    Ok(())
}

fn invariant_2_nobody_is_offered_what_they_hold(c: &Conversation) -> Result<(), String> {
    let Some(offer) = &c.offer else { return Ok(()) };
    hold(c.owner.is_some(), || format!("I2: control is offered to {} while nobody holds it", offer.to))?;
    hold(!c.is_owned_by(&offer.to), || format!("I2: {} is offered what it holds", offer.to))
}

fn invariant_3_an_event_fits_what_it_finds(before: Option<&Conversation>, event: &Event) -> Result<(), String> {
    let status = before.map(|c| c.status);
    let owner = before.and_then(|c| c.owner.as_ref());
    let offered = before.and_then(|c| c.offer.as_ref()).map(|offer| &offer.to);
    let is_open = status == Some(Status::Open);
    let goes_on = is_open || status == Some(Status::Ending);
    let fits = match event {
        Event::Started(_) => !goes_on,
        Event::Reopened(_) => status == Some(Status::Closed),
        Event::Assigned(_) => is_open && owner.is_none(),
        Event::Passed(e) => goes_on && owner == e.from.as_ref() && owner != Some(&e.to) && offered.is_none(),
        Event::Offered(e) => is_open && owner == Some(&e.from) && offered.is_none(),
        Event::OfferWithdrawn(e) => goes_on && offered == Some(&e.to),
        Event::Accepted(e) => is_open && owner == Some(&e.from) && offered == Some(&e.to),
        Event::Released(e) => goes_on && owner == Some(&e.from) && offered.is_none(),
        Event::EndRequested(_) => is_open,
        Event::Closed(_) => status == Some(Status::Ending) && owner.is_none() && offered.is_none(),
    };
    hold(fits, || {
        let (owner, offered) = (shown(owner), shown(offered));
        format!("I3: {} found status {status:?}, owner {owner}, offered to {offered}", event.kind().full_name())
    })
}

fn invariant_4_counts_are_dense_and_only_grow(
    before: Option<&Conversation>,
    event: &Event,
    after: &Conversation,
) -> Result<(), String> {
    let (session, version, epoch, seq) = before.map_or((0, 0, 0, 0), |c| (c.session, c.version, c.epoch, c.seq));
    let expected = (
        session + u32::from(matches!(event, Event::Started(_))),
        version + 1,
        epoch + u64::from(event.changes_owner()),
    );
    let got = (after.session, after.version, after.epoch);
    hold(got == expected, || format!("I4: expected session, version and epoch {expected:?}, got {got:?}"))?;
    hold(after.seq > seq, || format!("I4: expected a seq above {seq}, got {}", after.seq))
}

fn hold(is_so: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(broken()) }
}

fn shown(name: Option<&Name>) -> &str {
    name.map_or("nobody", Name::as_str)
}
