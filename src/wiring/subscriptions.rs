//! What the admin API shows of a subscription: the reader's view joined with the partitions' state.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::UNIX_EPOCH};

use async_trait::async_trait;
use millrace_admin::status::{
    BlockedKey, BudgetStatus, LastError, RejectedExample, SourceStatus, StatusReport, SubscriptionStatus,
};
use millrace_cluster::{Metadata, meta::options::SubscriptionOptions};
use millrace_machine::StateView;
use millrace_model::{
    PartitionId, SourceId, SubscriptionId,
    invocation::{Lock, ObjectKey, Status},
    source::{RejectReason, SourceRow},
    table::{Invocations, Locks, Sources},
};
use millrace_partition::Handle;
use millrace_subscriptions::{State, StatusBoard, budget::Limits};

/// Keys that a report names.
const BLOCKED_KEYS_MAX: usize = 20;
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
        for p in 0..self.handle.partitions() {
            let look =
                self.handle.read(PartitionId(p), move |store, _| (sources_of(store, id), blocked_keys(store, id)));
            let (sources, keys) = look.await.ok()?;
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
        Some(StatusReport {
            state: match status.state {
                State::Starting => "starting",
                State::Running => "running",
                State::Retrying => "retrying",
                State::Paused => "paused",
            }
            .to_owned(),
            paused_because,
            last_error: status.last_error.map(|error| LastError {
                code: Some(error.code.to_owned()),
                message: error.message,
                at: error.at.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_millis() as u64),
            }),
            records: total(|row| row.records),
            rejected: total(|row| row.rejected),
            rejected_examples: rows.values().flat_map(|(source, row)| examples(source, row)).collect(),
            missing: total(|row| row.missing),
            lag_records: lags.map(|lags| lags.into_iter().sum()),
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
    let reason = |reason| match reason {
        RejectReason::NullKey => "the record has no key, and the sink wants one",
        RejectReason::KeyNotUtf8 => "the record's key is not UTF-8, and the sink wants text",
        RejectReason::TooLarge => "the record is larger than an invocation's input may be",
    };
    let example = |rejected: &millrace_model::source::Rejected| RejectedExample {
        source_partition: source.source_partition,
        offset: rejected.offset,
        reason: reason(rejected.reason).to_owned(),
        at: rejected.at.0,
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
