//! Kafka clusters made through the API. Pure.

use std::{collections::BTreeMap, sync::Arc};

use millrace_model::{
    SubscriptionId, TimestampMs,
    codes::{self, Code},
};

use super::{
    object::{ClusterOrigin, KafkaCluster, Object, ObjectRef, Properties},
    options::{OptionCheck, OptionFault},
    record::Change,
    schema::Schema,
};

/// Kafka clusters that can be described.
pub const KAFKA_CLUSTERS_MAX: usize = 1000;

/// Length of a host name.
pub const NAME_BYTES_MAX: usize = 253;

/// Why a Kafka cluster cannot be made, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaClusterError {
    /// Not like a host name.
    #[error("name: '{0}' is not like a host name")]
    Name(String),
    /// There is one already.
    #[error("kafka cluster '{0}' already exists")]
    Exists(String),
    /// It is the configuration's.
    #[error("kafka cluster '{0}' conflicts with static configuration")]
    Configured(String),
    /// Nothing to connect to.
    #[error("kafka cluster '{0}' properties must contain either 'bootstrap.servers' or 'metadata.broker.list'")]
    NoAddress(String),
    /// Properties that cannot be used.
    #[error("kafka cluster '{name}' has invalid properties: {first}")]
    Properties {
        /// Which cluster.
        name: String,
        /// The first fault.
        first: OptionFault,
    },
    /// Somebody reads from it.
    #[error(
        "Removing the kafka cluster '{name}' leads to subscription '{subscription}' being orphan. Remove the subscription first, or use the 'force' flag."
    )]
    InUse {
        /// Which cluster.
        name: String,
        /// One of them.
        subscription: SubscriptionId,
    },
    /// Nothing by that name.
    #[error("not found in the schema registry: kafka cluster with name '{0}'")]
    NotFound(String),
    /// Too many.
    #[error("there are {KAFKA_CLUSTERS_MAX} Kafka clusters, remove some")]
    TooMany,
}

impl KafkaClusterError {
    /// Its code; a bad name and not found have none.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Name(_) | Self::NotFound(_) => None,
            Self::NoAddress(_) | Self::Properties { .. } => Some(codes::META0009),
            Self::Exists(_) | Self::Configured(_) | Self::InUse { .. } => Some(codes::META0021),
            Self::TooMany => Some(codes::META0018),
        }
    }
}

/// Letters, digits and hyphens in parts separated by dots; no part begins or ends with a hyphen.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(part)
}

fn checked(
    name: &str,
    properties: &BTreeMap<String, String>,
    check: &dyn OptionCheck,
) -> Result<(), KafkaClusterError> {
    if !properties.contains_key("bootstrap.servers") && !properties.contains_key("metadata.broker.list") {
        return Err(KafkaClusterError::NoAddress(name.to_owned()));
    }
    match check.cluster(properties).into_iter().next() {
        Some(first) => Err(KafkaClusterError::Properties { name: name.to_owned(), first }),
        None => Ok(()),
    }
}

fn put(schema: &Schema, cluster: KafkaCluster) -> (Change, Arc<KafkaCluster>) {
    let item = schema.state().put_item(Object::KafkaCluster(cluster.clone()));
    (Change { items: vec![item] }, Arc::new(cluster))
}

/// Describes a new one.
pub fn create(
    schema: &Schema,
    name: &str,
    properties: BTreeMap<String, String>,
    now: TimestampMs,
    check: &dyn OptionCheck,
) -> Result<(Change, Arc<KafkaCluster>), KafkaClusterError> {
    if !is_name(name) {
        return Err(KafkaClusterError::Name(name.to_owned()));
    }
    match schema.kafka_cluster(name) {
        Some(cluster) if cluster.origin == ClusterOrigin::Config => {
            return Err(KafkaClusterError::Configured(name.to_owned()));
        }
        Some(_) => return Err(KafkaClusterError::Exists(name.to_owned())),
        None if schema.kafka_clusters().len() >= KAFKA_CLUSTERS_MAX => return Err(KafkaClusterError::TooMany),
        None => {}
    }
    checked(name, &properties, check)?;
    let origin = ClusterOrigin::Api;
    Ok(put(schema, KafkaCluster { name: name.into(), properties: Properties(properties), created_at: now, origin }))
}

fn changeable<'a>(schema: &'a Schema, name: &str) -> Result<&'a Arc<KafkaCluster>, KafkaClusterError> {
    match schema.kafka_cluster(name) {
        None => Err(KafkaClusterError::NotFound(name.to_owned())),
        Some(cluster) if cluster.origin == ClusterOrigin::Config => Err(KafkaClusterError::Configured(name.to_owned())),
        Some(cluster) => Ok(cluster),
    }
}

/// Replaces all properties of one, but for secrets that come back masked: clients read, change and send all of them.
pub fn update(
    schema: &Schema,
    name: &str,
    properties: BTreeMap<String, String>,
    check: &dyn OptionCheck,
) -> Result<(Change, Arc<KafkaCluster>), KafkaClusterError> {
    let current = changeable(schema, name)?;
    let properties = Properties(properties).unmasked(&current.properties);
    checked(name, &properties, check)?;
    Ok(put(schema, KafkaCluster { properties, ..(**current).clone() }))
}

/// Removes one. `force`: also while subscriptions read from it; they stop reading.
pub fn remove(schema: &Schema, name: &str, force: bool) -> Result<Change, KafkaClusterError> {
    changeable(schema, name)?;
    if !force && let Some(subscription) = schema.subscriptions().find(|subscription| subscription.cluster == name) {
        return Err(KafkaClusterError::InUse { name: name.to_owned(), subscription: subscription.id });
    }
    Ok(Change { items: vec![schema.state().remove_item(ObjectRef::KafkaCluster(name.to_owned()))] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::register::tests::World;

    struct Lenient;

    impl OptionCheck for Lenient {
        fn subscription(&self, _: &BTreeMap<String, String>) -> Vec<OptionFault> {
            vec![]
        }
        fn cluster(&self, properties: &BTreeMap<String, String>) -> Vec<OptionFault> {
            properties
                .keys()
                .filter(|key| *key == "bogus")
                .map(|key| OptionFault::new(key, "no such property"))
                .collect()
        }
    }

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn names_are_like_host_names() {
        for (name, ok) in [
            ("k", true),
            ("my-cluster.eu_1", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("a..b", false),
            ("a/b", false),
        ] {
            assert_eq!(is_name(name), ok, "{name}");
        }
    }

    #[test]
    fn life_of_a_cluster() {
        let mut world = World::new();
        let (at, address) = (TimestampMs(1), properties(&[("bootstrap.servers", "h:1")]));
        let create = |schema: &Schema, properties| create(schema, "k", properties, at, &Lenient);
        let none = create(&world.schema(), properties(&[])).unwrap_err();
        assert_eq!(none, KafkaClusterError::NoAddress("k".into()));
        let bogus = create(&world.schema(), properties(&[("bootstrap.servers", "h:1"), ("bogus", "1")])).unwrap_err();
        assert_eq!(bogus.to_string(), "kafka cluster 'k' has invalid properties: bogus: no such property");
        world.change(create(&world.schema(), address.clone()).unwrap().0);
        assert_eq!(create(&world.schema(), address.clone()).unwrap_err(), KafkaClusterError::Exists("k".into()));
        let other = properties(&[("metadata.broker.list", "h:2")]);
        world.change(update(&world.schema(), "k", other, &Lenient).unwrap().0);
        let schema = world.schema();
        let cluster = schema.kafka_cluster("k").unwrap();
        assert_eq!((cluster.bootstrap(), cluster.created_at), (Some("h:2"), at));
        world.change(remove(&schema, "k", false).unwrap());
        assert_eq!(remove(&world.schema(), "k", false), Err(KafkaClusterError::NotFound("k".into())));
    }

    #[test]
    fn what_is_configured_is_not_changed() {
        let world = World::new();
        let fixed = KafkaCluster {
            name: "k".into(),
            properties: Properties(properties(&[("bootstrap.servers", "h:1")])),
            created_at: TimestampMs(0),
            origin: ClusterOrigin::Config,
        };
        let configured = [("k".to_owned(), Arc::new(fixed))].into();
        let schema = Schema::new(world.0.clone(), &configured, None);
        assert_eq!(remove(&schema, "k", true), Err(KafkaClusterError::Configured("k".into())));
        let address = properties(&[("bootstrap.servers", "h:1")]);
        let refused = create(&schema, "k", address, TimestampMs(0), &Lenient).unwrap_err();
        assert_eq!(refused.code(), Some(codes::META0021));
    }
}
