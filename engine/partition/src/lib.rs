//! The leaders of the engine partitions: log -> machine -> store -> effects.
//!
//! A *driver* is one thread that leads several partitions. Everything that waits for any of them is taken in one
//! wake-up, becomes one batch a partition, one group of the log, and after the sync one write batch a partition.
//! A [`Leader`] decides; it has no thread and no clock, so that the simulation drives it too.

mod attempts;
mod batch;
mod census;
mod driver;
mod error;
mod handle;
pub mod invoker;
mod leader;
mod mailbox;
pub mod metrics;
mod operate;
mod outbox;
mod recover;
mod status;
mod store;
mod timers;

pub use census::{Census, STATES};
pub use driver::{DriverError, Drivers, Equipment, HeldBack, Running};
pub use error::LeaderError;
pub use handle::{Accepted, Ended, Handle, Output, ProposeError};
pub use invoker::{AttemptJob, Feed, Invoker};
pub use leader::{Leader, LeaderConfig, Surroundings, follow};
pub use mailbox::{Input, Mailbox, ReadFn};
pub use recover::replay;
pub use status::{Board, LeaderStatus};
pub use store::Store;
