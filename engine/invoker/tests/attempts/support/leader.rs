//! A leader that keeps one journal per invocation in memory and answers at once.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use millrace_invoker::{Proposals, ProposalsStopped, Stored, Values};
use millrace_model::{
    InvocationId, Lsn, PartitionId, PartitionKey, TimestampMs,
    command::{Action, Attempt, CommandEffect, Decision},
    invocation::{AttemptError, Invocation, Milestones, ObjectKey, Pending, Retries, Source, Status, Target},
    journal::{Entry, Header, JournalRow, Notification, NotificationId, NotificationResult, ty},
    ranges::IndexRanges,
};
use millrace_partition::{AttemptJob, Feed, Invoker};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::{Node, soon};

/// A proposal as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposed {
    pub attempt: Attempt,
    pub lazy: bool,
    pub bytes: usize,
}

struct Live {
    partition: PartitionId,
    invocation: Invocation,
    journal: Vec<JournalRow>,
    state: Vec<(Bytes, Bytes)>,
    feed: Option<mpsc::Sender<Feed>>,
    proposed: Vec<Proposed>,
    closed: Vec<u32>,
}

#[derive(Default)]
struct State {
    live: HashMap<InvocationId, Live>,
    next: u64,
    /// Proposals that wait to be told of stay untold.
    untold: bool,
    /// Every look at the state: its keys.
    looks: Vec<Vec<Bytes>>,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Leader {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

fn notification(ty: u16, completion: u32, result: NotificationResult) -> Entry {
    Entry::Notification(Notification { ty, id: NotificationId::Completion(completion), result })
}

fn now() -> TimestampMs {
    millrace_model::Env::now(&super::TestEnv::default())
}

impl Live {
    fn append(&mut self, entry: Entry, ack: bool) {
        let index = self.journal.len() as u32;
        let row = JournalRow { appended_at: now(), previous: 0, entry };
        self.journal.push(row.clone());
        self.invocation.journal_len += 1;
        if let (Entry::Notification(notification), Some(feed)) = (&row.entry, &self.feed) {
            if let NotificationId::Completion(id) = notification.id {
                self.invocation.pending.retain(|(completion, _)| *completion != id);
            }
            let _ = feed.try_send(Feed::Entry { index, row, ack });
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Command { index, ty, raw, effect } => {
                assert_eq!(*index, self.invocation.commands, "commands come in order");
                self.append(Entry::Command { ty: *ty, raw: raw.clone() }, false);
                self.invocation.commands += 1;
                self.invocation.retries.failed_since_entry = 0;
                match effect {
                    CommandEffect::GetState { key, completion } => {
                        let key = key.within(raw);
                        let value = self.state.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone());
                        let result = value.map_or(NotificationResult::Void, NotificationResult::Value);
                        self.append(notification(ty::LAZY_STATE, *completion, result), false);
                    }
                    CommandEffect::Sleep { wake_at, completion } => {
                        self.invocation.pending.push((*completion, Pending::Sleep { wake_at: *wake_at }));
                    }
                    CommandEffect::Call(callee) => {
                        let id = NotificationResult::InvocationId(callee.invocation.id);
                        self.append(notification(ty::CALL_ID, callee.id_completion, id), false);
                    }
                    _ => {}
                }
            }
            Action::RunResult { completion, result, ack } => {
                self.append(notification(ty::RUN, *completion, result.clone().into()), *ack);
            }
            Action::AwaitingOn { .. } => {}
            Action::Suspend { .. } => self.invocation.retries = Retries::default(),
            Action::End | Action::EndBy { .. } => self.feed = None,
            Action::Fail { counts, decision, .. } => {
                self.invocation.retries.failed += 1;
                self.invocation.retries.failed_since_entry += u32::from(*counts);
                if matches!(decision, Decision::Fail(_)) {
                    self.feed = None;
                }
            }
        }
    }
}

impl Proposals for Leader {
    async fn propose(&self, attempt: Attempt, lazy: bool, bytes: usize) -> Result<(), ProposalsStopped> {
        let mut state = self.state.lock();
        let live = state.live.get_mut(&attempt.id).expect("of an invocation that is there");
        assert!(!live.closed.contains(&attempt.attempt), "nothing comes behind the end");
        if live.invocation.pin.is_none() {
            live.invocation.pin = attempt.pin;
        } else {
            assert_eq!(attempt.pin, None, "pinned once");
        }
        attempt.actions.iter().for_each(|action| live.act(action));
        live.proposed.push(Proposed { attempt, lazy, bytes });
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn propose_told(&self, attempt: Attempt, bytes: usize) -> Result<Stored, ProposalsStopped> {
        let id = attempt.id;
        self.propose(attempt, false, bytes).await?;
        let leader = self.clone();
        Ok(Box::pin(async move {
            loop {
                let changed = leader.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                if !leader.state.lock().untold {
                    return leader.with(id, |live| live.invocation.commands);
                }
                changed.await;
            }
        }))
    }

    fn state(&self, id: InvocationId, object: ObjectKey, keys: Vec<Bytes>, bytes_max: usize) -> Values {
        let leader = self.clone();
        Box::pin(async move {
            // Not at once, as in life.
            tokio::task::yield_now().await;
            leader.state.lock().looks.push(keys.clone());
            leader.with(id, |live| {
                assert_eq!(live.invocation.target.object(), Some(object));
                let (mut values, mut bytes) = (Vec::new(), 0);
                for key in keys {
                    if bytes >= bytes_max {
                        break;
                    }
                    let value = live.state.iter().find(|(k, _)| *k == key).map(|(_, value)| value.clone());
                    bytes += value.as_ref().map_or(0, Bytes::len);
                    values.push(value);
                }
                Ok(values)
            })
        })
    }

    fn closed(&self, id: InvocationId, attempt: u32) {
        let mut state = self.state.lock();
        let live = state.live.get_mut(&id).expect("of an invocation that is there");
        assert!(!live.closed.contains(&attempt), "closed once");
        live.closed.push(attempt);
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Leader {
    /// An invocation that has just come.
    pub fn create(&self, target: Target, value: Bytes) -> InvocationId {
        let mut state = self.state.lock();
        state.next += 1;
        let id = InvocationId { key: PartitionKey(state.next << 32), unique: u128::from(state.next) };
        let headers = vec![Header { name: "x-test".into(), value: "1".into() }];
        let invocation = Invocation {
            created_lsn: Lsn(state.next),
            created_at: now(),
            modified_at: now(),
            milestones: Milestones::default(),
            target,
            source: Source::Ingress,
            idempotency_key: None,
            completion_retention: 0,
            journal_retention: 0,
            random_seed: 42,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            status: Status::Running,
            journal_len: 1,
            commands: 1,
            last_notification: 0,
            awakeables: IndexRanges::default(),
            last_entry_at: now(),
            attempt: 0,
            last_start_at: None,
            refused: false,
            pin: None,
            pending: Vec::new(),
            awaiting: None,
            output: None,
            sinks: Vec::new(),
            retries: Retries::default(),
            last_error: None,
        };
        let journal = vec![JournalRow { appended_at: now(), previous: 0, entry: Entry::Input { headers, value } }];
        let live = Live {
            partition: PartitionId(0),
            invocation,
            journal,
            state: Vec::new(),
            feed: None,
            proposed: Vec::new(),
            closed: Vec::new(),
        };
        state.live.insert(id, live);
        id
    }

    fn with<T>(&self, id: InvocationId, look: impl FnOnce(&mut Live) -> T) -> T {
        look(self.state.lock().live.get_mut(&id).expect("created"))
    }

    pub fn change(&self, id: InvocationId, change: impl FnOnce(&mut Invocation)) {
        self.with(id, |live| change(&mut live.invocation));
    }

    /// Puts it into another engine partition than the first.
    pub fn put_into(&self, id: InvocationId, partition: u16) {
        self.with(id, |live| live.partition = PartitionId(partition));
    }

    /// Whether those who wait for it learn what is stored.
    pub fn tell(&self, tell: bool) {
        self.state.lock().untold = !tell;
        self.changed.notify_waiters();
    }

    pub fn looks(&self) -> Vec<Vec<Bytes>> {
        self.state.lock().looks.clone()
    }

    pub fn set_state(&self, id: InvocationId, state: &[(&'static str, &'static str)]) {
        let state = state.iter().map(|(key, value)| (super::bytes(key), super::bytes(value))).collect();
        self.with(id, |live| live.state = state);
    }

    /// Appends an entry, also while an attempt runs.
    pub fn append(&self, id: InvocationId, entry: Entry) {
        self.with(id, |live| live.append(entry, false));
    }

    pub fn fire(&self, id: InvocationId, completion: u32) {
        self.append(id, notification(ty::SLEEP, completion, NotificationResult::Void));
    }

    pub fn signal(&self, id: InvocationId, index: u32) {
        let id_of = NotificationId::Signal(index);
        self.append(
            id,
            Entry::Notification(Notification { ty: ty::SIGNAL, id: id_of, result: NotificationResult::Void }),
        );
    }

    pub fn feed(&self, id: InvocationId, feed: Feed) {
        self.with(id, |live| live.feed.as_ref().expect("runs").try_send(feed).unwrap());
    }

    pub fn refuse(&self, id: InvocationId, error: AttemptError) {
        self.feed(id, Feed::Refused(error));
    }

    /// Gives the running attempt up.
    pub fn abort(&self, id: InvocationId) {
        self.with(id, |live| live.feed = None);
    }

    pub fn proposed(&self, id: InvocationId) -> Vec<Proposed> {
        self.with(id, |live| live.proposed.clone())
    }

    pub fn actions(&self, id: InvocationId) -> Vec<Action> {
        self.proposed(id).into_iter().flat_map(|proposed| proposed.attempt.actions).collect()
    }

    pub fn retries(&self, id: InvocationId) -> Retries {
        self.with(id, |live| live.invocation.retries.clone())
    }

    /// The last action, which must be a failure.
    pub fn failure(&self, id: InvocationId) -> (Decision, AttemptError, bool) {
        match self.actions(id).pop() {
            Some(Action::Fail { decision, error, counts }) => (decision, error, counts),
            other => panic!("not failed: {other:?}"),
        }
    }

    /// Waits until `done` is so.
    pub async fn until(&self, what: &str, id: InvocationId, mut done: impl FnMut(&[Proposed], &[u32]) -> bool) {
        soon(what, async {
            loop {
                let changed = self.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                if self.with(id, |live| done(&live.proposed, &live.closed)) {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }
}

impl Node {
    /// Starts the next attempt.
    pub fn attempt(&self, id: InvocationId) -> u32 {
        let job = self.leader.with(id, |live| {
            let (sender, feed) = mpsc::channel(1024);
            live.feed = Some(sender);
            live.invocation.attempt += 1;
            AttemptJob {
                partition: live.partition,
                id,
                attempt: live.invocation.attempt,
                invocation: live.invocation.clone(),
                journal: live.journal.clone(),
                state: live.state.clone(),
                state_complete: true,
                feed,
            }
        });
        let attempt = job.attempt;
        assert!(self.invoker.try_reserve());
        self.invoker.start(job);
        attempt
    }

    /// Runs the next attempt to its end.
    pub async fn run(&self, id: InvocationId) {
        let attempt = self.attempt(id);
        self.closed(id, attempt).await;
    }

    pub async fn closed(&self, id: InvocationId, attempt: u32) {
        self.leader.until("the end of the attempt", id, |_, closed| closed.contains(&attempt)).await;
    }

    /// Runs a new invocation of a plain handler for one attempt.
    pub async fn run_new(&self) -> InvocationId {
        let id = self.leader.create(super::plain(), Bytes::from_static(b"\"bob\""));
        self.run(id).await;
        id
    }
}
