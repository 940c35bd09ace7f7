//! Errors of opening and changing the metadata.

use millrace_model::{
    Lsn,
    codes::{self, Code, Coded},
};

use super::{apply::ApplyError, log::MetaLogError, record::RecordError, snapshot::SnapshotError};

/// Why the metadata cannot be opened. The node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log.
    #[error(transparent)]
    Log(#[from] MetaLogError),
    /// A record that this server does not know.
    #[error("the metadata record at {lsn} cannot be read")]
    Record {
        /// Where.
        lsn: Lsn,
        /// Why.
        source: RecordError,
    },
    /// A record that cannot follow the ones before it.
    #[error("the metadata record at {lsn} cannot be applied")]
    Apply {
        /// Where.
        lsn: Lsn,
        /// Why.
        source: ApplyError,
    },
    /// The configuration says something else than the cluster was created with.
    #[error("{key} is {configured:?} in the configuration, but the cluster was created with {created:?}")]
    Mismatch {
        /// Which setting.
        key: &'static str,
        /// Here.
        configured: String,
        /// There.
        created: String,
    },
}

impl Coded for OpenError {
    fn code(&self) -> Code {
        match self {
            Self::Snapshot(error) => error.code(),
            Self::Log(error) => error.code(),
            Self::Record { .. } | Self::Apply { .. } => codes::META0019,
            Self::Mismatch { .. } => codes::RT0002,
        }
    }
}

/// Why a change was not made, apart from what its author decided.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Others changed the same objects, again and again. Nothing happened.
    #[error("the metadata was changed by others at the same time")]
    Conflict,
    /// The log failed. It may have happened, or may show after the next start.
    #[error(transparent)]
    Log(#[from] MetaLogError),
    /// Larger than a record may be. Nothing happened.
    #[error("a metadata record of {bytes} bytes, the largest is {max}")]
    TooLarge {
        /// Asked for.
        bytes: usize,
        /// Largest.
        max: usize,
    },
    /// It could not be read back: its JSON is nested too deep. Nothing happened.
    #[error("a metadata record that could not be read back: {0}")]
    Unreadable(String),
    /// Too many changes wait. Nothing happened.
    #[error("too many changes of the metadata are waiting")]
    Overloaded,
    /// The metadata takes no changes any more: the node stops, or its log failed. Nothing happened.
    #[error("the metadata takes no changes any more")]
    Closed,
    /// The node stopped before it could tell what became of it.
    #[error("the server stopped before the outcome was known")]
    Unknown,
}

impl Coded for ChangeError {
    fn code(&self) -> Code {
        match self {
            Self::Conflict => codes::META0021,
            Self::Log(error) => error.code(),
            Self::TooLarge { .. } | Self::Unreadable(_) => codes::META0018,
            Self::Overloaded => codes::ENG0001,
            Self::Closed => codes::ENG0003,
            Self::Unknown => codes::ENG0002,
        }
    }
}
