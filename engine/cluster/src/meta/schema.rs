//! The metadata as others look at it: immutable, swapped as a whole.

use std::{collections::BTreeMap, sync::Arc};

use millrace_model::{ClusterId, DeploymentId, SubscriptionId, Text, invocation::HandlerKind};
use millrace_protocol::{InputRule, OutputRule};

use super::{
    apply::{Identity, Slot, State},
    object::{Deployment, KafkaCluster, Subscription},
    service::{HandlerSchema, ServiceSchema, ServiceType, Settings},
};

/// The latest revision of a service, with what its handlers run with.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name; cloning it copies nothing.
    pub name: Text,
    /// What it is.
    pub ty: ServiceType,
    /// Which revision.
    pub revision: u32,
    /// What exposes it.
    pub deployment: Arc<Deployment>,
    /// Whether handlers that do not say otherwise are reachable from outside.
    pub public: bool,
    handlers: BTreeMap<String, Handler>,
    index: usize,
}

/// A handler with its settings resolved: its own, else the service's; what both leave open is the server's to decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    /// Its name; cloning it copies nothing.
    pub name: Text,
    /// How it may run.
    pub kind: HandlerKind,
    /// Reachable over HTTP and from Kafka.
    pub public: bool,
    /// Retentions, timeouts, retry policy, lazy state.
    pub settings: Settings,
    /// What it takes.
    pub input: InputRule,
    /// What it gives.
    pub output: OutputRule,
}

impl Service {
    /// A service as `deployment` announced it; `None` if it did not.
    pub fn of(deployment: &Arc<Deployment>, name: &str) -> Option<Self> {
        let index = deployment.services.iter().position(|service| service.name == name)?;
        let stored = &deployment.services[index];
        let handlers = stored.handlers.iter().map(|handler| (handler.name.clone(), Handler::of(stored, handler)));
        Some(Self {
            name: stored.name.as_str().into(),
            ty: stored.ty,
            revision: stored.revision,
            deployment: deployment.clone(),
            public: stored.public_override.or(stored.settings.public).unwrap_or(true),
            handlers: handlers.collect(),
            index,
        })
    }

    /// One handler.
    pub fn handler(&self, name: &str) -> Option<&Handler> {
        self.handlers.get(name)
    }

    /// All handlers, by name.
    pub fn handlers(&self) -> impl ExactSizeIterator<Item = &Handler> {
        self.handlers.values()
    }

    /// As announced and changed since, without resolving anything.
    pub fn stored(&self) -> &ServiceSchema {
        &self.deployment.services[self.index]
    }
}

impl Handler {
    fn of(service: &ServiceSchema, handler: &HandlerSchema) -> Self {
        let settings = handler.settings.or(&service.settings);
        Self {
            name: handler.name.as_str().into(),
            kind: handler.kind,
            public: service.public_override.or(settings.public).unwrap_or(true),
            settings,
            input: handler.input.clone(),
            output: handler.output.clone(),
        }
    }
}

/// One state of the metadata, together with what this node's configuration adds.
#[derive(Clone, Debug)]
pub struct Schema {
    identity: Identity,
    state: State,
    services: BTreeMap<String, Arc<Service>>,
    kafka_clusters: BTreeMap<String, Arc<KafkaCluster>>,
    subscriptions: BTreeMap<SubscriptionId, Arc<Subscription>>,
}

impl Schema {
    /// `before`: what it was, so that what has not changed is not made again.
    ///
    /// Panics if the state was not created.
    pub(crate) fn new(state: State, configured: &BTreeMap<String, Arc<KafkaCluster>>, before: Option<&Schema>) -> Self {
        let identity = state.identity.clone().expect("a schema is made of a created state");
        let mut latest: BTreeMap<&str, (u32, &Slot<Deployment>)> = BTreeMap::new();
        for slot in state.deployments.values() {
            for service in &slot.value.services {
                let best = latest.entry(&service.name).or_insert((service.revision, slot));
                if service.revision > best.0 {
                    *best = (service.revision, slot);
                }
            }
        }
        let services = latest.into_iter().map(|(name, (_, slot))| {
            let known = before.and_then(|schema| schema.services.get(name));
            let service = match known {
                Some(service) if Arc::ptr_eq(&service.deployment, &slot.value) => service.clone(),
                _ => Arc::new(Service::of(&slot.value, name).expect("found in this deployment")),
            };
            (name.to_owned(), service)
        });
        let services = services.collect();
        let mut kafka_clusters: BTreeMap<_, _> =
            state.kafka_clusters.iter().map(|(name, slot)| (name.clone(), slot.value.clone())).collect();
        kafka_clusters.extend(configured.iter().map(|(name, cluster)| (name.clone(), cluster.clone())));
        let subscriptions = state.subscriptions.iter().filter(|(_, slot)| !slot.value.deleted);
        let subscriptions = subscriptions.map(|(id, slot)| (*id, slot.value.clone())).collect();
        Self { identity, state, services, kafka_clusters, subscriptions }
    }

    /// Changes so far. Rises with every change.
    pub fn version(&self) -> u64 {
        self.state.changes
    }

    /// Of this cluster.
    pub fn cluster_id(&self) -> ClusterId {
        self.identity.cluster
    }

    /// For people.
    pub fn cluster_name(&self) -> &str {
        &self.identity.name
    }

    /// N of DESIGN.md section 2.
    pub fn partitions(&self) -> u16 {
        self.identity.partitions
    }

    /// The latest revision of a service.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// Latest revisions, by name.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// A deployment, latest or not.
    pub fn deployment(&self, id: DeploymentId) -> Option<&Arc<Deployment>> {
        self.state.deployments.get(&id).map(|slot| &slot.value)
    }

    /// All deployments, oldest id first.
    pub fn deployments(&self) -> impl ExactSizeIterator<Item = &Arc<Deployment>> {
        self.state.deployments.values().map(|slot| &slot.value)
    }

    /// A subscription.
    pub fn subscription(&self, id: SubscriptionId) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(&id)
    }

    /// All subscriptions, oldest id first.
    pub fn subscriptions(&self) -> impl ExactSizeIterator<Item = &Arc<Subscription>> {
        self.subscriptions.values()
    }

    /// Subscriptions that were deleted and whose last offsets have still to be committed.
    pub fn tombstones(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.state.subscriptions.values().map(|slot| &slot.value).filter(|subscription| subscription.deleted)
    }

    /// A Kafka cluster. One of the configuration hides one of the same name in the metadata.
    pub fn kafka_cluster(&self, name: &str) -> Option<&Arc<KafkaCluster>> {
        self.kafka_clusters.get(name)
    }

    /// All Kafka clusters, by name.
    pub fn kafka_clusters(&self) -> impl ExactSizeIterator<Item = &Arc<KafkaCluster>> {
        self.kafka_clusters.values()
    }

    /// What is stored, for those who decide about changes.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}
