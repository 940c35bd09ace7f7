//! What the metadata wants of a log, and one in memory for tests.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{
    ClusterId, LeaderEpoch, Lsn,
    codes::{self, Code, Coded},
};
use parking_lot::Mutex;

/// A place in the metadata log together with the identity of the record there ("same history or none").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaPosition {
    /// Its place; `Lsn::NONE` is before everything.
    pub lsn: Lsn,
    /// Epoch in force there.
    pub epoch: LeaderEpoch,
    /// Its number in the epoch.
    pub number: u64,
    /// Its checksum.
    pub crc: u32,
}

/// Something that counts in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaEntry {
    /// A writer announced itself.
    Announcement,
    /// A record.
    Record(bytes::Bytes),
}

/// Why the log cannot be followed or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetaLogError {
    /// Nothing was written.
    #[error("the metadata log takes nothing: {reason}")]
    Refused {
        /// Of the provider.
        code: Code,
        /// Of the provider.
        reason: String,
    },
    /// It may have been written, or may come later.
    #[error("a metadata record may or may not be in the log: {reason}")]
    Unknown {
        /// Of the provider.
        reason: String,
    },
    /// It cannot be read from there.
    #[error("the metadata log cannot be read: {reason}")]
    Read {
        /// Of the provider.
        code: Code,
        /// Of the provider.
        reason: String,
    },
}

impl Coded for MetaLogError {
    fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } | Self::Read { code, .. } => *code,
            Self::Unknown { .. } => codes::LOG0002,
        }
    }
}

/// The log of `PartitionId::META`. One writer at a time in a process.
#[async_trait]
pub trait MetaLog: Send {
    /// Calls `each` with everything that counts behind `from`, in order, up to the present tail. `cluster` is whose
    /// log it must be, `None` takes the one of the first record. Returns the cluster, once known.
    ///
    /// An error if the record at `from` is missing or another one, or if something behind it was trimmed.
    fn replay(
        &mut self,
        cluster: Option<ClusterId>,
        from: MetaPosition,
        each: &mut dyn FnMut(MetaPosition, MetaEntry),
    ) -> Result<Option<ClusterId>, MetaLogError>;

    /// Announces this process as the writer; [`MetaLog::append`] follows. Waits until it is durable.
    async fn lead(&mut self, cluster: ClusterId, announcement: Vec<u8>) -> Result<MetaPosition, MetaLogError>;

    /// Appends one record and waits until it is durable. After an error nothing more may be appended.
    async fn append(&mut self, record: Vec<u8>) -> Result<MetaPosition, MetaLogError>;

    /// Nothing up to and including `upto` is needed any more.
    fn trim(&mut self, upto: MetaPosition);
}

/// A log in memory, shared by its clones: what is left of it when a process ends is what the next one finds.
#[derive(Clone, Default)]
pub struct MemoryLog(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    entries: Vec<(MetaPosition, MetaEntry)>,
    cluster: Option<ClusterId>,
    trimmed: MetaPosition,
    epoch: LeaderEpoch,
    fail_at: Option<u64>,
}

impl MemoryLog {
    /// The append that would get this place is lost or kept, and reported as unknown.
    pub fn fail_at(&self, lsn: Lsn) {
        self.0.lock().fail_at = Some(lsn.0);
    }

    /// Records that are not trimmed.
    pub fn len(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Memory {
    fn push(&mut self, entry: MetaEntry) -> MetaPosition {
        let last = self.entries.last().map_or(self.trimmed, |(position, _)| *position);
        let lsn = last.lsn.next();
        let (epoch, number) = match entry {
            MetaEntry::Announcement => (LeaderEpoch(lsn), 0),
            MetaEntry::Record(_) => (self.epoch, last.number + 1),
        };
        let crc = match &entry {
            MetaEntry::Announcement => 0,
            MetaEntry::Record(bytes) => crc32c::crc32c(bytes),
        };
        let position = MetaPosition { lsn, epoch, number, crc };
        self.epoch = epoch;
        self.entries.push((position, entry));
        position
    }
}

#[async_trait]
impl MetaLog for MemoryLog {
    fn replay(
        &mut self,
        cluster: Option<ClusterId>,
        from: MetaPosition,
        each: &mut dyn FnMut(MetaPosition, MetaEntry),
    ) -> Result<Option<ClusterId>, MetaLogError> {
        let log = self.0.lock();
        let read = |code, reason: &str| Err(MetaLogError::Read { code, reason: reason.to_owned() });
        if cluster.is_some() && log.cluster.is_some() && cluster != log.cluster {
            return read(codes::LOG0009, "another cluster's");
        }
        if from.lsn < log.trimmed.lsn {
            return read(codes::LOG0008, "trimmed");
        }
        let known = from == log.trimmed || log.entries.iter().any(|(position, _)| *position == from);
        if !known {
            return read(codes::LOG0007, "diverged");
        }
        for (position, entry) in log.entries.iter().filter(|(position, _)| position.lsn > from.lsn) {
            each(*position, entry.clone());
        }
        Ok(cluster.or(log.cluster))
    }

    async fn lead(&mut self, cluster: ClusterId, _: Vec<u8>) -> Result<MetaPosition, MetaLogError> {
        let mut log = self.0.lock();
        log.cluster = Some(cluster);
        Ok(log.push(MetaEntry::Announcement))
    }

    async fn append(&mut self, record: Vec<u8>) -> Result<MetaPosition, MetaLogError> {
        let mut log = self.0.lock();
        let position = log.push(MetaEntry::Record(record.into()));
        if log.fail_at == Some(position.lsn.0) {
            return Err(MetaLogError::Unknown { reason: "as told".to_owned() });
        }
        Ok(position)
    }

    fn trim(&mut self, upto: MetaPosition) {
        let mut log = self.0.lock();
        log.entries.retain(|(position, _)| position.lsn > upto.lsn);
        log.trimmed = upto;
    }
}
