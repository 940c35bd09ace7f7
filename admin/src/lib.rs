//! The admin API: REST over the metadata and for operators (`spec/admin-api.md`).
//!
//! ```text
//! connection (server) ─> prefix, limits (router) ─> handler/<resource> ─┬─> Metadata      what is registered
//!                                                                      ├─> Discoverer    what an endpoint serves
//!                                                                      ├─> Engine        invocations and keys
//!                                                                      └─> SubscriptionStatus
//! ```
//!
//! Owns: paths, bodies and errors of the API. Relies on: `millrace-cluster` for every rule about what may be registered.
//! Never: keeps state. What it answers is in the log.

pub mod config;
pub mod discover;
pub mod engine;
pub mod metrics;
pub mod status;

mod error;
mod explain;
mod handler;
mod operate;
mod router;
mod server;
mod text;

pub use config::AdminConfig;
pub use discover::{DiscoverError, DiscoverRequest, Discovered, Discoverer};
pub use engine::{Engine, EngineError, InvocationLook, JournalLine, KeyLook, Leaders, Operation, Place};
pub use router::{Admin, router};
pub use server::{Server, StartError};
pub use status::{SourceStatus, StatusReport, SubscriptionStatus};
