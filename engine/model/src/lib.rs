//! What every part of the engine talks about: ids, keys, log positions, commands, rows and error codes.
//!
//! No I/O, no clock, no randomness; nothing here depends on another crate of the engine.

pub mod codes;
pub mod ids;
pub mod key;
pub mod lsn;

pub use ids::{AwakeableId, ClusterId, DeploymentId, IdError, InvocationId, PartitionId, SubscriptionId};
pub use key::{PartitionKey, SourceId};
pub use lsn::{LeaderEpoch, Lsn};
