//! The leaders of the engine partitions: log -> machine -> store -> effects.
//!
//! A *driver* is one thread that leads several partitions. Everything that waits for any of them is taken in one
//! wake-up, becomes one batch a partition, one group of the log, and after the sync one write batch a partition.

mod handle;
pub mod invoker;
mod mailbox;
mod status;

pub use handle::{Accepted, Ended, Handle, Output, ProposeError};
pub use invoker::{AttemptJob, Feed, Invoker};
pub use status::{Board, LeaderStatus};
