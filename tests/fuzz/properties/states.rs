//! What the cache keeps of a conversation and of the configuration, read back.

use switchboard::domain::ConversationId;
use switchboard::log::cache::Part;
use switchboard::switchboard::PartSizes;
use switchboard::switchboard::core::ConfigHead;
use switchboard::switchboard::head;
use switchboard::switchboard::slot::Slot;

/// Nothing stands beside the head.
fn nowhere(part: Part, number: u64) -> Result<Vec<u8>, String> {
    Err(format!("{part:?} {number} is not there"))
}

pub fn check(bytes: &[u8]) {
    let id = ConversationId::parse("c1").expect("an id");
    let _ = head::glance(bytes);
    if let Ok(slot) = Slot::from_head(&id, bytes, PartSizes::default(), nowhere) {
        let head = slot.to_head();
        let again = Slot::from_head(&id, &head, PartSizes::default(), nowhere).expect("what is written can be read");
        assert_eq!(slot.c, again.c);
        assert_eq!(head, again.to_head());
        assert!(slot.activity.may_be_later, "what the cache keeps may lack the last activity");
    }
    if let Ok(head) = serde_json::from_slice::<ConfigHead>(bytes) {
        let written = serde_json::to_vec(&head).expect("our values are JSON");
        let again: ConfigHead = serde_json::from_slice(&written).expect("what is written can be read");
        assert_eq!((head.frames, head.file), (again.frames, again.file));
    }
}
