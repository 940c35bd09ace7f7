//! The embedded log: one append-only stream of segment files for all partitions of a node and the metadata.
//!
//! ```text
//! appends ──> waiting bytes ──> writer thread: groups, one write, one sync ──> sink, once
//!                                    │ rolls into spares        ^
//!                                    v                          │ reserved ahead
//!                               segments ── trimmed ──> keeper thread: removes, reserves
//! ```
//!
//! An LSN is the position of the record's first byte in the stream. Bytes, recovery and what is trusted when:
//! `engine/log/FORMAT.md`. A failed write or sync closes the log for good; the next open decides from the bytes.

mod core;
pub mod disk;
mod format;
mod keeper;
mod read;
mod recover;
mod segment;
pub mod sim_disk;
mod state;
mod table;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use millrace_model::{ClusterId, Lsn, PartitionId};

pub use self::core::LocalLogStats;
pub use self::read::Replayed;

use self::core::{Core, Counters};
use self::disk::{Disk, OsDisk};
use self::recover::{Recovered, recover};
use self::state::{Phase, Sizes, State, Waiting};
use self::writer::Writer;
use crate::config::LocalLogConfig;
use crate::counting::CountedBatch;
use crate::error::{AdmissionError, AppendError, OpenError, ReadError, SealError};
use crate::loglet::{Append, DeliverySink, LogReader, Loglet, Sealed};
use crate::metrics::Metrics;
use crate::record::Applied;

/// An open local log. Dropping it writes what waits, then closes it.
pub struct LocalLog {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
    _lock: Box<dyn Send + Sync>,
}

impl LocalLog {
    /// Opens the log in `folder`, made if it is not there.
    ///
    /// Finds the end of the stream and makes it clean; the rest is read by [`LocalLog::replay_all`], which is called
    /// once, before anything is appended. `sink` is called from the log's own thread.
    ///
    /// Errors: `Locked`; `Corrupt` naming file and offset; settings; the file system.
    pub fn open(
        folder: impl Into<PathBuf>,
        config: &LocalLogConfig,
        sink: Arc<dyn DeliverySink>,
    ) -> Result<Self, OpenError> {
        if let Some(fault) = config.faults().into_iter().next() {
            return Err(OpenError::Config(fault));
        }
        let folder = folder.into();
        let disk = OsDisk::new(&folder).map_err(|error| OpenError::Write { path: folder, source: Arc::new(error) })?;
        Self::open_on(Arc::new(disk), Sizes::new(config), sink, Threads::Own)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        sizes: Sizes,
        sink: Arc<dyn DeliverySink>,
        threads: Threads,
    ) -> Result<Self, OpenError> {
        let folder = disk.folder().to_owned();
        let write_error = |source| OpenError::Write { path: folder.clone(), source: Arc::new(source) };
        let lock = disk.lock().map_err(write_error)?.ok_or_else(|| OpenError::Locked { path: folder.clone() })?;
        let recovered = recover(&*disk, &sizes)?;
        let (segments, bytes) = (recovered.segments.len(), recovered.end - recovered.segments[0].start);
        let core = Arc::new(make_core(disk.clone(), sizes, sink, threads, recovered));
        // A first table calls synced what was found, and stands at the begin of a new log.
        core.step();
        if let Phase::Closed(Some((path, source))) = &core.lock().phase {
            return Err(OpenError::Write { path: path.clone(), source: source.clone() });
        }
        tracing::info!(folder = %folder.display(), segments, bytes, "opened the log");
        let mut log = Self { core, threads: Vec::new(), _lock: lock };
        if threads == Threads::Own {
            log.spawn("log-writer", Core::run_writer).map_err(write_error)?;
            log.spawn("log-keeper", Core::run_keeper).map_err(write_error)?;
        }
        Ok(log)
    }

    fn spawn(&mut self, name: &str, run: fn(&Core)) -> std::io::Result<()> {
        let core = self.core.clone();
        self.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&core))?);
        Ok(())
    }

    /// Reads the whole untrimmed stream once and gives every counted batch of every partition to `each`, in the order of
    /// the stream.
    ///
    /// * `from`: what the partition's store has applied; asked once for each partition that the log knows. Batches up to
    ///   there are not given out. Check [`same_history`](crate::same_history) before.
    /// * `cluster`: whose log it must be; `None` takes the one that the first record names.
    /// * Errors: `Trimmed` if a store is older than what is left; `Corrupt`; a foreign cluster; any error of `each`,
    ///   which ends the replay.
    pub fn replay_all<E: From<ReadError>>(
        &self,
        cluster: Option<ClusterId>,
        from: &dyn Fn(PartitionId) -> Applied,
        each: &mut dyn FnMut(PartitionId, CountedBatch) -> Result<(), E>,
    ) -> Result<Replayed, E> {
        read::replay_all(&self.core, cluster, from, each)
    }

    /// The partitions that hold the oldest segment while more than `flush-behind` is untrimmed: flush their stores, then
    /// trim. Empty otherwise, which costs next to nothing to find out.
    pub fn held_back(&self) -> Vec<PartitionId> {
        self.core.held_back()
    }

    /// How much was done since it was opened.
    pub fn stats(&self) -> LocalLogStats {
        self.core.stats()
    }

    /// One round of the work of both threads, for a log that was opened without.
    #[cfg(test)]
    fn step(&self) {
        self.core.step();
    }
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    Own,
    /// The test, with `step`.
    #[cfg_attr(not(test), allow(dead_code))]
    None,
}

fn make_core(
    disk: Arc<dyn Disk>,
    sizes: Sizes,
    sink: Arc<dyn DeliverySink>,
    threads: Threads,
    recovered: Recovered,
) -> Core {
    let Recovered { log, segments, spares, end, number, table, tabled } = recovered;
    let active = segments.back().expect("there is an active segment").clone();
    let trims = table.iter().filter(|(_, row)| row.trim.lsn != Lsn::NONE).map(|(partition, row)| (partition, row.trim));
    let sealed = table.iter().filter(|(_, row)| row.sealed);
    let sealed = sealed.map(|(partition, row)| (partition, Some(Sealed { last: row.last, tail: row.last.next() })));
    let mut state = State {
        phase: Phase::Open,
        waiting: Waiting::default(),
        in_flight: 0,
        active_usable: sizes.usable(active.end() - end),
        next_start: spares.back().unwrap_or(&active).end(),
        spares,
        segments,
        removable: VecDeque::new(),
        committed: end,
        trims: trims.collect(),
        sealed: sealed.collect(),
        table_wanted: true,
        disk_full: None,
        writer_sleeps: false,
        keeper_sleeps: false,
    };
    let durable: BTreeMap<_, _> = tabled.iter().map(|(partition, row)| (partition, row.trim)).collect();
    state.release(&durable);
    Core {
        disk,
        log,
        sizes,
        sink,
        metrics: Metrics::new(),
        counters: Counters::default(),
        state: Mutex::new(state),
        to_write: Condvar::new(),
        to_keep: Condvar::new(),
        round: Condvar::new(),
        writer: Mutex::new(Writer::new(active, end, number, table)),
        threaded: threads == Threads::Own,
    }
}

impl Loglet for LocalLog {
    fn append(&self, batch: Append<'_>) -> Result<u16, AppendError> {
        self.core.append(batch)
    }

    fn admission(&self) -> Result<(), AdmissionError> {
        self.core.admission()
    }

    fn read(&self, partition: PartitionId, from: Lsn) -> Result<Box<dyn LogReader>, ReadError> {
        Ok(Box::new(read::PartitionReader::new(self.core.clone(), partition, from)?))
    }

    fn fetch(&self, partition: PartitionId, lsn: Lsn) -> Result<Option<Applied>, ReadError> {
        read::fetch(&self.core, partition, lsn)
    }

    fn trim(&self, partition: PartitionId, upto: Applied) {
        self.core.trim(partition, upto);
    }

    fn trim_point(&self, partition: PartitionId) -> Lsn {
        self.core.lock().trim_point(partition)
    }

    fn tail(&self, _partition: PartitionId) -> Result<Lsn, ReadError> {
        Ok(self.core.committed())
    }

    fn seal(&self, partition: PartitionId) -> Result<Sealed, SealError> {
        self.core.seal(partition)
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.core.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
    }
}
