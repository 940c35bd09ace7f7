//! Services as a deployment announced them, and the settings that apply to their handlers.

use std::{collections::BTreeMap, time::Duration};

use millrace_model::invocation::HandlerKind;
use millrace_protocol::{InputRule, OutputRule};
use serde::{Deserialize, Serialize};

/// Milliseconds, as the manifest and the records carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Duration {
        Duration::from_millis(millis.0)
    }
}

impl From<Duration> for Millis {
    /// Cut off to whole milliseconds; ends at the end of time instead of wrapping.
    fn from(duration: Duration) -> Millis {
        Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    /// No key, no state.
    Service,
    /// State and a queue per key.
    VirtualObject,
    /// One run per key.
    Workflow,
}

/// What happens when the last attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnMaxAttempts {
    /// An operator decides.
    Pause,
    /// The invocation ends as failed.
    Kill,
}

/// Parts of a retry policy that were said; what is absent is decided one level up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RetrySettings {
    /// Before the second attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_interval: Option<Millis>,
    /// The longest pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<Millis>,
    /// Counts the first one; 0 and 1 both mean no retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// From one pause to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// After the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_max_attempts: Option<OnMaxAttempts>,
}

/// What a handler or a service says about how it runs; what is absent is decided one level up: handler, service, server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Reachable over HTTP and from Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// How long the result of an idempotent call is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_retention: Option<Millis>,
    /// How long the result of a workflow's run is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_retention: Option<Millis>,
    /// How long the journal is kept behind the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_retention: Option<Millis>,
    /// Silence after which a handler is asked to suspend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inactivity_timeout: Option<Millis>,
    /// Silence after that, after which its stream is reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_timeout: Option<Millis>,
    /// State is read when it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lazy_state: Option<bool>,
    /// What happens when attempts fail.
    pub retry: RetrySettings,
}

impl Settings {
    /// This, with what it does not say taken from `parent`.
    pub fn or(&self, parent: &Settings) -> Settings {
        Settings {
            public: self.public.or(parent.public),
            idempotency_retention: self.idempotency_retention.or(parent.idempotency_retention),
            workflow_retention: self.workflow_retention.or(parent.workflow_retention),
            journal_retention: self.journal_retention.or(parent.journal_retention),
            inactivity_timeout: self.inactivity_timeout.or(parent.inactivity_timeout),
            abort_timeout: self.abort_timeout.or(parent.abort_timeout),
            lazy_state: self.lazy_state.or(parent.lazy_state),
            retry: RetrySettings {
                initial_interval: self.retry.initial_interval.or(parent.retry.initial_interval),
                max_interval: self.retry.max_interval.or(parent.retry.max_interval),
                max_attempts: self.retry.max_attempts.or(parent.retry.max_attempts),
                factor: self.retry.factor.or(parent.retry.factor),
                on_max_attempts: self.retry.on_max_attempts.or(parent.retry.on_max_attempts),
            },
        }
    }
}

/// One handler as announced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HandlerSchema {
    /// Unique in its service.
    pub name: String,
    /// How it may run.
    #[serde(with = "handler_kind")]
    pub kind: HandlerKind,
    /// What it takes.
    pub input: InputRule,
    /// What it gives.
    pub output: OutputRule,
    /// For display and OpenAPI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_json_schema: Option<serde_json::Value>,
    /// For display and OpenAPI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_json_schema: Option<serde_json::Value>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// Free-form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Its own values only.
    #[serde(default)]
    pub settings: Settings,
}

/// One service as announced by one deployment, and changed by operators since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServiceSchema {
    /// Unique in the cluster.
    pub name: String,
    /// What it is. Never changes from one revision to the next, unless forced.
    pub ty: ServiceType,
    /// One more than that of its previous one.
    pub revision: u32,
    /// By name.
    pub handlers: Vec<HandlerSchema>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// Free-form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Its own values only.
    #[serde(default)]
    pub settings: Settings,
    /// Said by an operator: holds for every handler, whatever that says. Gone with the next revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_override: Option<bool>,
}

mod handler_kind {
    use serde::{Deserializer, Serializer};

    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        Plain,
        Exclusive,
        Shared,
        Workflow,
    }

    pub fn serialize<S: Serializer>(kind: &HandlerKind, to: S) -> Result<S::Ok, S::Error> {
        match kind {
            HandlerKind::Plain => Kind::Plain,
            HandlerKind::Exclusive => Kind::Exclusive,
            HandlerKind::Shared => Kind::Shared,
            HandlerKind::Workflow => Kind::Workflow,
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HandlerKind, D::Error> {
        Ok(match Kind::deserialize(from)? {
            Kind::Plain => HandlerKind::Plain,
            Kind::Exclusive => HandlerKind::Exclusive,
            Kind::Shared => HandlerKind::Shared,
            Kind::Workflow => HandlerKind::Workflow,
        })
    }
}

/// A whole retry policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Before the second attempt.
    pub initial_interval: Duration,
    /// The longest pause.
    pub max_interval: Duration,
    /// Counts the first one; `None`: no end.
    pub max_attempts: Option<u32>,
    /// From one pause to the next.
    pub factor: f64,
    /// After the last one.
    pub on_max_attempts: OnMaxAttempts,
}

/// What the server's configuration says where neither handler nor service does.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// How long the result of an idempotent call is kept.
    pub idempotency_retention: Duration,
    /// How long the result of a workflow's run is kept.
    pub workflow_retention: Duration,
    /// How long the journal is kept behind the end.
    pub journal_retention: Duration,
    /// No journal is kept longer, whatever a handler says.
    pub journal_retention_max: Option<Duration>,
    /// Silence after which a handler is asked to suspend.
    pub inactivity_timeout: Duration,
    /// Silence after that, after which its stream is reset.
    pub abort_timeout: Duration,
    /// State is read when it is asked for.
    pub lazy_state: bool,
    /// What happens when attempts fail.
    pub retry: RetryPolicy,
    /// No invocation has more attempts, whatever a handler says.
    pub max_attempts_max: Option<u32>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Defaults {
    /// Those of the product documentation.
    fn default() -> Self {
        Self {
            idempotency_retention: DAY,
            workflow_retention: DAY,
            journal_retention: DAY,
            journal_retention_max: None,
            inactivity_timeout: Duration::from_secs(60),
            abort_timeout: Duration::from_secs(60),
            lazy_state: false,
            retry: RetryPolicy {
                initial_interval: Duration::from_millis(500),
                max_interval: Duration::from_secs(60),
                max_attempts: Some(70),
                factor: 2.0,
                on_max_attempts: OnMaxAttempts::Pause,
            },
            max_attempts_max: None,
        }
    }
}

/// How long an ended invocation is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Its result.
    pub completion: Duration,
    /// Its journal.
    pub journal: Duration,
}

/// Settings with nothing left open.
impl Settings {
    /// The retry policy in force.
    pub fn retry_policy(&self, defaults: &Defaults) -> RetryPolicy {
        let (own, server) = (&self.retry, &defaults.retry);
        let wished = own.max_attempts.map_or(server.max_attempts, Some);
        RetryPolicy {
            initial_interval: own.initial_interval.map_or(server.initial_interval, Into::into),
            max_interval: own.max_interval.map_or(server.max_interval, Into::into),
            // No end is more than any number.
            max_attempts: wished.into_iter().chain(defaults.max_attempts_max).min(),
            factor: own.factor.unwrap_or(server.factor),
            on_max_attempts: own.on_max_attempts.unwrap_or(server.on_max_attempts),
        }
    }

    /// Whether state is read when it is asked for, in place of going with the start.
    pub fn lazy_state(&self, defaults: &Defaults) -> bool {
        self.lazy_state.unwrap_or(defaults.lazy_state)
    }

    /// When a handler is asked to suspend.
    pub fn inactivity_timeout(&self, defaults: &Defaults) -> Duration {
        self.inactivity_timeout.map_or(defaults.inactivity_timeout, Into::into)
    }

    /// When its stream is reset after that.
    pub fn abort_timeout(&self, defaults: &Defaults) -> Duration {
        self.abort_timeout.map_or(defaults.abort_timeout, Into::into)
    }

    /// How long a journal is kept behind the end, if no result that is kept for less sets the limit.
    pub fn journal_retention(&self, defaults: &Defaults) -> Duration {
        let wished = self.journal_retention.map_or(defaults.journal_retention, Into::into);
        defaults.journal_retention_max.map_or(wished, |max| wished.min(max))
    }

    /// How long an invocation is kept behind its end; `idempotent`: it was called with an idempotency key.
    ///
    /// The result of a plain call is kept as long as its journal, so that it can be looked at; the journal of a run or
    /// of an idempotent call never outlives the result.
    pub fn retention(&self, kind: HandlerKind, idempotent: bool, defaults: &Defaults) -> Retention {
        let journal = self.journal_retention(defaults);
        let completion = match kind {
            HandlerKind::Workflow => self.workflow_retention.map_or(defaults.workflow_retention, Into::into),
            _ if idempotent => self.idempotency_retention.map_or(defaults.idempotency_retention, Into::into),
            _ => return Retention { completion: journal, journal },
        };
        Retention { completion, journal: journal.min(completion) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_comes_from_one_level_up() {
        let service = Settings {
            public: Some(false),
            inactivity_timeout: Some(Millis(5)),
            retry: RetrySettings { max_attempts: Some(3), factor: Some(1.5), ..Default::default() },
            ..Default::default()
        };
        let handler = Settings {
            inactivity_timeout: Some(Millis(7)),
            retry: RetrySettings { max_attempts: Some(9), ..Default::default() },
            ..Default::default()
        };
        let both = handler.or(&service);
        assert_eq!((both.public, both.inactivity_timeout), (Some(false), Some(Millis(7))));
        let policy = both.retry_policy(&Defaults::default());
        assert_eq!((policy.max_attempts, policy.factor), (Some(9), 1.5));
        assert_eq!(policy.initial_interval, Duration::from_millis(500));
        assert_eq!(both.abort_timeout(&Defaults::default()), Duration::from_secs(60));
    }

    #[test]
    fn an_operator_bounds_the_number_of_attempts() {
        let check = |own, server, bound, expected| {
            let settings =
                Settings { retry: RetrySettings { max_attempts: own, ..Default::default() }, ..Default::default() };
            let retry = RetryPolicy { max_attempts: server, ..Defaults::default().retry };
            let defaults = Defaults { retry, max_attempts_max: bound, ..Defaults::default() };
            assert_eq!(settings.retry_policy(&defaults).max_attempts, expected);
        };
        check(Some(1000), Some(70), Some(5), Some(5));
        check(Some(3), None, Some(5), Some(3));
        check(None, None, Some(5), Some(5));
        check(None, Some(70), Some(5), Some(5));
        check(Some(1000), Some(70), None, Some(1000));
        check(None, None, None, None);
    }

    #[test]
    fn retentions() {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        let defaults = Defaults { journal_retention_max: Some(hours(3)), ..Defaults::default() };
        let check = |settings: Settings, kind, idempotent, completion, journal| {
            assert_eq!(settings.retention(kind, idempotent, &defaults), Retention { completion, journal });
        };
        let journal = |n| Settings { journal_retention: Some(hours(n).into()), ..Default::default() };
        check(Settings::default(), HandlerKind::Plain, false, hours(3), hours(3));
        check(journal(1), HandlerKind::Plain, false, hours(1), hours(1));
        check(journal(1), HandlerKind::Shared, true, hours(24), hours(1));
        let short = Settings { idempotency_retention: Some(hours(1).into()), ..journal(2) };
        check(short.clone(), HandlerKind::Plain, true, hours(1), hours(1));
        check(short, HandlerKind::Workflow, false, hours(24), hours(2));
    }
}
