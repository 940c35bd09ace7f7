//! librdkafka judges its own options.

use std::collections::BTreeMap;

use millrace_cluster::meta::options::{OptionCheck, OptionFault};
use millrace_connector_kafka::{Origin, check};

/// Asks the client library that is linked in.
pub struct LibrdkafkaOptions;

fn faults(options: &BTreeMap<String, String>, origin: Origin) -> Vec<OptionFault> {
    check(options, origin).into_iter().map(|fault| OptionFault { key: fault.key, reason: fault.reason }).collect()
}

impl OptionCheck for LibrdkafkaOptions {
    fn subscription(&self, options: &BTreeMap<String, String>) -> Vec<OptionFault> {
        faults(options, Origin::Subscription)
    }

    fn cluster(&self, properties: &BTreeMap<String, String>) -> Vec<OptionFault> {
        // Through the API the address of a cluster is one of its properties; the connector takes it apart from them.
        let is_address = |key: &String| matches!(key.as_str(), "bootstrap.servers" | "metadata.broker.list");
        let others = properties.iter().filter(|(key, _)| !is_address(key));
        faults(&others.map(|(key, value)| (key.clone(), value.clone())).collect(), Origin::Api)
    }
}
