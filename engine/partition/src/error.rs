//! What stops a partition.

use millrace_log::{AppendError, ReadError};
use millrace_model::{
    DecodeError, Lsn, PartitionId,
    codes::{self, Code, Coded},
};
use millrace_store::StoreError;

/// A leader cannot go on. What it had appended is in the log or is not; the next start decides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaderError {
    /// The log takes nothing more.
    #[error("the log refused a batch")]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A committed batch holds what this release does not know.
    #[error("partition {partition}: the batch at {lsn} cannot be decoded")]
    Batch {
        /// Whose log.
        partition: PartitionId,
        /// Where.
        lsn: Lsn,
        /// What is wrong.
        source: DecodeError,
    },
}

impl LeaderError {
    pub(crate) fn store(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Store(Box::new(error))
    }
}

impl Coded for LeaderError {
    fn code(&self) -> Code {
        match self {
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Store(error) => error.downcast_ref::<StoreError>().map_or(codes::STO0002, Coded::code),
            Self::Batch { .. } => codes::LOG0003,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_store_keeps_its_code() {
        let stopped = LeaderError::store(StoreError::Stopped { partition: PartitionId(1) });
        assert_eq!(stopped.code(), codes::STO0002);
        let path = std::path::PathBuf::from("p");
        let damaged = StoreError::Corrupt { partition: PartitionId(1), path, detail: String::new() };
        assert_eq!(LeaderError::store(damaged).code(), codes::STO0001);
        assert_eq!(LeaderError::store(std::io::Error::other("x")).code(), codes::STO0002);
    }
}
