//! One database: the store's own rows, reads without a cache, flushes.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use millrace_model::{
    Applied, PartitionId, Wire,
    table::{Table, key_of_stored},
};
use rocksdb::{
    DB, DBPinnableSlice, PrefixRange, ReadOptions, WriteBatch, WriteOptions,
    checkpoint::Checkpoint,
    properties::{NUM_IMMUTABLE_MEM_TABLE, PropName},
};

use crate::{applied, error::StoreError, options, shared::SharedResources};

/// The newest format of keys and rows that this release reads; it writes the same.
pub const FORMAT_VERSION: u16 = 1;

/// Format version and partition, written when the store is created. Tag 0 belongs to the store.
const FORMAT_KEY: &[u8] = &[0, 1];
/// [`Applied`], in every batch.
const APPLIED_KEY: &[u8] = &[0, 2];
/// First byte of the first table's keys.
const TABLES_FROM: u8 = 1;

/// Called with stored key and stored row.
pub(crate) type OnStored<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

pub(crate) struct Database {
    db: DB,
    dir: PathBuf,
    partition: PartitionId,
    read: ReadOptions,
    persisted: ReadOptions,
    write: WriteOptions,
    /// A commit failed: memory may be ahead of the database.
    stopped: AtomicBool,
}

impl Database {
    pub(crate) fn open(dir: &Path, partition: PartitionId, shared: &SharedResources) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(|source| StoreError::Io { partition, path: dir.to_owned(), source })?;
        let db = DB::open(&shared.inner.options, dir).map_err(|error| StoreError::of_rocksdb(partition, dir, error))?;
        let this = Self {
            db,
            dir: dir.to_owned(),
            partition,
            read: ReadOptions::default(),
            persisted: options::persisted(),
            write: options::write(),
            stopped: AtomicBool::new(false),
        };
        this.check_format()?;
        Ok(this)
    }

    /// A new store gets its format row. A kill may take it away again before the first flush, with all else.
    fn check_format(&self) -> Result<(), StoreError> {
        let Some(row) = self.get(FORMAT_KEY)? else {
            let mut empty = true;
            self.each(options::scan(false), &mut |_, _| {
                empty = false;
                ControlFlow::Break(())
            })?;
            if !empty {
                return Err(StoreError::Unmarked { partition: self.partition, path: self.dir.clone() });
            }
            let mut batch = WriteBatch::default();
            let row = [FORMAT_VERSION.to_be_bytes(), self.partition.0.to_be_bytes()].concat();
            batch.put(FORMAT_KEY, row);
            return self.write(batch);
        };
        let Some((version, partition)) = row.split_first_chunk::<2>() else {
            return Err(self.corrupt("the format version is malformed".into()));
        };
        let found = u16::from_be_bytes(*version);
        if found > FORMAT_VERSION {
            return Err(StoreError::Newer { path: self.dir.clone(), found, known: FORMAT_VERSION });
        }
        let Ok(partition) = partition.try_into().map(u16::from_be_bytes) else {
            return Err(self.corrupt("the format row has no partition".into()));
        };
        if partition != self.partition.0 {
            let found = PartitionId(partition);
            return Err(StoreError::Foreign { path: self.dir.clone(), found, expected: self.partition });
        }
        Ok(())
    }

    pub(crate) fn partition(&self) -> PartitionId {
        self.partition
    }

    fn error(&self, error: rocksdb::Error) -> StoreError {
        StoreError::of_rocksdb(self.partition, &self.dir, error)
    }

    pub(crate) fn corrupt(&self, detail: String) -> StoreError {
        StoreError::Corrupt { partition: self.partition, path: self.dir.clone(), detail }
    }

    /// Fails after a failed commit.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.stopped.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(StoreError::Stopped { partition: self.partition }),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        self.db.get_pinned_opt(key, &self.read).map_err(|error| self.error(error))
    }

    pub(crate) fn put_applied(batch: &mut WriteBatch, applied: Applied) {
        batch.put(APPLIED_KEY, applied::to_bytes(applied));
    }

    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        self.db.write_opt(batch, &self.write).map_err(|error| {
            self.stopped.store(true, Ordering::Release);
            self.error(error)
        })
    }

    pub(crate) fn applied(&self) -> Result<Option<Applied>, StoreError> {
        self.applied_by(&self.read)
    }

    fn applied_by(&self, read: &ReadOptions) -> Result<Option<Applied>, StoreError> {
        let row = self.db.get_pinned_opt(APPLIED_KEY, read).map_err(|error| self.error(error))?;
        row.map(|row| applied::from_bytes(&row).ok_or_else(|| self.corrupt("the applied position is malformed".into())))
            .transpose()
    }

    pub(crate) fn durable(&self) -> Result<Option<Applied>, StoreError> {
        self.applied_by(&self.persisted)
    }

    pub(crate) fn flush(&self, wait: bool) -> Result<(), StoreError> {
        // RocksDB holds the caller until there is room for another write buffer; who does not wait comes back anyway.
        if !wait && self.flushing() {
            return Ok(());
        }
        self.db.flush_opt(&options::flush(wait)).map_err(|error| self.error(error))
    }

    pub(crate) fn flushing(&self) -> bool {
        self.property(NUM_IMMUTABLE_MEM_TABLE) > 0
    }

    /// Calls `f` with the rows that `options` select, in key order, until it breaks.
    pub(crate) fn each(&self, options: ReadOptions, f: OnStored<'_>) -> Result<(), StoreError> {
        let mut iterator = self.db.raw_iterator_opt(options);
        iterator.seek_to_first();
        while let Some((key, row)) = iterator.item() {
            if f(key, row).is_break() {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(|error| self.error(error))
    }

    /// The rows of all tables.
    pub(crate) fn each_stored(&self, f: OnStored<'_>) -> Result<(), StoreError> {
        let mut options = options::scan(false);
        options.set_iterate_lower_bound([TABLES_FROM]);
        self.each(options, f)
    }

    /// The rows whose stored keys begin with `prefix`.
    pub(crate) fn each_prefixed(&self, prefix: &[u8], fill_cache: bool, f: OnStored<'_>) -> Result<(), StoreError> {
        let mut options = options::scan(fill_cache);
        options.set_iterate_range(PrefixRange(prefix));
        self.each(options, f)
    }

    pub(crate) fn decode<T: Table>(&self, row: Bytes) -> Result<T::Row, StoreError> {
        T::Row::decode(row).map_err(|error| self.corrupt(format!("row of {}: {error}", T::NAME)))
    }

    pub(crate) fn scan<T: Table>(
        &self,
        options: ReadOptions,
        f: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut failed = None;
        self.each(options, &mut |stored, row| {
            let key = key_of_stored::<T>(stored).ok_or_else(|| self.corrupt(format!("key of {}", T::NAME)));
            let item = key.and_then(|key| Ok((key, self.decode::<T>(Bytes::copy_from_slice(row))?)));
            match item {
                Ok((key, row)) => f(key, row),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    pub(crate) fn checkpoint(&self, dir: &Path) -> Result<(), StoreError> {
        let done = Checkpoint::new(&self.db).and_then(|checkpoint| checkpoint.create_checkpoint(dir));
        done.map_err(|error| StoreError::of_rocksdb(self.partition, dir, error))
    }

    /// A number that RocksDB keeps; 0 if it has none.
    pub(crate) fn property(&self, name: &PropName) -> u64 {
        self.db.property_int_value(name).ok().flatten().unwrap_or(0)
    }
}
