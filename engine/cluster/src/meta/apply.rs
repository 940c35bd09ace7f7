//! The state machine: `apply(state, record)`. Pure, the same on every node.

use std::{collections::BTreeMap, sync::Arc};

use millrace_model::{ClusterId, DeploymentId, SubscriptionId};
use serde::{Deserialize, Serialize};

use super::{
    object::{Deployment, KafkaCluster, Object, ObjectRef, Revisions, Subscription},
    record::{Body, Change, Create, Item, Record},
    text,
};

/// An object and its version: the number of the change that made it so. No two changes have the same number, so an
/// object that was removed and made again cannot be taken for its former self.
#[derive(Debug, PartialEq)]
pub struct Slot<T> {
    /// Its version, at least 1.
    pub version: u64,
    /// It.
    pub value: Arc<T>,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self { version: self.version, value: self.value.clone() }
    }
}

/// What never changes, from the record that began the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Identity {
    /// Carried by every record and announcement.
    #[serde(with = "text::cluster_id")]
    pub cluster: ClusterId,
    /// For people.
    pub name: String,
    /// Number of engine partitions.
    pub partitions: u16,
}

/// All objects. Cloning copies references only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// `None` before the log was begun.
    pub identity: Option<Identity>,
    /// Changes applied so far; those that were void do not count.
    pub changes: u64,
    /// Deployments.
    pub deployments: BTreeMap<DeploymentId, Slot<Deployment>>,
    /// Revisions by service name.
    pub revisions: BTreeMap<String, Slot<Revisions>>,
    /// Subscriptions.
    pub subscriptions: BTreeMap<SubscriptionId, Slot<Subscription>>,
    /// Kafka clusters made through the API.
    pub kafka_clusters: BTreeMap<String, Slot<KafkaCluster>>,
}

/// What a record did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// What it says.
    Done,
    /// Nothing: it was decided against an older version.
    Stale {
        /// Of this object.
        object: ObjectRef,
        /// The version it was decided against.
        was: u64,
        /// The version in force.
        is: u64,
    },
}

/// Why a log cannot be followed any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Another cluster's record.
    #[error("metadata record of cluster {theirs:032x}, this is {ours:032x}", theirs = theirs.0, ours = ours.0)]
    ForeignCluster {
        /// Who reads.
        ours: ClusterId,
        /// Who wrote.
        theirs: ClusterId,
    },
    /// A change before the record that begins the log.
    #[error("the metadata log does not begin with the cluster's creation")]
    NotCreated,
    /// A log that begins twice.
    #[error("the metadata log creates the cluster a second time")]
    CreatedTwice,
}

impl State {
    /// Applies one record. On an error nothing has changed, and nothing later may be applied.
    pub fn apply(&mut self, record: Record) -> Result<Applied, ApplyError> {
        match (&self.identity, record.body) {
            (None, Body::Create(Create { name, partitions })) => {
                self.identity = Some(Identity { cluster: record.cluster, name, partitions });
                Ok(Applied::Done)
            }
            (None, Body::Change(_)) => Err(ApplyError::NotCreated),
            (Some(identity), _) if identity.cluster != record.cluster => {
                Err(ApplyError::ForeignCluster { ours: identity.cluster, theirs: record.cluster })
            }
            (Some(_), Body::Create(_)) => Err(ApplyError::CreatedTwice),
            (Some(_), Body::Change(change)) => Ok(self.change(change)),
        }
    }

    fn change(&mut self, change: Change) -> Applied {
        for item in &change.items {
            let (object, was) = item.relies_on();
            let is = self.version(&object);
            if was != is {
                return Applied::Stale { object, was, is };
            }
        }
        self.changes += 1;
        for item in change.items {
            match item {
                Item::Put { object, .. } => self.put(object),
                Item::Remove { object, .. } => self.remove(&object),
                Item::Keep { .. } => {}
            }
        }
        Applied::Done
    }

    /// The version of an object, 0 if there is none.
    pub fn version(&self, object: &ObjectRef) -> u64 {
        match object {
            ObjectRef::Deployment(id) => self.deployments.get(id).map(|slot| slot.version),
            ObjectRef::Revisions(service) => self.revisions.get(service).map(|slot| slot.version),
            ObjectRef::Subscription(id) => self.subscriptions.get(id).map(|slot| slot.version),
            ObjectRef::KafkaCluster(name) => self.kafka_clusters.get(name).map(|slot| slot.version),
        }
        .unwrap_or_default()
    }

    fn put(&mut self, object: Object) {
        let version = self.changes;
        match object {
            Object::Deployment(deployment) => {
                self.deployments.insert(deployment.id, Slot { version, value: Arc::new(*deployment) });
            }
            Object::Revisions(revisions) => {
                self.revisions.insert(revisions.service.clone(), Slot { version, value: Arc::new(revisions) });
            }
            Object::Subscription(subscription) => {
                self.subscriptions.insert(subscription.id, Slot { version, value: Arc::new(*subscription) });
            }
            Object::KafkaCluster(cluster) => {
                self.kafka_clusters.insert(cluster.name.clone(), Slot { version, value: Arc::new(cluster) });
            }
        }
    }

    fn remove(&mut self, object: &ObjectRef) {
        match object {
            ObjectRef::Deployment(id) => drop(self.deployments.remove(id)),
            ObjectRef::Revisions(service) => drop(self.revisions.remove(service)),
            ObjectRef::Subscription(id) => drop(self.subscriptions.remove(id)),
            ObjectRef::KafkaCluster(name) => drop(self.kafka_clusters.remove(name)),
        }
    }

    /// A change of `object` as it is now.
    pub fn put_item(&self, object: Object) -> Item {
        Item::Put { was: self.version(&object.reference()), object }
    }

    /// The removal of `object` as it is now.
    pub fn remove_item(&self, object: ObjectRef) -> Item {
        Item::Remove { was: self.version(&object), object }
    }

    /// Relying on `object` as it is now.
    pub fn keep_item(&self, object: ObjectRef) -> Item {
        Item::Keep { was: self.version(&object), object }
    }
}

/// The form of a snapshot: everything that [`State`] holds, in the order of its keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Form {
    identity: Option<Identity>,
    changes: u64,
    objects: Vec<(u64, Object)>,
}

impl State {
    /// As JSON.
    pub fn encode(&self) -> Vec<u8> {
        let deployments =
            self.deployments.values().map(|s| (s.version, Object::Deployment(Box::new((*s.value).clone()))));
        let revisions = self.revisions.values().map(|s| (s.version, Object::Revisions((*s.value).clone())));
        let subscriptions =
            self.subscriptions.values().map(|s| (s.version, Object::Subscription(Box::new((*s.value).clone()))));
        let clusters = self.kafka_clusters.values().map(|s| (s.version, Object::KafkaCluster((*s.value).clone())));
        let objects = deployments.chain(revisions).chain(subscriptions).chain(clusters).collect();
        let form = Form { identity: self.identity.clone(), changes: self.changes, objects };
        serde_json::to_vec(&form).expect("objects have string keys only")
    }

    /// Inverse of [`State::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let Form { identity, changes, objects } = serde_json::from_slice(bytes)?;
        let mut state = State { identity, ..State::default() };
        for (version, object) in objects {
            state.changes = version;
            state.put(object);
        }
        state.changes = changes;
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::TimestampMs;

    use super::*;

    const US: ClusterId = ClusterId(1);

    fn record(body: Body) -> Record {
        Record { v: 1, cluster: US, at: TimestampMs(0), body }
    }

    fn create() -> Record {
        record(Body::Create(Create { name: "c".into(), partitions: 4 }))
    }

    fn change(items: Vec<Item>) -> Record {
        record(Body::Change(Change { items }))
    }

    fn cluster(name: &str, brokers: &str) -> Object {
        Object::KafkaCluster(KafkaCluster {
            name: name.into(),
            properties: [("bootstrap.servers", brokers)].into_iter().collect(),
            created_at: TimestampMs(0),
            origin: Default::default(),
        })
    }

    fn reference(name: &str) -> ObjectRef {
        ObjectRef::KafkaCluster(name.into())
    }

    fn history() -> Vec<Record> {
        vec![
            create(),
            change(vec![Item::Put { was: 0, object: cluster("a", "1") }]),
            change(vec![
                Item::Put { was: 0, object: cluster("b", "1") },
                Item::Keep { was: 1, object: reference("a") },
            ]),
            change(vec![Item::Put { was: 0, object: cluster("a", "void") }]),
            change(vec![Item::Put { was: 1, object: cluster("a", "2") }]),
            change(vec![
                Item::Remove { was: 2, object: reference("b") },
                Item::Keep { was: 3, object: reference("a") },
            ]),
            change(vec![Item::Put { was: 0, object: cluster("b", "again") }]),
        ]
    }

    #[test]
    fn a_change_against_an_old_version_is_void_as_a_whole() {
        let mut state = State::default();
        let done: Vec<_> = history().into_iter().map(|record| state.apply(record).unwrap()).collect();
        let stale = Applied::Stale { object: reference("a"), was: 0, is: 1 };
        assert_eq!(
            done,
            [Applied::Done, Applied::Done, Applied::Done, stale, Applied::Done, Applied::Done, Applied::Done]
        );
        assert_eq!(state.kafka_clusters["a"].value.bootstrap(), Some("2"));
        assert_eq!(state.version(&reference("b")), 5, "made again, it is another object");

        let before = state.clone();
        let mixed = change(vec![
            Item::Put { was: 0, object: cluster("new", "1") },
            Item::Keep { was: 2, object: reference("b") },
        ]);
        assert!(matches!(state.apply(mixed), Ok(Applied::Stale { was: 2, is: 5, .. })));
        assert_eq!(state, before);
    }

    #[test]
    fn replay_from_zero_is_a_snapshot_and_the_rest() {
        let records = history();
        let mut whole = State::default();
        for record in records.clone() {
            whole.apply(record).unwrap();
        }
        for cut in 0..=records.len() {
            let mut first = State::default();
            for record in &records[..cut] {
                first.apply(record.clone()).unwrap();
            }
            let mut state = State::decode(&first.encode()).unwrap();
            assert_eq!(state, first);
            for record in &records[cut..] {
                state.apply(record.clone()).unwrap();
            }
            assert_eq!(state, whole, "cut at {cut}");
            assert_eq!(state.encode(), whole.encode());
        }
    }

    #[test]
    fn a_log_begins_with_its_creation_and_belongs_to_one_cluster() {
        let mut state = State::default();
        assert_eq!(state.apply(change(vec![])), Err(ApplyError::NotCreated));
        state.apply(create()).unwrap();
        assert_eq!(state.apply(create()), Err(ApplyError::CreatedTwice));
        let foreign = Record { cluster: ClusterId(2), ..change(vec![]) };
        assert_eq!(state.apply(foreign), Err(ApplyError::ForeignCluster { ours: US, theirs: ClusterId(2) }));
        assert_eq!(state.changes, 0);
    }
}
