//! How large the parts are in which the cache keeps what a long conversation has beside its state.

/// The sizes. A simulation makes them small, so that a short life has many parts.
///
/// What one size wrote another does not read: a change of the usual ones is a change of the cache's format.
#[derive(Debug, Clone, Copy)]
pub struct PartSizes {
    /// Items of a page: the end of a list, which is written with every save, is shorter than this.
    pub page_items: u64,
    /// Entries between two marks: reading so many takes some milliseconds.
    pub mark_entries: u64,
}

impl Default for PartSizes {
    fn default() -> PartSizes {
        PartSizes { page_items: 256, mark_entries: 256 }
    }
}
