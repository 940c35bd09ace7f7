//! Sections that no crate of their own owns.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use millrace_ingress::{IngressConfig, config::REQUEST_SIZE_MAX};
use millrace_model::{ByteSize, Span, units::attempts};
use serde::Deserialize;

use super::Faults;

/// Partitions of a cluster. Each has a database of its own.
const PARTITIONS_MAX: u16 = 1024;
/// Roles of a node. All in one, for now.
const ROLES: [&str; 5] = ["worker", "admin", "metadata-server", "log-server", "http-ingress"];
const ROLES_NEEDED: [&str; 3] = ["worker", "admin", "http-ingress"];

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    Pretty,
    Compact,
    Json,
}

/// Top level. `defaults.toml` says what each means.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeSection {
    pub roles: Vec<String>,
    pub cluster_name: String,
    pub node_name: Option<String>,
    pub base_dir: PathBuf,
    pub bind_address: SocketAddr,
    pub advertised_address: Option<String>,
    pub default_num_partitions: u16,
    pub default_replication: u32,
    pub shutdown_timeout: Span,
    pub default_thread_pool_size: Option<usize>,
    pub disk_watermark: f64,
    pub default_journal_retention: Span,
    pub max_journal_retention: Option<Span>,
    #[serde(with = "attempts")]
    pub max_retry_policy_max_attempts: Option<u32>,
    pub log_filter: String,
    pub log_format: LogFormat,
    pub log_disable_ansi_codes: bool,
    pub disable_prometheus: bool,
}

impl Default for NodeSection {
    fn default() -> Self {
        Self {
            roles: ROLES.map(str::to_owned).to_vec(),
            cluster_name: "localcluster".to_owned(),
            node_name: None,
            base_dir: PathBuf::from("millrace-data"),
            bind_address: SocketAddr::from(([0, 0, 0, 0], 5122)),
            advertised_address: None,
            default_num_partitions: 8,
            default_replication: 1,
            shutdown_timeout: Span::seconds(60),
            default_thread_pool_size: None,
            disk_watermark: 0.95,
            default_journal_retention: Span::seconds(24 * 60 * 60),
            max_journal_retention: None,
            max_retry_policy_max_attempts: None,
            log_filter: "warn,millrace=info".to_owned(),
            log_format: LogFormat::Pretty,
            log_disable_ansi_codes: false,
            disable_prometheus: false,
        }
    }
}

/// A check of one setting: whether it can be used, its name, what is allowed.
type Check = (bool, &'static str, String);

fn report(section: &str, checks: impl IntoIterator<Item = Check>, faults: &mut Faults) {
    for (good, key, must) in checks {
        if !good {
            faults.add(format!("{section}{key}"), None, format!("must be {must}"));
        }
    }
}

impl NodeSection {
    pub fn check(&self, faults: &mut Faults) {
        let known = self.roles.iter().all(|role| ROLES.contains(&role.as_str()));
        let whole = ROLES_NEEDED.iter().all(|role| self.roles.iter().any(|had| had == role));
        let address = |text: &String| text.starts_with("http://") || text.starts_with("https://");
        report(
            "",
            [
                (
                    known && whole,
                    "roles",
                    format!("some of {ROLES:?} with all of {ROLES_NEEDED:?}: a node has them all"),
                ),
                (is_name(&self.cluster_name), "cluster-name", NAME_RULE.to_owned()),
                (self.node_name.as_deref().is_none_or(is_name), "node-name", NAME_RULE.to_owned()),
                (!self.base_dir.as_os_str().is_empty(), "base-dir", "a folder".to_owned()),
                (
                    self.advertised_address.as_ref().is_none_or(address),
                    "advertised-address",
                    "an address such as http://10.0.0.1:5122/".to_owned(),
                ),
                (
                    (1..=PARTITIONS_MAX).contains(&self.default_num_partitions),
                    "default-num-partitions",
                    format!("1 to {PARTITIONS_MAX}"),
                ),
                (self.default_replication == 1, "default-replication", "1: there is one node".to_owned()),
                (!self.shutdown_timeout.0.is_zero(), "shutdown-timeout", "above 0".to_owned()),
                (
                    self.default_thread_pool_size.is_none_or(|threads| (1..=1024).contains(&threads)),
                    "default-thread-pool-size",
                    "1 to 1024".to_owned(),
                ),
                ((0.1..=1.0).contains(&self.disk_watermark), "disk-watermark", "0.1 to 1.0".to_owned()),
                (
                    self.max_retry_policy_max_attempts != Some(0),
                    "max-retry-policy-max-attempts",
                    "at least 1: the first attempt counts".to_owned(),
                ),
            ],
            faults,
        );
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&self.log_filter) {
            faults.add("log-filter", None, error.to_string());
        }
    }

    /// Its name: as set, or that of the machine.
    pub fn name(&self) -> String {
        let machine = || rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
        self.node_name.clone().or_else(|| machine().filter(|name| is_name(name))).unwrap_or_else(|| "node".to_owned())
    }

    /// Where other nodes reach it.
    pub fn address(&self) -> String {
        let own = || format!("http://127.0.0.1:{}/", self.bind_address.port());
        self.advertised_address.clone().unwrap_or_else(own)
    }
}

const NAME_RULE: &str = "1 to 253 letters, digits, '-', '_' and '.'";

/// Like a host name; also the beginning of topic names.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(allowed)
}

/// `[worker]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct WorkerSection {
    pub cleanup_interval: Span,
    pub num_timers_in_memory_limit: usize,
}

impl Default for WorkerSection {
    fn default() -> Self {
        Self { cleanup_interval: Span::seconds(60), num_timers_in_memory_limit: 1024 }
    }
}

impl WorkerSection {
    pub fn check(&self, faults: &mut Faults) {
        let interval = Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);
        report(
            "worker.",
            [
                (interval.contains(&self.cleanup_interval.0), "cleanup-interval", "100ms to 1d".to_owned()),
                (
                    (64..=10_000_000).contains(&self.num_timers_in_memory_limit),
                    "num-timers-in-memory-limit",
                    "64 to 10000000".to_owned(),
                ),
            ],
            faults,
        );
    }
}

/// `[ingress]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct IngressSection {
    pub bind_address: SocketAddr,
    pub advertised_ingress_endpoint: Option<String>,
    pub concurrent_api_requests_limit: usize,
    pub request_size_limit: ByteSize,
    pub request_memory_limit: ByteSize,
    pub connections_limit: usize,
    pub http2_max_concurrent_streams: u32,
}

impl Default for IngressSection {
    fn default() -> Self {
        let config = IngressConfig::default();
        Self {
            bind_address: config.bind_address,
            advertised_ingress_endpoint: None,
            concurrent_api_requests_limit: config.concurrent_requests_limit,
            request_size_limit: ByteSize(config.request_size_limit as u64),
            request_memory_limit: ByteSize(config.request_memory_limit as u64),
            connections_limit: config.connections_limit,
            http2_max_concurrent_streams: config.http2_max_concurrent_streams,
        }
    }
}

impl IngressSection {
    pub fn check(&self, faults: &mut Faults) {
        let sizes = |size: ByteSize, min: u64, max: u64| (min..=max).contains(&size.0);
        let largest = REQUEST_SIZE_MAX as u64;
        report(
            "ingress.",
            [
                (self.concurrent_api_requests_limit > 0, "concurrent-api-requests-limit", "above 0".to_owned()),
                (
                    sizes(self.request_size_limit, 1 << 10, largest),
                    "request-size-limit",
                    format!("1KiB to {}: one command has to fit into one batch", ByteSize(largest)),
                ),
                (sizes(self.request_memory_limit, 1 << 20, 1 << 40), "request-memory-limit", "1MiB to 1TiB".to_owned()),
                ((1..=1_000_000).contains(&self.connections_limit), "connections-limit", "1 to 1000000".to_owned()),
                (
                    (1..=1_000_000).contains(&self.http2_max_concurrent_streams),
                    "http2-max-concurrent-streams",
                    "1 to 1000000".to_owned(),
                ),
            ],
            faults,
        );
    }

    pub fn config(&self, shutdown_timeout: Duration) -> IngressConfig {
        let defaults = IngressConfig::default();
        IngressConfig {
            bind_address: self.bind_address,
            concurrent_requests_limit: self.concurrent_api_requests_limit,
            request_size_limit: self.request_size_limit.0 as usize,
            request_memory_limit: self.request_memory_limit.0 as usize,
            connections_limit: self.connections_limit,
            http2_max_concurrent_streams: self.http2_max_concurrent_streams,
            drain_timeout: defaults.drain_timeout.min(shutdown_timeout),
            ..defaults
        }
    }
}
