//! Subscriptions: every record of a topic becomes an invocation, exactly once, in order per key (DESIGN.md section 6).
//!
//! ```text
//! metadata ──> Subscriptions ──> Worker (one a subscription) ──> PartitionReader (one an engine partition)
//!                                  topic, sources, offsets          fetch, check, Ingest
//! ```
//!
//! Position and invocations move together in the partition's state; what is here can be lost at any moment.

pub mod budget;
mod burial;
mod clients;
mod identity;
pub mod ingest;
pub mod letters;
pub mod metrics;
mod reader;
pub mod reconcile;
mod status;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use millrace_cluster::{
    Metadata, Schema,
    meta::{
        object::{ClusterOrigin, KafkaCluster, Subscription},
        options::{SubscriptionOptions, of_the_client},
        service::Defaults,
    },
};
use millrace_connector_kafka::{ClusterConfig, ConsumerConfig, Origin};
use millrace_model::{Env, SubscriptionId, codes};
use millrace_partition::Handle;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

pub use status::{BudgetUse, LastError, SourceStatus, State, Status, StatusBoard};
use worker::Worker;

use crate::{
    budget::Limits,
    burial::Burial,
    clients::Clients,
    identity::TopicIdentity,
    ingest::{DeadLetters, Sink},
    letters::LetterWriter,
    reader::Shared,
};

/// How long stopping workers get before they are dropped.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a worker that could not be made is made again.
const REMAKE_PAUSE: Duration = Duration::from_secs(5);

/// Runs the subscriptions of the metadata.
pub struct Subscriptions {
    metadata: Metadata,
    handle: Handle,
    env: Arc<dyn Env>,
    defaults: Arc<Defaults>,
    board: Arc<StatusBoard>,
    running: BTreeMap<SubscriptionId, Running>,
    clients: Clients,
}

struct Running {
    subscription: Arc<Subscription>,
    cluster: Arc<KafkaCluster>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Subscriptions {
    /// Nothing runs before [`Subscriptions::run`].
    pub fn new(metadata: Metadata, handle: Handle, env: Arc<dyn Env>, defaults: Arc<Defaults>) -> Self {
        Self {
            metadata,
            handle,
            env,
            defaults,
            board: Arc::default(),
            running: BTreeMap::new(),
            clients: Clients::default(),
        }
    }

    /// What the subscriptions show of themselves.
    pub fn board(&self) -> Arc<StatusBoard> {
        Arc::clone(&self.board)
    }

    /// Follows the metadata until `shutdown` resolves; then nothing is read any more.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut changed = self.metadata.changed();
        tokio::pin!(shutdown);
        let (end_letters, letters_end) = oneshot::channel::<()>();
        let letters = LetterWriter {
            metadata: self.metadata.clone(),
            handle: self.handle.clone(),
            board: Arc::clone(&self.board),
            producers: BTreeMap::new(),
        };
        let letters = tokio::spawn(letters.run(async move { _ = letters_end.await }));
        self.close_orphans().await;
        loop {
            changed.mark_unchanged();
            let schema = self.metadata.schema();
            let complete = self.follow(&schema).await;
            tokio::select! {
                () = &mut shutdown => break,
                changed = changed.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(REMAKE_PAUSE), if !complete => {}
            }
        }
        let running = std::mem::take(&mut self.running);
        let stopping = running.into_values().map(stop);
        futures_join(stopping).await;
        drop(end_letters);
        // It has nothing to lose.
        let _ = letters.await;
    }

    /// Sources of subscriptions that nobody knows.
    async fn close_orphans(&self) {
        let sources = match worker::all_sources(&self.handle).await {
            Ok(sources) => sources,
            Err(error) => {
                tracing::warn!(error = %error, "could not look for sources of deleted subscriptions");
                return;
            }
        };
        let schema = self.metadata.schema();
        let is_known = |id: SubscriptionId| {
            schema.subscription(id).is_some() || schema.tombstones().any(|tombstone| tombstone.id == id)
        };
        let orphans = sources.into_iter().map(|(id, _)| id).filter(|id| !is_known(id.subscription));
        worker::close_sources(&self.handle, orphans).await;
    }

    /// Starts and stops workers. `false`: one could not be made.
    async fn follow(&mut self, schema: &Schema) -> bool {
        let is_current = |running: &Running| {
            let cluster = schema.kafka_cluster(&running.subscription.cluster);
            cluster.is_some_and(|cluster| *cluster == running.cluster)
        };
        let ends = |(id, running): (&SubscriptionId, &Running)| {
            let goes_on = schema.subscription(*id).is_some() && is_current(running) && !running.task.is_finished();
            (!goes_on).then_some(*id)
        };
        let ended: Vec<_> = self.running.iter().filter_map(ends).collect();
        for id in ended {
            if let Some(running) = self.running.remove(&id) {
                stop(running).await;
            }
        }
        let mut complete = true;
        // Cluster and group of those whose last offsets are not committed yet.
        let mut taken = Vec::new();
        // One that does not answer is not asked for each of them.
        let mut away = BTreeSet::new();
        let burial = Burial { metadata: &self.metadata, handle: &self.handle, clients: &self.clients };
        for tombstone in schema.tombstones() {
            self.board.remove(tombstone.id);
            metrics::forget(tombstone.id);
            let cluster = tombstone.cluster.as_str();
            if away.contains(cluster) || !burial.bury(tombstone).await {
                away.insert(cluster);
                taken.push((cluster, group_of(schema, tombstone)));
                complete = false;
            }
        }
        for subscription in schema.subscriptions() {
            if self.running.contains_key(&subscription.id) {
                continue;
            }
            if taken.contains(&(subscription.cluster.as_str(), group_of(schema, subscription))) {
                let what = "a deleted subscription of the same group has still to commit its last offsets";
                self.board.trouble(subscription.id, codes::SUB0002.id, what.to_owned());
                continue;
            }
            match self.start(schema, subscription).await {
                Ok(running) => _ = self.running.insert(subscription.id, running),
                Err(why) => {
                    self.board.trouble(subscription.id, codes::META0009.id, why);
                    complete = false;
                }
            }
        }
        let running = &self.running;
        self.clients.retain(|cluster| running.values().any(|running| Arc::ptr_eq(&running.cluster, cluster))).await;
        complete
    }

    async fn start(&self, schema: &Schema, subscription: &Arc<Subscription>) -> Result<Running, String> {
        let cluster = schema.kafka_cluster(&subscription.cluster);
        let cluster = cluster.ok_or_else(|| format!("Kafka cluster '{}' is not configured", subscription.cluster))?;
        let own = SubscriptionOptions::parse(&subscription.options)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let config = cluster_config(cluster)?;
        let id = subscription.id.to_string();
        let consumer = ConsumerConfig::new(&config, &of_the_client(&subscription.options), &id)
            .map_err(|faults| millrace_connector_kafka::OptionFault::list(&faults))?;
        let admin = self.clients.admin(cluster, &config).await.map_err(|error| error.to_string())?;
        let limits = Limits::of(&own);
        let (metadata, defaults, sink_of) =
            (self.metadata.clone(), Arc::clone(&self.defaults), Arc::clone(subscription));
        let sink = move || sink(&metadata.schema(), &sink_of, &own, &limits, &defaults);
        let shared = Arc::new(Shared {
            id: subscription.id,
            topic: subscription.topic.as_str().into(),
            handle: self.handle.clone(),
            env: Arc::clone(&self.env),
            board: Arc::clone(&self.board),
            limits,
            identity: TopicIdentity::new(admin.clone(), subscription.topic.clone()),
            admin,
            reads_committed: consumer.reads_committed(),
            sink: Box::new(sink),
            recheck: Notify::new(),
            fatal: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let adopts = consumer.group_id() != id;
        let cluster_name = subscription.cluster.clone();
        let (clients, lease) = (self.clients.clone(), Mutex::default());
        let worker = Worker { shared, consumer, cluster: cluster_name, adopts, clients, lease };
        let task = tokio::spawn(worker.run(stopped));
        Ok(Running { subscription: Arc::clone(subscription), cluster: Arc::clone(cluster), stop, task })
    }
}

/// The group whose committed offsets a subscription writes.
fn group_of<'a>(schema: &'a Schema, subscription: &'a Subscription) -> Option<&'a str> {
    let shared = || schema.kafka_cluster(&subscription.cluster)?.properties.get("group.id").map(String::as_str);
    subscription.group_id().or_else(shared)
}

/// What librdkafka needs to know of a cluster of the metadata.
pub fn cluster_config(cluster: &KafkaCluster) -> Result<ClusterConfig, String> {
    let bootstrap = cluster.bootstrap().ok_or_else(|| format!("Kafka cluster '{}' has no address", cluster.name))?;
    let brokers: Vec<&str> = bootstrap.split(',').map(str::trim).collect();
    let mut properties = cluster.properties.0.clone();
    properties.remove("bootstrap.servers");
    properties.remove("metadata.broker.list");
    let origin = match cluster.origin {
        ClusterOrigin::Config => Origin::Operator,
        ClusterOrigin::Api => Origin::Api,
    };
    ClusterConfig::new(&brokers, properties, origin)
        .map_err(|faults| millrace_connector_kafka::OptionFault::list(&faults))
}

fn sink(
    schema: &Schema,
    subscription: &Subscription,
    own: &SubscriptionOptions,
    limits: &Limits,
    defaults: &Defaults,
) -> Option<Sink> {
    let service = schema.service(&subscription.service)?;
    // What is private is for handlers alone, also if it became so later.
    let handler = service.handler(&subscription.handler).filter(|handler| handler.public)?;
    let retention = handler.settings.retention(handler.kind, false, defaults);
    Some(Sink {
        service: service.name.clone(),
        handler: handler.name.clone(),
        kind: handler.kind,
        completion_retention: retention.completion.as_millis() as u64,
        journal_retention: retention.journal.as_millis() as u64,
        null_key: own.null_key,
        key_share: limits.key_share(),
        dead_letters: own
            .dead_letter_topic
            .as_deref()
            .map(|topic| DeadLetters { cluster: subscription.cluster.as_str().into(), topic: topic.into() }),
    })
}

/// Stops a worker and waits for it, within reason.
async fn stop(running: Running) {
    let Running { stop, mut task, .. } = running;
    // A worker that has ended by itself does not listen any more.
    let _ = stop.send(());
    if tokio::time::timeout(STOP_TIMEOUT, &mut task).await.is_err() {
        task.abort();
    }
}

/// Waits for all of them at once.
async fn futures_join(futures: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let mut tasks = tokio::task::JoinSet::new();
    for future in futures {
        tasks.spawn(future);
    }
    while tasks.join_next().await.is_some() {}
}
