//! Subscriptions: every record of a topic becomes an invocation, exactly once, in order per key (DESIGN.md section 6).
//!
//! ```text
//! metadata ──> Subscriptions ──> Worker (one a subscription) ──> PartitionReader (one an engine partition)
//!                                  topic, sources, offsets          fetch, check, Ingest
//! ```
//!
//! Position and invocations move together in the partition's state; what is here can be lost at any moment.

pub mod budget;
mod identity;
pub mod ingest;
pub mod metrics;
mod reader;
pub mod reconcile;
mod status;
mod worker;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use millrace_cluster::{
    Metadata, Schema,
    meta::{
        object::{ClusterOrigin, KafkaCluster, Subscription},
        options::{SubscriptionOptions, of_the_client},
        service::Defaults,
    },
};
use millrace_connector_kafka::{Admin, ClusterConfig, ConsumerConfig, Origin};
use millrace_model::{Env, SubscriptionId, codes};
use millrace_partition::Handle;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

pub use status::{BudgetUse, LastError, SourceStatus, State, Status, StatusBoard};
use worker::{Stop, Worker};

use crate::{budget::Limits, identity::TopicIdentity, ingest::Sink, reader::Shared};

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
}

struct Running {
    subscription: Arc<Subscription>,
    cluster: Arc<KafkaCluster>,
    stop: oneshot::Sender<Stop>,
    task: JoinHandle<()>,
}

impl Subscriptions {
    /// Nothing runs before [`Subscriptions::run`].
    pub fn new(metadata: Metadata, handle: Handle, env: Arc<dyn Env>, defaults: Arc<Defaults>) -> Self {
        Self { metadata, handle, env, defaults, board: Arc::default(), running: BTreeMap::new() }
    }

    /// What the subscriptions show of themselves.
    pub fn board(&self) -> Arc<StatusBoard> {
        Arc::clone(&self.board)
    }

    /// Follows the metadata until `shutdown` resolves; then nothing is read any more.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut changed = self.metadata.changed();
        tokio::pin!(shutdown);
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
        let stopping = running.into_values().map(|running| stop(running, Stop::Pause));
        futures_join(stopping).await;
    }

    /// Sources of subscriptions that are no more, left by a crash between their deletion and the closing.
    async fn close_orphans(&self) {
        let sources = match worker::all_sources(&self.handle).await {
            Ok(sources) => sources,
            Err(error) => {
                tracing::warn!(error = %error, "could not look for sources of deleted subscriptions");
                return;
            }
        };
        let schema = self.metadata.schema();
        let orphans = sources.into_iter().map(|(id, _)| id).filter(|id| schema.subscription(id.subscription).is_none());
        worker::close_sources(&self.handle, orphans).await;
    }

    /// Starts and stops workers. `false`: one could not be made.
    async fn follow(&mut self, schema: &Schema) -> bool {
        let is_current = |running: &Running| {
            let cluster = schema.kafka_cluster(&running.subscription.cluster);
            cluster.is_some_and(|cluster| *cluster == running.cluster)
        };
        let mut ended = Vec::new();
        for (id, running) in &self.running {
            if schema.subscription(*id).is_none() {
                ended.push((*id, Stop::Delete));
            } else if !is_current(running) || running.task.is_finished() {
                ended.push((*id, Stop::Pause));
            }
        }
        for (id, why) in ended {
            if let Some(running) = self.running.remove(&id) {
                stop(running, why).await;
                if why == Stop::Delete {
                    self.board.remove(id);
                }
            }
        }
        let mut complete = true;
        for subscription in schema.subscriptions() {
            if self.running.contains_key(&subscription.id) {
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
        let admin = Admin::connect(&config).await.map_err(|error| error.to_string())?;
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
        });
        let (stop, stopped) = oneshot::channel();
        let adopts = consumer.group_id() != id;
        let cluster_name = subscription.cluster.clone();
        let worker = Worker { shared, consumer, cluster: cluster_name, adopts };
        let task = tokio::spawn(worker.run(stopped));
        Ok(Running { subscription: Arc::clone(subscription), cluster: Arc::clone(cluster), stop, task })
    }
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
    let handler = service.handler(&subscription.handler)?;
    let retention = handler.settings.retention(handler.kind, false, defaults);
    Some(Sink {
        service: service.name.clone(),
        handler: handler.name.clone(),
        kind: handler.kind,
        completion_retention: retention.completion.as_millis() as u64,
        journal_retention: retention.journal.as_millis() as u64,
        null_key: own.null_key,
        key_share: limits.key_share(),
    })
}

/// Stops a worker and waits for it, within reason.
async fn stop(running: Running, why: Stop) {
    let Running { stop, mut task, .. } = running;
    // A worker that has ended by itself does not listen any more.
    let _ = stop.send(why);
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
