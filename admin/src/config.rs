//! The section `[admin]`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

/// The admin API (`[admin]`).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AdminConfig {
    /// Where it listens. Default `0.0.0.0:9070`. Restart needed. Since 0.1.
    pub bind_address: SocketAddr,
    /// Where others reach it, if that is another address. Default: none. Since 0.1.
    pub advertised_admin_endpoint: Option<String>,
    /// Requests served at once; more are answered with 429. Default: no limit. Since 0.1.
    pub concurrent_api_requests_limit: Option<usize>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            bind_address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9070)),
            advertised_admin_endpoint: None,
            concurrent_api_requests_limit: None,
        }
    }
}

/// Largest request body: the longest list of a batch operation takes 50 KiB, properties with certificates somewhat more.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// The same for the whole state of a key, whose bytes are written as up to four digits and commas each.
pub const STATE_BODY_BYTES_MAX: usize = 32 << 20;
/// Connections at once. People, scripts and dashboards.
pub const CONNECTIONS_MAX: usize = 1024;
/// From the first byte of a request's head to its last.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests under way may take at shutdown.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
