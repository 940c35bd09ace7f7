//! Settings (`[worker.invoker]`, and the connection settings of the top level).

mod files;
mod headers;
mod proxy;
mod retry;
mod throttling;

use std::{path::PathBuf, time::Duration};

use millrace_model::{
    codes::{self, Code, Coded},
    units::{self, ByteSize},
};
use millrace_protocol::{Mode, ProtocolVersion};
use serde::Deserialize;

pub use self::{
    headers::RequestHeaders,
    proxy::{NoProxy, ProxyUri, ProxyUriError},
    retry::{DefaultRetryPolicy, OnMaxAttemptsConfig, RetryPolicyForm},
    throttling::{Rate, RateError, ThrottlingConfig},
};
use crate::registry::AttemptPolicy;

/// A connection is replaced when it is so old, or up to a quarter older: replicas that were added behind a balancer get
/// their part within minutes, and a connection more in that time costs nothing.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(5 * 60);

/// Attempts (`[worker.invoker]`).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct InvokerConfig {
    /// Silence after which a handler is asked to suspend; 0: it always suspends instead of waiting. Services and
    /// handlers may have their own. Default 1m. Since 0.1.
    #[serde(with = "units::duration")]
    pub inactivity_timeout: Duration,
    /// Silence after which a handler that was asked to suspend is cut off and retried. Above 0. Services and handlers
    /// may have their own. Default 1m. Since 0.1.
    #[serde(with = "units::duration")]
    pub abort_timeout: Duration,
    /// A message of a handler above this is logged. Default 10MiB. Since 0.1.
    #[serde(with = "units::size")]
    pub message_size_warning: u64,
    /// A message of a handler of this size, or larger, fails its attempt. 1KiB to 1GiB. Default 32MiB. Since 0.1.
    #[serde(with = "units::size")]
    pub message_size_limit: u64,
    /// Attempts that run at the same time on this node. 1 to 1000000. Default 1000. Restart needed. Since 0.1.
    pub concurrent_invocations_limit: usize,
    /// Journals, state and incomplete messages of running attempts that may be in memory; attempts beyond it wait.
    /// At least 1MiB. Default 256MiB. Restart needed. Since 0.1.
    #[serde(with = "units::size")]
    pub memory_limit: u64,
    /// Handlers ask for state when they need it instead of getting all of it at the start. Services and handlers may
    /// have their own. Default false. Since 0.1.
    pub disable_eager_state: bool,
    /// State that goes with a start; handlers ask for what is beyond. At most what a message may have. Default:
    /// message-size-limit. Since 0.1.
    pub eager_state_size_limit: Option<ByteSize>,
    /// Speak version 8 of the service protocol with deployments that offer it and use streams: their handlers may read
    /// state as it is now, without a trace in the journal. Invocations that began with it end with it, also when it is
    /// off again. Experimental. Default false. Restart needed. Since 0.1.
    pub experimental_protocol_v8: bool,
    /// How often attempts start on this node.
    pub invocation_throttling: ThrottlingConfig,
    /// How often handlers do something, on this node: commands and results of steps.
    pub action_throttling: ThrottlingConfig,
}

impl Default for InvokerConfig {
    fn default() -> Self {
        Self {
            inactivity_timeout: Duration::from_secs(60),
            abort_timeout: Duration::from_secs(60),
            message_size_warning: 10 << 20,
            message_size_limit: 32 << 20,
            concurrent_invocations_limit: 1000,
            memory_limit: 256 << 20,
            disable_eager_state: false,
            eager_state_size_limit: None,
            experimental_protocol_v8: false,
            invocation_throttling: ThrottlingConfig::default(),
            action_throttling: ThrottlingConfig::default(),
        }
    }
}

/// Connections to endpoints (top level).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientConfig {
    /// A connection that is not there by then has failed. Above 0. Default 10s. Restart needed. Since 0.1.
    #[serde(with = "units::duration")]
    pub connect_timeout: Duration,
    /// HTTP/2 pings.
    pub http_keep_alive_options: KeepAlive,
    /// Streams opened on a connection before the endpoint has said how many it takes. 1 to 128. Default 100. Restart
    /// needed. Since 0.1.
    pub initial_max_send_streams: usize,
    /// PEM file with certificates of authorities to trust besides the well-known ones. Restart needed. Since 0.1.
    pub extra_ca_file: Option<PathBuf>,
    /// Headers of every request to a service, in place of `x-restate-cluster-name`. Restart needed. Since 0.1.
    pub additional_request_headers: Option<RequestHeaders>,
    /// Where requests to `http://` services are sent in their place. The variable HTTP_PROXY counts more than the file.
    /// Restart needed. Since 0.1.
    pub http_proxy: Option<ProxyUri>,
    /// Hosts that are reached without it, with all hosts below them; `*`: all. The variable NO_PROXY counts more than
    /// the file. Default: none. Restart needed. Since 0.1.
    pub no_proxy: NoProxy,
    /// PEM file with exactly one Ed25519 private key: every request to a service is signed with it. Default: none.
    /// Restart needed. Since 0.1.
    pub request_identity_private_key_pem_file: Option<PathBuf>,
    /// Bytes from which on requests to functions are compressed, if these can undo it. Default 4MiB. Restart needed.
    /// Since 0.1.
    #[serde(with = "units::size")]
    pub request_compression_threshold: u64,
    /// Profile of the AWS configuration to call functions with. Default: AWS_PROFILE, or the default profile. Restart
    /// needed. Since 0.1.
    pub aws_profile: Option<String>,
    /// Told whenever a role of AWS is assumed. The variable AWS_EXTERNAL_ID counts more. Restart needed. Since 0.1.
    pub aws_assume_role_external_id: Option<String>,
    /// Not a setting: tests make it short.
    #[serde(skip)]
    pub connection_age_max: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            http_keep_alive_options: KeepAlive::default(),
            initial_max_send_streams: 100,
            extra_ca_file: None,
            additional_request_headers: None,
            http_proxy: None,
            no_proxy: NoProxy::default(),
            request_identity_private_key_pem_file: None,
            request_compression_threshold: 4 << 20,
            aws_profile: None,
            aws_assume_role_external_id: None,
            connection_age_max: CONNECTION_AGE_MAX,
        }
    }
}

/// Pings on connections with requests (`[http-keep-alive-options]`).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeepAlive {
    /// Between two pings. Above 0. Default 40s. Restart needed. Since 0.1.
    #[serde(with = "units::duration")]
    pub interval: Duration,
    /// A connection whose ping is not answered by then has failed. Above 0. Default 20s. Restart needed. Since 0.1.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(40), timeout: Duration::from_secs(20) }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} must be {must}")]
pub struct ConfigFault {
    /// With its section.
    pub key: &'static str,
    /// What is allowed.
    pub must: &'static str,
}

impl Coded for ConfigFault {
    fn code(&self) -> Code {
        codes::RT0002
    }
}

fn faults<const N: usize>(checks: [(bool, &'static str, &'static str); N]) -> Vec<ConfigFault> {
    checks.into_iter().filter(|(good, ..)| !good).map(|(_, key, must)| ConfigFault { key, must }).collect()
}

impl InvokerConfig {
    /// Everything that cannot be used.
    pub fn faults(&self) -> Vec<ConfigFault> {
        faults([
            (!self.abort_timeout.is_zero(), "worker.invoker.abort-timeout", "above 0"),
            (
                (1 << 10..=1 << 30).contains(&self.message_size_limit),
                "worker.invoker.message-size-limit",
                "1KiB to 1GiB",
            ),
            (
                (1..=1_000_000).contains(&self.concurrent_invocations_limit),
                "worker.invoker.concurrent-invocations-limit",
                "1 to 1000000",
            ),
            (self.memory_limit >= 1 << 20, "worker.invoker.memory-limit", "at least 1MiB"),
            (
                self.eager_state_size_limit.is_none_or(|limit| limit.0 <= self.message_size_limit),
                "worker.invoker.eager-state-size-limit",
                "at most message-size-limit",
            ),
            throttling(&self.invocation_throttling, "worker.invoker.invocation-throttling.capacity"),
            throttling(&self.action_throttling, "worker.invoker.action-throttling.capacity"),
        ])
    }

    /// Bytes of keys and values that go with a start.
    pub fn eager_state_bytes_max(&self) -> usize {
        self.eager_state_size_limit.unwrap_or(ByteSize(self.message_size_limit)).as_usize()
    }

    /// The newest version of the service protocol that new invocations begin with.
    pub(crate) fn newest_version(&self, mode: Mode) -> ProtocolVersion {
        match mode {
            Mode::BidiStream if self.experimental_protocol_v8 => ProtocolVersion::V8,
            Mode::BidiStream | Mode::RequestResponse => ProtocolVersion::MAX,
        }
    }

    /// The policy of a handler that says nothing.
    pub fn policy(&self, retry: &DefaultRetryPolicy) -> AttemptPolicy {
        AttemptPolicy {
            inactivity_timeout: self.inactivity_timeout,
            abort_timeout: self.abort_timeout,
            retry: retry.policy(),
            lazy_state: self.disable_eager_state,
        }
    }
}

/// A capacity alone would limit nothing, and one of nothing would let nothing through.
fn throttling(config: &ThrottlingConfig, key: &'static str) -> (bool, &'static str, &'static str) {
    let good = config.capacity.is_none_or(|capacity| capacity > 0 && config.rate.is_some());
    (good, key, "at least 1, with a rate beside it")
}

impl ClientConfig {
    /// Everything that cannot be used.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let keep_alive = &self.http_keep_alive_options;
        faults([
            (!self.connect_timeout.is_zero(), "connect-timeout", "above 0"),
            (!keep_alive.interval.is_zero(), "http-keep-alive-options.interval", "above 0"),
            (!keep_alive.timeout.is_zero(), "http-keep-alive-options.timeout", "above 0"),
            ((1..=128).contains(&self.initial_max_send_streams), "initial-max-send-streams", "1 to 128"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::OnMaxAttempts;

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(InvokerConfig::default().faults(), []);
        assert_eq!(ClientConfig::default().faults(), []);
        assert_eq!(DefaultRetryPolicy::default().faults(), []);
        assert_eq!(toml::from_str::<InvokerConfig>("").unwrap(), InvokerConfig::default());
        let policy = InvokerConfig::default().policy(&DefaultRetryPolicy::default());
        assert_eq!(policy, AttemptPolicy::default());
    }

    #[test]
    fn settings_are_written_with_units() {
        let text = "inactivity-timeout = '1m 30s'\nabort-timeout = 'PT2H'\nmessage-size-limit = '8 MiB'";
        let config: InvokerConfig = toml::from_str(text).unwrap();
        assert_eq!(config.inactivity_timeout, Duration::from_secs(90));
        assert_eq!(config.abort_timeout, Duration::from_secs(7200));
        assert_eq!(config.message_size_limit, 8 << 20);
        let retry = |text| toml::from_str::<DefaultRetryPolicy>(text).unwrap().policy();
        assert_eq!(retry("max-attempts = 'unlimited'").max_attempts, None);
        assert_eq!(retry("max-attempts = 3\non-max-attempts = 'kill'").on_max_attempts, OnMaxAttempts::Kill);
    }

    #[test]
    fn faults_are_told_all_at_once() {
        for text in ["inactivity-timeout = 60", "abort-timeout = '-1s'", "message-size-limit = 'x'", "unknown = 1"] {
            assert!(toml::from_str::<InvokerConfig>(text).is_err(), "{text}");
        }
        let config: InvokerConfig =
            toml::from_str("abort-timeout = '0s'\nconcurrent-invocations-limit = 0\nmemory-limit = 1").unwrap();
        assert_eq!(config.faults().len(), 3);
        assert_eq!(config.faults()[0].to_string(), "worker.invoker.abort-timeout must be above 0");
        assert_eq!(config.faults()[0].code().id, "RT0002");
    }
}
