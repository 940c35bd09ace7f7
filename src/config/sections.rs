//! From keys and values to the sections' types, every fault at once.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{
    Config, Faults,
    kafka::{self, KEY as KAFKA_CLUSTERS},
    layers::{Key, Layers, Leaf, insert},
};

/// Sections with a prefix, longest first.
const PREFIXES: [(&[&str], Section); 7] = [
    (&["worker", "invoker"], Section::Invoker),
    (&["worker", "storage"], Section::Store),
    (&["log", "local"], Section::Log),
    (&["default-retry-policy"], Section::Retry),
    (&["worker"], Section::Worker),
    (&["ingress"], Section::Ingress),
    (&["admin"], Section::Admin),
];
/// Settings of the top level that belong to connections to services.
const CLIENT_KEYS: [&str; 11] = [
    "additional-request-headers",
    "aws-assume-role-external-id",
    "aws-profile",
    "connect-timeout",
    "extra-ca-file",
    "http-keep-alive-options",
    "http-proxy",
    "initial-max-send-streams",
    "no-proxy",
    "request-compression-threshold",
    "request-identity-private-key-pem-file",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Node,
    Client,
    Retry,
    Worker,
    Invoker,
    Store,
    Log,
    Ingress,
    Admin,
}

/// Whose a key is, and how many of its parts name the section.
fn section_of(key: &Key) -> (Section, usize) {
    let within = |prefix: &[&str]| key.len() > prefix.len() && key.iter().zip(prefix).all(|(a, b)| a == b);
    if let Some((prefix, section)) = PREFIXES.iter().find(|(prefix, _)| within(prefix)) {
        return (*section, prefix.len());
    }
    if CLIENT_KEYS.contains(&key[0].as_str()) { (Section::Client, 0) } else { (Section::Node, 0) }
}

/// Reads all sections. With faults, the result is not to be used.
pub fn check(layers: Layers, warnings: Vec<String>, faults: &mut Faults) -> Config {
    let config = Config {
        node: section(&layers, Section::Node, faults),
        client: section(&layers, Section::Client, faults),
        retry: section(&layers, Section::Retry, faults),
        worker: section(&layers, Section::Worker, faults),
        invoker: section(&layers, Section::Invoker, faults),
        store: section(&layers, Section::Store, faults),
        log: section(&layers, Section::Log, faults),
        ingress: section(&layers, Section::Ingress, faults),
        kafka_clusters: layers.get(&KAFKA_CLUSTERS).map(|leaf| kafka::clusters(leaf, faults)).unwrap_or_default(),
        admin: section(&layers, Section::Admin, faults),
        warnings,
        layers,
    };
    config.node.check(faults);
    config.worker.check(faults);
    config.ingress.check(faults);
    for fault in config.log.faults() {
        let message = format!("{} is not within {} to {}", fault.value, fault.min, fault.max);
        faults.add(format!("log.local.{}", fault.key), None, message);
    }
    for fault in config.store.faults() {
        faults.add(format!("worker.storage.{}", fault.key), None, fault.message);
    }
    let invoker = config.invoker.faults().into_iter().chain(config.client.faults()).chain(config.retry.faults());
    for fault in invoker {
        faults.add(fault.key, None, format!("must be {}", fault.must));
    }
    for (key, message) in config.client.file_faults() {
        faults.add(key, config.layers.get(&[key]).map(|leaf| leaf.origin.clone()), message);
    }
    config
}

/// Reads one section: first each value alone, so that every one that cannot be used is named, then those that can.
fn section<T: DeserializeOwned + Default>(layers: &Layers, section: Section, faults: &mut Faults) -> T {
    let mut good = Table::new();
    for (key, leaf) in layers.iter() {
        let (of, prefix) = section_of(key);
        if of != section || *key == KAFKA_CLUSTERS {
            continue;
        }
        match usable::<T>(&key[prefix..], leaf) {
            Ok(value) => insert(&mut good, &key[prefix..], value),
            Err(message) => faults.add(key.join("."), Some(leaf.origin.clone()), message),
        }
    }
    good.try_into().unwrap_or_else(|error: toml::de::Error| {
        faults.add("", None, error.message().to_owned());
        T::default()
    })
}

/// The value that the section takes: as TOML, or else as it was written.
fn usable<T: DeserializeOwned>(key: &[String], leaf: &Leaf) -> Result<Value, String> {
    let refused = match alone::<T>(key, &leaf.value) {
        Ok(()) => return Ok(leaf.value.clone()),
        Err(message) => message,
    };
    let text = leaf.text.clone().map(Value::String);
    text.filter(|text| alone::<T>(key, text).is_ok()).ok_or(refused)
}

fn alone<T: DeserializeOwned>(key: &[String], value: &Value) -> Result<(), String> {
    let mut table = Table::new();
    insert(&mut table, key, value.clone());
    table.try_into::<T>().map(drop).map_err(|error| {
        let message = error.message();
        match message.strip_prefix("unknown field ") {
            Some(rest) => format!("unknown setting {rest}"),
            None => message.to_owned(),
        }
    })
}

/// The settings that a section has, as it says itself.
#[cfg(test)]
pub fn known<T: DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
    let mut table = Table::new();
    table.insert("?".to_owned(), Value::Boolean(true));
    let message = table.try_into::<T>().expect_err("no setting has this name").message().to_owned();
    let (_, expected) = message.split_once("expected").expect("the message lists the fields");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
