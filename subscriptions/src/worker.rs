//! One subscription: keeps its sources in step with the topic, its readers in step with the sources, and Kafka's
//! committed offsets in step with the positions.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_connector_kafka::{
    Admin, ClientError, Commit, ConsumerConfig, GroupState, OffsetQuery, OffsetReset, Reader,
};
use millrace_machine::{Answer, StateView};
use millrace_model::{
    Command, PartitionId, SourceId, SubscriptionId, codes,
    command::OpenSource as OpenCommand,
    source::Outcomes,
    table::{OutcomeCounts, Sources},
};
use millrace_partition::{Handle, ProposeError};
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use crate::{
    clients::{Clients, Lease},
    metrics::OutcomeMetrics,
    reader::{Assigned, PartitionReader, Shared},
    reconcile::{OpenSource, Plan, Start, reader, reconcile},
};

/// How often the topic is looked at: partitions may have been added.
const TOPIC_INTERVAL: Duration = Duration::from_secs(5);
/// Committed offsets are written at most this often when positions changed …
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// … and this often when not, so that the group does not expire.
const COMMIT_IDLE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How often a topic that is missing is looked for.
const MISSING_PAUSE: Duration = Duration::from_secs(1);
/// Pause behind a trouble, doubled up to the maximum.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why a worker cannot go on for now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Propose(#[from] ProposeError),
    #[error("consumer group {0} has members: its offsets can be adopted only while it is empty")]
    GroupHasMembers(String),
    #[error("no committed offset, and auto.offset.reset is error")]
    NoStart,
    #[error("{0}")]
    Fatal(String),
    #[error("the state of a partition cannot be read")]
    State,
}

impl Trouble {
    fn code(&self) -> &'static str {
        match self {
            Self::Client(ClientError::TopicUnknown { .. }) => codes::SUB0003.id,
            Self::Client(_) => codes::SUB0002.id,
            Self::Propose(error) => millrace_model::Coded::code(error).id,
            Self::GroupHasMembers(_) => codes::SUB0001.id,
            Self::NoStart => codes::SUB0006.id,
            Self::Fatal(_) => codes::SUB0004.id,
            Self::State => codes::STO0001.id,
        }
    }
}

pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) consumer: ConsumerConfig,
    pub(crate) cluster: String,
    /// The group was named by the user: its offsets are adopted.
    pub(crate) adopts: bool,
    pub(crate) clients: Clients,
    /// The client that it reads with; given back by `run`, however `read` ends.
    pub(crate) lease: Mutex<Option<Lease>>,
}

impl Worker {
    /// Reads until `stop` resolves.
    pub(crate) async fn run(self, mut stop: oneshot::Receiver<()>) {
        let mut pause = RETRY_PAUSE_MIN;
        let mut tasks = JoinSet::new();
        loop {
            let started = Instant::now();
            let trouble = tokio::select! {
                _ = &mut stop => None,
                trouble = self.read(&mut tasks) => Some(trouble),
            };
            // A reader in the middle of a proposal does not wait for it: whoever must know asks through the log.
            tasks.shutdown().await;
            let lease = self.lease.lock().take();
            match (lease, &trouble) {
                (Some(lease), Some(Trouble::Fatal(_))) => self.clients.retire(lease).await,
                (Some(lease), _) => self.clients.give_back(lease).await,
                (None, _) => {}
            }
            let Some(trouble) = trouble else { return };
            self.shared.trouble(trouble.code(), trouble.to_string());
            if started.elapsed() > RETRY_PAUSE_MAX {
                pause = RETRY_PAUSE_MIN;
            }
            if let Trouble::Client(ClientError::TopicUnknown { .. }) = trouble {
                pause = pause.min(MISSING_PAUSE);
            }
            tokio::select! {
                _ = &mut stop => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Reads until there is trouble. The readers in `tasks` are the caller's to end, and so is the client.
    async fn read(&self, tasks: &mut JoinSet<()>) -> Trouble {
        // Before a client is made that would have nothing to read.
        if let Err(trouble) = self.reconcile().await {
            return trouble;
        }
        let reader = match self.clients.reader(&self.consumer, &self.shared.topic).await {
            Ok(lease) => {
                let reader = lease.reader.clone();
                *self.lease.lock() = Some(lease);
                reader
            }
            Err(error) => return error.into(),
        };
        let mut readers: BTreeMap<PartitionId, watch::Sender<Assigned>> = BTreeMap::new();
        let mut committed = Committed::default();
        let outcomes = OutcomeMetrics::new(&self.shared.id.to_string(), &self.shared.topic);
        loop {
            let mut interval = TOPIC_INTERVAL;
            let open = match self.reconcile().await {
                Ok(open) => {
                    self.shared.board.is_well(self.shared.id);
                    open
                }
                Err(trouble @ Trouble::Client(ClientError::TopicUnknown { .. })) if !readers.is_empty() => {
                    // Readers see it too; the sources stay until the topic is there again or another one is.
                    self.shared.trouble(trouble.code(), trouble.to_string());
                    interval = MISSING_PAUSE;
                    match self.open_sources().await {
                        Ok(open) => open,
                        Err(trouble) => return trouble,
                    }
                }
                Err(trouble) => return trouble,
            };
            self.assign(&open, &reader, &mut readers, tasks);
            self.commit(&open, &mut committed).await;
            // Nobody depends on it.
            if let Ok(ended) = outcomes_of(&self.shared.handle, self.shared.id).await {
                outcomes.set(&ended);
            }
            tokio::select! {
                () = self.shared.recheck.notified() => tokio::time::sleep(RETRY_PAUSE_MIN).await,
                () = tokio::time::sleep(interval) => {}
            }
            if let Some(reason) = self.shared.fatal.lock().take() {
                return Trouble::Fatal(reason);
            }
        }
    }

    /// Hands the open sources to the readers of their partitions.
    fn assign(
        &self,
        open: &BTreeMap<SourceId, OpenSource>,
        reader: &Reader,
        readers: &mut BTreeMap<PartitionId, watch::Sender<Assigned>>,
        tasks: &mut JoinSet<()>,
    ) {
        let is_open = |q: &u32, _: &mut _| open.keys().any(|id| id.source_partition == *q);
        self.shared.board.update(self.shared.id, |status| status.sources.retain(is_open));
        let partitions = self.shared.handle.partitions();
        let mut shares: BTreeMap<PartitionId, Assigned> = BTreeMap::new();
        for (id, source) in open {
            let partition = self::reader(id.source_partition, partitions);
            shares.entry(partition).or_default().insert(id.clone(), source.clone());
        }
        for partition in readers.keys() {
            shares.entry(*partition).or_default();
        }
        for (partition, share) in shares {
            match readers.get(&partition) {
                Some(sender) => sender.send_replace(share),
                None => {
                    let (sender, assigned) = watch::channel(share);
                    let task = PartitionReader {
                        shared: Arc::clone(&self.shared),
                        partition,
                        assigned,
                        reader: reader.clone(),
                    };
                    tasks.spawn(task.run());
                    readers.insert(partition, sender);
                    continue;
                }
            };
        }
    }

    /// Opens and closes sources until they are those of the topic; returns them.
    async fn reconcile(&self) -> Result<BTreeMap<SourceId, OpenSource>, Trouble> {
        let topic = self.shared.identity.after(Instant::now(), None).await?;
        let open = self.open_sources().await?;
        let count = u32::try_from(topic.partitions).unwrap_or(0);
        let plan = reconcile(self.shared.id, &self.cluster, topic.id.unwrap_or(0), count, &open);
        if plan == Plan::default() {
            return Ok(open);
        }
        for source in plan.close {
            self.propose(&source.clone(), Command::CloseSource { source }).await?;
        }
        let starts = self.starts(&plan.open).await?;
        for ((source, _), position) in plan.open.into_iter().zip(starts) {
            let now = self.shared.env.now();
            let topic = self.shared.topic.clone();
            let open = OpenCommand { source: source.clone(), topic, position, now };
            self.propose(&source, Command::OpenSource(open)).await?;
            tracing::info!(
                subscription = %self.shared.id, source_partition = source.source_partition, offset = position,
                "source opened"
            );
        }
        self.open_sources().await
    }

    async fn propose(&self, source: &SourceId, command: Command) -> Result<Answer, Trouble> {
        let partition = reader(source.source_partition, self.shared.handle.partitions());
        Ok(self.shared.handle.propose(partition, command).await?)
    }

    async fn open_sources(&self) -> Result<BTreeMap<SourceId, OpenSource>, Trouble> {
        open_sources(&self.shared.handle, self.shared.id).await
    }

    /// First offsets of new sources, in their order.
    async fn starts(&self, sources: &[(SourceId, Start)]) -> Result<Vec<i64>, Trouble> {
        let shared = &self.shared;
        let asked: Vec<(&str, i32)> =
            sources.iter().map(|(id, _)| (&*shared.topic, id.source_partition as i32)).collect();
        let configured = sources.iter().any(|(_, start)| *start == Start::Configured);
        let mut adopted = BTreeMap::new();
        if configured && self.adopts {
            let group = self.consumer.group_id();
            if let GroupState::HasMembers { .. } = shared.admin.group_state(group).await? {
                return Err(Trouble::GroupHasMembers(group.to_owned()));
            }
            for committed in shared.admin.committed(group, &asked).await? {
                if let Some(offset) = committed.offset? {
                    adopted.insert(committed.partition, offset);
                }
            }
        }
        let earliest = ends(&shared.admin, &asked, OffsetQuery::Earliest).await?;
        let latest = match self.consumer.offset_reset() {
            OffsetReset::Latest if configured => {
                let query = if self.shared.reads_committed { OffsetQuery::LatestStable } else { OffsetQuery::Latest };
                ends(&shared.admin, &asked, query).await?
            }
            _ => BTreeMap::new(),
        };
        sources
            .iter()
            .map(|(id, start)| {
                let q = id.source_partition as i32;
                let first = earliest.get(&q).copied().unwrap_or(0);
                match (start, adopted.get(&q), self.consumer.offset_reset()) {
                    (Start::Beginning, ..) => Ok(first),
                    (Start::Configured, Some(offset), _) => Ok(*offset),
                    (Start::Configured, None, OffsetReset::Earliest) => Ok(first),
                    (Start::Configured, None, OffsetReset::Latest) => Ok(latest.get(&q).copied().unwrap_or(first)),
                    (Start::Configured, None, OffsetReset::Error) => Err(Trouble::NoStart),
                }
            })
            .collect()
    }

    /// Writes positions for people's tools. Nobody depends on it: a trouble is only noted.
    async fn commit(&self, open: &BTreeMap<SourceId, OpenSource>, committed: &mut Committed) {
        let positions: BTreeMap<u32, i64> =
            open.iter().map(|(id, source)| (id.source_partition, source.position)).collect();
        let due = match committed.at {
            None => true,
            Some(at) if positions != committed.positions => at.elapsed() >= COMMIT_INTERVAL,
            Some(at) => at.elapsed() >= COMMIT_IDLE_INTERVAL,
        };
        if !due || positions.is_empty() {
            return;
        }
        if let Err(error) = self.write_offsets(&self.shared.admin, &positions).await {
            tracing::debug!(subscription = %self.shared.id, error = %error, "could not write committed offsets");
        }
        committed.at = Some(Instant::now());
        committed.positions = positions;
    }

    async fn write_offsets(&self, admin: &Admin, positions: &BTreeMap<u32, i64>) -> Result<(), ClientError> {
        let commits: Vec<_> = positions
            .iter()
            .map(|(q, offset)| Commit {
                topic: &self.shared.topic,
                partition: *q as i32,
                offset: *offset,
                metadata: "millrace",
            })
            .collect();
        admin.commit(self.consumer.group_id(), &commits).await
    }
}

#[derive(Default)]
struct Committed {
    at: Option<Instant>,
    positions: BTreeMap<u32, i64>,
}

/// Sources of a subscription that are open, in all partitions.
pub(crate) async fn open_sources(
    handle: &Handle,
    subscription: SubscriptionId,
) -> Result<BTreeMap<SourceId, OpenSource>, Trouble> {
    let mut open = BTreeMap::new();
    for (id, source) in all_sources(handle).await? {
        if id.subscription == subscription {
            open.insert(id, source);
        }
    }
    Ok(open)
}

/// All open sources, in all partitions.
pub(crate) async fn all_sources(handle: &Handle) -> Result<Vec<(SourceId, OpenSource)>, Trouble> {
    let mut all = Vec::new();
    for p in 0..handle.partitions() {
        let look = |store: &millrace_store::PartitionStore, _: &_| {
            let mut rows = Vec::new();
            let scanned = store.scan::<Sources>(None, &mut |id, row| {
                let topic = row.topic.to_string();
                rows.push((id, OpenSource { topic, generation: row.generation, position: row.position }));
                ControlFlow::Continue(())
            });
            scanned.map(|()| rows)
        };
        let rows = handle.read(PartitionId(p), look).await?;
        all.extend(rows.map_err(|_| Trouble::State)?);
    }
    Ok(all)
}

/// How the records of a subscription ended, added up over the partitions.
pub(crate) async fn outcomes_of(handle: &Handle, subscription: SubscriptionId) -> Result<Outcomes, ProposeError> {
    let mut sum = Outcomes::default();
    for p in 0..handle.partitions() {
        let look = move |store: &millrace_store::PartitionStore, _: &_| store.get::<OutcomeCounts>(&subscription);
        // What cannot be read now is not counted; the partition itself reports the failure.
        sum = sum + handle.read(PartitionId(p), look).await?.ok().flatten().unwrap_or_default();
    }
    Ok(sum)
}

/// Closes sources. `false`: not all of them, they are found again.
pub(crate) async fn close_sources(handle: &Handle, sources: impl IntoIterator<Item = SourceId>) -> bool {
    let mut all = true;
    for source in sources {
        let partition = reader(source.source_partition, handle.partitions());
        if let Err(error) = handle.propose(partition, Command::CloseSource { source }).await {
            tracing::warn!(partition = partition.0, error = %error, "could not close a source");
            all = false;
        }
    }
    all
}

async fn ends(admin: &Admin, asked: &[(&str, i32)], query: OffsetQuery) -> Result<BTreeMap<i32, i64>, ClientError> {
    let mut ends = BTreeMap::new();
    for answer in admin.list_offsets(asked, query).await? {
        ends.insert(answer.partition, answer.offset?);
    }
    Ok(ends)
}
