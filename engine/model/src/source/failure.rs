//! What becomes of a record that cannot be handled (DESIGN.md section 6): each concerns its own key and nothing else.

use bytes::Bytes;

use crate::{
    codec::{wire_enum, wire_struct},
    ids::PartitionId,
    journal::{Failure, Header},
    text::{Text, TimestampMs},
};

/// What a subscription wants done with a record that fails for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// It waits for an operator, and the records of its key wait behind it.
    Park,
    /// It is written to a topic and its key goes on.
    DeadLetter {
        /// Name of the Kafka cluster.
        cluster: Text,
        /// The topic.
        topic: Text,
    },
    /// It is counted and its key goes on.
    Skip,
}
wire_enum!(FailurePolicy { 1 => Park, 2 => DeadLetter { cluster, topic }, 3 => Skip, });

/// A parked record: its invocation is paused until somebody redrives or drops it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// When.
    pub at: TimestampMs,
    /// Why.
    pub failure: Failure,
    /// The object's key; empty if it has none.
    pub key: Text,
    /// Topic it came from.
    pub topic: Text,
    /// Kafka's partition.
    pub source_partition: u32,
    /// Its offset.
    pub offset: i64,
}
wire_struct! { Parked { at, failure, key, topic, source_partition, offset } }

/// A record on its way to a dead-letter topic. Its row goes when the broker has acknowledged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Name of the Kafka cluster.
    pub cluster: Text,
    /// Where it goes.
    pub topic: Text,
    /// Why.
    pub failure: Failure,
    /// When it failed.
    pub at: TimestampMs,
    /// It was an invocation, whose id is that of the letter; else it could not become one.
    pub invoked: bool,
    /// Who read it and counts it as held until it is written.
    pub reader: PartitionId,
    /// As what it counts there.
    pub bytes: u32,
    /// As a handler sees them: where it came from, then the record's own.
    pub headers: Vec<Header>,
    /// The record's value.
    pub value: Bytes,
}
wire_struct! { DeadLetter { cluster, topic, failure, at, invoked, reader, bytes, headers, value } }

/// How records of a subscription ended in one partition, over its whole life. Rows of all partitions add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Invocations that ended with a failure, whatever the policy made of that.
    pub failed: u64,
    /// Times that a record was parked.
    pub parked: u64,
    /// Times that a parked one was started again.
    pub redriven: u64,
    /// Parked ones that an operator ended.
    pub dropped: u64,
    /// Dead letters made.
    pub letters: u64,
    /// Dead letters that the broker has acknowledged.
    pub written: u64,
    /// Failures that were skipped.
    pub skipped: u64,
}
wire_struct! { Outcomes { failed, parked, redriven, dropped, letters, written, skipped } }

impl std::ops::Add for Outcomes {
    type Output = Outcomes;
    fn add(self, other: Outcomes) -> Outcomes {
        Outcomes {
            failed: self.failed + other.failed,
            parked: self.parked + other.parked,
            redriven: self.redriven + other.redriven,
            dropped: self.dropped + other.dropped,
            letters: self.letters + other.letters,
            written: self.written + other.written,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// Names of the headers that say where a record came from, as handlers and dead letters see them.
pub mod origin {
    /// The subscription's id.
    pub const SUBSCRIPTION: &str = "restate.subscription.id";
    /// Topic.
    pub const TOPIC: &str = "kafka.topic";
    /// Kafka's partition.
    pub const PARTITION: &str = "kafka.partition";
    /// Offset.
    pub const OFFSET: &str = "kafka.offset";
    /// Milliseconds since the epoch; absent if the record has none.
    pub const TIMESTAMP: &str = "kafka.timestamp";
    /// Key in URL-safe base64 with padding; absent if the record has none.
    pub const KEY: &str = "kafka.key";
}
