//! What other threads may do with a store.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use millrace_model::{
    Applied, PartitionId,
    table::{OrderedKey, Table, stored_key},
};
use rocksdb::PrefixRange;

use crate::{db::Database, error::StoreError, options};

/// Reads and flushes one store from any thread, beside the caches: for queries, trimming and metrics. Cheap to clone.
///
/// Sees committed state; a scan sees the state of the moment at which it began. The database stays open as long as a
/// handle is there.
#[derive(Clone)]
pub struct StoreHandle {
    pub(crate) db: Arc<Database>,
}

impl StoreHandle {
    /// Whose store it is.
    pub fn partition(&self) -> PartitionId {
        self.db.partition()
    }

    /// The committed row.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, StoreError> {
        let row = self.db.get(&stored_key::<T>(key))?;
        row.map(|row| self.db.decode::<T>(Bytes::copy_from_slice(&row))).transpose()
    }

    /// Calls `f` with the rows of a table in key order, beginning with `from`, until it breaks.
    pub fn scan<T: Table>(
        &self,
        from: Option<&T::Key>,
        f: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut options = options::scan(false);
        let first = from.map_or_else(|| vec![T::TAG], stored_key::<T>);
        options.set_iterate_range(first..vec![T::TAG + 1]);
        self.db.scan::<T>(options, f)
    }

    /// The same for the rows whose key begins with `prefix`: of `State` and `Inbox` an object, of `Journal` an
    /// invocation, of `Outbox` partition and lane.
    pub fn scan_prefix<T: Table>(
        &self,
        prefix: &impl OrderedKey,
        f: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut stored = vec![T::TAG];
        prefix.put_key(&mut stored);
        let mut options = options::scan(false);
        options.set_iterate_range(PrefixRange(stored));
        self.db.scan::<T>(options, f)
    }

    /// The last record that a crash would not take from this store; `None` before the first flush. A few
    /// microseconds.
    pub fn durable(&self) -> Result<Option<Applied>, StoreError> {
        self.db.durable()
    }

    /// Writes what is in memory to files. With `wait` it returns when [`StoreHandle::durable`] has reached what was
    /// committed before the call, and blocks so long; without it only begins, and does nothing while an earlier flush
    /// is still running.
    pub fn flush(&self, wait: bool) -> Result<(), StoreError> {
        self.db.flush(wait)
    }

    /// Is something being flushed? Cheap; when it turns to `false`, `durable` has moved.
    pub fn flushing(&self) -> bool {
        self.db.flushing()
    }
}
