//! Names, units and help of this crate's metrics.

use std::collections::BTreeSet;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use millrace_model::{SubscriptionId, source::Outcomes};
use parking_lot::RwLock;

/// Records taken in.
pub const RECORDS: &str = "millrace_kafka_ingress_requests_total";
/// Records not yet taken in.
pub const LAG: &str = "millrace_kafka_ingress_consumer_lag";
/// Records that could not become invocations.
pub const REJECTED: &str = "millrace_subscription_rejected_records_total";
/// Age of the last record taken in, while there is lag.
pub const LAG_SECONDS: &str = "millrace_subscription_consumer_lag_seconds";
/// Offsets that were gone before they could be read.
pub const MISSING: &str = "millrace_subscription_missing_records_total";
/// Waiting records of keys that can run.
pub const READY: &str = "millrace_subscription_ready_records";
/// Records behind blocked keys or beyond their key's share.
pub const HELD: &str = "millrace_subscription_held_records";
/// Dead letters that their broker has acknowledged.
pub const LETTERS: &str = "millrace_subscription_dead_letters_total";
/// How records ended: `outcome` is `failed`, `parked`, `redriven`, `dropped`, `dead_lettered` or `skipped`.
pub const OUTCOMES: &str = "millrace_subscription_outcomes_total";
/// Troubles that kept a subscription from reading.
pub const ERRORS: &str = "millrace_subscription_errors_total";

/// Called once, after the exporter is installed.
pub fn describe() {
    describe_counter!(RECORDS, Unit::Count, "records whose invocation is committed");
    describe_gauge!(LAG, Unit::Count, "high watermark minus source position");
    describe_counter!(REJECTED, Unit::Count, "records settled as rejected");
    describe_gauge!(LAG_SECONDS, Unit::Seconds, "age of the last record taken in while there is lag, else 0");
    describe_counter!(MISSING, Unit::Count, "offsets that were gone before they could be read");
    describe_gauge!(READY, Unit::Count, "unsettled records of keys that can run");
    describe_gauge!(HELD, Unit::Count, "unsettled records behind blocked keys or beyond their key's share");
    describe_counter!(LETTERS, Unit::Count, "dead letters that their broker has acknowledged");
    describe_counter!(OUTCOMES, Unit::Count, "records by how they failed, and what became of them");
    describe_counter!(ERRORS, Unit::Count, "troubles that kept a subscription from reading");
}

/// Subscriptions that were deleted in the life of this process.
static FORGOTTEN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// A deleted subscription has no metrics any more.
pub(crate) fn forget(subscription: SubscriptionId) {
    FORGOTTEN.write().insert(subscription.to_string());
}

/// The text of all metrics without those of deleted subscriptions. The recorder keeps what it has once seen.
pub fn without_deleted(text: String) -> String {
    let forgotten = FORGOTTEN.read();
    if forgotten.is_empty() {
        return text;
    }
    let is_kept = |line: &&str| {
        let id = line.split_once("subscription=\"").and_then(|(_, rest)| rest.split_once('"'));
        !line.starts_with("millrace_") || id.is_none_or(|(id, _)| !forgotten.contains(id))
    };
    let mut kept = String::with_capacity(text.len());
    for line in text.lines().filter(is_kept) {
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// Dead letters of one subscription.
pub(crate) fn letters(subscription: &str, topic: &str) -> Counter {
    counter!(LETTERS, "subscription" => subscription.to_owned(), "topic" => topic.to_owned())
}

/// Of one source partition.
pub(crate) struct SourceMetrics {
    pub(crate) records: Counter,
    pub(crate) rejected: Counter,
    pub(crate) missing: Counter,
    pub(crate) lag: Gauge,
    pub(crate) lag_seconds: Gauge,
}

impl SourceMetrics {
    pub(crate) fn new(subscription: &str, topic: &str, source_partition: u32) -> Self {
        let labels = [
            ("subscription", subscription.to_owned()),
            ("topic", topic.to_owned()),
            ("partition", source_partition.to_string()),
        ];
        Self {
            records: counter!(RECORDS, &labels),
            rejected: counter!(REJECTED, &labels),
            missing: counter!(MISSING, &labels),
            lag: gauge!(LAG, &labels),
            lag_seconds: gauge!(LAG_SECONDS, &labels),
        }
    }
}

/// Of one subscription at the partition that reads it.
pub(crate) struct BudgetMetrics {
    pub(crate) ready: Gauge,
    pub(crate) held: Gauge,
}

impl BudgetMetrics {
    pub(crate) fn new(subscription: &str, topic: &str, partition: u16) -> Self {
        let labels = [
            ("subscription", subscription.to_owned()),
            ("topic", topic.to_owned()),
            ("engine_partition", partition.to_string()),
        ];
        Self { ready: gauge!(READY, &labels), held: gauge!(HELD, &labels) }
    }
}

/// How the records of a subscription ended.
pub(crate) struct OutcomeMetrics([Counter; 6]);

impl OutcomeMetrics {
    pub(crate) fn new(subscription: &str, topic: &str) -> Self {
        let of = |outcome: &'static str| {
            let labels = [
                ("subscription", subscription.to_owned()),
                ("topic", topic.to_owned()),
                ("outcome", outcome.to_owned()),
            ];
            counter!(OUTCOMES, &labels)
        };
        Self(["failed", "parked", "redriven", "dropped", "dead_lettered", "skipped"].map(of))
    }

    pub(crate) fn set(&self, all: &Outcomes) {
        let values = [all.failed, all.parked, all.redriven, all.dropped, all.letters, all.skipped];
        for (counter, value) in self.0.iter().zip(values) {
            counter.absolute(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_subscription_has_no_metrics() {
        let id = SubscriptionId(0x5eed);
        let text =
            format!("# HELP x\nmillrace_a{{subscription=\"{id}\",b=\"c\"}} 1\nmillrace_a{{subscription=\"x\"}} 2\n");
        assert_eq!(without_deleted(text.clone()), text);
        forget(id);
        assert_eq!(without_deleted(text), "# HELP x\nmillrace_a{subscription=\"x\"} 2\n");
    }
}
