//! Settings (`[worker.invoker]`, and the connection settings of the top level).

use std::{path::PathBuf, time::Duration};

use millrace_model::codes::{self, Code, Coded};
use serde::Deserialize;

use crate::{
    registry::{AttemptPolicy, OnMaxAttempts, RetryPolicy},
    units,
};

/// Attempts (`[worker.invoker]`).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct InvokerConfig {
    /// Silence after which a handler is asked to suspend; 0: it always suspends instead of waiting. Services and
    /// handlers may have their own. Default 1m. Since 0.1.
    #[serde(with = "units::duration")]
    pub inactivity_timeout: Duration,
    /// Silence after which a handler that was asked to suspend is cut off and retried. Above 0. Services and handlers
    /// may have their own. Default 10m. Since 0.1.
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
}

impl Default for InvokerConfig {
    fn default() -> Self {
        Self {
            inactivity_timeout: Duration::from_secs(60),
            abort_timeout: Duration::from_secs(600),
            message_size_warning: 10 << 20,
            message_size_limit: 32 << 20,
            concurrent_invocations_limit: 1000,
            memory_limit: 256 << 20,
            disable_eager_state: false,
        }
    }
}

/// Retries of what has no policy of its own (`[default-retry-policy]`).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DefaultRetryPolicy {
    /// Delay behind the first failed attempt. Default 500ms. Since 0.1.
    #[serde(with = "units::duration")]
    pub initial_interval: Duration,
    /// The delay grows by this with every further failed attempt. 1 to 1000. Default 2. Since 0.1.
    pub exponentiation_factor: f64,
    /// No delay is longer. Default 1m. Since 0.1.
    #[serde(with = "units::duration")]
    pub max_interval: Duration,
    /// Attempts, the first one included, or "unlimited". Default 70. Since 0.1.
    #[serde(with = "units::attempts")]
    pub max_attempts: Option<u32>,
    /// What comes then: `pause` or `kill`. Default `pause`. Since 0.1.
    pub on_max_attempts: OnMaxAttemptsConfig,
}

/// What comes when no attempt is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMaxAttemptsConfig {
    /// An operator must look at it.
    Pause,
    /// It ends with the last failure.
    Kill,
}

impl Default for DefaultRetryPolicy {
    fn default() -> Self {
        Self {
            initial_interval: Duration::from_millis(500),
            exponentiation_factor: 2.0,
            max_interval: Duration::from_secs(60),
            max_attempts: Some(70),
            on_max_attempts: OnMaxAttemptsConfig::Pause,
        }
    }
}

impl DefaultRetryPolicy {
    /// As attempts use it.
    pub fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            initial_interval: self.initial_interval,
            factor: self.exponentiation_factor,
            max_interval: self.max_interval,
            max_attempts: self.max_attempts,
            on_max_attempts: match self.on_max_attempts {
                OnMaxAttemptsConfig::Pause => OnMaxAttempts::Pause,
                OnMaxAttemptsConfig::Kill => OnMaxAttempts::Kill,
            },
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
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            http_keep_alive_options: KeepAlive::default(),
            initial_max_send_streams: 100,
            extra_ca_file: None,
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
        ])
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

impl DefaultRetryPolicy {
    /// Everything that cannot be used.
    pub fn faults(&self) -> Vec<ConfigFault> {
        faults([(
            (1.0..=1000.0).contains(&self.exponentiation_factor),
            "default-retry-policy.exponentiation-factor",
            "1 to 1000",
        )])
    }
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
