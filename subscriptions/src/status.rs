//! What a subscription shows of itself.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use millrace_model::{SubscriptionId, codes, source::Budget};
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
    /// The budget of a partition is used up; the others may read.
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
    /// Its last word was an error of its own, such as a missing ACL.
    pub failing: bool,
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
    /// The last trouble, until it is over.
    pub last_error: Option<LastError>,
    /// Why dead letters wait, if they do.
    pub letters_error: Option<LastError>,
    /// Since when it is held up, if it is.
    held_since: Option<SystemTime>,
    /// The last trouble that was logged, and when.
    logged: Option<(String, SystemTime)>,
    /// The same about dead letters.
    letters_logged: Option<SystemTime>,
}

impl Default for Status {
    fn default() -> Self {
        let (state, sources) = (State::Starting, BTreeMap::new());
        Self {
            state,
            sources,
            last_error: None,
            letters_error: None,
            held_since: None,
            logged: None,
            letters_logged: None,
        }
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

/// A trouble that has not come again for this long is over. Whatever lasts is noted more often.
const QUIET: Duration = Duration::from_secs(4);
/// What is over sooner is not worth a line in the log: a coordinator that moves, a topic that was made a moment ago.
const BLIP: Duration = Duration::from_secs(1);
/// The same trouble is logged again after this.
const REPEAT: Duration = Duration::from_secs(60);

/// The statuses of all subscriptions of this node.
#[derive(Default)]
pub struct StatusBoard(RwLock<BTreeMap<SubscriptionId, Status>>);

impl StatusBoard {
    /// One of them.
    pub fn get(&self, id: SubscriptionId) -> Option<Status> {
        let mut status = self.0.read().get(&id).cloned()?;
        if status.state == State::Running && status.sources.values().any(|source| source.paused.is_some()) {
            status.state = State::Paused;
        }
        Some(status)
    }

    pub(crate) fn update(&self, id: SubscriptionId, change: impl FnOnce(&mut Status)) {
        change(self.0.write().entry(id).or_default());
    }

    pub(crate) fn remove(&self, id: SubscriptionId) {
        self.0.write().remove(&id);
    }

    /// Records came in.
    pub(crate) fn reads(&self, id: SubscriptionId) {
        self.set_running(id, |_| true);
    }

    /// Cluster and topic answered. A trouble that was noted a moment ago may not be over.
    pub(crate) fn is_well(&self, id: SubscriptionId) {
        let is_over = |status: &Status| {
            let is_quiet = |last: &LastError| last.at.elapsed().is_ok_and(|age| age >= QUIET);
            status.last_error.as_ref().is_none_or(is_quiet) && !status.sources.values().any(|source| source.failing)
        };
        self.set_running(id, is_over);
    }

    fn set_running(&self, id: SubscriptionId, when: impl FnOnce(&Status) -> bool) {
        let mut was_told = false;
        self.update(id, |status| {
            if status.state != State::Running && when(status) {
                let held_since = status.held_since.take();
                was_told = status.logged.as_ref().zip(held_since).is_some_and(|((_, at), since)| *at >= since);
                status.state = State::Running;
                status.last_error = None;
            }
        });
        if was_told {
            tracing::info!(subscription = %id, "subscription reads again");
        }
    }

    /// Dead letters cannot be written for now.
    pub(crate) fn letters_wait(&self, id: SubscriptionId, reason: String) {
        let now = SystemTime::now();
        let mut news = false;
        self.update(id, |status| {
            let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
            news = status.letters_logged.is_none_or(|at| age(at) >= REPEAT);
            if news {
                status.letters_logged = Some(now);
            }
            let (code, message) = (codes::SUB0007.id, reason.clone());
            status.letters_error = Some(LastError { code, message, at: now });
        });
        if news {
            tracing::warn!(subscription = %id, error_code = codes::SUB0007.id, reason, "dead letters wait");
        }
    }

    /// Dead letters were written.
    pub(crate) fn letters_are_written(&self, id: SubscriptionId) {
        self.update(id, |status| (status.letters_error, status.letters_logged) = (None, None));
    }

    /// Notes a trouble; it is logged when it lasts and is another one than before.
    pub(crate) fn trouble(&self, id: SubscriptionId, code: &'static str, message: String) {
        let now = SystemTime::now();
        let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
        let mut news = false;
        self.update(id, |status| {
            status.state = State::Retrying;
            status.last_error = Some(LastError { code, message: message.clone(), at: now });
            let is_known = |(logged, at): &(String, SystemTime)| *logged == message && age(*at) < REPEAT;
            news = age(*status.held_since.get_or_insert(now)) >= BLIP && !status.logged.as_ref().is_some_and(is_known);
            if news {
                status.logged = Some((message.clone(), now));
            }
        });
        if news {
            tracing::warn!(subscription = %id, error_code = code, reason = message, "subscription is held up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SubscriptionId = SubscriptionId(1);

    fn state(board: &StatusBoard) -> State {
        board.get(ID).expect("it was touched").state
    }

    #[test]
    fn trouble_is_over_when_records_come_or_after_a_while_without() {
        let board = StatusBoard::default();
        board.is_well(ID);
        assert_eq!(state(&board), State::Running);
        board.trouble(ID, "SUB0002", "down".into());
        board.is_well(ID);
        assert_eq!(state(&board), State::Retrying);
        board.reads(ID);
        assert_eq!(state(&board), State::Running);
        board.trouble(ID, "SUB0002", "down".into());
        let age = |status: &mut Status| status.last_error.as_mut().expect("noted").at -= QUIET;
        board.update(ID, age);
        board.update(ID, |status| status.sources.entry(0).or_default().failing = true);
        board.is_well(ID);
        assert_eq!(state(&board), State::Retrying, "a source that fails keeps it");
        board.update(ID, |status| status.sources.entry(0).or_default().failing = false);
        board.is_well(ID);
        assert_eq!(state(&board), State::Running);
    }

    #[test]
    fn one_paused_partition_shows_whatever_the_others_do() {
        let board = StatusBoard::default();
        board.update(ID, |status| status.sources.entry(3).or_default().paused = Some("full".into()));
        board.reads(ID);
        assert_eq!(state(&board), State::Paused);
        board.trouble(ID, "SUB0002", "down".into());
        assert_eq!(state(&board), State::Retrying);
        board.reads(ID);
        board.update(ID, |status| status.sources.clear());
        assert_eq!(state(&board), State::Running);
    }
}
