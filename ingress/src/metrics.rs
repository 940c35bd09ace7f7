//! Names, units and help of this crate's metrics, and the handles that requests use.

use std::{sync::LazyLock, time::Duration};

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

use crate::path::Verb;

/// Requests: `admitted` when they come, then one more for how they end.
pub const REQUESTS: &str = "millrace_ingress_requests_total";
/// From the request's head to the answer's.
pub const REQUEST_DURATION: &str = "millrace_ingress_request_duration_seconds";
/// Accepted connections.
pub const CONNECTIONS_CREATED: &str = "millrace_ingress_http_connection_created_total";
/// Closed connections.
pub const CONNECTIONS_DROPPED: &str = "millrace_ingress_http_connection_dropped_total";

/// Describes them; called once, after the exporter is installed.
pub fn describe() {
    describe_counter!(
        REQUESTS,
        Unit::Count,
        "requests by status: admitted, then completed, invocation_error, request_error, ingress_error, throttled or \
         abandoned"
    );
    describe_histogram!(
        REQUEST_DURATION,
        Unit::Seconds,
        "request head received to answer ready, the wait for the handler included"
    );
    describe_counter!(CONNECTIONS_CREATED, Unit::Count, "accepted connections");
    describe_counter!(CONNECTIONS_DROPPED, Unit::Count, "closed connections by status");
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A result.
    Completed,
    /// A terminal error of the handler.
    InvocationError,
    /// Refused for what it is.
    RequestError,
    /// Refused for how the server is.
    IngressError,
    /// Refused because of a limit.
    Throttled,
    /// The caller went away.
    Abandoned,
}

impl Outcome {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Completed, "completed"),
        (Self::InvocationError, "invocation_error"),
        (Self::RequestError, "request_error"),
        (Self::IngressError, "ingress_error"),
        (Self::Throttled, "throttled"),
        (Self::Abandoned, "abandoned"),
    ];

    /// For an answer that is not a result.
    pub(crate) fn of_error(status: u16) -> Self {
        match status {
            429 => Self::Throttled,
            500.. => Self::IngressError,
            _ => Self::RequestError,
        }
    }
}

/// Handles for the calls, or for the sends, of one service.
#[derive(Clone)]
pub(crate) struct RpcMetrics {
    outcomes: [Counter; 6],
    duration: Histogram,
}

impl RpcMetrics {
    fn new(service: &str, rpc_type: &'static str) -> Self {
        let service = service.to_owned();
        Self {
            outcomes: Outcome::ALL.map(|(_, status)| {
                counter!(REQUESTS, "status" => status, "rpc_service" => service.clone(), "rpc_type" => rpc_type)
            }),
            duration: histogram!(REQUEST_DURATION, "rpc_service" => service, "rpc_type" => rpc_type),
        }
    }

    pub(crate) fn record(&self, outcome: Outcome, took: Duration) {
        self.outcomes[outcome as usize].increment(1);
        self.duration.record(took.as_secs_f64());
    }
}

/// Handles of one service.
pub(crate) struct ServiceMetrics {
    call: RpcMetrics,
    send: RpcMetrics,
}

impl ServiceMetrics {
    pub(crate) fn new(service: &str) -> Self {
        Self { call: RpcMetrics::new(service, "call"), send: RpcMetrics::new(service, "send") }
    }

    pub(crate) fn of(&self, verb: Verb) -> &RpcMetrics {
        match verb {
            Verb::Call => &self.call,
            Verb::Send => &self.send,
        }
    }
}

/// Handles of the door itself.
pub(crate) struct DoorMetrics {
    pub admitted: Counter,
    pub connections: Counter,
    outcomes: [Counter; 6],
}

impl DoorMetrics {
    /// Of requests that no service can be named for.
    pub(crate) fn record(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].increment(1);
    }
}

/// Made when first used, which is after the exporter was installed.
pub(crate) static DOOR: LazyLock<DoorMetrics> = LazyLock::new(|| DoorMetrics {
    admitted: counter!(REQUESTS, "status" => "admitted"),
    connections: counter!(CONNECTIONS_CREATED),
    outcomes: Outcome::ALL.map(|(_, status)| counter!(REQUESTS, "status" => status)),
});

pub(crate) fn connection_dropped(status: &'static str) {
    counter!(CONNECTIONS_DROPPED, "status" => status).increment(1);
}
