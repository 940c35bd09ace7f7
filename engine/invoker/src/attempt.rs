//! One attempt, from the job to its last proposal: one task.
//!
//! ```text
//!   job ──choose──> lease ──> stream ──Propose──> proposals.propose ──┐
//!                               ^─────────────────────────────────────┘
//!                               └─Over, Failed, Aborted─> last proposal ──> closed ──> drain
//! ```
//!
//! The last proposal and the report that the attempt is over go out together, before the answer's end is awaited:
//! nothing the endpoint sends behind its last word is looked at. The slot is free then; what still drains has a limit
//! of its own.

mod answers;
mod fed;
mod request;
mod stream;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use millrace_model::{
    InvocationId, Lsn, TimestampMs, codes,
    command::{Action, Attempt, Decision},
    invocation::{Invocation, Pin as DeploymentPin, Source},
    journal::{Entry, JournalRow, NotificationResult},
};
use millrace_partition::AttemptJob;
use millrace_protocol::{Session, StartInfo};
use tokio::time::{Instant, Sleep};

use self::{
    answers::READ_BYTES_MAX,
    request::Choice,
    stream::{FeedIn, Step, Stream, Surroundings},
};
use crate::{
    address::Wire,
    budget::{self, Share},
    endpoint::Endpoint,
    exchange::Exchange,
    plan::{Batch, Plan, Terminal, Who},
    pool::Group,
    registry::{AttemptPolicy, OnFailure},
    retry,
    shared::{Proposals, Shared, Stored},
    trouble::Trouble,
};

/// An answer that has said its last word may take so long to end.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// And bring so much more.
const DRAIN_BYTES_MAX: usize = 64 << 10;
/// Other connections that are tried, without a failed attempt, when one does not take the request.
const RESTARTS_MAX: usize = 5;
/// What a journal entry costs besides its payload.
const ENTRY_BYTES: usize = 64;
/// Room for Start and a small Input.
const START_BYTES: usize = 1 << 10;
/// Longest silence for which the timer is set before it is known how long it must be.
const TIMER_START: Duration = Duration::from_secs(60);

/// Reports the end of an attempt and frees its slot, whatever happens to its task.
struct Ticket<'a, P: Proposals> {
    shared: &'a Shared<P>,
    id: InvocationId,
    attempt: u32,
    open: bool,
}

impl<P: Proposals> Ticket<'_, P> {
    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            // First the slot: the report makes the leader look for one.
            self.shared.slots.release();
            self.shared.proposals.closed(self.id, self.attempt);
        }
    }
}

impl<P: Proposals> Drop for Ticket<'_, P> {
    fn drop(&mut self) {
        self.close();
    }
}

/// How an attempt ended, as its metrics tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Completed,
    Suspended,
    /// `true`: it will be tried again.
    Failed(bool),
    Aborted,
}

/// Runs one attempt to its end.
pub(crate) async fn run<P: Proposals>(shared: Arc<Shared<P>>, job: AttemptJob) {
    let started = Instant::now();
    shared.metrics.started.increment(1);
    let mut ticket = Ticket { shared: &shared, id: job.id, attempt: job.attempt, open: true };
    let verdict = Run::new(&shared, job).run(&mut ticket).await;
    ticket.close();
    match verdict {
        Verdict::Completed => shared.metrics.completed.increment(1),
        Verdict::Suspended => shared.metrics.suspended.increment(1),
        Verdict::Failed(true) => shared.metrics.failed_transient.increment(1),
        Verdict::Failed(false) => shared.metrics.failed.increment(1),
        Verdict::Aborted => shared.metrics.aborted.increment(1),
    }
    shared.metrics.duration.record(started.elapsed().as_secs_f64());
}

/// The leader takes nothing any more.
struct Stopped;

/// What is needed for proposals.
struct Proposer<'a, P: Proposals> {
    shared: &'a Shared<P>,
    id: InvocationId,
    created_lsn: Lsn,
    attempt: u32,
    /// For the first proposal.
    pin: Option<DeploymentPin>,
}

impl<P: Proposals> Proposer<'_, P> {
    /// Resolves with what tells how far it is stored, if something is to be acknowledged.
    async fn propose(&mut self, batch: Batch, now: TimestampMs) -> Result<Option<Stored>, Stopped> {
        let Batch { actions, bytes, lazy, acks } = batch;
        if actions.is_empty() {
            return Ok(None);
        }
        // A failure alone has no effect that would have to be repeated on the same deployment.
        let pins = !matches!(&*actions, [Action::Fail { .. }]);
        let pin = if pins { self.pin.take() } else { None };
        let Self { id, created_lsn, attempt, .. } = *self;
        let proposal = Attempt { id, created_lsn, attempt, now, pin, actions };
        let proposals = &self.shared.proposals;
        if acks.is_empty() {
            proposals.propose(proposal, lazy, bytes).await.map(|()| None).map_err(|_| Stopped)
        } else {
            proposals.propose_told(proposal, bytes).await.map(Some).map_err(|_| Stopped)
        }
    }
}

struct Run<'a, P: Proposals> {
    shared: &'a Shared<P>,
    group: Group,
    proposer: Proposer<'a, P>,
    invocation: Invocation,
    journal: Vec<JournalRow>,
    state: Vec<(Bytes, Bytes)>,
    state_complete: bool,
    feed: FeedIn,
}

impl<'a, P: Proposals> Run<'a, P> {
    fn new(shared: &'a Shared<P>, job: AttemptJob) -> Self {
        let AttemptJob { partition, id, attempt, invocation, journal, state, state_complete, feed } = job;
        let proposer = Proposer { shared, id, created_lsn: invocation.created_lsn, attempt, pin: None };
        let feed = FeedIn { receiver: feed, backlog: VecDeque::new() };
        let group = Group::of(partition);
        Self { shared, group, proposer, invocation, journal, state, state_complete, feed }
    }

    async fn run(mut self, ticket: &mut Ticket<'_, P>) -> Verdict {
        let target = &self.invocation.target;
        let policy = self.shared.registry.policy(&target.service, &target.handler);
        let choice = match request::choose(&*self.shared.registry, &self.invocation, &policy, &self.shared.config) {
            Ok(choice) => choice,
            Err(trouble) => return self.fail(&policy, trouble, Batch::default()).await,
        };
        self.proposer.pin = choice.pin;
        if let Some(throttle) = &self.shared.starts {
            let turn = throttle.take(1, Instant::now());
            if unless_aborted(&mut self.feed, tokio::time::sleep_until(turn)).await.is_none() {
                return Verdict::Aborted;
            }
        }
        let mut memory = self.shared.budget.share();
        let needed = self.bytes();
        match unless_aborted(&mut self.feed, memory.wait(needed)).await {
            Some(()) => {}
            None => return Verdict::Aborted,
        }
        let opening = open(self.shared, self.group, &choice, &self.proposer, &self.invocation);
        let exchange = match unless_aborted(&mut self.feed, opening).await {
            Some(Ok(exchange)) => exchange,
            Some(Err(trouble)) => return self.fail(&policy, trouble, Batch::default()).await,
            None => return Verdict::Aborted,
        };
        self.stream(&policy, &choice, exchange, memory, ticket).await
    }

    async fn stream(
        self,
        policy: &AttemptPolicy,
        choice: &Choice,
        exchange: Exchange,
        mut memory: Share<'_>,
        ticket: &mut Ticket<'_, P>,
    ) -> Verdict {
        let Self { shared, group, mut proposer, invocation, journal, state, state_complete, feed } = self;
        let known_entries = u32::try_from(journal.len()).unwrap_or(u32::MAX);
        let beginning = Beginning { invocation: &invocation, known_entries, state: &state, state_complete };
        let (session, out) = beginning.encode(shared, proposer.id, policy, choice);
        let mut timer = pin!(tokio::time::sleep(TIMER_START));
        let mut stream = Stream::new(
            exchange,
            session,
            Plan::new(&invocation),
            Surroundings {
                who: Who {
                    id: proposer.id,
                    target: &invocation.target,
                    traceparent: invocation.traceparent.as_ref(),
                    registry: &*shared.registry,
                    env: &*shared.env,
                },
                policy,
                metrics: &shared.metrics,
                health: &shared.health,
                servers: &shared.servers,
                deployment: &choice.deployment,
                actions: shared.actions.as_ref(),
                size_warning: usize::try_from(shared.config.message_size_warning).unwrap_or(usize::MAX),
                journal_max: usize::try_from(shared.config.memory_limit).unwrap_or(usize::MAX),
            },
            choice.mode,
            journal,
            out,
            feed,
            budget::FREE,
            timer.as_mut(),
        );
        let mut restarts = 0;
        let trouble = loop {
            match poll_fn(|cx| stream.poll_step(cx)).await {
                Step::Propose => {
                    let batch = stream.plan.take();
                    let acks = batch.acks.clone();
                    match proposer.propose(batch, shared.env.now()).await {
                        Ok(Some(stored)) => stream.acknowledge(acks, stored),
                        Ok(None) => {}
                        Err(Stopped) => {
                            stream.exchange.reset();
                            return Verdict::Aborted;
                        }
                    }
                }
                Step::Read => {
                    let keys = stream.answers.keys();
                    let values = match invocation.target.object() {
                        Some(object) => shared.proposals.state(proposer.id, object, keys, READ_BYTES_MAX),
                        None => Box::pin(std::future::ready(Ok(vec![None; keys.len()]))),
                    };
                    stream.answers.reading(values);
                }
                Step::Memory(bytes) if memory.grow(bytes) => stream.memory = bytes.saturating_mul(2),
                Step::Memory(_) => break Trouble::new(codes::ENG0001, "no memory is left for messages of handlers"),
                Step::Refused(_) if restarts < RESTARTS_MAX => {
                    restarts += 1;
                    let opening = open(shared, group, choice, &proposer, &invocation);
                    match unless_aborted(&mut stream.feed, opening).await {
                        Some(Ok(exchange)) => {
                            let (session, out) = beginning.encode(shared, proposer.id, policy, choice);
                            stream.restart(exchange, session, out);
                        }
                        Some(Err(trouble)) => break trouble,
                        None => return Verdict::Aborted,
                    }
                }
                Step::Refused(error) | Step::Unanswered(error) => {
                    shared.health.lost(&choice.deployment, &error);
                    break error.into();
                }
                Step::Failed(trouble) => break trouble,
                Step::Aborted => {
                    stream.exchange.reset();
                    return Verdict::Aborted;
                }
                Step::Over => {
                    let seen = stream.seen();
                    let batch = stream.plan.take_last();
                    let fails = stream.plan.fails();
                    let terminal = stream.plan.terminal().expect("it is over");
                    stream.end_request();
                    let Stream { exchange, ended, .. } = stream;
                    let verdict = last(&mut proposer, &invocation, policy, batch, (terminal, fails), seen).await;
                    drop(memory);
                    ticket.close();
                    if !ended {
                        drain(shared, exchange, timer).await;
                    }
                    return verdict;
                }
            }
        };
        let batch = stream.plan.take_last();
        stream.exchange.reset();
        fail(&mut proposer, &invocation, policy, trouble, batch).await
    }

    /// What the job holds in memory.
    fn bytes(&self) -> usize {
        let state = self.state.iter().map(|(key, value)| key.len() + value.len());
        self.journal.iter().map(|row| entry_bytes(&row.entry)).chain(state).sum()
    }

    async fn fail(&mut self, policy: &AttemptPolicy, trouble: Trouble, batch: Batch) -> Verdict {
        fail(&mut self.proposer, &self.invocation, policy, trouble, batch).await
    }
}

/// What an entry takes up in memory, about.
fn entry_bytes(entry: &Entry) -> usize {
    let payload = match entry {
        Entry::Input { value, .. } => value.len(),
        Entry::Command { raw, .. } => raw.len(),
        Entry::Notification(notification) => match &notification.result {
            NotificationResult::Value(value) => value.len(),
            NotificationResult::Failure(failure) => failure.message.len(),
            NotificationResult::StateKeys(keys) => keys.iter().map(Bytes::len).sum(),
            NotificationResult::Void | NotificationResult::InvocationId(_) => 0,
        },
    };
    payload + ENTRY_BYTES
}

/// What an attempt begins with.
struct Beginning<'a> {
    invocation: &'a Invocation,
    known_entries: u32,
    state: &'a [(Bytes, Bytes)],
    state_complete: bool,
}

impl Beginning<'_> {
    /// Start, and what follows it later.
    fn encode<P: Proposals>(
        &self,
        shared: &Shared<P>,
        id: InvocationId,
        policy: &AttemptPolicy,
        choice: &Choice,
    ) -> (Session, BytesMut) {
        let Self { invocation, known_entries, .. } = *self;
        let limit = u32::try_from(shared.config.message_size_limit).unwrap_or(u32::MAX);
        let mut session = Session::new(choice.version, choice.mode, invocation.commands, limit);
        let sends_state = invocation.target.kind.is_keyed() && !policy.lazy_state;
        let state = if sends_state { eager(self.state, shared.config.eager_state_bytes_max()) } else { &[] };
        let complete = sends_state && self.state_complete && state.len() == self.state.len();
        let since = shared.env.now().since(invocation.last_entry_at);
        // SDKs add it to what a step has used up of its time: a failed attempt took some, however short.
        let since = since.max(u64::from(invocation.retries.failed_since_entry > 0));
        let info = StartInfo {
            invocation_id: id,
            known_entries,
            state,
            partial_state: !complete,
            key: &invocation.target.key,
            retry_count_since_last_stored_entry: invocation.retries.failed_since_entry,
            duration_since_last_stored_entry: Duration::from_millis(since),
            random_seed: invocation.random_seed,
            scope: None,
            limit_key: None,
            idempotency_key: invocation.idempotency_key.as_deref(),
        };
        let mut out = BytesMut::with_capacity(START_BYTES);
        session.encode_start(&info, &mut out);
        (session, out)
    }
}

/// As much of the state as goes with a start.
fn eager(state: &[(Bytes, Bytes)], bytes_max: usize) -> &[(Bytes, Bytes)] {
    let mut bytes = 0;
    let fits = state.iter().take_while(|(key, value)| {
        bytes += key.len() + value.len();
        bytes <= bytes_max
    });
    &state[..fits.count()]
}

async fn open<P: Proposals>(
    shared: &Shared<P>,
    group: Group,
    choice: &Choice,
    proposer: &Proposer<'_, P>,
    invocation: &Invocation,
) -> Result<Exchange, Trouble> {
    let mut tries = 0;
    loop {
        let mut head = request::head(choice, proposer.id, invocation, &shared.headers)?;
        if let Some(identity) = &shared.identity {
            request::sign(&mut head, identity, invocation, shared.env.now());
        }
        let origin = match &choice.deployment.endpoint {
            Endpoint::Http(address) => &address.origin,
            Endpoint::Lambda(function) => return Ok(Exchange::function(&shared.functions, function, head, false)),
        };
        // One request at a time needs many connections anyway: they are shared by all.
        let group = if origin.wire == Wire::Http1 { Group::NONE } else { group };
        let started = match shared.pool.acquire(origin, group).await {
            Ok(lease) => Exchange::start(lease, head, false),
            Err(error) => Err(error),
        };
        match started {
            Ok(exchange) => return Ok(exchange),
            Err(error) if error.is_stale_connection() && tries < RESTARTS_MAX => tries += 1,
            Err(error) => {
                shared.health.lost(&choice.deployment, &error);
                return Err(error.into());
            }
        }
    }
}

/// Proposes how the attempt ended by its own word.
async fn last<P: Proposals>(
    proposer: &mut Proposer<'_, P>,
    invocation: &Invocation,
    policy: &AttemptPolicy,
    mut batch: Batch,
    (terminal, fails): (Terminal, bool),
    seen: u32,
) -> Verdict {
    let (action, verdict) = match terminal {
        Terminal::End => {
            let wanted = if fails { on_failure(proposer.shared, invocation) } else { None };
            match wanted {
                Some(OnFailure::Settle(policy)) => (Action::EndBy { policy }, Verdict::Completed),
                Some(OnFailure::Retry) | None => (Action::End, Verdict::Completed),
            }
        }
        Terminal::Suspension(awaiting) => (Action::Suspend { awaiting, seen }, Verdict::Suspended),
        Terminal::Error(error) => return fail(proposer, invocation, policy, Trouble::from(*error), batch).await,
    };
    batch.actions.push(action);
    let now = proposer.shared.env.now();
    match proposer.propose(batch, now).await {
        Ok(_) => verdict,
        Err(Stopped) => Verdict::Aborted,
    }
}

/// Proposes that the attempt failed, behind what it did before.
async fn fail<P: Proposals>(
    proposer: &mut Proposer<'_, P>,
    invocation: &Invocation,
    policy: &AttemptPolicy,
    trouble: Trouble,
    mut batch: Batch,
) -> Verdict {
    let shared = proposer.shared;
    let now = shared.env.now();
    let failed = invocation.retries.failed;
    let random = shared.env.random();
    let decision = match on_failure(shared, invocation) {
        Some(wanted) => retry::decide_for_record(&policy.retry, wanted, failed, &trouble, now, random),
        None => retry::decide(&policy.retry, failed, &trouble, now, random),
    };
    let transient = !matches!(decision, Decision::Fail(_) | Decision::Settle { .. });
    shared.metrics.error(trouble.code);
    tracing::debug!(
        invocation_id = %proposer.id,
        attempt = proposer.attempt,
        service = %invocation.target.service,
        handler = %invocation.target.handler,
        error_code = trouble.code.id,
        message = trouble.details.message,
        decision = ?decision,
        "attempt failed"
    );
    let counts = trouble.counts;
    batch.actions.push(Action::Fail { decision, error: trouble.into_error(), counts });
    batch.lazy = false;
    match proposer.propose(batch, now).await {
        Ok(_) => Verdict::Failed(transient),
        Err(Stopped) => Verdict::Aborted,
    }
}

/// What the subscription wants, if it is the invocation of a record.
fn on_failure<P: Proposals>(shared: &Shared<P>, invocation: &Invocation) -> Option<OnFailure> {
    match &invocation.source {
        Source::Record(record) => shared.registry.on_failure(record.subscription),
        _ => None,
    }
}

/// Waits, unless the leader gives the attempt up.
async fn unless_aborted<T>(feed: &mut FeedIn, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut aborted = pin!(feed.aborted());
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => aborted.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Reads an answer that has said its last word to its end: SDKs take a reset for a failure.
async fn drain<P: Proposals>(shared: &Shared<P>, mut exchange: Exchange, mut timer: Pin<&mut Sleep>) {
    let limit = shared.slots.limit();
    if shared.draining.fetch_add(1, Ordering::Relaxed) >= limit {
        exchange.reset();
    } else {
        timer.as_mut().reset(Instant::now() + DRAIN_MAX);
        let mut left = DRAIN_BYTES_MAX;
        let ended = poll_fn(|cx| {
            loop {
                match exchange.poll_data(cx) {
                    Poll::Ready(None | Some(Err(_))) => return Poll::Ready(true),
                    Poll::Ready(Some(Ok(data))) if data.len() <= left => {
                        left -= data.len();
                        exchange.consumed(data.len());
                    }
                    Poll::Ready(Some(Ok(_))) => return Poll::Ready(false),
                    Poll::Pending => return timer.as_mut().poll(cx).map(|()| false),
                }
            }
        })
        .await;
        if !ended {
            exchange.reset();
        }
    }
    shared.draining.fetch_sub(1, Ordering::Relaxed);
}
