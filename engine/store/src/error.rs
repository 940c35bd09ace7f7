//! What can go wrong in the store.

use std::path::{Path, PathBuf};

use millrace_model::{
    PartitionId,
    codes::{self, Code, Coded},
};

/// Why the store of a partition cannot go on. All but `Locked`, `Unmarked`, `Newer` and `Foreign` stop the partition.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Stored bytes are not what was written.
    #[error("store of partition {partition} is damaged in {path}: {detail}")]
    Corrupt {
        /// Whose.
        partition: PartitionId,
        /// The file, as far as it is known; else the folder.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// The operating system refused, or RocksDB did.
    #[error("store of partition {partition} cannot use {path}")]
    Io {
        /// Whose.
        partition: PartitionId,
        /// The folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// No room on the disk.
    #[error("no room for the store of partition {partition} in {path}")]
    Full {
        /// Whose.
        partition: PartitionId,
        /// The folder.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// RocksDB failed for another reason.
    #[error("store of partition {partition} in {path} failed")]
    Failed {
        /// Whose.
        partition: PartitionId,
        /// The folder.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// An earlier commit failed.
    #[error("store of partition {partition} has stopped after an earlier error")]
    Stopped {
        /// Whose.
        partition: PartitionId,
    },
    /// Another process, or another part of this one, has it open.
    #[error("store of partition {partition} in {path} is open elsewhere")]
    Locked {
        /// Whose.
        partition: PartitionId,
        /// The folder.
        path: PathBuf,
    },
    /// There are rows, and no format version.
    #[error("store of partition {partition} in {path} has rows, but no version marker")]
    Unmarked {
        /// Whose.
        partition: PartitionId,
        /// The folder.
        path: PathBuf,
    },
    /// A newer release wrote it.
    #[error("store in {path} has format {found}, this release knows formats up to {known}")]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u16,
        /// The newest one known.
        known: u16,
    },
    /// Another partition's.
    #[error("store in {path} is of partition {found}, not of partition {expected}")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: PartitionId,
        /// Whose it should be.
        expected: PartitionId,
    },
}

impl StoreError {
    /// Sorts what RocksDB says.
    pub(crate) fn of_rocksdb(partition: PartitionId, dir: &Path, source: rocksdb::Error) -> Self {
        let (text, path) = (source.to_string(), dir.to_owned());
        match source.kind() {
            rocksdb::ErrorKind::Corruption => {
                Self::Corrupt { partition, path: file_named_in(&text).unwrap_or(path), detail: text }
            }
            rocksdb::ErrorKind::IOError if text.contains("No space left") => Self::Full { partition, path, source },
            // RocksDB tells this by words only; the name of its lock file is part of them.
            rocksdb::ErrorKind::IOError if text.contains("LOCK") && text.contains("lock") => {
                Self::Locked { partition, path }
            }
            _ => Self::Failed { partition, path, source },
        }
    }
}

/// RocksDB names the file somewhere in its text, most often `… in /folder/000012.sst offset 4096 …`.
fn file_named_in(text: &str) -> Option<PathBuf> {
    text.split([' ', ':', ',', ';', '\'', '"'])
        .find(|word| {
            word.starts_with('/')
                && (word.ends_with(".sst") || word.contains("/MANIFEST-") || word.ends_with("/CURRENT"))
        })
        .map(PathBuf::from)
}

impl Coded for StoreError {
    fn code(&self) -> Code {
        match self {
            Self::Corrupt { .. } => codes::STO0001,
            Self::Io { .. } | Self::Failed { .. } | Self::Stopped { .. } => codes::STO0002,
            Self::Unmarked { .. } => codes::RT0009,
            Self::Newer { .. } => codes::STO0003,
            Self::Foreign { .. } => codes::STO0004,
            Self::Full { .. } => codes::STO0005,
            Self::Locked { .. } => codes::RT0005,
        }
    }
}
