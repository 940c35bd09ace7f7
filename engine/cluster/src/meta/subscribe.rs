//! Subscriptions: what may be created. Pure.

use std::{collections::BTreeMap, sync::Arc};

use millrace_model::{
    SubscriptionId, TimestampMs,
    codes::{self, Code},
};

use super::{
    object::{Object, ObjectRef, Properties, Subscription},
    options::{self, OptionCheck, OptionFault, SubscriptionOptions},
    record::Change,
    schema::Schema,
};

/// Subscriptions that a cluster keeps.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// `client.id` where neither the subscription nor its cluster says one: that of the product documentation, which
/// people's quotas and dashboards know.
pub const CLIENT_ID: &str = "restate";

/// A subscription that is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its name.
    pub id: SubscriptionId,
    /// `kafka://cluster/topic`.
    pub source: String,
    /// `service://Service/handler`.
    pub sink: String,
    /// As given.
    pub options: BTreeMap<String, String>,
    /// The proposer's clock.
    pub now: TimestampMs,
}

/// Why a subscription cannot be created or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Not a URI at all.
    #[error("{field}: invalid uri '{uri}'")]
    Malformed {
        /// `source` or `sink`.
        field: &'static str,
        /// As given.
        uri: String,
    },
    /// Not from Kafka.
    #[error("invalid source URI '{0}': must have a scheme segment, with supported schemes: [kafka].")]
    SourceScheme(String),
    /// A topic that Kafka cannot have.
    #[error("invalid source URI '{uri}': {reason}.")]
    Topic {
        /// As given.
        uri: String,
        /// What is wrong with the topic.
        reason: &'static str,
    },
    /// A cluster that nobody described.
    #[error("Kafka cluster '{name}' not found. Available clusters: {available:?}")]
    UnknownCluster {
        /// As given.
        name: String,
        /// Those that are known.
        available: Vec<String>,
    },
    /// Not to a handler.
    #[error("invalid sink URI '{0}': must have a scheme segment, with supported schemes: [service].")]
    SinkScheme(String),
    /// A handler that is not registered.
    #[error("invalid sink URI '{0}': cannot find service/handler specified in the sink URI.")]
    SinkNotFound(String),
    /// A handler that may not be reached from outside.
    #[error("invalid sink URI '{0}': the handler is private, which keeps it from Kafka too.")]
    SinkPrivate(String),
    /// Options that cannot be used.
    #[error("invalid options: {}", OptionFaults(.0))]
    Options(Vec<OptionFault>),
    /// Too many.
    #[error("there are {SUBSCRIPTIONS_MAX} subscriptions, remove some")]
    TooMany,
    /// Nothing by that id.
    #[error("not found in the schema registry: subscription with id '{0}'")]
    NotFound(SubscriptionId),
}

struct OptionFaults<'a>(&'a [OptionFault]);

impl std::fmt::Display for OptionFaults<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl SubscribeError {
    /// Its code; malformed and not found have none.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Malformed { .. } | Self::NotFound(_) => None,
            Self::TooMany => Some(codes::META0018),
            _ => Some(codes::META0009),
        }
    }
}

/// Creates a subscription. The same source and sink may be bound more than once.
///
/// * `check`: asked about everything that is not ours. It may take milliseconds.
/// * The cluster and the sink are not kept from being removed at the same moment: the reader meets that anyway.
pub fn subscribe(
    schema: &Schema,
    asked: &Asked,
    check: &dyn OptionCheck,
) -> Result<(Change, Arc<Subscription>), SubscribeError> {
    let (cluster, topic) = source(schema, &asked.source)?;
    let (service, handler) = sink(schema, &asked.sink)?;
    let mut faults = match SubscriptionOptions::parse(&asked.options) {
        Ok(own) if own.dead_letter_topic.as_deref() == Some(topic) => {
            vec![OptionFault::new(options::DEAD_LETTER_TOPIC, "is the topic that is read: its letters would come back")]
        }
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    };
    faults.extend(check.subscription(&options::of_the_client(&asked.options)));
    if !faults.is_empty() {
        return Err(SubscribeError::Options(faults));
    }
    if schema.subscriptions().len() >= SUBSCRIPTIONS_MAX {
        return Err(SubscribeError::TooMany);
    }
    let shared = &schema.kafka_cluster(cluster).expect("found above").properties;
    let mut options = asked.options.clone();
    if !shared.contains_key("group.id") {
        options.entry("group.id".into()).or_insert_with(|| asked.id.to_string());
    }
    if !shared.contains_key("client.id") {
        options.entry("client.id".into()).or_insert_with(|| CLIENT_ID.into());
    }
    let subscription = Subscription {
        id: asked.id,
        cluster: cluster.into(),
        topic: topic.into(),
        service: service.into(),
        handler: handler.into(),
        options: Properties(options),
        created_at: asked.now,
        deleted: false,
    };
    let item = schema.state().put_item(Object::Subscription(Box::new(subscription.clone())));
    Ok((Change { items: vec![item] }, Arc::new(subscription)))
}

/// Deletes a subscription: nobody sees it any more. What is left is a tombstone until its last offsets are committed,
/// see [`bury`].
pub fn unsubscribe(schema: &Schema, id: SubscriptionId) -> Result<Change, SubscribeError> {
    let subscription = schema.subscription(id).ok_or(SubscribeError::NotFound(id))?;
    let tombstone = Subscription { deleted: true, ..(**subscription).clone() };
    Ok(Change { items: vec![schema.state().put_item(Object::Subscription(Box::new(tombstone)))] })
}

/// Removes the tombstone of a deleted subscription.
pub fn bury(schema: &Schema, id: SubscriptionId) -> Result<Change, SubscribeError> {
    schema.tombstones().find(|tombstone| tombstone.id == id).ok_or(SubscribeError::NotFound(id))?;
    Ok(Change { items: vec![schema.state().remove_item(ObjectRef::Subscription(id))] })
}

/// Scheme, authority and path without its first slash. `None`: no scheme.
fn split<'a>(field: &'static str, uri: &'a str) -> Result<Option<(&'a str, &'a str, &'a str)>, SubscribeError> {
    let malformed = || SubscribeError::Malformed { field, uri: uri.to_owned() };
    if uri.is_empty() || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed());
    }
    let Some((scheme, rest)) = uri.split_once("://") else { return Ok(None) };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() {
        return Err(malformed());
    }
    Ok(Some((scheme, authority, path)))
}

fn source<'a>(schema: &Schema, uri: &'a str) -> Result<(&'a str, &'a str), SubscribeError> {
    let (cluster, topic) = match split("source", uri)? {
        Some((scheme, cluster, topic)) if scheme.eq_ignore_ascii_case("kafka") => (cluster, topic),
        _ => return Err(SubscribeError::SourceScheme(uri.to_owned())),
    };
    if schema.kafka_cluster(cluster).is_none() {
        let available = schema.kafka_clusters().map(|cluster| cluster.name.clone()).collect();
        return Err(SubscribeError::UnknownCluster { name: cluster.to_owned(), available });
    }
    let Some(reason) = options::topic_fault(topic) else { return Ok((cluster, topic)) };
    Err(SubscribeError::Topic { uri: uri.to_owned(), reason })
}

fn sink<'a>(schema: &Schema, uri: &'a str) -> Result<(&'a str, &'a str), SubscribeError> {
    let (service, handler) = match split("sink", uri)? {
        Some((scheme, service, handler)) if scheme.eq_ignore_ascii_case("service") => (service, handler),
        _ => return Err(SubscribeError::SinkScheme(uri.to_owned())),
    };
    match schema.service(service).and_then(|service| service.handler(handler)) {
        None => Err(SubscribeError::SinkNotFound(uri.to_owned())),
        Some(handler) if !handler.public => Err(SubscribeError::SinkPrivate(uri.to_owned())),
        Some(_) => Ok((service, handler)),
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::invocation::HandlerKind;
    use millrace_protocol::{InputRule, OutputRule};

    use super::*;
    use crate::meta::{
        object::KafkaCluster,
        register::{
            Breaking, register,
            tests::{World, endpoint, registration, service},
        },
        service::{HandlerSchema, ServiceSchema, ServiceType, Settings},
    };

    struct Fussy;

    impl OptionCheck for Fussy {
        fn subscription(&self, options: &BTreeMap<String, String>) -> Vec<OptionFault> {
            options.keys().filter(|key| *key == "bogus").map(|key| OptionFault::new(key, "no such property")).collect()
        }
        fn cluster(&self, _: &BTreeMap<String, String>) -> Vec<OptionFault> {
            vec![]
        }
    }

    fn world() -> World {
        let mut world = World::new();
        let handler = |name: &str, public| HandlerSchema {
            name: name.into(),
            kind: HandlerKind::Exclusive,
            input: InputRule::default(),
            output: OutputRule::default(),
            input_json_schema: None,
            output_json_schema: None,
            documentation: None,
            metadata: Default::default(),
            settings: Settings { public, ..Settings::default() },
        };
        let object = ServiceSchema {
            handlers: vec![handler("on", None), handler("hidden", Some(false))],
            ..service("Obj", ServiceType::VirtualObject)
        };
        let first =
            register(&world.schema(), &registration(1, "http://1/", endpoint(vec![object])), false, Breaking::Refused);
        world.change(first.unwrap().unwrap().change);
        let cluster = KafkaCluster {
            name: "my-cluster".into(),
            properties: [("bootstrap.servers", "h:1"), ("client.id", "shared")].into_iter().collect(),
            created_at: TimestampMs(0),
            origin: Default::default(),
        };
        let put = world.schema().state().put_item(Object::KafkaCluster(cluster));
        world.change(Change { items: vec![put] });
        world
    }

    fn asked(source: &str, sink: &str, options: &[(&str, &str)]) -> Asked {
        Asked {
            id: SubscriptionId(9),
            source: source.into(),
            sink: sink.into(),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            now: TimestampMs(3),
        }
    }

    #[test]
    fn faults_say_what_the_spec_says() {
        let world = world();
        let schema = world.schema();
        let check = |source: &str, sink: &str, message: &str, code: Option<&str>| {
            let error = subscribe(&schema, &asked(source, sink, &[]), &Fussy).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.code().map(|code| code.id)), (message, code));
        };
        let (topic, on, bad) = ("kafka://my-cluster/t", "service://Obj/on", Some("META0009"));
        check(
            "kafka://nocluster/t",
            on,
            "Kafka cluster 'nocluster' not found. Available clusters: [\"my-cluster\"]",
            bad,
        );
        let scheme = "must have a scheme segment, with supported schemes:";
        check("amqp://my-cluster/t", on, &format!("invalid source URI 'amqp://my-cluster/t': {scheme} [kafka]."), bad);
        check("t", on, &format!("invalid source URI 't': {scheme} [kafka]."), bad);
        check(topic, "http://Obj/on", &format!("invalid sink URI 'http://Obj/on': {scheme} [service]."), bad);
        for uri in ["service://Nope/on", "service://Obj", "service://Obj/key/on", "service://obj/on", "service://Obj/"]
        {
            let message = format!("invalid sink URI '{uri}': cannot find service/handler specified in the sink URI.");
            check(topic, uri, &message, bad);
        }
        let hidden = "service://Obj/hidden";
        let message = format!("invalid sink URI '{hidden}': the handler is private, which keeps it from Kafka too.");
        check(topic, hidden, &message, bad);
        for uri in ["kafka://my-cluster", "kafka://my-cluster/"] {
            check(uri, on, &format!("invalid source URI '{uri}': the topic is missing."), bad);
        }
        for uri in ["", "kafka:///t", "kafka://a b/t", "kafka://ä/t"] {
            check(uri, on, &format!("source: invalid uri '{uri}'"), None);
        }
        let error = subscribe(&schema, &asked("kafka://my-cluster/a/b", on, &[]), &Fussy).unwrap_err();
        assert!(matches!(error, SubscribeError::Topic { .. }));
    }

    #[test]
    fn options_are_checked_and_filled_in() {
        let mut world = world();
        let (topic, on) = ("kafka://my-cluster/t", "service://Obj/on");
        let bad = asked(topic, on, &[("bogus", "1"), ("millrace.null-key", "x"), ("auto.offset.reset", "earliest")]);
        let error = subscribe(&world.schema(), &bad, &Fussy).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid options: millrace.null-key: must be reject or empty; bogus: no such property"
        );
        assert_eq!(error.code(), Some(codes::META0009));
        let good = asked(topic, on, &[("auto.offset.reset", "earliest")]);
        let (change, subscription) = subscribe(&world.schema(), &good, &Fussy).unwrap();
        assert_eq!(subscription.options.get("client.id"), None, "the cluster has one");
        assert_eq!(subscription.group_id(), Some(SubscriptionId(9).to_string().as_str()));
        assert_eq!((subscription.source(), subscription.sink()), (topic.to_owned(), on.to_owned()));
        world.change(change);
        assert_eq!(world.schema().subscriptions().len(), 1);
        world.change(unsubscribe(&world.schema(), SubscriptionId(9)).unwrap());
        let error = unsubscribe(&world.schema(), SubscriptionId(9)).unwrap_err();
        assert!(matches!(error, SubscribeError::NotFound(_)));
        assert_eq!((world.schema().subscriptions().len(), world.schema().tombstones().count()), (0, 1));
        world.change(bury(&world.schema(), SubscriptionId(9)).unwrap());
        assert_eq!(world.schema().tombstones().count(), 0);
        assert!(bury(&world.schema(), SubscriptionId(9)).is_err());
    }
}
