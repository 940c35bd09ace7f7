//! Retry policies: the one for attempts (`[default-retry-policy]`), and the general form of the product documentation.

use std::time::Duration;

use millrace_model::units;
use serde::Deserialize;

use super::{ConfigFault, faults};
use crate::registry::{OnMaxAttempts, RetryPolicy};

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

    /// Everything that cannot be used.
    pub fn faults(&self) -> Vec<ConfigFault> {
        faults([(
            (1.0..=1000.0).contains(&self.exponentiation_factor),
            "default-retry-policy.exponentiation-factor",
            "1 to 1000",
        )])
    }
}

/// A retry policy in its general form, as the retired `worker.invoker.retry-policy` has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum RetryPolicyForm {
    /// One attempt.
    None {},
    /// The same delay each time.
    FixedDelay {
        /// The delay.
        #[serde(with = "units::duration")]
        interval: Duration,
        /// Attempts, the first one included. Default: no end.
        #[serde(default, with = "units::attempts")]
        max_attempts: Option<u32>,
    },
    /// Each delay is longer than the one before.
    Exponential {
        /// The first delay.
        #[serde(with = "units::duration")]
        initial_interval: Duration,
        /// From one delay to the next.
        #[serde(default = "two")]
        factor: f64,
        /// Attempts, the first one included. Default: no end.
        #[serde(default, with = "units::attempts")]
        max_attempts: Option<u32>,
        /// No delay is longer. Default: no end.
        #[serde(default = "longest", with = "units::duration")]
        max_interval: Duration,
    },
}

fn two() -> f64 {
    2.0
}

/// As good as no limit, and a clock can be moved by it.
fn longest() -> Duration {
    Duration::from_secs(10 * 365 * 24 * 60 * 60)
}

impl From<RetryPolicyForm> for DefaultRetryPolicy {
    /// Without an attempt left, an invocation ends: there was no pausing when that form was used for invocations.
    fn from(form: RetryPolicyForm) -> Self {
        let (initial_interval, exponentiation_factor, max_interval, max_attempts) = match form {
            RetryPolicyForm::None {} => (Duration::ZERO, 1.0, Duration::ZERO, Some(1)),
            RetryPolicyForm::FixedDelay { interval, max_attempts } => (interval, 1.0, interval, max_attempts),
            RetryPolicyForm::Exponential { initial_interval, factor, max_attempts, max_interval } => {
                (initial_interval, factor, max_interval, max_attempts)
            }
        };
        let on_max_attempts = OnMaxAttemptsConfig::Kill;
        Self { initial_interval, exponentiation_factor, max_interval, max_attempts, on_max_attempts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let read = |text| toml::from_str::<RetryPolicyForm>(text).map(DefaultRetryPolicy::from);
        let kill = |initial, factor, max, max_attempts| DefaultRetryPolicy {
            initial_interval: initial,
            exponentiation_factor: factor,
            max_interval: max,
            max_attempts,
            on_max_attempts: OnMaxAttemptsConfig::Kill,
        };
        let second = Duration::from_secs(1);
        for (text, expected) in [
            ("type = 'none'", kill(Duration::ZERO, 1.0, Duration::ZERO, Some(1))),
            ("type = 'fixed-delay'\ninterval = '1s'", kill(second, 1.0, second, None)),
            ("type = 'fixed-delay'\ninterval = '1s'\nmax-attempts = 3", kill(second, 1.0, second, Some(3))),
            ("type = 'exponential'\ninitial-interval = '1s'", kill(second, 2.0, longest(), None)),
            (
                "type = 'exponential'\ninitial-interval = 'PT1S'\nfactor = 1.5\nmax-attempts = 'unlimited'\n\
                 max-interval = '1m'",
                kill(second, 1.5, second * 60, None),
            ),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "type = 'other'",
            "type = 'none'\ninterval = '1s'",
            "type = 'fixed-delay'",
            "type = 'fixed-delay'\ninterval = 'x'",
            "type = 'exponential'\nmax-attempts = 3",
            "type = 'exponential'\ninitial-interval = '1s'\nmax-attempts = -1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
