//! Which attempts run here, and which are to start. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

use millrace_model::{InvocationId, invocation::AttemptError, journal::JournalRow};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::invoker::{FEED_MAX, Feed};

/// Invocations that may wait for a slot in memory; the others are found in the store again.
pub const STARTS_MAX: usize = 65_536;

struct Live {
    attempt: u32,
    /// `None`: aborted.
    feed: Option<mpsc::Sender<Feed>>,
    /// Its last proposal has come.
    finished: bool,
    /// Start another one as soon as this one is closed.
    restart: bool,
    /// It was refused and may not have heard of it: the next one fails with this, so that retries are spaced out.
    unheard: Option<Box<AttemptError>>,
}

/// One that waits for a slot.
pub(crate) struct Waiting {
    pub(crate) id: InvocationId,
    /// What the attempt before was refused for without hearing of it: this one has to fail with it.
    pub(crate) refused: Option<Box<AttemptError>>,
}

/// What to do when an attempt is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Nothing.
    Done,
    /// It did not say how it ended: start again if the invocation still runs.
    Vanished,
}

/// At most one attempt of an invocation at a time.
#[derive(Default)]
pub(crate) struct Attempts {
    live: HashMap<InvocationId, Live>,
    starts: VecDeque<Waiting>,
    queued: HashSet<InvocationId>,
    overflowed: bool,
}

impl Attempts {
    /// An attempt is to start, now or as soon as the one that runs is closed.
    pub(crate) fn start(&mut self, id: InvocationId) {
        self.start_behind(id, None);
    }

    fn start_behind(&mut self, id: InvocationId, refused: Option<Box<AttemptError>>) {
        if let Some(live) = self.live.get_mut(&id) {
            live.restart = true;
            live.unheard = live.unheard.take().or(refused);
        } else if self.starts.len() >= STARTS_MAX {
            self.overflowed = true;
        } else if self.queued.insert(id) {
            self.starts.push_back(Waiting { id, refused });
        }
    }

    /// The next one to start.
    pub(crate) fn next(&mut self) -> Option<Waiting> {
        let next = self.starts.pop_front()?;
        self.queued.remove(&next.id);
        Some(next)
    }

    /// Some did not fit and wait in the store only; now there is room.
    pub(crate) fn take_overflow(&mut self) -> bool {
        self.starts.is_empty() && std::mem::take(&mut self.overflowed)
    }

    pub(crate) fn has_starts(&self) -> bool {
        !self.starts.is_empty() || self.overflowed
    }

    pub(crate) fn waiting(&self) -> usize {
        self.starts.len()
    }

    /// It runs.
    pub(crate) fn started(&mut self, next: Waiting, attempt: u32) -> mpsc::Receiver<Feed> {
        let (feed, receiver) = mpsc::channel(FEED_MAX);
        if let Some(error) = next.refused {
            feed.try_send(Feed::Refused(*error)).expect("it is empty");
        }
        let live = Live { attempt, feed: Some(feed), finished: false, restart: false, unheard: None };
        self.live.insert(next.id, live);
        receiver
    }

    pub(crate) fn is_live(&self, id: InvocationId) -> bool {
        self.live.contains_key(&id)
    }

    /// The journal grew. An invocation without attempt is started for it.
    pub(crate) fn forward(&mut self, id: InvocationId, index: u32, row: JournalRow, ack: Option<u32>) {
        let Some(live) = self.live.get_mut(&id) else {
            return self.start(id);
        };
        let entry = Feed::Entry { index, row, ack: ack == Some(live.attempt) };
        let Some(feed) = &live.feed else { return };
        if let Err(TrySendError::Full(_)) = feed.try_send(entry) {
            // Too slow: it replays from the journal.
            live.feed = None;
            live.restart = true;
        }
    }

    /// The attempt did what it may not. If it is past being told, another one is told in its place.
    pub(crate) fn refuse(&mut self, id: InvocationId, attempt: u32, error: AttemptError) {
        let Some(live) = self.live.get_mut(&id) else {
            return self.start_behind(id, Some(Box::new(error)));
        };
        if live.attempt != attempt {
            return;
        }
        let told = live.feed.as_ref().is_some_and(|feed| feed.try_send(Feed::Refused(error.clone())).is_ok());
        if !told {
            live.feed = None;
        }
        // It may have ended before it heard of it: that end was void.
        if live.finished || !told {
            live.restart = true;
            live.unheard = Some(Box::new(error));
        }
    }

    /// Nothing of it counts any more.
    pub(crate) fn abort(&mut self, id: InvocationId) {
        if let Some(live) = self.live.get_mut(&id) {
            live.feed = None;
            live.finished = true;
        }
    }

    /// Aborts all; they are closed by and by.
    pub(crate) fn abort_all(&mut self) {
        self.live.values_mut().for_each(|live| {
            live.feed = None;
            live.finished = true;
        });
        self.starts.clear();
        self.queued.clear();
    }

    /// Its last proposal has come.
    pub(crate) fn finished(&mut self, id: InvocationId, attempt: u32) {
        if let Some(live) = self.live.get_mut(&id)
            && live.attempt == attempt
        {
            live.finished = true;
        }
    }

    /// It is closed, and everything it proposed is applied or void.
    pub(crate) fn closed(&mut self, id: InvocationId, attempt: u32) -> Closed {
        if self.live.get(&id).is_none_or(|live| live.attempt != attempt) {
            return Closed::Done;
        }
        let Some(Live { restart, finished, unheard, .. }) = self.live.remove(&id) else { return Closed::Done };
        if restart {
            self.start_behind(id, unheard);
            Closed::Done
        } else if finished {
            Closed::Done
        } else {
            Closed::Vanished
        }
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = (InvocationId, u32)> {
        self.live.iter().map(|(id, live)| (*id, live.attempt))
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::PartitionKey;

    use super::*;

    const ID: InvocationId = InvocationId { key: PartitionKey(0), unique: 1 };

    fn error() -> AttemptError {
        let text = || "".into();
        AttemptError { code: text(), status: 571, message: text(), stacktrace: text(), related: None }
    }

    fn started(attempts: &mut Attempts, attempt: u32) -> mpsc::Receiver<Feed> {
        attempts.started(Waiting { id: ID, refused: None }, attempt)
    }

    /// Memory holds so many and no more; whoever is left out is known to be in the store.
    #[test]
    fn starts_beyond_the_limit_are_looked_for_again_when_there_is_room() {
        let mut attempts = Attempts::default();
        let id = |unique| InvocationId { key: PartitionKey(0), unique };
        for unique in 1..=STARTS_MAX as u128 + 10 {
            attempts.start(id(unique));
        }
        assert_eq!(attempts.waiting(), STARTS_MAX);
        for unique in 1..=STARTS_MAX as u128 {
            assert!(!attempts.take_overflow(), "those in memory come first");
            assert_eq!(attempts.next().map(|waiting| waiting.id), Some(id(unique)));
        }
        assert!(attempts.has_starts() && attempts.next().is_none());
        assert!(attempts.take_overflow() && !attempts.take_overflow());
    }

    /// The attempt proposed something wrong and, in the same breath, its end: both are void. Another one in its place
    /// would do the same again and again: it has to fail, and so its invocation backs off.
    #[test]
    fn a_refused_attempt_that_had_ended_already_is_followed_by_one_that_fails() {
        for closed_first in [false, true] {
            let mut attempts = Attempts::default();
            let feed = started(&mut attempts, 1);
            attempts.finished(ID, 1);
            if closed_first {
                drop(feed);
                attempts.closed(ID, 1);
                attempts.refuse(ID, 1, error());
            } else {
                attempts.refuse(ID, 1, error());
                attempts.closed(ID, 1);
            }
            let next = attempts.next().expect("another one starts");
            assert_eq!(next.id, ID);
            let mut feed = attempts.started(next, 2);
            assert!(matches!(feed.try_recv(), Ok(Feed::Refused(_))), "closed first: {closed_first}");
            attempts.finished(ID, 2);
            attempts.closed(ID, 2);
            assert!(attempts.next().is_none(), "its failure says when the next one starts");
        }
    }

    #[test]
    fn a_refused_attempt_that_hears_of_it_ends_by_itself() {
        let mut attempts = Attempts::default();
        let mut feed = started(&mut attempts, 1);
        attempts.refuse(ID, 1, error());
        assert!(matches!(feed.try_recv(), Ok(Feed::Refused(_))));
        attempts.finished(ID, 1);
        assert_eq!(attempts.closed(ID, 1), Closed::Done);
        assert!(attempts.next().is_none());
    }
}
