//! librdkafka properties as people write them: which are allowed, which are valid, which are secret.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// Properties by name, in a fixed order so that equal sets compare and print alike.
pub type Properties = BTreeMap<String, String>;

/// What is shown in place of a secret value.
pub const MASK: &str = "***";

/// One property that cannot be used, for people. Carries no value of a secret property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionFault {
    pub key: String,
    pub kind: FaultKind,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// librdkafka has no property of this name.
    Unknown,
    /// The property exists, its value is refused.
    Invalid,
    /// The property may not be set here.
    Forbidden,
}

impl OptionFault {
    pub(crate) fn new(key: &str, kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), kind, reason: reason.into() }
    }

    /// Several faults in one line.
    pub fn list(faults: &[OptionFault]) -> String {
        faults.iter().map(OptionFault::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for OptionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

/// Who wrote the properties, which decides how far they are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The server's own configuration file or environment: may name programs and libraries to load.
    Operator,
    /// A cluster made through the API.
    Api,
    /// The options of one subscription.
    Subscription,
}

/// Would run a program or load a library in the server's process, so only the operator may set them.
const RUNS_CODE: &[&str] = &[
    "plugin.library.paths",
    "sasl.kerberos.kinit.cmd",
    "ssl.engine.location",
    "ssl.engine.id",
    "ssl.providers",
    "sasl.oauthbearer.assertion.jwt.template.file",
];

/// Never meaningful, whoever sets them.
const NEVER: &[(&str, &str)] = &[
    ("test.mock.num.brokers", "starts a fake cluster inside the client"),
    ("test.mock.broker.rtt", "belongs to the fake cluster inside the client"),
    ("log.queue", "set by the server"),
    ("offset.store.method", "positions are kept by the server"),
    ("offset.store.path", "positions are kept by the server"),
    ("enable.partition.eof", "set by the server"),
];

/// A subscription reads by explicit assignment and commits after the fact, so these would promise what never happens.
const NO_GROUP: &[(&str, &str)] = &[
    ("group.instance.id", "a subscription never joins its consumer group"),
    ("group.protocol", "a subscription never joins its consumer group"),
    ("group.protocol.type", "a subscription never joins its consumer group"),
    ("group.remote.assignor", "a subscription never joins its consumer group"),
];

/// Which cluster is read is said by the source; another address here would make its positions lies.
const ADDRESS: &[&str] = &["bootstrap.servers", "metadata.broker.list"];

/// Forced on every consumer. Saying the same is fine, saying otherwise is a fault.
pub(crate) const FORCED: &[(&str, &str)] =
    &[("enable.auto.commit", "false"), ("auto.commit.enable", "false"), ("enable.auto.offset.store", "false")];

/// Say how somebody logs in, not as whom or with what. Every other `sasl.` property is taken for a secret.
const PUBLIC: &[&str] = &[
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.kerberos.service.name",
];

/// Every fault of `properties`, in the order of their names; empty when all can be used.
pub fn check(properties: &Properties, origin: Origin) -> Vec<OptionFault> {
    properties.iter().filter_map(|(key, value)| forbidden(key, value, origin).or_else(|| refused(key, value))).collect()
}

fn forbidden(key: &str, value: &str, origin: Origin) -> Option<OptionFault> {
    let fault = |reason: &str| Some(OptionFault::new(key, FaultKind::Forbidden, reason));
    if let Some((_, reason)) = NEVER.iter().find(|(k, _)| *k == key) {
        return fault(reason);
    }
    if origin != Origin::Operator && RUNS_CODE.contains(&key) {
        return fault("runs code on the server; only the server's own configuration may set it");
    }
    if let Some((_, reason)) = NO_GROUP.iter().find(|(k, _)| *k == key) {
        return fault(reason);
    }
    if ADDRESS.contains(&key) {
        return fault(match origin {
            Origin::Subscription => "the source names the cluster",
            _ => "use brokers",
        });
    }
    match FORCED.iter().find(|(k, _)| *k == key) {
        Some((_, forced)) if !value.eq_ignore_ascii_case(forced) => {
            fault(&format!("must be {forced}: a record counts as consumed when its invocation is durable"))
        }
        _ => None,
    }
}

/// Asks librdkafka itself, one property at a time, so that one fault does not hide the next.
fn refused(key: &str, value: &str) -> Option<OptionFault> {
    if key == "group.id" && value.is_empty() {
        return Some(OptionFault::new(key, FaultKind::Invalid, "must not be empty"));
    }
    match ClientConfig::new().set(key, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Some(OptionFault::new(key, FaultKind::Unknown, "no such property"))
        }
        // librdkafka repeats the value in its message.
        Err(_) if is_secret(key) => Some(OptionFault::new(key, FaultKind::Invalid, "invalid value")),
        Err(KafkaError::ClientConfig(_, reason, ..)) => Some(OptionFault::new(key, FaultKind::Invalid, reason)),
        Err(KafkaError::Nul(_)) => Some(OptionFault::new(key, FaultKind::Invalid, "contains a NUL byte")),
        Err(other) => Some(OptionFault::new(key, FaultKind::Invalid, other.to_string())),
    }
}

/// True for properties whose value must not be shown, logged or returned.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    if PUBLIC.contains(&key.as_str()) {
        return false;
    }
    ["sasl.", "ssl.key", "ssl_key"].iter().any(|start| key.starts_with(start))
        || ["password", "secret", "token", "passphrase", "private"].iter().any(|word| key.contains(word))
}

/// The same properties with secrets replaced by [`MASK`].
pub fn masked(properties: &Properties) -> Properties {
    let mask =
        |(key, value): (&String, &String)| (key.clone(), if is_secret(key) { MASK.to_owned() } else { value.clone() });
    properties.iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn faults(pairs: &[(&str, &str)], origin: Origin) -> Vec<(String, FaultKind)> {
        check(&properties(pairs), origin).into_iter().map(|f| (f.key, f.kind)).collect()
    }

    #[test]
    fn all_faults_are_listed_at_once() {
        let got = faults(
            &[
                ("bogus", "x"),
                ("fetch.wait.max.ms", "soon"),
                ("group.instance.id", "a"),
                ("bootstrap.servers", "elsewhere:1"),
                ("fetch.min.bytes", "1"),
            ],
            Origin::Subscription,
        );
        let want = [
            ("bogus", FaultKind::Unknown),
            ("bootstrap.servers", FaultKind::Forbidden),
            ("fetch.wait.max.ms", FaultKind::Invalid),
            ("group.instance.id", FaultKind::Forbidden),
        ];
        assert_eq!(got, want.map(|(k, kind)| (k.to_owned(), kind)));
    }

    #[test]
    fn forced_values_may_be_repeated_but_not_contradicted() {
        assert_eq!(faults(&[("enable.auto.commit", "false")], Origin::Subscription), []);
        assert_eq!(faults(&[("enable.auto.commit", "true")], Origin::Subscription).len(), 1);
        assert_eq!(faults(&[("auto.commit.enable", "true")], Origin::Operator).len(), 1);
    }

    #[test]
    fn only_the_operator_may_name_programs() {
        let kinit = [("sasl.kerberos.kinit.cmd", "touch /tmp/x")];
        assert_eq!(faults(&kinit, Origin::Subscription).len(), 1);
        assert_eq!(faults(&kinit, Origin::Api).len(), 1);
        assert_eq!(faults(&[("plugin.library.paths", "evil")], Origin::Api).len(), 1);
    }

    #[test]
    fn callbacks_and_empty_groups_are_refused() {
        assert_eq!(faults(&[("rebalance_cb", "1")], Origin::Subscription).len(), 1);
        assert_eq!(faults(&[("group.id", "")], Origin::Subscription).len(), 1);
        assert_eq!(faults(&[("client.id", "a\0b")], Origin::Subscription).len(), 1);
    }

    #[test]
    fn secrets_are_masked_and_stay_out_of_faults() {
        for key in
            ["sasl.password", "sasl.oauthbearer.client.secret", "ssl.key.pem", "ssl.keystore.password", "sasl.username"]
        {
            assert!(is_secret(key), "{key}");
        }
        for key in ["sasl.mechanism", "ssl.ca.location", "group.id", "security.protocol"] {
            assert!(!is_secret(key), "{key}");
        }
        let shown = masked(&properties(&[("sasl.password", "hunter2"), ("client.id", "a")]));
        assert_eq!(shown, properties(&[("sasl.password", MASK), ("client.id", "a")]));
        let fault = check(&properties(&[("sasl.oauthbearer.assertion.algorithm", "hunter2")]), Origin::Api);
        assert!(fault.len() == 1 && !format!("{fault:?}").contains("hunter2"), "{fault:?}");
    }
}
