//! `[[ingress.kafka-clusters]]`: name, brokers, and any property of librdkafka.

use std::collections::BTreeMap;

use millrace_cluster::meta::object::{ClusterOrigin, KafkaCluster};
use millrace_connector_kafka::{ClusterConfig, MASK, Origin as PropertyOrigin, is_secret};
use millrace_model::TimestampMs;
use toml::{Table, Value};

use super::{
    Faults,
    layers::{Layers, Leaf},
};

pub const KEY: [&str; 2] = ["ingress", "kafka-clusters"];
const KEY_TEXT: &str = "ingress.kafka-clusters";

/// Everything that is wrong with the list is a fault; what is right is returned.
pub fn clusters(leaf: &Leaf, faults: &mut Faults) -> Vec<KafkaCluster> {
    let mut clusters: Vec<KafkaCluster> = Vec::new();
    let Value::Array(list) = &leaf.value else {
        faults.add(KEY_TEXT, Some(leaf.origin.clone()), "must be a list such as [{name=\"c\",brokers=[\"h:9092\"]}]");
        return clusters;
    };
    for (i, item) in list.iter().enumerate() {
        let mut fault = |key: &str, message: String| {
            faults.add(format!("{KEY_TEXT}[{i}]{key}"), Some(leaf.origin.clone()), message);
        };
        let Value::Table(table) = item else {
            fault("", "must be a table with name and brokers".to_owned());
            continue;
        };
        match cluster(table, &mut fault) {
            Some(cluster) if clusters.iter().any(|other| other.name == cluster.name) => {
                fault(".name", format!("there is another cluster of the name {:?}", cluster.name));
            }
            Some(cluster) => clusters.push(cluster),
            None => {}
        }
    }
    clusters
}

fn cluster(table: &Table, fault: &mut impl FnMut(&str, String)) -> Option<KafkaCluster> {
    let name = match table.get("name") {
        Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
        _ => {
            fault(".name", "must be a text".to_owned());
            None
        }
    };
    let brokers: Option<Vec<&str>> = match table.get("brokers") {
        Some(Value::Array(brokers)) => brokers.iter().map(Value::as_str).collect(),
        _ => None,
    };
    if brokers.is_none() {
        fault(".brokers", "must be a list such as [\"PLAINTEXT://host:9092\"]".to_owned());
    }
    let mut properties = BTreeMap::new();
    for (key, value) in table.iter().filter(|(key, _)| !matches!(key.as_str(), "name" | "brokers")) {
        collect(key.clone(), value, &mut properties, fault);
    }
    let (name, brokers) = (name?, brokers?);
    if let Err(refused) = ClusterConfig::new(&brokers, properties.clone(), PropertyOrigin::Operator) {
        for refusal in refused {
            fault(&format!(".{}", refusal.key), refusal.reason);
        }
        return None;
    }
    properties.insert("bootstrap.servers".to_owned(), brokers.join(","));
    Some(KafkaCluster {
        name,
        properties: properties.into_iter().collect(),
        created_at: TimestampMs(0),
        origin: ClusterOrigin::Config,
    })
}

/// `sasl.username = "x"` is a table in a table to TOML, and a property to librdkafka.
fn collect(
    key: String,
    value: &Value,
    properties: &mut BTreeMap<String, String>,
    fault: &mut impl FnMut(&str, String),
) {
    let text = match value {
        Value::Table(table) => {
            for (name, value) in table {
                collect(format!("{key}.{name}"), value, properties, fault);
            }
            return;
        }
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Array(_) | Value::Datetime(_) => {
            fault(&format!(".{key}"), "must be a text, a number, true or false".to_owned());
            return;
        }
    };
    properties.insert(key, text);
}

/// Hides what nobody should read in a dump.
pub fn mask(layers: &mut Layers) {
    if let Some(Leaf { value: Value::Array(list), .. }) = layers.get_mut(&KEY) {
        for table in list.iter_mut().filter_map(Value::as_table_mut) {
            mask_table("", table);
        }
    }
}

fn mask_table(above: &str, table: &mut Table) {
    for (name, value) in table.iter_mut() {
        let key = if above.is_empty() { name.to_string() } else { format!("{above}.{name}") };
        match value {
            Value::Table(table) => mask_table(&key, table),
            value if is_secret(&key) => *value = Value::String(MASK.to_owned()),
            _ => {}
        }
    }
}
