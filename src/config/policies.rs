//! Retry policies in the general form of the product documentation: `type` is `none`, `fixed-delay` or `exponential`.
//!
//! One of them is read, under a name that is retired: `worker.invoker.retry-policy` becomes `[default-retry-policy]`. The
//! others belong to clients that a node of its own does not have; what is wrong in them is a fault all the same.

use millrace_invoker::{DefaultRetryPolicy, OnMaxAttemptsConfig, RetryPolicyForm};
use toml::{Table, Value};

use super::{Faults, layers::Layers};

const RETIRED: [&str; 3] = ["worker", "invoker", "retry-policy"];
const PRESENT: &str = "default-retry-policy";

const UNUSED: [&[&str]; 7] = [
    &["network-error-retry-policy"],
    &["metadata-client", "backoff-policy"],
    &["networking", "connect-retry-policy"],
    &["worker", "snapshots", "object-store-retry-policy"],
    &["bifrost", "read-retry-policy"],
    &["bifrost", "replicated-loglet", "sequencer-retry-policy"],
    &["bifrost", "replicated-loglet", "log-server-retry-policy"],
];

/// Calls the retired one by its present name, and says so.
pub fn translate(layers: &mut Layers, faults: &mut Faults) -> Option<String> {
    for key in UNUSED {
        _ = read(layers, key, faults);
    }
    let policy = read(layers, &RETIRED, faults).map(DefaultRetryPolicy::from);
    let overruled = layers.iter().any(|(key, _)| key[0] == PRESENT);
    let (_, origin) = layers.take(&RETIRED)?;
    if overruled {
        return Some(format!("worker.invoker.retry-policy ({origin}) has no effect: [default-retry-policy] is set"));
    }
    let policy = policy?;
    let millis = |duration: std::time::Duration| Value::String(format!("{}ms", duration.as_millis()));
    let on_max_attempts = match policy.on_max_attempts {
        OnMaxAttemptsConfig::Pause => "pause",
        OnMaxAttemptsConfig::Kill => "kill",
    };
    for (name, value) in [
        ("initial-interval", millis(policy.initial_interval)),
        ("exponentiation-factor", Value::Float(policy.exponentiation_factor)),
        ("max-interval", millis(policy.max_interval)),
        ("max-attempts", policy.max_attempts.map_or_else(|| "unlimited".into(), |max| i64::from(max).into())),
        ("on-max-attempts", on_max_attempts.into()),
    ] {
        layers.set(&[PRESENT, name], value, origin.clone());
    }
    Some(format!("worker.invoker.retry-policy ({origin}) is deprecated: use [default-retry-policy]"))
}

fn read(layers: &Layers, key: &[&str], faults: &mut Faults) -> Option<RetryPolicyForm> {
    let (table, origin) = layers.section(key)?;
    match Table::try_into(table) {
        Ok(form) => Some(form),
        Err(error) => {
            faults.add(key.join("."), Some(origin), error.message().to_owned());
            None
        }
    }
}
