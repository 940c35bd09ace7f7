//! Names, units and help of this crate's metrics.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

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
    describe_counter!(ERRORS, Unit::Count, "troubles that kept a subscription from reading");
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
