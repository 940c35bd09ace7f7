//! The running log: what appends do, and the two threads' loops. The work of a round is in `writer.rs`, `keeper.rs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use millrace_model::{Lsn, PartitionId};

use super::disk::Disk;
use super::format::{LogId, put_record};
use super::state::{Entry, Phase, Sizes, State, WAITING_MAX};
use super::table::PARTITIONS_MAX;
use super::writer::Writer;
use crate::error::{AdmissionError, AppendError, SealError};
use crate::loglet::{Append, DeliverySink, Kind, Sealed};
use crate::metrics::Metrics;
use crate::record::{Applied, BATCH_BYTES_MAX, RecordHeader, parts};

/// How much the log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalLogStats {
    /// Batches made durable.
    pub batches: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Groups written.
    pub groups: u64,
    /// Files synced for them.
    pub syncs: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub batches: AtomicU64,
    pub bytes: AtomicU64,
    pub groups: AtomicU64,
    pub syncs: AtomicU64,
}

pub(super) struct Core {
    pub disk: Arc<dyn Disk>,
    pub log: LogId,
    pub sizes: Sizes,
    pub sink: Arc<dyn DeliverySink>,
    pub metrics: Metrics,
    pub counters: Counters,
    pub state: Mutex<State>,
    /// Something waits for the writer.
    pub to_write: Condvar,
    /// Something waits for the keeper.
    pub to_keep: Condvar,
    /// A round of the writer is over.
    pub round: Condvar,
    /// Locked for a round at a time, by the writer's thread; by others only at the start.
    pub writer: Mutex<Writer>,
    /// Whether there are threads; else the rounds are done by who wants something.
    pub threaded: bool,
}

impl Core {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect("the writer does not panic")
    }

    pub fn append(&self, batch: Append<'_>) -> Result<u16, AppendError> {
        let Append { partition, cluster, kind, payload } = batch;
        if partition.0 >= PARTITIONS_MAX && partition != PartitionId::META {
            return Err(AppendError::Partition { partition, max: PARTITIONS_MAX });
        }
        let record_max = self.sizes.record_max;
        let max = if kind == Kind::Announce { record_max } else { BATCH_BYTES_MAX };
        if payload.len() > max {
            return Err(AppendError::TooLarge { bytes: payload.len(), max });
        }
        let count = parts(payload.len(), record_max);
        let parts = u16::try_from(count).expect("a largest batch has fewer records");
        let piece = |part: u16| {
            let start = usize::from(part - 1) * record_max;
            &payload[start..payload.len().min(start + record_max)]
        };
        let head = |part: u16| {
            let header = match kind {
                Kind::Announce => RecordHeader::announcement(cluster),
                Kind::Commands { epoch, number } => {
                    RecordHeader { part, parts, epoch, number: number + u64::from(part - 1), cluster }
                }
            };
            (header, header.crc(piece(part)))
        };
        // Checksums are made before the lock is taken. One record, the usual case, allocates nothing.
        let first = head(1);
        let rest: Vec<_> = (2..=parts).map(head).collect();
        let cost = count as u64 * self.sizes.cost(0) + payload.len() as u64;

        let mut state = self.lock();
        self.may_append(&state, partition, payload.len(), cost)?;
        let waiting = &mut state.waiting;
        for (part, (header, crc)) in (1..).zip(std::iter::once(first).chain(rest)) {
            put_record(&mut waiting.bytes, partition, &header, crc, piece(part));
            let last_of = (part == parts).then_some((kind, parts));
            waiting.entries.push(Entry { end: waiting.bytes.len(), partition, crc, is_first: part == 1, last_of });
        }
        waiting.cost += cost;
        waiting.since.get_or_insert_with(Instant::now);
        self.wake_writer(&mut state);
        Ok(if kind == Kind::Announce { 0 } else { parts })
    }

    fn may_append(&self, state: &State, partition: PartitionId, bytes: usize, cost: u64) -> Result<(), AppendError> {
        if !matches!(state.phase, Phase::Open) {
            return Err(AppendError::Closed { source: state.phase.cause() });
        }
        if state.sealed.contains_key(&partition) {
            return Err(AppendError::Sealed { partition });
        }
        let waiting = state.waiting.bytes.len();
        if waiting + bytes > WAITING_MAX {
            return Err(AppendError::Backlog { waiting, max: WAITING_MAX });
        }
        if cost > state.room(&self.sizes) {
            return Err(AppendError::Full { bytes });
        }
        Ok(())
    }

    pub fn admission(&self) -> Result<(), AdmissionError> {
        let state = self.lock();
        let waiting = state.waiting.bytes.len();
        match (&state.phase, &state.disk_full) {
            (Phase::Open, None) if waiting <= BATCH_BYTES_MAX => Ok(()),
            (Phase::Open, None) => Err(AdmissionError::Backlog { waiting }),
            (Phase::Open, Some(source)) => Err(AdmissionError::Disk { source: source.clone() }),
            _ => Err(AdmissionError::Closed),
        }
    }

    pub fn trim(&self, partition: PartitionId, upto: Applied) {
        let mut state = self.lock();
        // Nobody can have applied what is not durable; believing it would remove what is.
        if upto.lsn.0 >= state.committed || upto.lsn <= state.trim_point(partition) {
            return;
        }
        state.trims.insert(partition, upto);
        if state.unneeded(&state.trims) > 0 {
            state.table_wanted = true;
            self.wake_writer(&mut state);
        }
    }

    pub fn held_back(&self) -> Vec<PartitionId> {
        let state = self.lock();
        let oldest = state.segments.front().expect("there is an active segment");
        if state.committed - oldest.start <= self.sizes.flush_behind {
            return Vec::new();
        }
        let holders = oldest.holders.get().map_or(&[][..], |holders| holders);
        let holding = holders.iter().filter(|(partition, last)| state.trim_point(*partition) < *last);
        holding.map(|(partition, _)| *partition).collect()
    }

    pub fn seal(&self, partition: PartitionId) -> Result<Sealed, SealError> {
        let mut state = self.lock();
        loop {
            if let Some(Some(sealed)) = state.sealed.get(&partition) {
                return Ok(*sealed);
            }
            if !matches!(state.phase, Phase::Open) {
                return Err(SealError { partition, source: state.phase.cause() });
            }
            state.sealed.insert(partition, None);
            state.table_wanted = true;
            self.wake_writer(&mut state);
            if self.threaded {
                state = self.round.wait(state).expect("no holder of this lock panics");
            } else {
                drop(state);
                self.step();
                state = self.lock();
            }
        }
    }

    pub fn committed(&self) -> Lsn {
        Lsn(self.lock().committed)
    }

    /// Wakes the writer if it sleeps: a system call that is saved while it is busy.
    pub fn wake_writer(&self, state: &mut State) {
        if state.writer_sleeps {
            state.writer_sleeps = false;
            self.to_write.notify_one();
        }
    }

    pub fn wake_keeper(&self, state: &mut State) {
        if state.keeper_sleeps {
            state.keeper_sleeps = false;
            self.to_keep.notify_one();
        }
    }

    /// One round of each thread's work, if there is any.
    pub fn step(&self) {
        self.keep();
        self.writer().round(self);
    }

    /// The writer's thread.
    pub fn run_writer(&self) {
        while self.wait_for_work() {
            self.writer().round(self);
        }
    }

    /// Sleeps until something is to be written; `false`: never again.
    fn wait_for_work(&self) -> bool {
        let mut state = self.lock();
        loop {
            match state.phase {
                Phase::Closed(_) => return false,
                Phase::Closing => return true,
                Phase::Open if !state.waiting.entries.is_empty() || state.table_wanted => return true,
                Phase::Open => {}
            }
            state.writer_sleeps = true;
            state = self.to_write.wait(state).expect("no holder of this lock panics");
            state.writer_sleeps = false;
        }
    }

    /// Ends appends; the writer writes what waits and then a last table.
    pub fn close(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closing;
        }
        self.to_write.notify_all();
        self.to_keep.notify_all();
        self.round.notify_all();
        drop(state);
        if !self.threaded {
            self.writer().round(self);
        }
    }

    pub fn stats(&self) -> LocalLogStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { batches, bytes, groups, syncs } = &self.counters;
        LocalLogStats { batches: read(batches), bytes: read(bytes), groups: read(groups), syncs: read(syncs) }
    }
}
