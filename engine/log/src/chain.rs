//! The virtual log: per partition a chain of segments, each held by a provider; only the last takes appends.
//!
//! ```text
//! partition 3:  [ provider 0, base 0, sealed at 8192 ] ──> [ provider 1, base 8191, open ]
//! ```
//!
//! LSNs of the chain are the provider's plus the segment's base, chosen such that they go on growing. Epochs are LSNs of
//! the chain, so they survive a move. The chain keeps no bytes itself: its segments are metadata that the owner stores.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, Weak};

use millrace_model::{LeaderEpoch, Lsn, PartitionId};

use crate::error::{AdmissionError, AppendError, ReadError, SealError};
use crate::loglet::{Append, Delivery, DeliverySink, LogReader, Loglet, Outcome, Sealed};
use crate::record::{Applied, Record};

/// Names a provider in the metadata. A partition's chain uses each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(pub u32);

/// One segment of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainSegment {
    /// Who holds it.
    pub provider: ProviderId,
    /// Added to the provider's LSNs.
    pub base: u64,
    /// Last record of the chain before it; [`Lsn::NONE`] if there is none.
    pub after: Lsn,
    /// Last record up to here when it was sealed; `None` while it takes appends.
    pub sealed: Option<Lsn>,
}

impl ChainSegment {
    /// The only segment of a new log.
    pub fn first(provider: ProviderId) -> Self {
        Self { provider, base: 0, after: Lsn::NONE, sealed: None }
    }

    fn global(&self, lsn: Lsn) -> Lsn {
        Lsn(self.base + lsn.0)
    }

    fn local(&self, lsn: Lsn) -> Lsn {
        Lsn(lsn.0.saturating_sub(self.base))
    }

    fn holds(&self, lsn: Lsn) -> bool {
        lsn > self.after && self.sealed.is_none_or(|last| lsn <= last)
    }

    /// With the chain's LSN; the epoch of an announcement is its own.
    fn identity(&self, at: Applied) -> Applied {
        let lsn = self.global(at.lsn);
        Applied { lsn, epoch: if at.number == 0 { LeaderEpoch(lsn) } else { at.epoch }, ..at }
    }
}

/// Logs of many partitions over several providers. Cloning gives another handle.
#[derive(Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

struct Inner {
    sink: Arc<dyn DeliverySink>,
    providers: RwLock<BTreeMap<ProviderId, Arc<dyn Loglet>>>,
    chains: RwLock<BTreeMap<PartitionId, Vec<ChainSegment>>>,
    /// One move at a time.
    extending: Mutex<()>,
}

type Located = (ChainSegment, Arc<dyn Loglet>);

impl Chain {
    /// A chain that reports to `sink`. Give it its providers, then every partition its segments.
    pub fn new(sink: Arc<dyn DeliverySink>) -> Self {
        let (providers, chains) = (RwLock::default(), RwLock::default());
        Self { inner: Arc::new(Inner { sink, providers, chains, extending: Mutex::new(()) }) }
    }

    /// What the provider must report to. It turns the provider's LSNs into the chain's.
    pub fn sink(&self, provider: ProviderId) -> Arc<dyn DeliverySink> {
        Arc::new(ChainSink { chain: Arc::downgrade(&self.inner), provider })
    }

    /// Makes a provider known. Panics if it is.
    pub fn add_provider(&self, id: ProviderId, provider: Arc<dyn Loglet>) {
        let known = self.inner.providers.write().expect("no holder panics").insert(id, provider);
        assert!(known.is_none(), "{id:?} is known already");
    }

    /// Sets a partition's segments, as stored in the metadata: oldest first, all but the last one sealed.
    pub fn set(&self, partition: PartitionId, segments: Vec<ChainSegment>) {
        assert!(!segments.is_empty(), "a log has a segment");
        self.inner.chains.write().expect("no holder panics").insert(partition, segments);
    }

    /// A partition's segments, to be stored; empty if it was never set.
    pub fn segments(&self, partition: PartitionId) -> Vec<ChainSegment> {
        self.inner.chains().get(&partition).cloned().unwrap_or_default()
    }

    /// Seals the last segment and goes on with `provider`. Waits for I/O.
    ///
    /// * Appends are refused with `Sealed` from the begin of the call until it returns.
    /// * The result must be stored before the leader appends again. If it is not, calling this again after a restart
    ///   gives the same.
    pub fn extend(&self, partition: PartitionId, provider: ProviderId) -> Result<Vec<ChainSegment>, SealError> {
        let _one = self.inner.extending.lock().expect("no holder panics");
        let mut segments = self.segments(partition);
        let (last, loglet) = self.inner.last(partition).ok_or(SealError { partition, source: None })?;
        assert!(segments.iter().all(|segment| segment.provider != provider), "{provider:?} was used before");
        // No lock is held: the provider may report what it settles.
        let Sealed { last: sealed, tail } = loglet.seal(partition)?;
        let end = if sealed == Lsn::NONE { last.after } else { last.global(sealed) };
        let open = segments.last_mut().expect("it has a last one");
        open.sealed = Some(end);
        let next = self.inner.provider(provider).ok_or(SealError { partition, source: None })?;
        let first = next.tail(partition).map_err(|_| SealError { partition, source: None })?;
        let base = last.global(tail).0.max(end.next().0).saturating_sub(first.0);
        segments.push(ChainSegment { provider, base, after: end, sealed: None });
        self.set(partition, segments.clone());
        Ok(segments)
    }
}

impl Inner {
    fn chains(&self) -> RwLockReadGuard<'_, BTreeMap<PartitionId, Vec<ChainSegment>>> {
        self.chains.read().expect("no holder panics")
    }

    fn provider(&self, id: ProviderId) -> Option<Arc<dyn Loglet>> {
        self.providers.read().expect("no holder panics").get(&id).cloned()
    }

    fn last(&self, partition: PartitionId) -> Option<Located> {
        let last = *self.chains().get(&partition)?.last()?;
        Some((last, self.provider(last.provider)?))
    }

    /// All segments of a partition, oldest first.
    fn all(&self, partition: PartitionId) -> Vec<Located> {
        let segments = self.chains().get(&partition).cloned().unwrap_or_default();
        let located = segments.into_iter().filter_map(|segment| Some((segment, self.provider(segment.provider)?)));
        located.collect()
    }

    fn trim_point(&self, partition: PartitionId) -> Lsn {
        let trimmed = self.all(partition).into_iter().rev().find_map(|(segment, loglet)| {
            let trim_point = loglet.trim_point(partition);
            (trim_point != Lsn::NONE).then(|| segment.global(trim_point))
        });
        trimmed.unwrap_or(Lsn::NONE)
    }
}

impl Loglet for Chain {
    fn append(&self, batch: Append<'_>) -> Result<u16, AppendError> {
        match self.inner.last(batch.partition) {
            Some((_, loglet)) => loglet.append(batch),
            None => Err(AppendError::Sealed { partition: batch.partition }),
        }
    }

    fn admission(&self) -> Result<(), AdmissionError> {
        let providers = self.inner.providers.read().expect("no holder panics");
        providers.values().try_for_each(|loglet| loglet.admission())
    }

    fn read(&self, partition: PartitionId, from: Lsn) -> Result<Box<dyn LogReader>, ReadError> {
        let trim_point = self.inner.trim_point(partition);
        if from <= trim_point && trim_point != Lsn::NONE {
            return Err(ReadError::Trimmed { partition, from, trim_point });
        }
        let behind = |segment: &ChainSegment| segment.sealed.is_some_and(|last| last < from);
        let index = self.segments(partition).iter().take_while(|segment| behind(segment)).count();
        Ok(Box::new(ChainReader { inner: self.inner.clone(), partition, from, index, current: None }))
    }

    fn fetch(&self, partition: PartitionId, lsn: Lsn) -> Result<Option<Applied>, ReadError> {
        let trim_point = self.inner.trim_point(partition);
        if lsn < trim_point {
            return Err(ReadError::Trimmed { partition, from: lsn, trim_point });
        }
        let held = self.inner.all(partition).into_iter().find(|(segment, _)| segment.holds(lsn));
        let Some((segment, loglet)) = held else { return Ok(None) };
        Ok(loglet.fetch(partition, segment.local(lsn))?.map(|found| segment.identity(found)))
    }

    fn trim(&self, partition: PartitionId, upto: Applied) {
        for (segment, loglet) in self.inner.all(partition) {
            let lsn = match segment.sealed {
                _ if upto.lsn <= segment.after => return,
                // Of a segment that goes whole, only the place is looked at again.
                Some(last) if last < upto.lsn => last,
                _ => upto.lsn,
            };
            if lsn > segment.after {
                loglet.trim(partition, Applied { lsn: segment.local(lsn), ..upto });
            }
        }
    }

    fn trim_point(&self, partition: PartitionId) -> Lsn {
        self.inner.trim_point(partition)
    }

    fn tail(&self, partition: PartitionId) -> Result<Lsn, ReadError> {
        match self.inner.last(partition) {
            Some((segment, loglet)) => Ok(segment.global(loglet.tail(partition)?)),
            None => Ok(Lsn::NONE.next()),
        }
    }

    fn seal(&self, partition: PartitionId) -> Result<Sealed, SealError> {
        let (segment, loglet) = self.inner.last(partition).ok_or(SealError { partition, source: None })?;
        let Sealed { last, tail } = loglet.seal(partition)?;
        let last = if last == Lsn::NONE { segment.after } else { segment.global(last) };
        Ok(Sealed { last, tail: segment.global(tail) })
    }
}

/// Reads through all segments.
struct ChainReader {
    inner: Arc<Inner>,
    partition: PartitionId,
    from: Lsn,
    index: usize,
    current: Option<Box<dyn LogReader>>,
}

impl LogReader for ChainReader {
    fn next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            // Looked at first: what is appended before a seal is found by the call after it.
            let Some((segment, loglet, is_sealed)) = self.segment() else { return Ok(None) };
            let reader = match &mut self.current {
                Some(reader) => reader,
                none => none.insert(loglet.read(self.partition, segment.local(self.from))?),
            };
            if let Some(mut record) = reader.next()? {
                record.lsn = segment.global(record.lsn);
                self.from = record.lsn.next();
                return Ok(Some(record));
            }
            if !is_sealed {
                return Ok(None);
            }
            self.index += 1;
            self.current = None;
        }
    }
}

impl ChainReader {
    fn segment(&self) -> Option<(ChainSegment, Arc<dyn Loglet>, bool)> {
        let segment = *self.inner.chains().get(&self.partition)?.get(self.index)?;
        Some((segment, self.inner.provider(segment.provider)?, segment.sealed.is_some()))
    }
}

/// Between a provider and the chain's own sink.
struct ChainSink {
    chain: Weak<Inner>,
    provider: ProviderId,
}

impl DeliverySink for ChainSink {
    fn delivered(&self, reports: &[Delivery]) {
        let Some(inner) = self.chain.upgrade() else { return };
        let chains = inner.chains();
        let segment_of = |partition: PartitionId| {
            let segments = chains.get(&partition)?;
            segments.iter().find(|segment| segment.provider == self.provider)
        };
        let moved = |segment: &ChainSegment| segment.base != 0 || segment.after != Lsn::NONE;
        if !reports.iter().any(|report| segment_of(report.partition).is_some_and(moved)) {
            drop(chains);
            return inner.sink.delivered(reports);
        }
        let translate = |report: &Delivery| {
            let mut report = report.clone();
            if let (Some(segment), Outcome::Placed { after, lsn, .. }) =
                (segment_of(report.partition), &mut report.outcome)
            {
                *after = if *after == Lsn::NONE { segment.after } else { segment.global(*after) };
                *lsn = segment.global(*lsn);
            }
            report
        };
        let reports: Vec<_> = reports.iter().map(translate).collect();
        drop(chains);
        inner.sink.delivered(&reports);
    }
}

#[cfg(test)]
mod tests;
