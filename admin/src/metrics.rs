//! Metrics of the admin API.

use metrics::{Unit, describe_counter};

/// Requests answered, by HTTP status.
pub const REQUESTS: &str = "millrace_admin_requests_total";

/// Names, units and help; called once, after the exporter is installed.
pub fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "admin requests answered, by HTTP status");
}

pub(crate) fn answered(status: http::StatusCode) {
    metrics::counter!(REQUESTS, "status" => status.as_str().to_owned()).increment(1);
}
