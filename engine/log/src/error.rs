//! Errors of the log, one enum per family of operations.

use std::{io, path::PathBuf, sync::Arc};

use millrace_model::codes::{self, Code, Coded};
use millrace_model::{ClusterId, Lsn, PartitionId};

/// Why a batch was not taken. Nothing of it is or will be in the log; its numbers are free again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Above [`BATCH_BYTES_MAX`](crate::BATCH_BYTES_MAX).
    #[error("a batch of {bytes} bytes, the largest is {max}")]
    TooLarge {
        /// Size asked for.
        bytes: usize,
        /// Largest size.
        max: usize,
    },
    /// The space that was reserved ahead is used up.
    #[error("no reserved space left for {bytes} bytes")]
    Full {
        /// Size asked for.
        bytes: usize,
    },
    /// Too much waits for the log already.
    #[error("{waiting} bytes wait for the log, the most is {max}")]
    Backlog {
        /// Bytes that wait.
        waiting: usize,
        /// Most that may wait.
        max: usize,
    },
    /// The log was closed by a failed write or sync, or by its owner.
    #[error("the log is closed")]
    Closed {
        /// What closed it, unless its owner did.
        source: Option<Arc<io::Error>>,
    },
    /// The partition's log goes on elsewhere.
    #[error("the log of partition {partition} is sealed here")]
    Sealed {
        /// Whose log.
        partition: PartitionId,
    },
    /// A partition number that the provider has no room for.
    #[error("partition {partition} is beyond the {max} that fit")]
    Partition {
        /// Asked for.
        partition: PartitionId,
        /// How many fit.
        max: u16,
    },
}

impl Coded for AppendError {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => codes::LOG0005,
            Self::Full { .. } => codes::LOG0004,
            Self::Backlog { .. } => codes::LOG0010,
            Self::Closed { .. } => codes::LOG0002,
            Self::Sealed { .. } => codes::LOG0011,
            Self::Partition { .. } => codes::RT0002,
        }
    }
}

/// Why it is not known whether an accepted batch is in the log. Code `LOG0002`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// Writing or syncing failed; the log is closed for good.
    #[error("could not write {path}")]
    Io {
        /// Segment file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The provider gave up on it. It may be in the log, or come later.
    #[error("delivery failed: {0}")]
    Failed(String),
}

impl Coded for DeliveryError {
    fn code(&self) -> Code {
        codes::LOG0002
    }
}

/// Why admission of new work is closed. What is in flight may go on appending.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// No further space can be reserved.
    #[error("no room for another log segment")]
    Disk {
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// More than one largest batch waits.
    #[error("{waiting} bytes wait for the log")]
    Backlog {
        /// Bytes that wait.
        waiting: usize,
    },
    /// Closed by a failed write or sync, or by its owner.
    #[error("the log is closed")]
    Closed,
}

impl Coded for AdmissionError {
    fn code(&self) -> Code {
        match self {
            Self::Disk { .. } => codes::LOG0004,
            Self::Backlog { .. } => codes::LOG0010,
            Self::Closed => codes::LOG0002,
        }
    }
}

/// Why the log cannot be read from there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Records at or behind `from` may have been removed.
    #[error("partition {partition} was asked for {from}, but is trimmed up to {trim_point}")]
    Trimmed {
        /// Whose log.
        partition: PartitionId,
        /// First position asked for.
        from: Lsn,
        /// Last position removed.
        trim_point: Lsn,
    },
    /// Stored bytes are damaged where they had been synced.
    #[error("{what} in {path} at offset {offset}")]
    Corrupt {
        /// Damaged file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file system failed.
    #[error("could not read {path}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A record of another cluster.
    #[error("the record at {lsn} was written by cluster {theirs:032x}, this is {ours:032x}", theirs = theirs.0, ours = ours.0)]
    ForeignCluster {
        /// Where.
        lsn: Lsn,
        /// Who wrote it.
        theirs: ClusterId,
        /// Who reads it.
        ours: ClusterId,
    },
    /// The record at the applied LSN is missing or another one.
    #[error("the log of partition {partition} diverges from the store at {lsn}")]
    Diverged {
        /// Whose log.
        partition: PartitionId,
        /// Applied LSN of the store.
        lsn: Lsn,
    },
}

impl Coded for ReadError {
    fn code(&self) -> Code {
        match self {
            Self::Trimmed { .. } => codes::LOG0008,
            Self::Corrupt { .. } => codes::LOG0003,
            Self::Io { .. } => codes::LOG0012,
            Self::ForeignCluster { .. } => codes::LOG0009,
            Self::Diverged { .. } => codes::LOG0007,
        }
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another log of this one, has the folder.
    #[error("the log folder {path} is in use")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A setting is out of range.
    #[error("{0}")]
    Config(crate::config::ConfigFault),
    /// Its files cannot be read, or not as they were written.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its files cannot be prepared for writing.
    #[error("could not prepare {path}")]
    Write {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl Coded for OpenError {
    fn code(&self) -> Code {
        match self {
            Self::Locked { .. } => codes::RT0005,
            Self::Config(_) => codes::RT0002,
            Self::Read(error) => error.code(),
            Self::Write { .. } => codes::LOG0012,
        }
    }
}

/// Why a partition's log could not be sealed: it is closed, or sealing it did not become durable. Code `LOG0002`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log of partition {partition} could not be sealed")]
pub struct SealError {
    /// Whose log.
    pub partition: PartitionId,
    /// What the system said, if it did.
    pub source: Option<Arc<io::Error>>,
}

impl Coded for SealError {
    fn code(&self) -> Code {
        codes::LOG0002
    }
}
