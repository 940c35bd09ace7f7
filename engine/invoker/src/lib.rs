//! Running attempts against deployments (DESIGN.md section 9, `spec/service-protocol.md`).
//!
//! ```text
//!   leader ──AttemptJob, Feed──> attempt (one task) <──stream──> pool: HTTP/2, HTTP/1.1 <──> handlers
//!          <──Proposals── plan <── session (protocol) <─┘
//! ```
//!
//! * [`HttpInvoker`] — the leaders' [`Invoker`](millrace_partition::Invoker): slots, and a task per attempt.
//! * `attempt` — the driver; `plan`, `resolve` and `retry` decide, without I/O.
//! * `pool`, `connect`, `exchange` — connections, and one request on one of them.
//! * [`Discoverer`] — asks endpoints what they serve, for whoever registers them.
//! * [`Registry`] and [`Proposals`] — what this crate calls.
//!
//! Nothing is told to a handler that is not durable, and notifications go out in the order of the journal: both because
//! only the leader's feed is sent. What an attempt does not propose did not happen.

mod address;
mod attempt;
mod budget;
mod config;
mod connect;
mod discover;
mod endpoint;
mod exchange;
mod health;
mod identity;
pub mod metrics;
mod plan;
mod pool;
mod registry;
mod resolve;
pub mod retry;
mod servers;
mod shared;
mod slots;
mod throttle;
mod transport;
mod trouble;

pub use address::{Address, AddressError, Wire};
pub use config::{
    ClientConfig, ConfigFault, DefaultRetryPolicy, InvokerConfig, KeepAlive, NoProxy, OnMaxAttemptsConfig, ProxyUri,
    ProxyUriError, Rate, RateError, RequestHeaders, RetryPolicyForm, ThrottlingConfig,
};
pub use discover::{DiscoverError, Discovered, Discoverer};
pub use endpoint::Endpoint;
pub use exchange::{LambdaError, LambdaFunction};
pub use identity::{Identity, IdentityError};
pub use registry::{
    AttemptPolicy, DeploymentInfo, HandlerInfo, OnFailure, OnMaxAttempts, Registry, Retention, RetryPolicy,
};
pub use shared::{HttpInvoker, InvokerParts, Proposals, ProposalsStopped, Stored, Values};
pub use transport::TransportError;
pub use trouble::{Details, Trouble, Wish};
