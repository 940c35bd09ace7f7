//! Which tables are kept in memory, and how: decided here alone, by tag.

use millrace_model::table::{
    Budgets, Inbox, Invocations, Journal, Locks, OutboxLanes, Partition, Received, Sources, State, Table,
};

/// Where the rows of a table are kept besides RocksDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// In the row cache. The table's size is that of what is active, so that mostly all of it is in memory.
    Rows,
    /// In the journal cache, while the invocation is active.
    Journal,
    /// In the object cache, all state of a key together.
    Objects,
    /// Nowhere: written often, read rarely.
    No,
}

pub(crate) const fn keep(tag: u8) -> Keep {
    match tag {
        Partition::TAG | Invocations::TAG | Locks::TAG | Inbox::TAG => Keep::Rows,
        OutboxLanes::TAG | Received::TAG | Sources::TAG | Budgets::TAG => Keep::Rows,
        Journal::TAG => Keep::Journal,
        State::TAG => Keep::Objects,
        _ => Keep::No,
    }
}

/// The tables of the row cache, in the order in which they are loaded: what every batch needs first.
pub(crate) const ROW_TABLES: [u8; 8] = [
    Partition::TAG,
    OutboxLanes::TAG,
    Received::TAG,
    Sources::TAG,
    Budgets::TAG,
    Locks::TAG,
    Invocations::TAG,
    Inbox::TAG,
];

/// Is it worth remembering that a row of this table is gone? A key whose lock was released is a key that is used.
pub(crate) const fn keep_absence(tag: u8) -> bool {
    tag == Locks::TAG
}

#[cfg(test)]
mod tests {
    use millrace_model::table::TABLES;

    use super::*;

    #[test]
    fn the_list_of_row_tables_is_complete() {
        let mut listed = ROW_TABLES.to_vec();
        listed.sort_unstable();
        let kept: Vec<_> = TABLES.iter().map(|(tag, _)| *tag).filter(|tag| keep(*tag) == Keep::Rows).collect();
        assert_eq!(listed, kept);
    }
}
