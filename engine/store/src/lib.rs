//! The store of one engine partition: a RocksDB database per partition, over resources that all partitions share.
//!
//! Owns the committed state of a partition and the position up to which it is applied; both move in one write batch.
//! RocksDB's own log is off: what a crash takes from memory is replayed from the partition's log, from
//! [`PartitionStore::durable`] on. So a crash leaves a prefix of the commits, whole and in order.
//!
//! ```text
//!   machine ── get, state ──> row cache, journal cache, object cache ── miss ──> RocksDB
//!   driver  ── commit ──────> one write batch, then the same caches (write-through)
//!   others  ── StoreHandle ─> RocksDB alone: flush, durable position, scans
//! ```
//!
//! Relies on the caller for order: commits come in LSN order from one thread at a time. An error of a commit stops the
//! partition: from then on every call fails. Bytes: `FORMAT.md`.

mod applied;
mod cache;
mod config;
mod db;
mod error;
mod handle;
mod journal_cache;
mod keep;
mod metrics;
mod object_cache;
mod options;
mod partition;
mod shared;

pub use config::{Fault, StoreConfig};
pub use db::FORMAT_VERSION;
pub use error::StoreError;
pub use handle::StoreHandle;
pub use metrics::describe;
pub use millrace_model::Applied;
pub use partition::{PartitionStore, ReadStats};
pub use shared::SharedResources;
