//! A partition's state in memory, with what the checkers want to know of every commit.

use std::ops::ControlFlow;

use bytes::Bytes;
use millrace_log::Applied;
use millrace_machine::{ContentHash, MemoryView, StateView};
use millrace_model::{
    DecodeError, InvocationId, Text,
    invocation::ObjectKey,
    journal::JournalRow,
    table::{Changes, Table},
};
use millrace_partition::Store;

/// One batch that got into a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The batch.
    pub applied: Applied,
    /// The last batch before it.
    pub before: Applied,
    /// Hash over the changes of this batch and all before it: equal chains, equal bytes.
    pub chain: u64,
}

/// See the module. A clone is a snapshot.
#[derive(Clone, Default)]
pub struct SimStore {
    view: MemoryView,
    applied: Applied,
    chain: u64,
    commits: Vec<Commit>,
}

impl SimStore {
    /// The rows.
    pub fn view(&self) -> &MemoryView {
        &self.view
    }

    /// What was committed since the last call.
    pub fn take_commits(&mut self) -> Vec<Commit> {
        std::mem::take(&mut self.commits)
    }
}

impl StateView for SimStore {
    type Error = DecodeError;

    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, DecodeError> {
        self.view.get::<T>(key)
    }

    fn state(&self, object: &ObjectKey) -> Result<Vec<(Bytes, Bytes)>, DecodeError> {
        self.view.state(object)
    }

    fn promises(&self, object: &ObjectKey) -> Result<Vec<Text>, DecodeError> {
        self.view.promises(object)
    }
}

impl Store for SimStore {
    fn applied(&self) -> Applied {
        self.applied
    }

    fn commit(&mut self, changes: &Changes, applied: Applied) -> Result<(), DecodeError> {
        let mut hash = ContentHash::default();
        hash.add(&self.chain.to_le_bytes(), &applied.lsn.0.to_le_bytes());
        changes.for_each(|_, key, row| match row {
            Some(row) => hash.add(key, row),
            None => hash.add(key, b"\0gone"),
        });
        let before = std::mem::replace(&mut self.applied, applied);
        self.chain = hash.finish();
        self.view.commit(changes);
        self.commits.push(Commit { applied, before, chain: self.chain });
        Ok(())
    }

    fn journal(&self, id: InvocationId, len: u32) -> Result<Vec<JournalRow>, DecodeError> {
        self.view.journal(id, len)
    }

    fn scan<T: Table>(
        &self,
        from: Option<&T::Key>,
        row: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        self.view.scan::<T>(from, row)
    }
}

/// All rows of a table.
pub fn rows<T: Table>(view: &MemoryView) -> Vec<(T::Key, T::Row)> {
    let mut rows = Vec::new();
    let all = view.scan::<T>(None, &mut |key, row| {
        rows.push((key, row));
        ControlFlow::Continue(())
    });
    all.expect("the machine wrote these rows");
    rows
}
