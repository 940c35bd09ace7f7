//! What attempts read from the metadata, at the moment they need it (DESIGN.md section 1).

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use millrace_model::{DeploymentId, SubscriptionId, invocation::HandlerKind, source::FailurePolicy};
use millrace_protocol::Mode;

use crate::endpoint::Endpoint;

/// A registered endpoint.
#[derive(Clone, Debug)]
pub struct DeploymentInfo {
    /// Its name.
    pub id: DeploymentId,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How it streams, by its manifest.
    pub mode: Mode,
    /// Oldest service protocol version that it speaks.
    pub min_version: u32,
    /// Newest one; may be beyond what this server speaks.
    pub max_version: u32,
    /// Sent with every request, after the protocol's own.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a call must know of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerInfo {
    /// How it runs.
    pub kind: HandlerKind,
    /// Its service is a workflow.
    pub of_workflow: bool,
    /// Of a plain call, or of a workflow's run.
    pub retention: Retention,
    /// Of a call with idempotency key.
    pub idempotent_retention: Retention,
}

/// How long an ended invocation is kept, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Its result, and with it its status.
    pub completion: u64,
    /// Its journal.
    pub journal: u64,
}

impl HandlerInfo {
    /// How long an invocation is kept behind its end. A workflow's key names its one run, whatever other key it has.
    pub fn retention(&self, idempotent: bool) -> Retention {
        if idempotent && self.kind != HandlerKind::Workflow { self.idempotent_retention } else { self.retention }
    }
}

/// What follows from repeated failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Delay behind the first failed attempt.
    pub initial_interval: Duration,
    /// The delay grows by this with every further one.
    pub factor: f64,
    /// No delay is longer, but for the jitter.
    pub max_interval: Duration,
    /// Attempts, the first one included; `None`: no end.
    pub max_attempts: Option<u32>,
    /// What comes then.
    pub on_max_attempts: OnMaxAttempts,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial_interval: Duration::from_millis(500),
            factor: 2.0,
            max_interval: Duration::from_secs(60),
            max_attempts: Some(70),
            on_max_attempts: OnMaxAttempts::Pause,
        }
    }
}

/// What comes when no attempt is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMaxAttempts {
    /// An operator must look at it.
    Pause,
    /// It ends with the last failure.
    Kill,
}

/// What a subscription wants for its records beyond what their handler wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Attempts have no end.
    Retry,
    /// What becomes of one that fails for good.
    Settle(FailurePolicy),
}

/// How one attempt runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttemptPolicy {
    /// Silence after which the handler is asked to suspend; zero: it always suspends instead of waiting.
    pub inactivity_timeout: Duration,
    /// Silence after which a handler that was asked is cut off.
    pub abort_timeout: Duration,
    /// When it fails.
    pub retry: RetryPolicy,
    /// No state is sent with the start: handlers ask for what they need.
    pub lazy_state: bool,
}

impl Default for AttemptPolicy {
    fn default() -> Self {
        Self {
            inactivity_timeout: Duration::from_secs(60),
            abort_timeout: Duration::from_secs(60),
            retry: RetryPolicy::default(),
            lazy_state: false,
        }
    }
}

/// The metadata as attempts see it. Every answer is that of the moment of the question; none may block.
pub trait Registry: Send + Sync + 'static {
    /// The latest deployment that serves a service.
    fn deployment_for(&self, service: &str) -> Option<Arc<DeploymentInfo>>;

    /// A deployment by its id, also one that is not the latest.
    fn deployment(&self, id: DeploymentId) -> Option<Arc<DeploymentInfo>>;

    /// A handler of the latest revision of a service.
    fn handler(&self, service: &str, handler: &str) -> Option<HandlerInfo>;

    /// How attempts of a handler run: its own settings, else those of its service, else the configuration's.
    fn policy(&self, service: &str, handler: &str) -> AttemptPolicy;

    /// What a subscription wants for its records that fail. `None`: what their handler wants.
    fn on_failure(&self, _: SubscriptionId) -> Option<OnFailure> {
        None
    }
}
