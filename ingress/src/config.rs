//! Limits and addresses.

use std::{net::SocketAddr, time::Duration};

/// The front door (`[ingress]`). Fields without a setting of their own are measured constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressConfig {
    /// Where to listen. Default `0.0.0.0:8080`.
    pub bind_address: SocketAddr,
    /// Requests that may be under way at the same time, waiting ones included; beyond it the answer is 429.
    pub concurrent_requests_limit: usize,
    /// Longest request body, in bytes; beyond it the answer is 413. At most [`REQUEST_SIZE_MAX`].
    pub request_size_limit: usize,
    /// Bytes of all bodies that are being read; beyond it the answer is 429.
    pub request_memory_limit: usize,
    /// Connections that may be open; further ones wait in the listener's backlog.
    pub connections_limit: usize,
    /// Streams of one HTTP/2 connection.
    pub http2_max_concurrent_streams: u32,
    /// A connection on which no complete request head arrives for so long is closed.
    pub head_timeout: Duration,
    /// A request whose body stands still for so long is answered with 408.
    pub body_timeout: Duration,
    /// How long requests under way may take at shutdown.
    pub drain_timeout: Duration,
}

/// A command must fit into one log batch (64 MiB) with its headers.
pub const REQUEST_SIZE_MAX: usize = 60 << 20;

impl Default for IngressConfig {
    fn default() -> Self {
        Self {
            bind_address: SocketAddr::from(([0, 0, 0, 0], 8080)),
            concurrent_requests_limit: 100_000,
            request_size_limit: 32 << 20,
            request_memory_limit: 256 << 20,
            connections_limit: 16_384,
            http2_max_concurrent_streams: 4096,
            head_timeout: Duration::from_secs(120),
            body_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(5),
        }
    }
}
