//! What every part of the engine talks about: ids, keys, log positions, commands, rows and error codes.
//!
//! No I/O, no clock, no randomness; nothing here depends on another crate of the engine.

pub mod awaiting;
pub mod codec;
pub mod codes;
pub mod command;
pub mod env;
pub mod ids;
pub mod invocation;
pub mod journal;
pub mod key;
pub mod lsn;
pub mod ranges;
pub mod source;
pub mod state;
pub mod table;
pub mod text;
pub mod units;

pub use codec::{DecodeError, Wire};
pub use codes::{Code, Coded};
pub use command::Command;
pub use env::Env;
pub use ids::{AwakeableId, ClusterId, DeploymentId, IdError, InvocationId, PartitionId, SubscriptionId};
pub use key::{PartitionKey, SourceId};
pub use lsn::{Applied, LeaderEpoch, Lsn};
pub use text::{Text, TimestampMs};
pub use units::{ByteSize, Span};
