//! What a subscription does at the moment. Implemented by whoever reads sources, in the wiring.

use async_trait::async_trait;
use millrace_model::SubscriptionId;
use serde::Serialize;

pub use crate::text::ApiTime;

/// One subscription, over all partitions, as the API shows it beside the fields of the product documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StatusReport {
    /// One word: `starting`, `running`, `paused`, `retrying`, `stopped`.
    pub state: String,
    /// Why nothing is read at the moment, if a budget or an operator is why; it names the keys that fill the budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_because: Option<String>,
    /// The last trouble, until it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Records that became invocations.
    pub records: u64,
    /// Records that could not, settled as rejected.
    pub rejected: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejected_examples: Vec<RejectedExample>,
    /// Offsets that were gone before they could be read.
    pub missing: u64,
    /// Records that failed for good, and what became of them.
    pub outcomes: Outcomes,
    /// The first parked records, at most 20 of each engine partition; `resume` or `kill` their invocations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<ParkedRecord>,
    /// Why dead letters wait, if they cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters_error: Option<LastError>,
    /// Records not yet taken in; `None`: not known for some source.
    pub lag_records: Option<u64>,
    /// Age of the oldest record taken in last by a source that is behind; 0 without lag.
    pub lag_seconds: Option<f64>,
    /// Unsettled records, and how many may be.
    pub budget: BudgetStatus,
    /// Keys whose head fails, is paused or hangs, the fullest first; bounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_keys: Vec<BlockedKey>,
    /// Every source partition, by number.
    pub sources: Vec<SourceStatus>,
}

/// How records ended over the life of the subscription, as far as they failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Invocations that ended with a failure, those counted below included.
    pub failed: u64,
    /// Times that a record was parked.
    pub parked: u64,
    /// Parked records that were started again.
    pub redriven: u64,
    /// Parked records that an operator ended.
    pub dropped: u64,
    /// Dead letters, rejected records included.
    pub dead_lettered: u64,
    /// Those that are not yet acknowledged by their broker.
    pub dead_letters_waiting: u64,
    /// Failures that were skipped.
    pub skipped: u64,
}

/// A record that waits for an operator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParkedRecord {
    /// The object's key.
    pub key: String,
    /// Topic.
    pub topic: String,
    /// Kafka's partition.
    pub source_partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Its invocation.
    pub invocation_id: String,
    /// Of the failure.
    pub code: u32,
    /// Of the failure.
    pub message: String,
    /// When it was parked.
    pub at: ApiTime,
}

/// The last trouble.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastError {
    /// One of the published codes, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened.
    pub message: String,
    /// When it happened last.
    pub at: ApiTime,
}

/// A record that could not become an invocation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RejectedExample {
    /// Kafka's partition.
    pub source_partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Why.
    pub reason: String,
    /// When it was settled.
    pub at: ApiTime,
}

/// Unsettled records of all partitions, and the limits of one partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BudgetStatus {
    /// Waiting, of keys that can run.
    pub ready_records: u64,
    /// Their bytes.
    pub ready_bytes: u64,
    /// Limit per engine partition.
    pub ready_records_max: u64,
    /// Limit per engine partition.
    pub ready_bytes_max: u64,
    /// Behind a blocked head, or beyond their key's share.
    pub held_records: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Limit per engine partition.
    pub held_records_max: u64,
    /// Limit per engine partition.
    pub held_bytes_max: u64,
}

/// A key whose records wait behind trouble.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockedKey {
    /// The object's key.
    pub key: String,
    /// Records that wait.
    pub records: u64,
    /// The invocation at its head.
    pub invocation_id: String,
    /// What it does.
    pub status: String,
}

/// One source partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Topic.
    pub topic: String,
    /// Kafka's 16 bytes, in hexadecimal digits.
    pub topic_id: String,
    /// Kafka's partition.
    pub source_partition: u32,
    /// Engine partition that reads it.
    pub partition: u16,
    /// Rises with every seek.
    pub generation: u32,
    /// Next offset expected.
    pub position: i64,
    /// End of the source, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_watermark: Option<i64>,
    /// How far behind, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<u64>,
    /// Records that became invocations.
    pub records: u64,
    /// Records settled as rejected.
    pub rejected: u64,
    /// Offsets that were gone.
    pub missing: u64,
    /// Nothing is fetched at the moment, because a budget is used up.
    pub paused: bool,
}

/// Knows what subscriptions do.
#[async_trait]
pub trait SubscriptionStatus: Send + Sync {
    /// One subscription; `None` if nothing is known of it yet.
    async fn status(&self, id: SubscriptionId) -> Option<StatusReport>;
}
