//! Clients of Apache Kafka, and the in-process broker for development.
//!
//! * [`ClusterConfig`], [`ConsumerConfig`]: from what people write to what librdkafka gets, every fault at once.
//! * [`Admin`]: topic ids, ends of partitions, committed offsets, groups.
//! * [`Reader`] and its [`Feed`]s: records of source partitions by explicit assignment.
//! * [`Producer`]: dead letters and tools.
//! * [`DevBroker`]: librdkafka's mock cluster on a fixed port. Not a log: see there.
//!
//! Built on librdkafka through `rdkafka`. Everything that may block runs on blocking threads; what waits for a broker
//! is woken by librdkafka's callbacks. Nothing here knows what a record is for.

mod admin;
mod config;
mod context;
mod dev;
mod error;
mod handle;
mod options;
mod producer;
mod queue;
mod reader;
mod record;

pub use admin::{Admin, Commit, Committed, GroupState, OffsetQuery, PartitionOffset, TopicDescription, TopicInfo};
pub use config::{CLIENT_ID, ClusterConfig, ConsumerConfig, OffsetReset, builtin_features};
pub use context::Trouble;
pub use dev::{DevBroker, DevTopic};
pub use error::ClientError;
pub use options::{FaultKind, MASK, OptionFault, Origin, Properties, check, is_secret, masked};
pub use producer::{Acknowledgement, Delivered, OutRecord, Producer};
/// The codes in [`ClientError::Broker`] and [`Event::SourceFailed`].
pub use rdkafka::error::RDKafkaErrorCode;
pub use reader::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Event, Feed, Reader, SourceId};
pub use record::{Header, Record, RecordBatch};
