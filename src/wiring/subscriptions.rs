//! What the admin API shows of a subscription: the reader's view joined with the partitions' state.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use millrace_admin::status::{
    ApiTime, BlockedKey, BudgetStatus, LastError, Outcomes, ParkedRecord, RejectedExample, SourceStatus, StatusReport,
    SubscriptionStatus,
};
use millrace_cluster::{Metadata, meta::options::SubscriptionOptions};
use millrace_machine::StateView;
use millrace_model::{
    InvocationId, PartitionId, PartitionKey, SourceId, SubscriptionId, TimestampMs,
    invocation::{Lock, ObjectKey, Status},
    source::{Outcomes as Counts, Parked, SourceRow},
    table::{Invocations, Locks, OutcomeCounts, ParkedRecords, Sources},
};
use millrace_partition::Handle;
use millrace_subscriptions::{State, StatusBoard, budget::Limits, ingest::reject_message};

/// Keys that a report names.
const BLOCKED_KEYS_MAX: usize = 20;
/// Parked records that a report names, of each partition.
const PARKED_MAX: usize = 20;
/// Locks that are looked at for them in each partition.
const LOCKS_MAX: usize = 50_000;

/// See the module.
pub struct SubscriptionReports {
    /// Reaches the partitions.
    pub handle: Handle,
    /// What the readers say.
    pub board: Arc<StatusBoard>,
    /// The subscriptions' options.
    pub metadata: Metadata,
}

#[async_trait]
impl SubscriptionStatus for SubscriptionReports {
    async fn status(&self, id: SubscriptionId) -> Option<StatusReport> {
        let status = self.board.get(id)?;
        let schema = self.metadata.schema();
        let subscription = schema.subscription(id)?;
        let limits = Limits::of(&SubscriptionOptions::parse(&subscription.options).unwrap_or_default());
        let mut rows = BTreeMap::new();
        let mut blocked = Vec::new();
        let mut parked = Vec::new();
        let mut counts = Counts::default();
        for p in 0..self.handle.partitions() {
            let look = self.handle.read(PartitionId(p), move |store, _| {
                let counts = store.get::<OutcomeCounts>(&id).ok().flatten().unwrap_or_default();
                (sources_of(store, id), blocked_keys(store, id), parked_records(store, id), counts)
            });
            let (sources, keys, waiting, ended) = look.await.ok()?;
            parked.extend(waiting);
            counts = counts + ended;
            rows.extend(sources.into_iter().map(|(source, row)| (source.source_partition, (source, row))));
            blocked.extend(keys);
        }
        blocked.sort_by_key(|key: &BlockedKey| std::cmp::Reverse(key.records));
        blocked.truncate(BLOCKED_KEYS_MAX);
        let budget = self.handle.budget(id);
        let count = |n: i64| n.max(0) as u64;
        let partitions = self.handle.partitions();
        let sources: Vec<_> = rows
            .values()
            .map(|(source, row)| {
                let seen = status.sources.get(&source.source_partition);
                let high_watermark = seen.and_then(|seen| seen.high_watermark);
                SourceStatus {
                    topic: row.topic.to_string(),
                    topic_id: format!("{:032x}", source.topic_id),
                    source_partition: source.source_partition,
                    partition: (source.source_partition % u32::from(partitions)) as u16,
                    generation: row.generation,
                    position: row.position,
                    high_watermark,
                    lag_records: high_watermark.map(|end| count(end - row.position)),
                    records: row.records,
                    rejected: row.rejected,
                    missing: row.missing,
                    paused: seen.is_some_and(|seen| seen.paused.is_some()),
                }
            })
            .collect();
        let paused = status.sources.values().find_map(|source| source.paused.clone());
        let paused_because = paused.map(|why| match blocked.is_empty() {
            true => why,
            false => {
                let keys: Vec<_> = blocked.iter().map(|key| format!("'{}' ({})", key.key, key.records)).collect();
                format!("{why}; fullest keys: {}", keys.join(", "))
            }
        });
        let total = |f: fn(&SourceRow) -> u64| rows.values().map(|(_, row)| f(row)).sum();
        let lags: Option<Vec<u64>> = sources.iter().map(|source| source.lag_records).collect();
        let shown = |error: millrace_subscriptions::LastError| LastError {
            code: Some(error.code.to_owned()),
            message: error.message,
            at: ApiTime(TimestampMs(error.at.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_millis() as u64))),
        };
        let lag_seconds = status.lag_time(SystemTime::now()).map(|lag| lag.as_secs_f64());
        Some(StatusReport {
            state: match status.state {
                State::Starting => "starting",
                State::Running => "running",
                State::Retrying => "retrying",
                State::Paused => "paused",
            }
            .to_owned(),
            paused_because,
            last_error: status.last_error.map(shown),
            outcomes: Outcomes {
                failed: counts.failed,
                parked: counts.parked,
                redriven: counts.redriven,
                dropped: counts.dropped,
                dead_lettered: counts.letters,
                dead_letters_waiting: counts.letters.saturating_sub(counts.written),
                skipped: counts.skipped,
            },
            parked,
            dead_letters_error: status.letters_error.map(shown),
            records: total(|row| row.records),
            rejected: total(|row| row.rejected),
            rejected_examples: rows.values().flat_map(|(source, row)| examples(source, row)).collect(),
            missing: total(|row| row.missing),
            lag_records: lags.map(|lags| lags.into_iter().sum()),
            lag_seconds,
            budget: BudgetStatus {
                ready_records: count(budget.ready_records),
                ready_bytes: count(budget.ready_bytes),
                ready_records_max: limits.ready_records,
                ready_bytes_max: limits.ready_bytes,
                held_records: count(budget.held_records),
                held_bytes: count(budget.held_bytes),
                held_records_max: limits.held_records,
                held_bytes_max: limits.held_bytes,
            },
            blocked_keys: blocked,
            sources,
        })
    }
}

fn examples(source: &SourceId, row: &SourceRow) -> Vec<RejectedExample> {
    let example = |rejected: &millrace_model::source::Rejected| RejectedExample {
        source_partition: source.source_partition,
        offset: rejected.offset,
        reason: reject_message(rejected.reason).to_owned(),
        at: ApiTime(rejected.at),
    };
    row.examples.iter().map(example).collect()
}

fn sources_of(store: &millrace_store::PartitionStore, id: SubscriptionId) -> Vec<(SourceId, SourceRow)> {
    let mut found = Vec::new();
    // What cannot be read now is not shown; the partition itself reports the failure.
    let _ = store.scan_prefix::<Sources>(&id, &mut |source, row| {
        found.push((source, row));
        ControlFlow::Continue(())
    });
    found
}

/// The first parked records of a partition.
fn parked_records(store: &millrace_store::PartitionStore, id: SubscriptionId) -> Vec<ParkedRecord> {
    let mut found = Vec::new();
    let first = (id, InvocationId { key: PartitionKey(0), unique: 0 });
    // As above.
    let _ = store.scan::<ParkedRecords>(Some(&first), &mut |(of, invocation), parked: Parked| {
        if of != id || found.len() == PARKED_MAX {
            return ControlFlow::Break(());
        }
        found.push(ParkedRecord {
            key: parked.key.to_string(),
            topic: parked.topic.to_string(),
            source_partition: parked.source_partition,
            offset: parked.offset,
            invocation_id: invocation.to_string(),
            code: parked.failure.code,
            message: parked.failure.message.to_string(),
            at: ApiTime(parked.at),
        });
        ControlFlow::Continue(())
    });
    found
}

/// Keys that hold records of a subscription beyond what counts as ready, the fullest of the first locks.
fn blocked_keys(store: &millrace_store::PartitionStore, id: SubscriptionId) -> Vec<BlockedKey> {
    let mut found: Vec<(u64, ObjectKey, Lock)> = Vec::new();
    let mut seen = 0;
    let _ = store.scan::<Locks>(None, &mut |object, lock| {
        seen += 1;
        let load = lock.loads.iter().find(|load| load.subscription == id);
        if let Some(load) = load
            && (lock.blocked || load.records > u64::from(load.key_share))
        {
            found.push((load.records, object, lock));
            if found.len() > 4 * BLOCKED_KEYS_MAX {
                found.sort_by_key(|(records, ..)| std::cmp::Reverse(*records));
                found.truncate(BLOCKED_KEYS_MAX);
            }
        }
        if seen < LOCKS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let status = |lock: &Lock| match store.get::<Invocations>(&lock.holder) {
        Ok(Some(row)) => match row.status {
            Status::Scheduled { .. } => "scheduled",
            Status::Inboxed { .. } => "pending",
            Status::Running => "running",
            Status::Suspended => "suspended",
            Status::BackingOff { .. } => "backing-off",
            Status::Paused => "paused",
        },
        _ => "unknown",
    };
    found
        .into_iter()
        .map(|(records, object, lock)| BlockedKey {
            key: object.key.to_string(),
            records,
            invocation_id: lock.holder.to_string(),
            status: status(&lock).to_owned(),
        })
        .collect()
}
