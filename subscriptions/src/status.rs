//! What a subscription shows of itself.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use millrace_model::{SubscriptionId, source::Budget};
use parking_lot::RwLock;

/// What a subscription does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not yet connected.
    Starting,
    /// Reads.
    Running,
    /// Something outside keeps it from reading: see the last error.
    Retrying,
    /// Its budget is used up.
    Paused,
}

/// One source partition.
#[derive(Clone, Debug, Default)]
pub struct SourceStatus {
    /// Next offset to be taken in.
    pub position: i64,
    /// Rises with every seek.
    pub generation: u32,
    /// End of the source partition as of the last fetch.
    pub high_watermark: Option<i64>,
    /// Timestamp of the last record taken in.
    pub record_at_ms: Option<i64>,
    /// Why it is not read now.
    pub paused: Option<String>,
}

impl SourceStatus {
    /// Records that are not yet taken in.
    pub fn lag(&self) -> Option<u64> {
        Some(self.high_watermark?.saturating_sub(self.position).max(0) as u64)
    }
}

/// A trouble, for people.
#[derive(Clone, Debug)]
pub struct LastError {
    /// Stable.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// When it happened last.
    pub at: SystemTime,
}

/// One subscription on this node.
#[derive(Clone, Debug)]
pub struct Status {
    /// What it does.
    pub state: State,
    /// By source partition.
    pub sources: BTreeMap<u32, SourceStatus>,
    /// The last trouble; it may be over.
    pub last_error: Option<LastError>,
}

impl Default for Status {
    fn default() -> Self {
        Self { state: State::Starting, sources: BTreeMap::new(), last_error: None }
    }
}

impl Status {
    /// How far the oldest position is behind, as far as timestamps tell: 0 without lag.
    pub fn lag_time(&self, now: SystemTime) -> Option<Duration> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let behind = self.sources.values().filter(|source| source.lag().is_none_or(|lag| lag > 0));
        let oldest = behind.filter_map(|source| source.record_at_ms).min();
        Some(oldest.map_or(Duration::ZERO, |at| now.saturating_sub(Duration::from_millis(at.max(0) as u64))))
    }
}

/// A budget and how much of it is used.
#[derive(Clone, Copy, Debug)]
pub struct BudgetUse {
    /// What waits.
    pub used: Budget,
    /// What may wait, per partition.
    pub limits: crate::budget::Limits,
}

/// The statuses of all subscriptions of this node.
#[derive(Default)]
pub struct StatusBoard(RwLock<BTreeMap<SubscriptionId, Status>>);

impl StatusBoard {
    /// One of them.
    pub fn get(&self, id: SubscriptionId) -> Option<Status> {
        self.0.read().get(&id).cloned()
    }

    pub(crate) fn update(&self, id: SubscriptionId, change: impl FnOnce(&mut Status)) {
        change(self.0.write().entry(id).or_default());
    }

    pub(crate) fn remove(&self, id: SubscriptionId) {
        self.0.write().remove(&id);
    }

    /// Notes a trouble; it is logged when it is another one than before.
    pub(crate) fn trouble(&self, id: SubscriptionId, code: &'static str, message: String) {
        let mut news = false;
        self.update(id, |status| {
            news = status.last_error.as_ref().is_none_or(|last| last.message != message);
            status.state = State::Retrying;
            status.last_error = Some(LastError { code, message: message.clone(), at: SystemTime::now() });
        });
        if news {
            tracing::warn!(subscription = %id, error_code = code, reason = message, "subscription is held up");
        }
    }
}
