//! What all end-to-end tests share: the real binary, real services, a real Kafka, an HTTP client, and waiting.
//!
//! ```text
//! Server::start()          the `millrace` binary on free ports and a folder of its own; ends with the value
//! Service::start("rust")   the test services of one SDK; ends with the value
//! Kafka::shared()          one broker for the test binary; ends with the process
//! eventually(..)           polls: the only place of the tests that sleeps
//! ```
//!
//! A test fails when its server logged a `WARN` or `ERROR` that it did not allow. A failing test prints the end of
//! the logs. `MILLRACE_TESTS=all` asks for the full numbers, see [`tier`]; `MILLRACE_TESTS_KEEP=1` keeps the folders.
#![allow(dead_code)] // Each test binary uses a part.
#![allow(unused_imports)]

mod endpoint;
mod http;
mod kafka;
pub mod lambda;
mod log;
pub mod process;
mod proxy;
mod server;
mod service;
mod wait;

pub use endpoint::{Attempt, Endpoint, MANIFEST_TYPE, manifest};
pub use http::{Http, Response};
pub use kafka::{Group, Kafka, produce, unique};
pub use log::Log;
pub use process::{free_port, kill, terminate};
pub use proxy::{Claim, Proxy};
pub use server::{Server, ServerOptions};
pub use service::Service;
pub use wait::{PATIENCE, eventually, eventually_blocking, pause};

/// `all` with `MILLRACE_TESTS=all`, else `small`.
pub fn tier<T>(small: T, all: T) -> T {
    if std::env::var("MILLRACE_TESTS").is_ok_and(|tier| tier == "all") { all } else { small }
}

/// A seed for a test's dice: `MILLRACE_TESTS_SEED`, or a fresh one; printed, so that a failing run names it.
pub fn seed() -> u64 {
    let seed = match std::env::var("MILLRACE_TESTS_SEED") {
        Ok(text) => text.parse().expect("MILLRACE_TESTS_SEED is a number"),
        Err(_) => rand::random(),
    };
    eprintln!("seed={seed} (repeat with MILLRACE_TESTS_SEED={seed})");
    seed
}
