//! The virtual log: batches of commands, made durable in order, per partition (DESIGN.md section 3).
//!
//! * [`Loglet`] is the contract, [`LocalLog`] the embedded provider, [`MemoryLog`] the one of tests and the simulation;
//!   [`suite`] checks any of them.
//! * [`CountingReader`] decides which records count, [`Settle`] what a leader may conclude from delivery reports. Both are
//!   pure and the same for every provider.
//! * [`Chain`] joins loglets to one log per partition.
//!
//! No runtime: callers are threads that drive partitions, the log calls them back through a [`DeliverySink`].
//! Invariants 1, 2, 7 and 8 of DESIGN.md are kept here.

pub mod chain;
pub mod config;
pub mod counting;
pub mod error;
pub mod local;
pub mod loglet;
pub mod memory;
pub mod metrics;
pub mod record;
pub mod settle;
pub mod suite;

pub use chain::{Chain, ChainSegment, ProviderId};
pub use config::LocalLogConfig;
pub use counting::{CountedBatch, CountingReader, Rule};
pub use error::{AdmissionError, AppendError, DeliveryError, OpenError, ReadError, SealError};
pub use local::{LocalLog, LocalLogStats, Replayed};
pub use loglet::{Append, Delivery, DeliverySink, Kind, LogReader, Loglet, Outcome, Sealed, same_history};
pub use memory::{MemoryLog, MemoryWriter};
pub use metrics::describe;
pub use record::{Applied, BATCH_BYTES_MAX, Record, RecordHeader};
pub use settle::{Decision, Over, Settle, Upto, Whose};
