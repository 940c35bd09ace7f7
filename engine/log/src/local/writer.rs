//! One round of the writer: everything that waits becomes groups at the end of the stream, then one sync, then one
//! call to the sink.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use millrace_model::{Lsn, PartitionId};

use super::core::Core;
use super::disk;
use super::format::{ALIGN, GROUP_HEADER, GroupHeader, GroupKind, RECORD_HEADER};
use super::segment::Segment;
use super::state::{Entry, Phase, State, Waiting};
use super::table::{ROW, Table};
use crate::error::DeliveryError;
use crate::loglet::{Delivery, Kind, Outcome, Sealed};
use crate::record::Applied;

/// The end of the stream.
pub(super) struct Writer {
    pub active: Arc<Segment>,
    /// Where the next group begins.
    pub end: u64,
    /// Its number.
    pub number: u64,
    /// Everything before is durable.
    pub synced: u64,
    pub table: Table,
    /// What is being written; swapped with what waits, so that neither is allocated anew.
    taken: Waiting,
    reports: Vec<Delivery>,
    /// Segments with writes that are not synced.
    unsynced: Vec<Arc<Segment>>,
    body: Vec<u8>,
}

/// What a round has to do besides the records.
struct Round {
    table_wanted: bool,
    closing: bool,
}

/// A write or sync failed.
pub(super) struct Failed {
    pub path: PathBuf,
    pub error: io::Error,
}

impl Writer {
    pub fn new(active: Arc<Segment>, end: u64, number: u64, table: Table) -> Self {
        Self {
            active,
            end,
            number,
            synced: end,
            table,
            taken: Waiting::default(),
            reports: Vec::new(),
            unsynced: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Writes whatever waits. Does nothing if nothing does.
    pub fn round(&mut self, core: &Core) {
        let Some(round) = self.take(core) else { return };
        match self.write(core, &round) {
            Ok(tabled) => self.finish(core, &round, tabled),
            Err(failed) => self.fail(core, failed),
        }
        self.taken.reset();
        if !self.reports.is_empty() {
            core.sink.delivered(&self.reports);
            self.reports.clear();
        }
    }

    fn take(&mut self, core: &Core) -> Option<Round> {
        let mut state = core.lock();
        let closing = match state.phase {
            Phase::Closed(_) => return None,
            Phase::Closing => true,
            Phase::Open => false,
        };
        let table_wanted = (state.table_wanted || closing) && self.has_room_for_table(core, &state);
        if state.waiting.entries.is_empty() && !table_wanted {
            // A table that has no room waits for the keeper's next segment.
            state.table_wanted = false;
            if closing {
                state.phase = Phase::Closed(None);
                core.round.notify_all();
            }
            return None;
        }
        std::mem::swap(&mut self.taken, &mut state.waiting);
        state.in_flight = self.taken.cost;
        if table_wanted {
            state.table_wanted = false;
            state.in_flight += core.sizes.table_max;
        }
        self.refresh_trims(&state);
        // Only here, where everything that was appended before a seal is taken along with it.
        for &partition in state.sealed.keys() {
            self.table.row(partition).sealed = true;
        }
        Some(Round { table_wanted, closing })
    }

    fn has_room_for_table(&self, core: &Core, state: &State) -> bool {
        state.room(&core.sizes) >= core.sizes.table_max
    }

    fn refresh_trims(&mut self, state: &State) {
        for (&partition, &trim) in &state.trims {
            self.table.row(partition).trim = trim;
        }
    }

    /// Returns the trims and seals of the last table among what became durable.
    fn write(&mut self, core: &Core, round: &Round) -> Result<Option<Table>, Failed> {
        let mut taken = std::mem::take(&mut self.taken);
        let placed = self.place(core, &taken, round);
        std::mem::swap(&mut taken, &mut self.taken);
        let tabled = placed?;
        self.sync(core)?;
        if let Some(since) = self.taken.since {
            core.metrics.append_duration.record(since.elapsed());
        }
        Ok(tabled)
    }

    /// Makes everything that was written durable.
    pub fn sync(&mut self, core: &Core) -> Result<(), Failed> {
        for segment in self.unsynced.drain(..) {
            let before = Instant::now();
            segment.file.sync().map_err(|error| Failed { path: segment.path.clone(), error })?;
            core.metrics.sync_duration.record(before.elapsed());
            core.counters.syncs.fetch_add(1, Ordering::Relaxed);
            core.metrics.syncs.increment(1);
        }
        core.metrics.sync_bytes.record((self.end - self.synced) as f64);
        self.synced = self.end;
        Ok(())
    }

    /// Writes all groups of a round.
    fn place(&mut self, core: &Core, taken: &Waiting, round: &Round) -> Result<Option<Table>, Failed> {
        let mut tabled = None;
        let (mut first, mut start) = (0, 0);
        while first < taken.entries.len() {
            let room = core.sizes.group_max.min(self.active.end() - self.end);
            let fits = |entry: &&Entry| GroupHeader::length_of((entry.end - start) as u64) <= room;
            let count = taken.entries[first..].iter().take_while(fits).count();
            if count == 0 {
                tabled = Some(self.roll(core, taken, first)?);
                continue;
            }
            let entries = &taken.entries[first..first + count];
            let end = entries.last().expect("at least one").end;
            let position = self.write_group(core, GroupKind::Records, count as u32, &taken.bytes[start..end])?;
            self.report(entries, position + GROUP_HEADER, start);
            (first, start) = (first + count, end);
        }
        if round.table_wanted && tabled.is_none() {
            let rows = self.table.iter().count();
            if GroupHeader::length_of((rows * ROW) as u64) > self.active.end() - self.end {
                tabled = Some(self.roll(core, taken, first)?);
            } else {
                self.write_table(core)?;
                tabled = Some(self.table.clone());
            }
        }
        Ok(tabled)
    }

    /// Notes where the records of a group came to lie, and what to report of them.
    fn report(&mut self, entries: &[Entry], body: u64, start: usize) {
        let mut begin = start;
        for entry in entries {
            let lsn = Lsn(body + (begin - start) as u64);
            begin = entry.end;
            let row = self.table.row(entry.partition);
            let before = std::mem::replace(&mut row.last, lsn);
            if entry.is_first {
                // Kept with the report that the batch's last record completes; batches of a round are not interleaved.
                self.reports.push(placed(entry, before, lsn));
            } else if let Some(Delivery { outcome: Outcome::Placed { lsn: last, crc, .. }, .. }) =
                self.reports.last_mut()
            {
                (*last, *crc) = (lsn, entry.crc);
            }
            if let (Some((kind, parts)), Some(report)) = (entry.last_of, self.reports.last_mut()) {
                (report.kind, report.parts) = (kind, parts);
            }
        }
    }

    /// Goes on in the next spare segment, which begins with a table.
    fn roll(&mut self, core: &Core, taken: &Waiting, first: usize) -> Result<Table, Failed> {
        let mut state = core.lock();
        let Some(next) = state.spares.pop_front() else {
            // Room was promised by what is reserved: only a defect comes here.
            let error = io::Error::new(io::ErrorKind::StorageFull, "no reserved segment");
            return Err(Failed { path: self.active.path.clone(), error });
        };
        let known = self.active.holders.set(self.table.since(self.active.start));
        assert!(known.is_ok(), "a segment is left once");
        state.segments.push_back(next.clone());
        self.refresh_trims(&state);
        let length = next.end() - next.first();
        state.active_usable = core.sizes.usable(length).saturating_sub(core.sizes.table_max);
        state.in_flight = taken.entries[first..]
            .iter()
            .zip(starts(taken, first))
            .fold(0, |cost, (entry, start)| cost + core.sizes.cost(entry.end - start - RECORD_HEADER as usize));
        core.wake_keeper(&mut state);
        drop(state);
        self.end = next.first();
        self.active = next;
        self.write_table(core)?;
        Ok(self.table.clone())
    }

    pub fn write_table(&mut self, core: &Core) -> Result<(), Failed> {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let count = self.table.encode(&mut body);
        let written = self.write_group(core, GroupKind::Table, count, &body);
        self.body = body;
        written.map(drop)
    }

    fn write_group(&mut self, core: &Core, kind: GroupKind, count: u32, body: &[u8]) -> Result<u64, Failed> {
        let length = GroupHeader::length_of(body.len() as u64);
        let position = self.end;
        assert!(length <= core.sizes.group_max && position + length <= self.active.end(), "a group fits its segment");
        let (number, synced) = (self.number, self.synced);
        let group = GroupHeader { kind, length: length as u32, number, position, synced, count };
        let (header, padding) = group.encode(core.log, body);
        let offset = position - self.active.start;
        disk::write_all(&*self.active.file, offset, [&header, body, &[0; ALIGN as usize][..padding]])
            .map_err(|error| Failed { path: self.active.path.clone(), error })?;
        if !self.unsynced.last().is_some_and(|last| Arc::ptr_eq(last, &self.active)) {
            self.unsynced.push(self.active.clone());
        }
        self.end += length;
        self.number += 1;
        core.counters.groups.fetch_add(1, Ordering::Relaxed);
        Ok(position)
    }

    fn finish(&mut self, core: &Core, round: &Round, tabled: Option<Table>) {
        let batches = self.reports.len() as u64;
        let headers = self.taken.entries.len() * RECORD_HEADER as usize;
        let bytes = (self.taken.bytes.len() - headers) as u64;
        core.counters.batches.fetch_add(batches, Ordering::Relaxed);
        core.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        core.metrics.append_batches.increment(batches);
        core.metrics.append_bytes.increment(bytes);

        let mut state = core.lock();
        state.committed = self.end;
        state.in_flight = 0;
        state.active_usable = core.sizes.usable(self.active.end() - self.end);
        if let Some(table) = tabled {
            self.make_known(core, &mut state, &table);
        }
        if round.closing {
            state.phase = Phase::Closed(None);
        }
        let oldest = state.segments.front().expect("there is an active segment").start;
        core.metrics.untrimmed.set((self.end - oldest) as f64);
        if !matches!(state.phase, Phase::Open) || !state.sealed.is_empty() {
            core.round.notify_all();
        }
    }

    /// A table is durable: its seals hold, and what it says is trimmed may be removed.
    fn make_known(&self, core: &Core, state: &mut State, table: &Table) {
        for (partition, sealed) in &mut state.sealed {
            let row = table.get(*partition);
            if row.sealed && sealed.is_none() {
                let last = self.table.get(*partition).last;
                *sealed = Some(Sealed { last, tail: last.next() });
            }
        }
        let trims: BTreeMap<PartitionId, Applied> =
            table.iter().map(|(partition, row)| (partition, row.trim)).collect();
        state.release(&trims);
        if !state.removable.is_empty() {
            core.wake_keeper(state);
        }
    }

    /// Closes the log for good: what was being written and what waits is unknown.
    fn fail(&mut self, core: &Core, failed: Failed) {
        let Failed { path, error } = failed;
        let source = Arc::new(error);
        tracing::error!(error_code = "LOG0002", path = %path.display(), error = %source, "the log is closed");
        let mut state = core.lock();
        state.phase = Phase::Closed(Some((path.clone(), source.clone())));
        let waiting = std::mem::take(&mut state.waiting);
        core.round.notify_all();
        core.to_keep.notify_all();
        drop(state);
        self.reports.clear();
        for entry in self.taken.entries.iter().chain(&waiting.entries) {
            if let Some((kind, parts)) = entry.last_of {
                let outcome = Outcome::Failed(DeliveryError::Io { path: path.clone(), source: source.clone() });
                self.reports.push(Delivery { partition: entry.partition, kind, parts, outcome });
            }
        }
    }
}

/// Where each record from `first` on begins in the buffer.
fn starts(taken: &Waiting, first: usize) -> impl Iterator<Item = usize> + '_ {
    let before = first.checked_sub(1).map_or(0, |before| taken.entries[before].end);
    std::iter::once(before).chain(taken.entries[first..].iter().map(|entry| entry.end))
}

fn placed(entry: &Entry, after: Lsn, lsn: Lsn) -> Delivery {
    let outcome = Outcome::Placed { after, lsn, crc: entry.crc };
    // Kind and parts are set with the batch's last record.
    Delivery { partition: entry.partition, kind: Kind::Announce, parts: 0, outcome }
}
