//! Names, units and help of this crate's metrics.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::census::{Census, STATES};

/// Log batches applied by leaders.
pub const BATCHES: &str = "millrace_partition_applied_batches_total";
/// One turn of a driver: all its committed batches applied, stored and acted on.
pub const APPLY_DURATION: &str = "millrace_partition_apply_duration_seconds";

/// Active invocations.
pub const INVOCATIONS: &str = "millrace_partition_invocations";
/// Invocations that have ended.
pub const ENDED: &str = "millrace_partition_ended_invocations_total";
/// Invocations that wait for one of the slots for attempts.
pub const STARTING: &str = "millrace_partition_starting_invocations";

/// Called once, after the exporter is installed.
pub fn describe() {
    describe_counter!(BATCHES, Unit::Count, "log batches applied by leaders");
    describe_gauge!(INVOCATIONS, Unit::Count, "invocations that have not ended, by state");
    describe_counter!(ENDED, Unit::Count, "invocations that have ended since the leadership began, by outcome");
    describe_gauge!(STARTING, Unit::Count, "invocations that wait for a slot");
    describe_histogram!(APPLY_DURATION, Unit::Seconds, "batches reported as committed to their effects done");
}

pub(crate) struct DriverMetrics {
    batches: Counter,
    duration: Histogram,
    states: [Gauge; STATES.len()],
    succeeded: Counter,
    failed: Counter,
    starting: Gauge,
}

impl DriverMetrics {
    pub(crate) fn new(index: usize) -> Self {
        let driver = index.to_string();
        Self {
            batches: counter!(BATCHES),
            duration: histogram!(APPLY_DURATION),
            states: STATES.map(|state| gauge!(INVOCATIONS, "state" => state, "driver" => driver.clone())),
            succeeded: counter!(ENDED, "outcome" => "success", "driver" => driver.clone()),
            failed: counter!(ENDED, "outcome" => "failure", "driver" => driver.clone()),
            starting: gauge!(STARTING, "driver" => driver),
        }
    }

    /// All partitions of the driver together.
    pub(crate) fn observe(&self, all: Census, starting: usize) {
        for (gauge, count) in self.states.iter().zip(all.active) {
            gauge.set(count as f64);
        }
        self.succeeded.absolute(all.succeeded);
        self.failed.absolute(all.failed);
        self.starting.set(starting as f64);
    }

    pub(crate) fn applied(&self, batches: usize, took: Duration) {
        self.batches.increment(batches as u64);
        self.duration.record(took.as_secs_f64());
    }
}
