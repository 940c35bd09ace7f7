//! From what people write to what librdkafka gets: clusters, and the effective configuration of a consumer.

use std::fmt;
use std::sync::Once;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use tracing::info;

use crate::options::{self, FaultKind, OptionFault, Origin, Properties};

/// `client.id` unless the cluster or the subscription names one.
pub const CLIENT_ID: &str = "millrace";

/// Prefetch of one source partition. Two fetches of 1 MiB: one being consumed while the next arrives.
const QUEUED_KBYTES_MAX: u32 = 2048;

/// Records prefetched for one source partition. Small records reach this before the bytes.
const QUEUED_RECORDS_MIN: u32 = 20_000;

/// One fetch response is one buffer that lives as long as any unread record in it, so it is bounded
/// far below librdkafka's 50 MiB: a paused source partition can hold back a few of them.
const FETCH_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// A full source partition is looked at again after this. librdkafka's own second would halve a fast drain.
const FETCH_QUEUE_BACKOFF_MS: u32 = 20;

/// A broker that was away is tried again at least this often; librdkafka's own limit is 10 s.
const RECONNECT_BACKOFF_MAX_MS: u32 = 2000;

/// How long a missing topic may be a new one whose metadata has not spread. librdkafka's own 30 s hides a typo that long.
const TOPIC_PROPAGATION_MS: u32 = 5000;

/// A Kafka cluster: where it is, and the properties that all clients of it share.
///
/// `Debug` shows secrets masked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClusterConfig {
    bootstrap: String,
    properties: Properties,
}

impl ClusterConfig {
    /// * `brokers`: `host`, `host:port`, or `PROTOCOL://host:port` with a security protocol of Kafka as prefix
    ///   (`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`). A prefix sets `security.protocol`; all must agree.
    /// * `properties`: any librdkafka property.
    /// * Errors: every fault at once; those of `brokers` have the key `brokers`.
    pub fn new<B: AsRef<str>>(brokers: &[B], properties: Properties, origin: Origin) -> Result<Self, Vec<OptionFault>> {
        let mut faults = options::check(&properties, origin);
        let mut properties = properties;
        let mut addresses = Vec::new();
        let mut protocol: Option<String> = properties.get("security.protocol").map(|p| p.to_ascii_lowercase());
        for broker in brokers {
            match parse_broker(broker.as_ref()) {
                Ok((prefix, address)) => {
                    addresses.push(address);
                    match (&protocol, prefix) {
                        (Some(known), Some(prefix)) if *known != prefix => faults.push(OptionFault::new(
                            "brokers",
                            FaultKind::Invalid,
                            format!("{}: other entries or security.protocol say {known}", broker.as_ref()),
                        )),
                        (None, Some(prefix)) => protocol = Some(prefix),
                        _ => {}
                    }
                }
                Err(reason) => faults.push(OptionFault::new("brokers", FaultKind::Invalid, reason)),
            }
        }
        if brokers.is_empty() {
            faults.push(OptionFault::new("brokers", FaultKind::Invalid, "must name at least one broker"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if let Some(protocol) = protocol {
            properties.insert("security.protocol".into(), protocol);
        }
        Ok(Self { bootstrap: addresses.join(","), properties })
    }

    /// `host:port,host:port` without protocols.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The properties for people to see.
    pub fn masked(&self) -> Properties {
        options::masked(&self.properties)
    }

    /// A client of the cluster: `defaults`, then the cluster's properties, then `over`, later ones winning.
    pub(crate) fn client(&self, defaults: &[(&str, String)], over: &Properties) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set_log_level(RDKafkaLogLevel::Info);
        client
            .set("client.id", CLIENT_ID)
            .set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS.to_string())
            .set("topic.metadata.propagation.max.ms", TOPIC_PROPAGATION_MS.to_string())
            // A broker closes idle connections; they come back by themselves.
            .set("log.connection.close", "false");
        for (key, value) in defaults {
            client.set(*key, value);
        }
        client.extend(self.properties.clone());
        client.extend(over.clone());
        client.set("bootstrap.servers", &self.bootstrap);
        client
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig").field("bootstrap", &self.bootstrap).field("properties", &self.masked()).finish()
    }
}

/// Where a source without a position starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetReset {
    Earliest,
    /// Kafka's default.
    Latest,
    /// Start nowhere by itself.
    Error,
}

/// What one subscription's consumer runs with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ConsumerConfig {
    cluster: ClusterConfig,
    options: Properties,
    group_id: String,
}

impl ConsumerConfig {
    /// Joins defaults, the cluster's properties, the subscription's `options` and what is forced, in this order.
    ///
    /// * `group_id`: used when neither the options nor the cluster name a group.
    /// * Errors: every fault of `options`.
    pub fn new(cluster: &ClusterConfig, options: &Properties, group_id: &str) -> Result<Self, Vec<OptionFault>> {
        let faults = options::check(options, Origin::Subscription);
        if !faults.is_empty() {
            return Err(faults);
        }
        let named = options.get("group.id").or_else(|| cluster.properties.get("group.id"));
        let group_id = named.map_or(group_id, String::as_str).to_owned();
        if group_id.is_empty() {
            return Err(vec![OptionFault::new("group.id", FaultKind::Invalid, "must not be empty")]);
        }
        Ok(Self { cluster: cluster.clone(), options: options.clone(), group_id })
    }

    pub fn cluster(&self) -> &ClusterConfig {
        &self.cluster
    }

    /// The group under which positions are shown to Kafka's tools. It is never joined.
    pub fn group_id(&self) -> &str {
        &self.group_id
    }

    /// `auto.offset.reset`: acted on by who opens a source; the reader itself never resets.
    pub fn offset_reset(&self) -> OffsetReset {
        match self.get("auto.offset.reset") {
            Some("smallest" | "earliest" | "beginning") => OffsetReset::Earliest,
            Some("error") => OffsetReset::Error,
            _ => OffsetReset::Latest,
        }
    }

    /// True unless `isolation.level=read_uncommitted`: records of aborted transactions are not read.
    pub fn reads_committed(&self) -> bool {
        self.get("isolation.level") != Some("read_uncommitted")
    }

    /// The options with what the server adds, secrets masked: what an API shows.
    pub fn shown(&self) -> Properties {
        let mut shown = options::masked(&self.options);
        shown.insert("group.id".into(), self.group_id.clone());
        shown.entry("client.id".into()).or_insert_with(|| self.get("client.id").unwrap_or(CLIENT_ID).to_owned());
        shown
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.options.get(key).or_else(|| self.cluster.properties.get(key)).map(String::as_str)
    }

    /// Everything that a [`Reader`](crate::Reader) of it runs with: those with equal ones can share it. Holds secrets.
    pub fn reader_properties(&self) -> Properties {
        self.client().config_map().iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// The client that reads. It has no group: it is assigned by hand, and commits go through [`Admin`](crate::Admin).
    pub(crate) fn client(&self) -> ClientConfig {
        let defaults = [
            ("queued.max.messages.kbytes", QUEUED_KBYTES_MAX.to_string()),
            ("queued.min.messages", QUEUED_RECORDS_MIN.to_string()),
            ("fetch.max.bytes", FETCH_BYTES_MAX.to_string()),
            ("fetch.queue.backoff.ms", FETCH_QUEUE_BACKOFF_MS.to_string()),
        ];
        let mut client = self.cluster.client(&defaults, &self.options);
        for (key, value) in options::FORCED {
            client.set(*key, *value);
        }
        client.set("enable.partition.eof", "false").set("auto.offset.reset", "error");
        client.remove("group.id");
        client
    }
}

impl fmt::Debug for ConsumerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerConfig").field("cluster", &self.cluster).field("options", &self.shown()).finish()
    }
}

/// (`security.protocol` in lower case, `host:port`) of one entry.
fn parse_broker(entry: &str) -> Result<(Option<String>, String), String> {
    let entry = entry.trim();
    let (protocol, address) = match entry.split_once("://") {
        Some((protocol, address)) => (Some(protocol.to_ascii_lowercase()), address),
        None => (None, entry),
    };
    if let Some(protocol) = &protocol
        && !["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"].contains(&protocol.as_str())
    {
        return Err(format!("{entry}: {protocol} is no security protocol of Kafka"));
    }
    let (host, port) = match address.rsplit_once(':') {
        // The last colon of a bare IPv6 address is not a port.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == ',' || c == '/') {
        return Err(format!("{entry}: no host"));
    }
    if let Some(port) = port
        && !port.parse::<u16>().is_ok_and(|port| port > 0)
    {
        return Err(format!("{entry}: no port number after the colon"));
    }
    Ok((protocol, address.to_owned()))
}

/// What the linked librdkafka can do, such as `gzip,ssl,sasl_plain,zstd`. A property that needs more is refused only
/// when a client is made.
pub fn builtin_features() -> String {
    let native = ClientConfig::new().create_native_config();
    native.and_then(|native| native.get("builtin.features")).unwrap_or_default()
}

/// Once per process, for whoever wonders why a mechanism is refused.
pub(crate) fn log_features_once() {
    static LOGGED: Once = Once::new();
    LOGGED.call_once(|| {
        info!(version = rdkafka::util::get_rdkafka_version().1, features = builtin_features(), "kafka client library");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn broker_entries() {
        let check = |entry: &str, want: Option<(Option<&str>, &str)>| {
            let got = parse_broker(entry).ok();
            assert_eq!(got, want.map(|(p, a)| (p.map(str::to_owned), a.to_owned())), "{entry}");
        };
        check("PLAINTEXT://host:9092", Some((Some("plaintext"), "host:9092")));
        check("SASL_SSL://b-1.example:9096", Some((Some("sasl_ssl"), "b-1.example:9096")));
        check("host:9092", Some((None, "host:9092")));
        check(" host ", Some((None, "host")));
        check("[::1]:9092", Some((None, "[::1]:9092")));
        for bad in ["", "http://host:1", "host:", "host:99999", ":9092", "a,b", "PLAINTEXT://", "host/x"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_prefix_sets_the_security_protocol_and_must_agree() {
        let cluster = ClusterConfig::new(&["SSL://a:1", "b:2"], Properties::new(), Origin::Operator).unwrap();
        assert_eq!(cluster.bootstrap(), "a:1,b:2");
        assert_eq!(cluster.client(&[], &Properties::new()).get("security.protocol"), Some("ssl"));
        let other = properties(&[("security.protocol", "SASL_SSL")]);
        let faults = ClusterConfig::new(&["SSL://a:1", "x://b"], other, Origin::Operator).unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(ClusterConfig::new::<&str>(&[], Properties::new(), Origin::Operator).is_err());
    }

    #[test]
    fn options_win_over_the_cluster_and_forced_values_over_all() {
        let shared = properties(&[("client.id", "cluster"), ("fetch.min.bytes", "7"), ("group.id", "from-cluster")]);
        let cluster = ClusterConfig::new(&["a:1"], shared, Origin::Operator).unwrap();
        let options = properties(&[("client.id", "mine"), ("auto.offset.reset", "earliest")]);
        let config = ConsumerConfig::new(&cluster, &options, "sub_1").unwrap();
        let client = config.client();
        assert_eq!(client.get("client.id"), Some("mine"));
        assert_eq!(client.get("fetch.min.bytes"), Some("7"));
        assert_eq!(client.get("enable.auto.commit"), Some("false"));
        assert_eq!(client.get("auto.offset.reset"), Some("error"));
        assert_eq!(client.get("group.id"), None);
        assert_eq!(config.group_id(), "from-cluster");
        assert_eq!(config.offset_reset(), OffsetReset::Earliest);
        assert_eq!(config.shown().get("client.id").map(String::as_str), Some("mine"));
    }

    #[test]
    fn the_group_defaults_to_the_given_one() {
        let cluster = ClusterConfig::new(&["a:1"], Properties::new(), Origin::Operator).unwrap();
        let config = ConsumerConfig::new(&cluster, &Properties::new(), "sub_1").unwrap();
        let want = properties(&[("client.id", CLIENT_ID), ("group.id", "sub_1")]);
        assert_eq!((config.group_id(), config.shown()), ("sub_1", want));
        assert_eq!(config.offset_reset(), OffsetReset::Latest);
        assert!(config.reads_committed());
    }

    #[test]
    fn debug_output_has_no_secrets() {
        let secret = properties(&[("sasl.password", "hunter2")]);
        let cluster = ClusterConfig::new(&["a:1"], secret.clone(), Origin::Operator).unwrap();
        let config = ConsumerConfig::new(&cluster, &secret, "g").unwrap();
        assert!(!format!("{cluster:?} {config:?}").contains("hunter2"));
    }

    #[test]
    fn the_library_has_what_the_build_promises() {
        let features = builtin_features();
        for feature in ["gzip", "snappy", "lz4", "zstd", "ssl", "sasl_plain", "sasl_scram"] {
            assert!(features.split(',').any(|f| f.trim() == feature), "{feature} not in {features}");
        }
    }
}
