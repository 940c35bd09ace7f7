//! What stands in the metadata log (`engine/cluster/FORMAT.md`).

use millrace_model::{ClusterId, TimestampMs};
use serde::{Deserialize, Serialize};

use super::{
    object::{Object, ObjectRef},
    text,
};

/// Version of the record's form. Readers refuse any other.
pub const RECORD_VERSION: u32 = 1;

/// The largest record. A deployment of 1,000 services with 100 handlers each takes about 15 MiB.
pub const RECORD_BYTES_MAX: usize = 32 << 20;

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub v: u32,
    /// Who wrote it. A foreign one stops the node.
    #[serde(with = "text::cluster_id")]
    pub cluster: ClusterId,
    /// The proposer's clock, for people.
    #[serde(with = "text::timestamp")]
    pub at: TimestampMs,
    /// What it does.
    pub body: Body,
}

/// What a record does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// Begins the log.
    Create(Create),
    /// Changes objects.
    Change(Change),
}

/// What never changes in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Create {
    /// For people, and to compare with the configuration.
    pub name: String,
    /// Number of engine partitions.
    pub partitions: u16,
}

/// Changes objects, all or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Change {
    /// In order. All versions are compared first.
    pub items: Vec<Item>,
}

/// One part of a change. `was` is the version of the object that the change was decided against, 0 for none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Item {
    /// Makes or replaces an object.
    Put {
        /// Version decided against.
        was: u64,
        /// What it is from now on.
        object: Object,
    },
    /// Removes an object.
    Remove {
        /// Version decided against.
        was: u64,
        /// Which.
        object: ObjectRef,
    },
    /// Relies on an object as it is.
    Keep {
        /// Version decided against.
        was: u64,
        /// Which.
        object: ObjectRef,
    },
}

impl Item {
    /// The object, and the version that this was decided against.
    pub fn relies_on(&self) -> (ObjectRef, u64) {
        match self {
            Self::Put { was, object } => (object.reference(), *was),
            Self::Remove { was, object } | Self::Keep { was, object } => (object.clone(), *was),
        }
    }
}

/// Why bytes are not a record that this version of the server understands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Another version of the form.
    #[error("metadata record of version {found}, this server reads {RECORD_VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// Not a record, or with parts that this server does not know.
    #[error("not a metadata record that this server knows")]
    Malformed(#[source] serde_json::Error),
}

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("records have string keys only")
    }

    /// Inverse of [`Record::encode`]. Anything unknown is an error: a reader stops on it, it does not skip.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Version { v } = serde_json::from_slice(bytes).map_err(RecordError::Malformed)?;
        if v != RECORD_VERSION {
            return Err(RecordError::Version { found: v });
        }
        serde_json::from_slice(bytes).map_err(RecordError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::{DeploymentId, SubscriptionId};
    use millrace_protocol::{InputRule, OutputRule, rule::MediaPattern};

    use super::*;
    use crate::meta::{
        object::{Deployment, HttpVersion, KafkaCluster, ProtocolMode, Revisions, Subscription},
        service::{HandlerSchema, Millis, RetrySettings, ServiceSchema, ServiceType, Settings},
    };

    fn check(golden: &str, record: Record) {
        assert_eq!(String::from_utf8(record.encode()).unwrap(), golden.trim_end());
        assert_eq!(Record::decode(golden.as_bytes()).unwrap(), record);
    }

    fn record(body: Body) -> Record {
        Record { v: 1, cluster: ClusterId(0xabc), at: TimestampMs(1_800_000_000_000), body }
    }

    #[test]
    fn golden_records() {
        check(
            include_str!("testdata/record-create.json"),
            record(Body::Create(Create { name: "millrace".into(), partitions: 8 })),
        );
        let handler = HandlerSchema {
            name: "add".into(),
            kind: millrace_model::invocation::HandlerKind::Exclusive,
            input: InputRule { required: true, content_type: Some(MediaPattern::any()) },
            output: OutputRule::default(),
            input_json_schema: None,
            output_json_schema: Some(serde_json::json!({"type": "number"})),
            documentation: Some("adds".into()),
            metadata: [("team".to_owned(), "orders".to_owned())].into(),
            settings: Settings {
                inactivity_timeout: Some(Millis(1000)),
                retry: RetrySettings {
                    max_attempts: Some(3),
                    factor: Some(1.5),
                    on_max_attempts: Some(crate::meta::service::OnMaxAttempts::Kill),
                    ..Default::default()
                },
                ..Default::default()
            },
        };
        let service = ServiceSchema {
            name: "Counter".into(),
            ty: ServiceType::VirtualObject,
            revision: 2,
            handlers: vec![handler],
            documentation: None,
            metadata: Default::default(),
            settings: Settings { public: Some(false), ..Default::default() },
            public_override: Some(true),
        };
        let deployment = Deployment {
            id: DeploymentId(5),
            uri: "http://127.0.0.1:9080/".into(),
            function: None,
            http_version: HttpVersion::Http2,
            mode: ProtocolMode::BidiStream,
            additional_headers: [("x-token", "t")].into_iter().collect(),
            metadata: Default::default(),
            created_at: TimestampMs(7),
            min_protocol_version: 5,
            max_protocol_version: 7,
            sdk_version: Some("sdk/1.0".into()),
            services: vec![service],
        };
        let subscription = Subscription {
            id: SubscriptionId(6),
            cluster: "k".into(),
            topic: "orders".into(),
            service: "Counter".into(),
            handler: "add".into(),
            options: [("group.id", "g")].into_iter().collect(),
            created_at: TimestampMs(8),
            deleted: false,
        };
        let kafka = KafkaCluster {
            name: "k".into(),
            properties: [("bootstrap.servers", "h:9092")].into_iter().collect(),
            created_at: TimestampMs(9),
            origin: Default::default(),
        };
        check(
            include_str!("testdata/record-change.json"),
            record(Body::Change(Change {
                items: vec![
                    Item::Put { was: 0, object: Object::Deployment(Box::new(deployment)) },
                    Item::Put { was: 4, object: Object::Revisions(Revisions { service: "Counter".into(), last: 2 }) },
                    Item::Put { was: 0, object: Object::Subscription(Box::new(subscription)) },
                    Item::Put { was: 0, object: Object::KafkaCluster(kafka) },
                    Item::Remove { was: 9, object: ObjectRef::Deployment(DeploymentId(4)) },
                    Item::Keep { was: 3, object: ObjectRef::KafkaCluster("k".into()) },
                ],
            })),
        );
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        let head = r#""cluster":"00","at":1"#;
        for (text, version) in [
            (format!(r#"{{"v":2,{head},"body":{{"create":{{"name":"a","partitions":1}}}}}}"#), true),
            (format!(r#"{{"v":1,{head},"body":{{"destroy":{{}}}}}}"#), false),
            (format!(r#"{{"v":1,{head},"body":{{"create":{{"name":"a","partitions":1,"x":1}}}}}}"#), false),
            (format!(r#"{{"v":1,{head},"body":{{"change":[{{"twist":{{"was":1}}}}]}}}}"#), false),
            ("[]".to_owned(), false),
            (String::new(), false),
        ] {
            let error = Record::decode(text.as_bytes()).unwrap_err();
            assert_eq!(matches!(error, RecordError::Version { found: 2 }), version, "{text}: {error}");
        }
    }
}
