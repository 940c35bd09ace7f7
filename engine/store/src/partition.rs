//! The store of one partition: caches in front of its database, kept the same by every commit.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use millrace_machine::{ContentHash, StateView};
use millrace_model::{
    Applied, InvocationId, Lsn, PartitionId, Text,
    invocation::ObjectKey,
    journal::JournalRow,
    table::{Changes, Invocations, Journal, OrderedKey, Promises, State, Table},
};
use parking_lot::Mutex;
use rocksdb::WriteBatch;

use crate::{
    cache::{Known, RowCache},
    db::Database,
    error::StoreError,
    handle::StoreHandle,
    journal_cache::{JournalCache, entry_of_stored, invocation_of_stored},
    keep::{Keep, ROW_TABLES, keep},
    metrics::PartitionMetrics,
    object_cache::{ObjectCache, split_stored, unescape},
    shared::{Share, SharedResources},
};

/// Room for a batch before the first is known.
const BATCH_BYTES_FIRST: usize = 4 << 10;
/// More than this is not reserved for the next batch, however large the last one was.
const BATCH_BYTES_KEPT: usize = 256 << 10;
/// Deletions in memory that are worth a flush of their own. What they delete keeps its place on the disk until they
/// are in a file and that is compacted, and a row is easily a hundred times as large as its deletion; a file of so many
/// is some hundred KiB.
const DELETIONS_FLUSHED: u64 = 20_000;

/// How the state machine's reads were answered since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// From memory.
    pub hits: u64,
    /// By a point read of RocksDB.
    pub gets: u64,
    /// By a range read of RocksDB.
    pub seeks: u64,
}

/// The committed state of one partition.
///
/// One thread at a time uses it; reads take `&self` and may come from any. What other threads need beside it is in
/// [`StoreHandle`]. Dropping it without a flush loses nothing that the log still has.
pub struct PartitionStore {
    db: Arc<Database>,
    applied: Option<Applied>,
    caches: Mutex<Caches>,
    share: Share,
    metrics: PartitionMetrics,
    commits: u64,
    /// Since memory was last told to go to files.
    deletions: AtomicU64,
    batch_bytes: usize,
}

struct Caches {
    rows: RowCache,
    journals: JournalCache,
    objects: ObjectCache,
    reads: ReadStats,
    /// For the stored key of a read.
    key: Vec<u8>,
}

impl Caches {
    /// Takes in one change. `false`: the row is known not to be in the database, so nothing is to be deleted there.
    fn change(&mut self, tag: u8, key: &[u8], row: Option<&[u8]>) -> bool {
        match (keep(tag), row) {
            (Keep::Rows, Some(row)) => self.rows.put(key, row),
            (Keep::Rows, None) => {
                if tag == Invocations::TAG
                    && let Some(id) = invocation_of_stored(key)
                {
                    self.journals.forget(id);
                }
                return self.rows.delete(key);
            }
            (Keep::Journal, row) => {
                if let Some((id, index)) = entry_of_stored(key) {
                    match row {
                        Some(row) => self.journals.put(id, index, row),
                        None => self.journals.delete(id, index),
                    }
                }
            }
            (Keep::Objects, row) => self.objects.set(key, row),
            (Keep::No, _) => {}
        }
        true
    }

    /// What memory knows of the row at `self.key`.
    fn find(&mut self, tag: u8) -> Known {
        let found = |row: Option<Bytes>| row.map_or(Known::No, Known::Row);
        match keep(tag) {
            Keep::Rows => self.rows.get(&self.key),
            Keep::Journal => found(entry_of_stored(&self.key).and_then(|(id, index)| self.journals.row(id, index))),
            Keep::Objects => match self.objects.row(&self.key) {
                Some(row) => row.map_or(Known::Absent, Known::Row),
                None => Known::No,
            },
            Keep::No => Known::No,
        }
    }

    fn set_key<T: Table>(&mut self, key: &impl OrderedKey) {
        self.key.clear();
        self.key.push(T::TAG);
        key.put_key(&mut self.key);
    }

    fn trim(&mut self, share: &Share) {
        self.rows.trim(share.rows());
        self.journals.trim(share.journals());
        self.objects.trim(share.objects());
    }
}

impl PartitionStore {
    /// Opens the store in `dir`, or creates it there; loads what is active, as far as there is room.
    ///
    /// * Errors: `Locked` if it is open already, in this process or another; `Newer`, `Foreign`; `Corrupt`.
    /// * The folder stays as it is after an error.
    pub fn open(dir: &Path, partition: PartitionId, shared: &SharedResources) -> Result<Self, StoreError> {
        let db = Arc::new(Database::open(dir, partition, shared)?);
        let applied = db.applied()?;
        let caches = Caches {
            rows: RowCache::new(),
            journals: JournalCache::new(),
            objects: ObjectCache::new(),
            reads: ReadStats::default(),
            key: Vec::new(),
        };
        let mut store = Self {
            db,
            applied,
            caches: Mutex::new(caches),
            share: Share::new(shared),
            metrics: PartitionMetrics::new(partition),
            commits: 0,
            deletions: AtomicU64::new(0),
            batch_bytes: BATCH_BYTES_FIRST,
        };
        store.warm()?;
        let lsn = store.applied.map_or(0, |applied| applied.lsn.0);
        tracing::info!(partition = partition.0, lsn, "opened store");
        Ok(store)
    }

    /// Loads the tables of what is active, as far as there is room.
    fn warm(&mut self) -> Result<(), StoreError> {
        let (db, share) = (&self.db, &self.share);
        let rows = &mut self.caches.get_mut().rows;
        for tag in ROW_TABLES {
            let mut all = true;
            db.each_prefixed(&[tag], false, &mut |key, row| {
                all = rows.load(key, row, share.rows());
                if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            if all {
                rows.set_whole(tag);
            }
        }
        Ok(())
    }

    /// The last record applied; `None` if there was none yet. Includes what a crash would take.
    pub fn applied(&self) -> Option<Applied> {
        self.applied
    }

    /// The last record that a crash would not take from this store; `None` before the first flush.
    pub fn durable(&self) -> Result<Option<Applied>, StoreError> {
        self.handle().durable()
    }

    /// Applies what one log batch changed, all of it or nothing, and visible at once; durable after a flush.
    ///
    /// After an error the store has stopped: memory may be ahead of the database. Panics if `applied` is not behind
    /// the last one: applying a batch twice would corrupt the state.
    pub fn commit(&mut self, changes: &Changes, applied: Applied) -> Result<(), StoreError> {
        let last = self.applied.map_or(Lsn::NONE, |last| last.lsn);
        assert!(applied.lsn > last, "batch {} is applied behind batch {last}", applied.lsn);
        self.db.check()?;
        let caches = self.caches.get_mut();
        let mut batch = WriteBatch::with_capacity_bytes(self.batch_bytes);
        let mut deletions = 0;
        changes.for_each(|tag, key, row| {
            let there = caches.change(tag, key, row);
            match row {
                Some(row) => batch.put(key, row),
                None if there => {
                    deletions += 1;
                    batch.delete(key);
                }
                None => {}
            }
        });
        *self.deletions.get_mut() += deletions;
        Database::put_applied(&mut batch, applied);
        self.batch_bytes = batch.size_in_bytes().clamp(BATCH_BYTES_FIRST, BATCH_BYTES_KEPT);
        self.db.write(batch)?;
        caches.trim(&self.share);
        self.applied = Some(applied);
        self.commits += 1;
        Ok(())
    }

    /// Writes what is in memory to files; see [`StoreHandle::flush`].
    pub fn flush(&self, wait: bool) -> Result<(), StoreError> {
        self.handle().flush(wait)
    }

    /// Gives back the room of what was deleted: begins a flush when many deletions wait in memory, from where RocksDB
    /// compacts them by itself. Every few seconds; does not block.
    pub fn reclaim(&self) -> Result<(), StoreError> {
        if self.deletions.load(Ordering::Relaxed) < DELETIONS_FLUSHED || self.db.flushing() {
            return Ok(());
        }
        self.deletions.store(0, Ordering::Relaxed);
        self.flush(false)
    }

    /// For other threads.
    pub fn handle(&self) -> StoreHandle {
        StoreHandle { db: self.db.clone() }
    }

    /// Calls `f` with the rows of a table in key order, beginning with `from`, until it breaks.
    pub fn scan<T: Table>(
        &self,
        from: Option<&T::Key>,
        f: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.handle().scan::<T>(from, f)
    }

    /// The same for the rows whose key begins with `prefix`; see [`StoreHandle::scan_prefix`].
    pub fn scan_prefix<T: Table>(
        &self,
        prefix: &impl OrderedKey,
        f: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.handle().scan_prefix::<T>(prefix, f)
    }

    /// The first `len` entries of a journal: from memory, else by one range read. Fewer of them is corruption.
    pub fn journal(&self, id: InvocationId, len: u32) -> Result<Vec<JournalRow>, StoreError> {
        self.db.check()?;
        let mut caches = self.caches.lock();
        if let Some(rows) = caches.journals.rows(id, len) {
            let decoded = rows.iter().map(|row| self.db.decode::<Journal>(row.clone())).collect();
            caches.reads.hits += 1;
            return decoded;
        }
        caches.reads.seeks += 1;
        caches.set_key::<Journal>(&id);
        let mut rows: Vec<Bytes> = Vec::with_capacity(len.min(1024) as usize);
        let prefix = std::mem::take(&mut caches.key);
        self.db.each_prefixed(&prefix, true, &mut |key, row| {
            if rows.len() == len as usize || entry_of_stored(key) != Some((id, rows.len() as u32)) {
                return ControlFlow::Break(());
            }
            rows.push(Bytes::copy_from_slice(row));
            ControlFlow::Continue(())
        })?;
        caches.key = prefix;
        if rows.len() < len as usize {
            return Err(self.db.corrupt(format!("journal of {id} ends at {} instead of {len}", rows.len())));
        }
        let decoded = rows.iter().map(|row| self.db.decode::<Journal>(row.clone())).collect();
        caches.journals.fill(id, rows);
        caches.journals.trim(self.share.journals());
        decoded
    }

    /// How reads were answered.
    pub fn reads(&self) -> ReadStats {
        self.caches.lock().reads
    }

    /// Sets this partition's gauges and counters, and those of the node. For every scrape, or each 10 s. Gives back memory too, if partitions
    /// that were opened since have made its share smaller and no commit has done so.
    pub fn observe(&self) {
        let mut caches = self.caches.lock();
        caches.trim(&self.share);
        let cached = caches.rows.bytes() + caches.journals.bytes() + caches.objects.bytes();
        self.metrics.set(&self.db, caches.reads, self.commits, cached);
        self.share.observe();
    }

    /// Writes a copy of the store to `dir`, which must not exist; opened, it has exactly what is committed now.
    /// Flushes and waits for it; files are linked where the file system can.
    pub fn checkpoint(&self, dir: &Path) -> Result<Option<Applied>, StoreError> {
        self.db.check()?;
        self.db.checkpoint(dir)?;
        Ok(self.applied)
    }

    /// Of keys and rows of all tables, without the applied position: equal wherever the state is (invariant 2). Reads
    /// everything.
    pub fn content_hash(&self) -> Result<u64, StoreError> {
        let mut hash = ContentHash::default();
        self.db.each_stored(&mut |key, row| {
            hash.add(key, row);
            ControlFlow::Continue(())
        })?;
        Ok(hash.finish())
    }

    fn read(&self, tag: u8, caches: &mut Caches) -> Result<Option<Bytes>, StoreError> {
        match caches.find(tag) {
            Known::Row(row) => {
                caches.reads.hits += 1;
                return Ok(Some(row));
            }
            Known::Absent => {
                caches.reads.hits += 1;
                return Ok(None);
            }
            Known::No => {}
        }
        caches.reads.gets += 1;
        let row = self.db.get(&caches.key)?.map(|row| Bytes::copy_from_slice(&row));
        if keep(tag) == Keep::Rows {
            match &row {
                Some(row) => caches.rows.put(&caches.key, row),
                None => caches.rows.absent(&caches.key),
            }
            caches.rows.trim(self.share.rows());
        }
        Ok(row)
    }
}

impl StateView for PartitionStore {
    type Error = StoreError;

    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, StoreError> {
        self.db.check()?;
        let row = {
            let mut caches = self.caches.lock();
            caches.set_key::<T>(key);
            self.read(T::TAG, &mut caches)?
        };
        row.map(|row| self.db.decode::<T>(row)).transpose()
    }

    fn state(&self, object: &ObjectKey) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.db.check()?;
        let mut caches = self.caches.lock();
        let caches = &mut *caches;
        caches.set_key::<State>(object);
        let decode = |rows: &[(Bytes, Bytes)]| {
            rows.iter().map(|(key, row)| Ok((key.clone(), self.db.decode::<State>(row.clone())?))).collect()
        };
        if let Some(rows) = caches.objects.rows(&caches.key) {
            caches.reads.hits += 1;
            return decode(rows);
        }
        caches.reads.seeks += 1;
        let mut rows = Vec::new();
        let mut malformed = false;
        self.db.each_prefixed(&caches.key, true, &mut |stored, row| {
            let Some(key) = split_stored(stored).and_then(|(_, key)| unescape(key)) else {
                malformed = true;
                return ControlFlow::Break(());
            };
            rows.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(row)));
            ControlFlow::Continue(())
        })?;
        if malformed {
            return Err(self.db.corrupt(format!("key of {}", State::NAME)));
        }
        let decoded = decode(&rows);
        caches.objects.fill(&caches.key, rows);
        caches.objects.trim(self.share.objects());
        decoded
    }

    fn promises(&self, object: &ObjectKey) -> Result<Vec<Text>, StoreError> {
        self.db.check()?;
        self.caches.lock().reads.seeks += 1;
        let mut names = Vec::new();
        self.scan_prefix::<Promises>(object, &mut |(_, name), _| {
            names.push(name);
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }
}
