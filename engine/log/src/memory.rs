//! The provider for tests and the simulation: nothing happens in it until somebody says so.
//!
//! Every node has a [`MemoryWriter`] on the one [`MemoryLog`]. An append only queues its records; [`MemoryLog::step`]
//! lets one land (again, out of order, late), be reported (truly, without its place, as failed) or be forgotten. No
//! threads, no clock: who chooses the steps decides everything. LSNs are 1, 2, 3 … per partition, as dense as offsets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use millrace_model::{Lsn, PartitionId};

use crate::error::{AppendError, DeliveryError, ReadError, SealError};
use crate::loglet::{Append, Delivery, DeliverySink, Kind, LogReader, Loglet, Outcome, Sealed};
use crate::record::{Applied, BATCH_BYTES_MAX, Record, RecordHeader, parts};

/// Names one accepted batch, in the order in which all writers' batches were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// Names one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub usize);

/// One thing that can happen to what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A record (part, from 1) becomes durable at the tail. May be repeated: a duplicate.
    Land(AppendId, u16),
    /// Its writer learns what became of the batch.
    Report(AppendId, Report),
    /// What has not landed never will. Without a report, nobody is told.
    Forget(AppendId),
}

/// What a writer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// The truth. Only after every record landed.
    Placed,
    /// Stored, without the place (librdkafka's −1). Only after every record landed.
    Somewhere,
    /// It failed. Nothing follows from that: it may have landed, or may land later.
    Failed,
}

/// The log that all writers share. Cloning gives another handle.
#[derive(Clone)]
pub struct MemoryLog {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    record_max: usize,
    next: u64,
    logs: BTreeMap<PartitionId, Log>,
    sinks: Vec<Option<Arc<dyn DeliverySink>>>,
    in_flight: BTreeMap<AppendId, InFlight>,
}

#[derive(Default)]
struct Log {
    records: VecDeque<Record>,
    last: Lsn,
    trim: Applied,
    sealed: bool,
}

struct InFlight {
    writer: WriterId,
    partition: PartitionId,
    kind: Kind,
    records: Vec<(RecordHeader, u32, Bytes)>,
    /// Where each record landed first.
    landed: Vec<Option<Lsn>>,
    reported: bool,
    forgotten: bool,
}

impl InFlight {
    fn placed(&self) -> Option<Outcome> {
        let landed: Vec<u64> = self.landed.iter().map(|lsn| lsn.map(|lsn| lsn.0)).collect::<Option<_>>()?;
        let first = *landed.first()?;
        if landed.iter().zip(first..).any(|(&lsn, expected)| lsn != expected) {
            return Some(Outcome::Somewhere);
        }
        let crc = self.records.last()?.1;
        Some(Outcome::Placed { after: Lsn(first - 1), lsn: Lsn(*landed.last()?), crc })
    }

    fn delivery(&self, outcome: Outcome) -> Delivery {
        Delivery { partition: self.partition, kind: self.kind, parts: self.records.len() as u16, outcome }
    }
}

impl MemoryLog {
    /// An empty log whose records take at most `record_max` bytes of payload (at least 1).
    pub fn new(record_max: usize) -> Self {
        assert!(record_max > 0, "a record must hold something");
        let logs = BTreeMap::new();
        let inner = Inner { record_max, next: 1, logs, sinks: Vec::new(), in_flight: BTreeMap::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// A further node's access to it.
    pub fn writer(&self, sink: Arc<dyn DeliverySink>) -> MemoryWriter {
        let mut inner = self.lock();
        inner.sinks.push(Some(sink));
        MemoryWriter { id: WriterId(inner.sinks.len() - 1), log: self.clone() }
    }

    /// Everything that can happen next, in a fixed order, repeats of landed records included.
    pub fn steps(&self) -> Vec<Step> {
        let inner = self.lock();
        let mut steps = Vec::new();
        // Reports come in the order of appending per writer and partition.
        let mut reporting = Vec::new();
        for (&id, flight) in &inner.in_flight {
            if !flight.forgotten && !inner.is_sealed(flight.partition) {
                steps.extend((1..=flight.records.len() as u16).map(|part| Step::Land(id, part)));
                steps.push(Step::Forget(id));
            }
            let lane = (flight.writer, flight.partition);
            if flight.reported || reporting.contains(&lane) {
                continue;
            }
            reporting.push(lane);
            if flight.landed.iter().all(Option::is_some) {
                steps.extend([Step::Report(id, Report::Placed), Step::Report(id, Report::Somewhere)]);
            }
            steps.push(Step::Report(id, Report::Failed));
        }
        steps
    }

    /// Does one of [`MemoryLog::steps`]. Panics on any other.
    pub fn step(&self, step: Step) {
        let mut inner = self.lock();
        match step {
            Step::Land(id, part) => inner.land(id, usize::from(part - 1)),
            Step::Forget(id) => {
                inner.flight(id).forgotten = true;
                inner.tidy(id);
            }
            Step::Report(id, report) => {
                let (sink, delivery) = inner.report(id, report);
                drop(inner);
                if let Some(sink) = sink {
                    sink.delivered(&[delivery]);
                }
            }
        }
    }

    /// Lands and reports truly, in order, whatever is in flight: a log without faults. What was forgotten before it landed
    /// is reported as failed. One call per sink.
    pub fn run(&self) {
        let mut inner = self.lock();
        let ids: Vec<_> = inner.in_flight.keys().copied().collect();
        let mut reports: BTreeMap<usize, Vec<Delivery>> = BTreeMap::new();
        for id in ids {
            let flight = inner.flight(id);
            let unlanded: Vec<_> = (0..flight.records.len()).filter(|&part| flight.landed[part].is_none()).collect();
            let (writer, reported) = (flight.writer.0, flight.reported);
            let is_lost = flight.forgotten && !unlanded.is_empty();
            if !is_lost {
                unlanded.into_iter().for_each(|part| inner.land(id, part));
            }
            if !reported {
                let report = if is_lost { Report::Failed } else { Report::Placed };
                reports.entry(writer).or_default().push(inner.report(id, report).1);
            }
            if let Some(flight) = inner.in_flight.get_mut(&id) {
                flight.forgotten = true;
                inner.tidy(id);
            }
        }
        let calls: Vec<_> =
            reports.into_iter().map(|(writer, reports)| (inner.sinks[writer].clone(), reports)).collect();
        drop(inner);
        for (sink, reports) in calls {
            if let Some(sink) = sink {
                sink.delivered(&reports);
            }
        }
    }

    /// The writer's process is gone: it hears nothing more. What it had in flight may still land.
    pub fn crash(&self, writer: WriterId) {
        let mut inner = self.lock();
        inner.sinks[writer.0] = None;
        let ids: Vec<_> = inner.in_flight.keys().copied().filter(|id| inner.in_flight[id].writer == writer).collect();
        for id in ids {
            inner.flight(id).reported = true;
            inner.tidy(id);
        }
    }

    /// The next record's LSN skips `count` numbers.
    pub fn skip(&self, partition: PartitionId, count: u64) {
        self.lock().logs.entry(partition).or_default().last.0 += count;
    }

    /// Whether this record of an append that is in flight has landed.
    pub fn has_landed(&self, id: AppendId, part: u16) -> bool {
        self.lock().in_flight.get(&id).is_some_and(|flight| flight.landed[usize::from(part - 1)].is_some())
    }

    /// All records of a partition that are not trimmed.
    pub fn records(&self, partition: PartitionId) -> Vec<Record> {
        self.lock().logs.get(&partition).map(|log| log.records.iter().cloned().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

impl Inner {
    fn flight(&mut self, id: AppendId) -> &mut InFlight {
        self.in_flight.get_mut(&id).expect("the append is in flight")
    }

    fn is_sealed(&self, partition: PartitionId) -> bool {
        self.logs.get(&partition).is_some_and(|log| log.sealed)
    }

    fn land(&mut self, id: AppendId, part: usize) {
        let flight = self.in_flight.get_mut(&id).expect("the append is in flight");
        let log = self.logs.entry(flight.partition).or_default();
        assert!(!log.sealed && !flight.forgotten, "{id:?} cannot land any more");
        log.last = log.last.next();
        flight.landed[part].get_or_insert(log.last);
        let (header, crc, payload) = flight.records[part].clone();
        log.records.push_back(Record { lsn: log.last, header, crc, payload });
    }

    fn report(&mut self, id: AppendId, report: Report) -> (Option<Arc<dyn DeliverySink>>, Delivery) {
        let flight = self.in_flight.get_mut(&id).expect("the append is in flight");
        assert!(!flight.reported, "{id:?} was reported");
        flight.reported = true;
        let outcome = match report {
            Report::Placed => flight.placed().expect("every record has landed"),
            Report::Somewhere => flight.placed().map(|_| Outcome::Somewhere).expect("every record has landed"),
            Report::Failed => Outcome::Failed(DeliveryError::Failed("told to".to_owned())),
        };
        let reported = (self.sinks[flight.writer.0].clone(), flight.delivery(outcome));
        self.tidy(id);
        reported
    }

    /// Drops what nothing can happen to any more.
    fn tidy(&mut self, id: AppendId) {
        let flight = &self.in_flight[&id];
        if flight.reported && flight.forgotten {
            self.in_flight.remove(&id);
        }
    }

    fn trim_point(&self, partition: PartitionId) -> Lsn {
        self.logs.get(&partition).map_or(Lsn::NONE, |log| log.trim.lsn)
    }
}

/// One node's access to a [`MemoryLog`].
pub struct MemoryWriter {
    id: WriterId,
    log: MemoryLog,
}

impl MemoryWriter {
    /// For [`MemoryLog::crash`].
    pub fn id(&self) -> WriterId {
        self.id
    }

    /// What a leader does after a failed delivery: nothing of the partition that has not landed ever will, and what
    /// was not reported is reported as failed.
    pub fn purge(&self, partition: PartitionId) {
        let mut inner = self.log.lock();
        let mine = |flight: &InFlight| flight.writer == self.id && flight.partition == partition;
        let reports = inner.fail(mine);
        drop(inner);
        reports.deliver();
    }
}

struct Reports(Vec<(Option<Arc<dyn DeliverySink>>, Delivery)>);

impl Reports {
    fn deliver(self) {
        for (sink, delivery) in self.0 {
            if let Some(sink) = sink {
                sink.delivered(&[delivery]);
            }
        }
    }
}

impl Inner {
    fn fail(&mut self, which: impl Fn(&InFlight) -> bool) -> Reports {
        let ids: Vec<_> = self.in_flight.iter().filter(|(_, flight)| which(flight)).map(|(&id, _)| id).collect();
        let mut reports = Vec::new();
        for id in ids {
            self.flight(id).forgotten = true;
            if self.flight(id).reported {
                self.tidy(id);
            } else {
                reports.push(self.report(id, Report::Failed));
            }
        }
        Reports(reports)
    }
}

impl Loglet for MemoryWriter {
    fn append(&self, batch: Append<'_>) -> Result<u16, AppendError> {
        let mut inner = self.log.lock();
        let Append { partition, cluster, kind, payload } = batch;
        if inner.is_sealed(partition) {
            return Err(AppendError::Sealed { partition });
        }
        let max = if kind == Kind::Announce { inner.record_max } else { BATCH_BYTES_MAX };
        if payload.len() > max {
            return Err(AppendError::TooLarge { bytes: payload.len(), max });
        }
        let parts = parts(payload.len(), inner.record_max);
        let Ok(of) = u16::try_from(parts) else {
            return Err(AppendError::TooLarge { bytes: payload.len(), max: inner.record_max * usize::from(u16::MAX) });
        };
        let record = |i: u16| {
            let start = usize::from(i) * inner.record_max;
            let piece = &payload[start..payload.len().min(start + inner.record_max)];
            let header = match kind {
                Kind::Announce => RecordHeader::announcement(cluster),
                Kind::Commands { epoch, number } => {
                    RecordHeader { part: i + 1, parts: of, epoch, number: number + u64::from(i), cluster }
                }
            };
            (header, header.crc(piece), Bytes::copy_from_slice(piece))
        };
        let records: Vec<_> = (0..of).map(record).collect();
        let id = AppendId(inner.next);
        inner.next += 1;
        let landed = vec![None; parts];
        let (writer, reported) = (self.id, inner.sinks[self.id.0].is_none());
        let flight = InFlight { writer, partition, kind, records, landed, reported, forgotten: false };
        inner.in_flight.insert(id, flight);
        Ok(if kind == Kind::Announce { 0 } else { of })
    }

    fn read(&self, partition: PartitionId, from: Lsn) -> Result<Box<dyn LogReader>, ReadError> {
        let reader = MemoryReader { log: self.log.clone(), partition, from };
        reader.check(&self.log.lock())?;
        Ok(Box::new(reader))
    }

    fn fetch(&self, partition: PartitionId, lsn: Lsn) -> Result<Option<Applied>, ReadError> {
        let inner = self.log.lock();
        let Some(log) = inner.logs.get(&partition) else { return Ok(None) };
        if lsn == log.trim.lsn && lsn != Lsn::NONE {
            return Ok(Some(log.trim));
        }
        if lsn < log.trim.lsn {
            return Err(ReadError::Trimmed { partition, from: lsn, trim_point: log.trim.lsn });
        }
        let at = log.records.binary_search_by_key(&lsn, |record| record.lsn);
        Ok(at.ok().map(|at| log.records[at].identity()))
    }

    fn trim(&self, partition: PartitionId, upto: Applied) {
        let mut inner = self.log.lock();
        let log = inner.logs.entry(partition).or_default();
        if upto.lsn > log.trim.lsn {
            log.trim = upto;
            log.records.retain(|record| record.lsn > upto.lsn);
        }
    }

    fn trim_point(&self, partition: PartitionId) -> Lsn {
        self.log.lock().trim_point(partition)
    }

    fn tail(&self, partition: PartitionId) -> Result<Lsn, ReadError> {
        Ok(self.log.lock().logs.get(&partition).map_or(Lsn::NONE, |log| log.last).next())
    }

    fn seal(&self, partition: PartitionId) -> Result<Sealed, SealError> {
        let mut inner = self.log.lock();
        let reports = inner.fail(|flight| flight.partition == partition);
        let log = inner.logs.entry(partition).or_default();
        log.sealed = true;
        let last = log.last;
        drop(inner);
        reports.deliver();
        Ok(Sealed { last, tail: last.next() })
    }
}

struct MemoryReader {
    log: MemoryLog,
    partition: PartitionId,
    from: Lsn,
}

impl MemoryReader {
    fn check(&self, inner: &Inner) -> Result<(), ReadError> {
        let trim_point = inner.trim_point(self.partition);
        if self.from <= trim_point && trim_point != Lsn::NONE {
            return Err(ReadError::Trimmed { partition: self.partition, from: self.from, trim_point });
        }
        Ok(())
    }
}

impl LogReader for MemoryReader {
    fn next(&mut self) -> Result<Option<Record>, ReadError> {
        let inner = self.log.lock();
        self.check(&inner)?;
        let Some(log) = inner.logs.get(&self.partition) else { return Ok(None) };
        let at = log.records.partition_point(|record| record.lsn < self.from);
        let record = log.records.get(at).cloned();
        if let Some(record) = &record {
            self.from = record.lsn.next();
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests;
