//! What a leader wants of the state of its partition.

use std::ops::ControlFlow;

use millrace_machine::StateView;
use millrace_model::{
    Applied, InvocationId,
    journal::JournalRow,
    table::{Changes, Table},
};
use millrace_store::{PartitionStore, StoreError};

/// The committed state of one partition. Implemented by `millrace-store`, and in memory for the simulator.
pub trait Store: StateView {
    /// The last batch in it; `Applied::NONE` for a new one.
    fn applied(&self) -> Applied;

    /// Takes the changes of one batch and its position, all or nothing. Not durable by itself: the log is.
    fn commit(&mut self, changes: &Changes, applied: Applied) -> Result<(), Self::Error>;

    /// Entries `0..len` of a journal.
    fn journal(&self, id: InvocationId, len: u32) -> Result<Vec<JournalRow>, Self::Error>;

    /// Rows in key order from `from` (inclusive) on, until `row` breaks.
    fn scan<T: Table>(
        &self,
        from: Option<&T::Key>,
        row: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;
}

impl Store for PartitionStore {
    fn applied(&self) -> Applied {
        PartitionStore::applied(self).unwrap_or(Applied::NONE)
    }

    fn commit(&mut self, changes: &Changes, applied: Applied) -> Result<(), StoreError> {
        PartitionStore::commit(self, changes, applied)
    }

    fn journal(&self, id: InvocationId, len: u32) -> Result<Vec<JournalRow>, StoreError> {
        PartitionStore::journal(self, id, len)
    }

    fn scan<T: Table>(
        &self,
        from: Option<&T::Key>,
        row: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        PartitionStore::scan::<T>(self, from, row)
    }
}
