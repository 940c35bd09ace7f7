//! What nobody should read in a dump, apart from what Kafka clusters have.

use millrace_connector_kafka::MASK;
use toml::Value;

use super::layers::Layers;

/// First parts of keys whose values may be secrets.
const KEYS: [&str; 2] = ["additional-request-headers", "aws-assume-role-external-id"];

pub fn mask(layers: &mut Layers) {
    for (key, leaf) in layers.iter_mut() {
        if KEYS.contains(&key[0].as_str()) {
            leaf.value = Value::String(MASK.to_owned());
        }
    }
}
