//! The `millrace` server as a library: what the binary, the demo and tests start a node with.
//!
//! Wiring and the command line only. What a node does is in `engine/`, `subscriptions/`, `ingress/` and `admin/`.

pub mod cli;
pub mod config;
pub mod metrics;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod wiring;
