//! Names, units and help of this crate's metrics, and the handles that the local log keeps.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Payload bytes made durable.
pub const APPEND_BYTES: &str = "millrace_log_append_bytes_total";
/// Batches made durable.
pub const APPEND_BATCHES: &str = "millrace_log_append_batches_total";
/// Append to durable.
pub const APPEND_DURATION: &str = "millrace_log_append_duration_seconds";
/// Syncs.
pub const SYNCS: &str = "millrace_log_syncs_total";
/// How long a sync takes.
pub const SYNC_DURATION: &str = "millrace_log_sync_duration_seconds";
/// How much one sync covers.
pub const SYNC_BYTES: &str = "millrace_log_sync_bytes";
/// Segment files.
pub const SEGMENTS: &str = "millrace_log_segments";
/// Log that is not trimmed.
pub const UNTRIMMED: &str = "millrace_log_untrimmed_bytes";

/// Describes the metrics of this crate; called once, after the exporter is installed.
pub fn describe() {
    describe_counter!(APPEND_BYTES, Unit::Bytes, "payload of batches that are durable in the local log");
    describe_counter!(APPEND_BATCHES, Unit::Count, "batches that are durable in the local log");
    describe_histogram!(
        APPEND_DURATION,
        Unit::Seconds,
        "append accepted to durable, of the oldest batch that each sync of the local log covers"
    );
    describe_counter!(SYNCS, Unit::Count, "syncs of the local log");
    describe_histogram!(SYNC_DURATION, Unit::Seconds, "sync of the local log called to returned");
    describe_histogram!(SYNC_BYTES, Unit::Bytes, "bytes that one sync of the local log covers");
    describe_gauge!(SEGMENTS, Unit::Count, "segment files of the local log, reserved ones included");
    describe_gauge!(UNTRIMMED, Unit::Bytes, "local log from its oldest segment to its end");
}

/// Looked up once.
pub(crate) struct Metrics {
    pub append_bytes: Counter,
    pub append_batches: Counter,
    pub append_duration: Histogram,
    pub syncs: Counter,
    pub sync_duration: Histogram,
    pub sync_bytes: Histogram,
    pub segments: Gauge,
    pub untrimmed: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        Self {
            append_bytes: counter!(APPEND_BYTES),
            append_batches: counter!(APPEND_BATCHES),
            append_duration: histogram!(APPEND_DURATION),
            syncs: counter!(SYNCS),
            sync_duration: histogram!(SYNC_DURATION),
            sync_bytes: histogram!(SYNC_BYTES),
            segments: gauge!(SEGMENTS),
            untrimmed: gauge!(UNTRIMMED),
        }
    }
}
