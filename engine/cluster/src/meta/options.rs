//! Options of a subscription that are Millrace's own: their names begin with `millrace.`, librdkafka never sees them.

use std::collections::BTreeMap;

/// What the names of our own options begin with.
pub const PREFIX: &str = "millrace.";
/// `retry`, `park`, `dead-letter` or `skip`: what becomes of a record that fails for good.
pub const ON_FAILURE: &str = "millrace.on-failure";
/// Where `dead-letter` writes to, in the cluster that the record came from.
pub const DEAD_LETTER_TOPIC: &str = "millrace.dead-letter-topic";
/// `reject` or `empty`: what happens to a record without key if the sink is keyed.
pub const NULL_KEY: &str = "millrace.null-key";
/// Budget per partition: waiting records of keys that can run.
pub const READY_RECORDS: &str = "millrace.ready-records";
/// The same in bytes, such as `64MiB`.
pub const READY_BYTES: &str = "millrace.ready-bytes";
/// Budget per partition: records behind a blocked key, or beyond their key's share.
pub const HELD_RECORDS: &str = "millrace.held-records";
/// The same in bytes.
pub const HELD_BYTES: &str = "millrace.held-bytes";

/// Largest budget in records; smallest is 1.
pub const BUDGET_RECORDS_MAX: u64 = 1 << 32;
/// Largest budget in bytes.
pub const BUDGET_BYTES_MAX: u64 = 1 << 44;

/// What happens to a record without key if the sink is keyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NullKey {
    /// It is settled as rejected, counted and shown.
    #[default]
    Reject,
    /// Its key is the empty one.
    Empty,
}

/// What becomes of a record whose invocation fails for good: by a terminal failure, or when no attempt is left.
///
/// A record that cannot become an invocation (a key that the sink cannot have, or too large) goes to the dead-letter
/// topic with `DeadLetter`, and is counted as rejected with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Attempts have no end, whatever the handler's retry policy says. A terminal failure ends the invocation.
    Retry,
    /// It waits for an operator, and the later records of its key behind it.
    Park,
    /// It is written to another topic.
    DeadLetter,
    /// It is counted.
    Skip,
}

/// Our own options; `None` is for the server's configuration to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Records without key.
    pub null_key: NullKey,
    /// `None`: the handler's retry policy decides.
    pub on_failure: Option<OnFailure>,
    /// There if and only if `on_failure` is `DeadLetter`.
    pub dead_letter_topic: Option<String>,
    /// Per partition, at least 1.
    pub ready_records: Option<u64>,
    /// Per partition, at least 1.
    pub ready_bytes: Option<u64>,
    /// Per partition, at least 1.
    pub held_records: Option<u64>,
    /// Per partition, at least 1.
    pub held_bytes: Option<u64>,
}

/// An option that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct OptionFault {
    /// Which.
    pub key: String,
    /// Why. Carries no secret.
    pub reason: String,
}

impl OptionFault {
    /// A fault.
    pub fn new(key: &str, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), reason: reason.into() }
    }
}

/// Asks the client library about its own options. Implemented in the wiring with librdkafka.
pub trait OptionCheck: Send + Sync {
    /// Every fault of a subscription's options, without ours, that would be added to those of its cluster.
    fn subscription(&self, options: &BTreeMap<String, String>) -> Vec<OptionFault>;

    /// Every fault of the properties of a cluster that is made through the API.
    fn cluster(&self, properties: &BTreeMap<String, String>) -> Vec<OptionFault>;
}

impl SubscriptionOptions {
    /// Reads ours out of all options, or says everything that is wrong with them.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, Vec<OptionFault>> {
        let mut parsed = Self::default();
        let mut faults = Vec::new();
        let ours = options.range(PREFIX.to_owned()..).take_while(|(key, _)| key.starts_with(PREFIX));
        for (key, value) in ours {
            let fault = match key.as_str() {
                NULL_KEY => match value.as_str() {
                    "reject" => continue,
                    "empty" => {
                        parsed.null_key = NullKey::Empty;
                        continue;
                    }
                    _ => "must be reject or empty".to_owned(),
                },
                ON_FAILURE => {
                    parsed.on_failure = match value.as_str() {
                        "retry" => Some(OnFailure::Retry),
                        "park" => Some(OnFailure::Park),
                        "dead-letter" => Some(OnFailure::DeadLetter),
                        "skip" => Some(OnFailure::Skip),
                        _ => {
                            faults.push(OptionFault::new(key, "must be retry, park, dead-letter or skip"));
                            continue;
                        }
                    };
                    continue;
                }
                DEAD_LETTER_TOPIC => match topic_fault(value) {
                    None => {
                        parsed.dead_letter_topic = Some(value.clone());
                        continue;
                    }
                    Some(reason) => reason.to_owned(),
                },
                READY_RECORDS => match records(value, &mut parsed.ready_records) {
                    Ok(()) => continue,
                    Err(reason) => reason,
                },
                HELD_RECORDS => match records(value, &mut parsed.held_records) {
                    Ok(()) => continue,
                    Err(reason) => reason,
                },
                READY_BYTES => match bytes(value, &mut parsed.ready_bytes) {
                    Ok(()) => continue,
                    Err(reason) => reason,
                },
                HELD_BYTES => match bytes(value, &mut parsed.held_bytes) {
                    Ok(()) => continue,
                    Err(reason) => reason,
                },
                _ => "no such option".to_owned(),
            };
            faults.push(OptionFault::new(key, fault));
        }
        let is_named = options.contains_key(DEAD_LETTER_TOPIC);
        match parsed.on_failure {
            Some(OnFailure::DeadLetter) if !is_named => {
                faults.push(OptionFault::new(DEAD_LETTER_TOPIC, format!("missing, {ON_FAILURE} is dead-letter")));
            }
            Some(OnFailure::DeadLetter) => {}
            _ if is_named => {
                faults.push(OptionFault::new(DEAD_LETTER_TOPIC, format!("needs {ON_FAILURE} to be dead-letter")));
            }
            _ => {}
        }
        if faults.is_empty() { Ok(parsed) } else { Err(faults) }
    }
}

/// Kafka's own limit for names of topics.
pub const TOPIC_BYTES_MAX: usize = 249;

/// Why Kafka would not have a topic of this name.
pub fn topic_fault(topic: &str) -> Option<&'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match topic {
        "" => Some("the topic is missing"),
        "." | ".." => Some("Kafka allows no such topic"),
        _ if topic.len() > TOPIC_BYTES_MAX => Some("the topic's name is too long for Kafka"),
        _ if !topic.bytes().all(legal) => Some("names of topics have letters, digits, '.', '_' and '-' only"),
        _ => None,
    }
}

/// The options that are librdkafka's.
pub fn of_the_client(options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    options.iter().filter(|(key, _)| !key.starts_with(PREFIX)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn records(value: &str, to: &mut Option<u64>) -> Result<(), String> {
    match value.parse() {
        Ok(n) if (1..=BUDGET_RECORDS_MAX).contains(&n) => {
            *to = Some(n);
            Ok(())
        }
        _ => Err(format!("must be a number from 1 to {BUDGET_RECORDS_MAX}")),
    }
}

fn bytes(value: &str, to: &mut Option<u64>) -> Result<(), String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (digits, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((value.strip_suffix(unit)?, *shift)))
        .unwrap_or((value.strip_suffix('B').unwrap_or(value), 0));
    let n = digits.trim_end().parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    match n {
        Some(n) if (1..=BUDGET_BYTES_MAX).contains(&n) => {
            *to = Some(n);
            Ok(())
        }
        _ => Err("must be a size such as 64MiB, at most 16TiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<SubscriptionOptions, Vec<String>> {
        let options = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        SubscriptionOptions::parse(&options).map_err(|faults| faults.into_iter().map(|fault| fault.key).collect())
    }

    #[test]
    fn ours_are_read_and_others_left_alone() {
        let options = parse(&[
            ("auto.offset.reset", "earliest"),
            (NULL_KEY, "empty"),
            (READY_RECORDS, "100"),
            (READY_BYTES, "64MiB"),
            (HELD_BYTES, "1000"),
            ("millrac", "x"),
            ("millrace", "x"),
        ]);
        let expected = SubscriptionOptions {
            null_key: NullKey::Empty,
            ready_records: Some(100),
            ready_bytes: Some(64 << 20),
            held_records: None,
            held_bytes: Some(1000),
            ..SubscriptionOptions::default()
        };
        assert_eq!(options, Ok(expected));
        assert_eq!(parse(&[]), Ok(SubscriptionOptions::default()));
    }

    #[test]
    fn every_fault_is_named() {
        let faults = parse(&[
            (NULL_KEY, "maybe"),
            (READY_RECORDS, "0"),
            (READY_BYTES, "18446744073709551615TiB"),
            (HELD_RECORDS, "-1"),
            (HELD_BYTES, "lots"),
            ("millrace.other", "x"),
        ]);
        let expected = [HELD_BYTES, HELD_RECORDS, NULL_KEY, "millrace.other", READY_BYTES, READY_RECORDS];
        assert_eq!(faults, Err(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_dead_letter_topic_goes_with_its_policy() {
        let options = parse(&[(ON_FAILURE, "dead-letter"), (DEAD_LETTER_TOPIC, "orders.dead")]).unwrap();
        assert_eq!(options.on_failure, Some(OnFailure::DeadLetter));
        assert_eq!(options.dead_letter_topic.as_deref(), Some("orders.dead"));
        assert_eq!(parse(&[(ON_FAILURE, "park")]).unwrap().on_failure, Some(OnFailure::Park));
        let topic = Err(vec![DEAD_LETTER_TOPIC.to_owned()]);
        for pairs in [
            &[(ON_FAILURE, "dead-letter")][..],
            &[(DEAD_LETTER_TOPIC, "t")],
            &[(ON_FAILURE, "skip"), (DEAD_LETTER_TOPIC, "t")],
            &[(ON_FAILURE, "dead-letter"), (DEAD_LETTER_TOPIC, "a/b")],
        ] {
            assert_eq!(parse(pairs), topic, "{pairs:?}");
        }
        assert_eq!(parse(&[(ON_FAILURE, "explode")]), Err(vec![ON_FAILURE.to_owned()]));
    }
}
