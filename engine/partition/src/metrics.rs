//! Names, units and help of this crate's metrics.

use std::time::Duration;

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

/// Log batches applied by leaders.
pub const BATCHES: &str = "millrace_partition_applied_batches_total";
/// One turn of a driver: all its committed batches applied, stored and acted on.
pub const APPLY_DURATION: &str = "millrace_partition_apply_duration_seconds";

/// Called once, after the exporter is installed.
pub fn describe() {
    describe_counter!(BATCHES, Unit::Count, "log batches applied by leaders");
    describe_histogram!(APPLY_DURATION, Unit::Seconds, "batches reported as committed to their effects done");
}

pub(crate) struct DriverMetrics {
    batches: Counter,
    duration: Histogram,
}

impl DriverMetrics {
    pub(crate) fn new() -> Self {
        Self { batches: counter!(BATCHES), duration: histogram!(APPLY_DURATION) }
    }

    pub(crate) fn applied(&self, batches: usize, took: Duration) {
        self.batches.increment(batches as u64);
        self.duration.record(took.as_secs_f64());
    }
}
