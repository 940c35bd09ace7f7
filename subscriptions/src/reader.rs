//! Reads the source partitions that one engine partition owns, for one subscription: fetch, check, propose, repeat.
//!
//! One batch of a source is under way at a time; what comes meanwhile waits in the client's queue and makes the next
//! batch larger. Nothing here is durable: position and invocations move together in the partition's state.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_connector_kafka::{Admin, ClientError, Event, Feed, OffsetQuery, Reader, RecordBatch, SourceId as FeedId};
use millrace_machine::Answer;
use millrace_model::{
    Coded, Command, Env, PartitionId, SourceId, SubscriptionId, Text, TimestampMs, codes,
    command::{Ingest, IngestRecord, SeekReason, SeekSource},
};
use millrace_partition::{Handle, ProposeError};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    budget::{Exhausted, Limits},
    identity::TopicIdentity,
    ingest::{Reading, Sink, plan},
    metrics::{BudgetMetrics, SourceMetrics},
    reconcile::OpenSource,
    status::{Status, StatusBoard},
};

/// How long a reader waits before it tries again what did not work.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The sources a reader should read, as far as they are open.
pub(crate) type Assigned = BTreeMap<SourceId, OpenSource>;

/// What all readers of a subscription share.
pub(crate) struct Shared {
    pub(crate) id: SubscriptionId,
    pub(crate) topic: Text,
    pub(crate) handle: Handle,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) limits: Limits,
    pub(crate) admin: Admin,
    pub(crate) reads_committed: bool,
    pub(crate) identity: TopicIdentity,
    /// Where the records go now; `None`: service or handler is not registered.
    pub(crate) sink: Box<dyn Fn() -> Option<Sink> + Send + Sync>,
    /// The topic is not what it was: look again.
    pub(crate) recheck: Notify,
    /// The client is of no more use, and why: the worker makes another.
    pub(crate) fatal: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn trouble(&self, code: &'static str, message: String) {
        metrics::counter!(crate::metrics::ERRORS, "code" => code).increment(1);
        self.board.trouble(self.id, code, message);
    }
}

struct Source {
    feed_id: FeedId,
    generation: u32,
    position: i64,
    record_at: Option<TimestampMs>,
    /// See [`SourceStatus::failing`](crate::SourceStatus::failing).
    failing: bool,
    metrics: SourceMetrics,
}

pub(crate) struct PartitionReader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) partition: PartitionId,
    pub(crate) assigned: watch::Receiver<Assigned>,
    pub(crate) reader: Reader,
}

/// Whether a source goes on.
enum Next {
    Continue,
    /// Its state is another one than the reader thought: read on there.
    Reposition,
    /// It is not open any more, or its topic is another one.
    Drop,
}

/// What became of the topic of a source.
enum Seen {
    Same,
    /// Deleted, or made again.
    Other,
    Unknown,
}

impl PartitionReader {
    /// Reads until the sender of `assigned` is gone.
    pub(crate) async fn run(mut self) {
        let mut feed = self.reader.feed();
        let mut sources: BTreeMap<SourceId, Source> = BTreeMap::new();
        let mut budget = self.shared.handle.board().changed(self.partition);
        let mut shown = None;
        let gauges = BudgetMetrics::new(&self.shared.id.to_string(), &self.shared.topic, self.partition.0);
        self.assign(&mut feed, &mut sources).await;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let exhausted = self.apply_budget(&mut feed, &sources);
            if exhausted != shown {
                shown = exhausted;
                self.observe(&feed, &sources, exhausted);
            }
            tokio::select! {
                changed = self.assigned.changed() => match changed {
                    Ok(()) => {
                        self.assign(&mut feed, &mut sources).await;
                        self.observe(&feed, &sources, exhausted);
                    }
                    Err(_) => break,
                },
                changed = budget.changed() => if changed.is_err() { break },
                _ = tick.tick() => {
                    self.observe(&feed, &sources, exhausted);
                    let used = self.shared.handle.board().budget(self.partition, self.shared.id);
                    gauges.ready.set(used.ready_records as f64);
                    gauges.held.set(used.held_records as f64);
                }
                event = feed.next() => self.on_event(event, &mut feed, &mut sources).await,
            }
        }
    }

    /// Adds and removes sources as they are open now.
    async fn assign(&mut self, feed: &mut Feed, sources: &mut BTreeMap<SourceId, Source>) {
        let assigned = self.assigned.borrow_and_update().clone();
        let gone: Vec<_> = sources.keys().filter(|id| !assigned.contains_key(id)).cloned().collect();
        for id in gone {
            if let Some(source) = sources.remove(&id) {
                feed.unassign(source.feed_id).await;
            }
        }
        for (id, open) in assigned {
            if sources.contains_key(&id) {
                continue;
            }
            match feed.assign(&open.topic, id.source_partition as i32, open.position) {
                Ok(feed_id) => {
                    let metrics = SourceMetrics::new(&id.subscription.to_string(), &open.topic, id.source_partition);
                    let (generation, position) = (open.generation, open.position);
                    sources
                        .insert(id, Source { feed_id, generation, position, record_at: None, failing: false, metrics });
                }
                Err(error) => {
                    // A feed that was dropped a moment ago is still letting go of it.
                    if !matches!(error, ClientError::AlreadyAssigned { .. }) {
                        self.shared.trouble(codes::SUB0002.id, error.to_string());
                    }
                    // The worker hands out the same sources again.
                    self.shared.recheck.notify_one();
                }
            }
        }
    }

    /// Pauses or resumes; why nothing is read now.
    fn apply_budget(&self, feed: &mut Feed, sources: &BTreeMap<SourceId, Source>) -> Option<Exhausted> {
        let used = self.shared.handle.board().budget(self.partition, self.shared.id);
        let exhausted = self.shared.limits.exhausted(used);
        for source in sources.values() {
            match (exhausted, feed.is_paused(source.feed_id)) {
                (Some(_), false) => feed.pause(source.feed_id),
                (None, true) => feed.resume(source.feed_id),
                _ => {}
            }
        }
        exhausted
    }

    /// Shows positions, lag, and what keeps a source from being read.
    fn observe(&self, feed: &Feed, sources: &BTreeMap<SourceId, Source>, exhausted: Option<Exhausted>) {
        let now = self.shared.env.now();
        self.shared.board.update(self.shared.id, |status| {
            for (id, source) in sources {
                let shown = status.sources.entry(id.source_partition).or_default();
                shown.position = source.position;
                shown.generation = source.generation;
                shown.high_watermark = feed.high_watermark(source.feed_id);
                shown.record_at_ms = source.record_at.map(|at| at.0 as i64);
                shown.paused = exhausted.map(|exhausted| exhausted.reason().to_owned());
                shown.failing = source.failing;
                let lag = shown.lag().unwrap_or(0);
                source.metrics.lag.set(lag as f64);
                let age = source.record_at.filter(|_| lag > 0).map_or(0, |at| now.since(at));
                source.metrics.lag_seconds.set(age as f64 / 1000.0);
            }
        });
    }

    async fn on_event(&mut self, event: Event, feed: &mut Feed, sources: &mut BTreeMap<SourceId, Source>) {
        let find = |sources: &BTreeMap<SourceId, Source>, feed_id: FeedId| {
            sources.iter().find(|(_, source)| source.feed_id == feed_id).map(|(id, _)| id.clone())
        };
        let (id, next) = match event {
            Event::Records(batch) => {
                let Some(id) = find(sources, batch.source) else { return };
                let source = sources.get_mut(&id).expect("found a moment ago");
                let next = self.take_in(&id, source, batch).await;
                (id, next)
            }
            Event::OffsetOutOfRange { source, .. } => {
                let Some(id) = find(sources, source) else { return };
                let source = sources.get_mut(&id).expect("found a moment ago");
                let next = self.out_of_range(&id, source).await;
                (id, next)
            }
            Event::TopicUnknown { source, reason } => {
                self.failing(find(sources, source), sources);
                self.shared.trouble(codes::SUB0003.id, reason);
                self.shared.recheck.notify_one();
                return;
            }
            Event::SourceFailed { source, reason, .. } => {
                self.failing(find(sources, source), sources);
                self.shared.trouble(codes::SUB0002.id, reason);
                return;
            }
            Event::BrokerDown { reason } => {
                self.shared.trouble(codes::SUB0002.id, reason);
                return;
            }
            Event::Fatal { reason } => {
                *self.shared.fatal.lock() = Some(reason);
                self.shared.recheck.notify_one();
                tokio::time::sleep(RETRY_PAUSE).await;
                return;
            }
            _ => return,
        };
        let Some(source) = sources.get_mut(&id) else { return };
        match next {
            Next::Continue => {}
            Next::Reposition => {
                if let Err(error) = feed.seek(source.feed_id, source.position).await {
                    self.shared.trouble(codes::SUB0002.id, error.to_string());
                    self.drop_source(feed, sources, &id).await;
                }
            }
            Next::Drop => self.drop_source(feed, sources, &id).await,
        }
    }

    /// Until records come or the source is another one: librdkafka says it once.
    fn failing(&self, id: Option<SourceId>, sources: &mut BTreeMap<SourceId, Source>) {
        let Some(id) = id else { return };
        if let Some(source) = sources.get_mut(&id) {
            source.failing = true;
        }
        let shown = |status: &mut Status| status.sources.entry(id.source_partition).or_default().failing = true;
        self.shared.board.update(self.shared.id, shown);
    }

    async fn drop_source(&self, feed: &mut Feed, sources: &mut BTreeMap<SourceId, Source>, id: &SourceId) {
        if let Some(source) = sources.remove(id) {
            feed.unassign(source.feed_id).await;
        }
        self.shared.recheck.notify_one();
    }

    /// Takes one batch into the log, and waits until it is applied. Tries for ever: Kafka is the buffer.
    async fn take_in(&self, id: &SourceId, source: &mut Source, batch: RecordBatch) -> Next {
        match self.look_at_topic(id, batch.received_at, batch.broker).await {
            Seen::Same => {}
            Seen::Other => return Next::Drop,
            // Fetched again, maybe from another broker: this one may be gone for good.
            Seen::Unknown => return Next::Reposition,
        }
        let sink = self.wait_for_sink().await;
        let now = self.shared.env.now();
        let reading = Reading {
            source: id,
            generation: source.generation,
            topic: &self.shared.topic,
            partition: self.partition,
            partitions: self.shared.handle.partitions(),
            now,
        };
        let mut random = || self.shared.env.random();
        let records: Vec<_> = batch.records.iter().map(|record| plan(&reading, &sink, record, &mut random)).collect();
        let is_rejected = |record: &&IngestRecord| !matches!(record, IngestRecord::Invoke(_));
        let rejected = records.iter().filter(is_rejected).count();
        let taken = records.len() - rejected;
        let record_at = batch.records.last().and_then(|record| record.timestamp_ms);
        let record_at = record_at.map(|at| TimestampMs(at.max(0) as u64));
        let ingest = Ingest {
            source: id.clone(),
            generation: source.generation,
            from: batch.from,
            to: batch.to,
            records,
            record_at,
            now,
        };
        let before = (source.generation, batch.from);
        match self.propose(Command::Ingest(Box::new(ingest)), batch.bytes, source, before).await {
            Some((generation, position)) if generation == source.generation && position == batch.to => {
                source.position = position;
                source.record_at = record_at.or(source.record_at);
                source.metrics.records.increment(taken as u64);
                if rejected > 0 {
                    source.metrics.rejected.increment(rejected as u64);
                    tracing::warn!(
                        subscription = %id.subscription, source_partition = id.source_partition, rejected,
                        offset = batch.from, "records were rejected"
                    );
                }
                source.failing = false;
                self.shared.board.reads(self.shared.id);
                Next::Continue
            }
            Some((generation, position)) => {
                (source.generation, source.position) = (generation, position);
                Next::Reposition
            }
            None => Next::Drop,
        }
    }

    /// Proposes until it is known what became of it; the position afterwards, `None` if the source is not open.
    /// `before`: where it was.
    async fn propose(&self, command: Command, bytes: usize, source: &Source, before: (u32, i64)) -> Option<(u32, i64)> {
        loop {
            let refused = match self.shared.handle.admission() {
                Ok(()) => self.shared.handle.propose_sized(self.partition, command.clone(), bytes).await,
                Err(error) => Err(error),
            };
            match refused {
                Ok(Answer::Source(position)) => return position,
                Ok(_) => return Some((source.generation, before.1)),
                Err(ProposeError::Stopped | ProposeError::Unknown) => {
                    // The leader is gone; so will be this task.
                    std::future::pending::<()>().await;
                }
                Err(error) => {
                    self.shared.trouble(error.code().id, error.to_string());
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Whether the topic is still the one of the source, as `broker` sees it now. Pauses if it cannot be told.
    async fn look_at_topic(&self, id: &SourceId, since: Instant, broker: Option<i32>) -> Seen {
        match self.shared.identity.after(since, broker).await {
            Ok(info) if info.id.unwrap_or(0) == id.topic_id => Seen::Same,
            Ok(_) | Err(ClientError::TopicUnknown { .. }) => Seen::Other,
            Err(error) => {
                self.shared.trouble(codes::SUB0002.id, error.to_string());
                tokio::time::sleep(RETRY_PAUSE).await;
                Seen::Unknown
            }
        }
    }

    async fn wait_for_sink(&self) -> Sink {
        loop {
            if let Some(sink) = (self.shared.sink)() {
                return sink;
            }
            let what = "the service or handler of the sink is not registered, or private";
            self.shared.trouble(codes::SUB0005.id, what.to_owned());
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// The position is before the start or beyond the end: the next generation begins at what is there.
    async fn out_of_range(&self, id: &SourceId, source: &mut Source) -> Next {
        match self.look_at_topic(id, Instant::now(), None).await {
            Seen::Same => {}
            Seen::Other => return Next::Drop,
            Seen::Unknown => return Next::Reposition,
        }
        let ends = match ends(&self.shared, id.source_partition).await {
            Ok(ends) => ends,
            Err(error) => {
                self.shared.trouble(codes::SUB0002.id, error);
                tokio::time::sleep(RETRY_PAUSE).await;
                return Next::Reposition;
            }
        };
        let (position, missing, reason) = if source.position < ends.0 {
            (ends.0, ends.0 - source.position, SeekReason::Trimmed)
        } else if source.position > ends.1 {
            (ends.1, source.position - ends.1, SeekReason::Truncated)
        } else {
            return Next::Reposition;
        };
        let missing = missing.max(0) as u64;
        let seek = SeekSource { source: id.clone(), generation: source.generation, position, missing, reason };
        let before = (source.generation, source.position);
        match self.propose(Command::SeekSource(seek), 0, source, before).await {
            Some((generation, position)) => {
                source.metrics.missing.increment(missing);
                tracing::warn!(
                    subscription = %id.subscription, source_partition = id.source_partition, offset = position, missing,
                    "the position was not in the topic: reading goes on at what is there"
                );
                (source.generation, source.position) = (generation, position);
                Next::Reposition
            }
            None => Next::Drop,
        }
    }
}

/// First offset and end of a source partition.
async fn ends(shared: &Shared, source_partition: u32) -> Result<(i64, i64), String> {
    let of = async |query| {
        let offsets = shared
            .admin
            .list_offsets(&[(&shared.topic, source_partition as i32)], query)
            .await
            .map_err(|error| error.to_string())?;
        let first = offsets.into_iter().next().ok_or_else(|| "no offset was answered".to_owned())?;
        first.offset.map_err(|error| error.to_string())
    };
    let latest = if shared.reads_committed { OffsetQuery::LatestStable } else { OffsetQuery::Latest };
    Ok((of(OffsetQuery::Earliest).await?, of(latest).await?))
}
