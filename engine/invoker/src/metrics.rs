//! Names, units and help of this crate's metrics.

use std::collections::HashMap;

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};
use millrace_model::{Code, codes};

/// Attempts by status.
pub const TASKS: &str = "millrace_invoker_invocation_tasks_total";
/// How long attempts run.
pub const TASK_DURATION: &str = "millrace_invoker_task_duration_seconds";
/// Failed attempts by error code.
pub const ERRORS: &str = "millrace_invoker_attempt_errors_total";
/// Slots of the node.
pub const LIMIT: &str = "millrace_invoker_concurrency_limit";
/// Slots taken since the start.
pub const SLOTS_ACQUIRED: &str = "millrace_invoker_concurrency_slots_acquired";
/// Slots given back since the start.
pub const SLOTS_RELEASED: &str = "millrace_invoker_concurrency_slots_released";
/// Request bodies.
pub const SENT_BYTES: &str = "millrace_invoker_sent_bytes_total";
/// Response bodies.
pub const RECEIVED_BYTES: &str = "millrace_invoker_received_bytes_total";

/// Describes them; called once from `serve.rs`, after the exporter is installed.
pub fn describe() {
    describe_counter!(TASKS, Unit::Count, "attempts started, and how they ended");
    describe_histogram!(TASK_DURATION, Unit::Seconds, "attempt taken up to its stream's end");
    describe_counter!(ERRORS, Unit::Count, "failed attempts by error code");
    describe_gauge!(LIMIT, Unit::Count, "attempts that may run at the same time");
    describe_counter!(SLOTS_ACQUIRED, Unit::Count, "slots for attempts taken; minus those released: in use");
    describe_counter!(SLOTS_RELEASED, Unit::Count, "slots for attempts given back");
    describe_counter!(SENT_BYTES, Unit::Bytes, "message bytes sent to deployments");
    describe_counter!(RECEIVED_BYTES, Unit::Bytes, "message bytes received from deployments");
}

/// Handles, looked up once.
pub(crate) struct Metrics {
    pub(crate) started: Counter,
    pub(crate) completed: Counter,
    pub(crate) suspended: Counter,
    pub(crate) failed: Counter,
    pub(crate) failed_transient: Counter,
    pub(crate) aborted: Counter,
    pub(crate) duration: Histogram,
    pub(crate) sent_bytes: Counter,
    pub(crate) received_bytes: Counter,
    errors: HashMap<&'static str, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let errors = codes::ALL.iter().filter(|code| code.id.starts_with("RT") || code.id.starts_with("ENG"));
        Self {
            started: counter!(TASKS, "status" => "started"),
            completed: counter!(TASKS, "status" => "completed"),
            suspended: counter!(TASKS, "status" => "suspended"),
            failed: counter!(TASKS, "status" => "failed", "transient" => "false"),
            failed_transient: counter!(TASKS, "status" => "failed", "transient" => "true"),
            aborted: counter!(TASKS, "status" => "aborted"),
            duration: histogram!(TASK_DURATION),
            sent_bytes: counter!(SENT_BYTES),
            received_bytes: counter!(RECEIVED_BYTES),
            errors: errors.map(|code| (code.id, counter!(ERRORS, "code" => code.id))).collect(),
        }
    }

    pub(crate) fn error(&self, code: Code) {
        if let Some(counter) = self.errors.get(code.id) {
            counter.increment(1);
        }
    }
}
