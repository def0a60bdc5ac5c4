//! When two decisions are the same: by what happens, from whom to whom, and for which cause.

use crate::domain::Event;

/// Whether the same happens: of the same type, from the same to the same, for the same cause.
pub(super) fn are_alike(events: &[Event], others: &[Event]) -> bool {
    events.len() == others.len() && events.iter().zip(others).all(|(event, other)| is_alike(event, other))
}

fn is_alike(event: &Event, other: &Event) -> bool {
    match (event, other) {
        (Event::Assigned(a), Event::Assigned(b)) => (&a.to, a.cause) == (&b.to, b.cause),
        (Event::Passed(a), Event::Passed(b)) => (&a.from, &a.to, a.cause) == (&b.from, &b.to, b.cause),
        (Event::Offered(a), Event::Offered(b)) => (&a.from, &a.to) == (&b.from, &b.to),
        (Event::OfferWithdrawn(a), Event::OfferWithdrawn(b)) => (&a.to, a.cause) == (&b.to, b.cause),
        (Event::Accepted(a), Event::Accepted(b)) => (&a.from, &a.to) == (&b.from, &b.to),
        (Event::Released(a), Event::Released(b)) => (&a.from, a.cause) == (&b.from, b.cause),
        (Event::EndRequested(a), Event::EndRequested(b)) => a.cause == b.cause,
        (Event::Closed(a), Event::Closed(b)) => a.cause == b.cause,
        _ => event.kind() == other.kind(),
    }
}
