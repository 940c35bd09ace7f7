//! One attempt on the wire: replay and notifications out, events in, both at once, on one task.
//!
//! ```text
//!            rows ──┐
//!   feed ─────────> out ──room on the stream──> exchange ──data──> session ──event──> plan ──step──> attempt
//!   request:  Replaying ──last row──> Open ──inactive, asked, nothing to wait for──> Ending ──out is empty──> Ended
//! ```

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use millrace_model::{
    TimestampMs, codes,
    invocation::AttemptError,
    journal::{Entry, JournalRow, NotificationId},
};
use millrace_partition::{Feed, invoker::FEED_MAX};
use millrace_protocol::{Event, Mode, Session};
use tokio::{
    sync::mpsc,
    task::coop,
    time::{Instant, Sleep},
};

use super::{ENTRY_BYTES, answers::Answers, entry_bytes, fed::Fed, request};
use crate::{
    exchange::Exchange,
    health::Health,
    metrics::Metrics,
    plan::{Plan, Who},
    registry::{AttemptPolicy, DeploymentInfo},
    servers::Servers,
    shared::Stored,
    throttle::Throttle,
    transport::TransportError,
    trouble::Trouble,
};

/// Bytes that are encoded ahead of the endpoint's reading.
const OUT_BYTES: usize = 64 << 10;
/// Small beginnings are handed over without asking for room: every endpoint has as much before it says anything.
const FIRST_BYTES: usize = 16 << 10;
/// What nobody waits for is proposed after this, if nothing else takes it along.
const LINGER: Duration = Duration::from_millis(100);
/// So much of a message that is not whole yet is a sign of life. Single bytes now and then are not: they would hold a
/// place for ever.
const PROGRESS_BYTES: usize = 16 << 10;
/// Feed entries that wait for the replay.
const BACKLOG_MAX: usize = FEED_MAX;

/// What the attempt must do now.
#[derive(Debug)]
pub(super) enum Step {
    /// Propose what the plan holds, and come back.
    Propose,
    /// Look up what the answers ask for, and come back.
    Read,
    /// The handler has said how it ended.
    Over,
    /// It failed; what the plan holds stays good.
    Failed(Trouble),
    /// The leader has given it up.
    Aborted,
    /// The endpoint did not take the request, and nothing of it is lost: try again on another connection.
    Refused(TransportError),
    /// The endpoint took the request, it seems, and did not answer.
    Unanswered(TransportError),
    /// The endpoint holds more of a message than there is memory for.
    Memory(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Replaying,
    Open,
    /// Nothing more is added to it.
    Ending,
    /// Its end was sent.
    Ended,
}

/// The feed, with what came before it could be sent.
pub(super) struct FeedIn {
    pub(super) receiver: mpsc::Receiver<Feed>,
    pub(super) backlog: VecDeque<Feed>,
}

impl FeedIn {
    /// Resolves when the leader gives the attempt up; keeps what else comes.
    pub(super) async fn aborted(&mut self) {
        while self.backlog.len() < BACKLOG_MAX {
            match self.receiver.recv().await {
                Some(feed) => self.backlog.push_back(feed),
                None => return,
            }
        }
        std::future::pending().await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Feed>> {
        match self.backlog.pop_front() {
            Some(feed) => Poll::Ready(Some(feed)),
            None => self.receiver.poll_recv(cx),
        }
    }
}

/// What stays the same during an attempt.
pub(super) struct Surroundings<'a> {
    pub(super) who: Who<'a>,
    pub(super) policy: &'a AttemptPolicy,
    pub(super) metrics: &'a Metrics,
    pub(super) health: &'a Health,
    pub(super) servers: &'a Servers,
    pub(super) deployment: &'a DeploymentInfo,
    /// How often handlers may do something.
    pub(super) actions: Option<&'a Throttle>,
    pub(super) size_warning: usize,
    /// A longer journal could not be replayed within the node's memory.
    pub(super) journal_max: usize,
}

pub(super) struct Stream<'a> {
    pub(super) exchange: Exchange,
    session: Session,
    pub(super) plan: Plan,
    around: Surroundings<'a>,
    mode: Mode,
    /// What is replayed; kept until the endpoint has answered.
    journal: Vec<JournalRow>,
    /// What the journal takes up with everything since.
    journal_bytes: usize,
    /// The next of it to be encoded.
    next_row: usize,
    out: BytesMut,
    first: bool,
    request: Request,
    /// The answer's head was there.
    head: bool,
    /// The answer has ended.
    pub(super) ended: bool,
    pub(super) feed: FeedIn,
    pub(super) answers: Answers,
    /// Journal entries at the snapshot.
    snapshot: u32,
    fed: Fed,
    last_active: Instant,
    last_received: Instant,
    held_since: Option<Instant>,
    /// Nothing is read before this.
    throttled: Option<Instant>,
    /// When to look whether a handler that waited for answers now waits for something that takes long.
    idle_look: Option<Instant>,
    /// Bytes of a message that is not whole yet.
    incomplete: usize,
    /// Bytes received since the last sign of life.
    progress: usize,
    /// As many have room in the node's budget.
    pub(super) memory: usize,
    timer: Pin<&'a mut Sleep>,
    sent_bytes: u64,
    received_bytes: u64,
}

impl<'a> Stream<'a> {
    /// * `out`: the encoded Start.
    #[expect(clippy::too_many_arguments, reason = "each is moved in once")]
    pub(super) fn new(
        exchange: Exchange,
        session: Session,
        plan: Plan,
        around: Surroundings<'a>,
        mode: Mode,
        journal: Vec<JournalRow>,
        out: BytesMut,
        feed: FeedIn,
        memory: usize,
        timer: Pin<&'a mut Sleep>,
    ) -> Self {
        let now = Instant::now();
        let snapshot = u32::try_from(journal.len()).unwrap_or(u32::MAX);
        Self {
            exchange,
            session,
            plan,
            around,
            mode,
            journal_bytes: journal.iter().map(|row| entry_bytes(&row.entry)).sum(),
            journal,
            next_row: 0,
            out,
            first: true,
            request: Request::Replaying,
            head: false,
            ended: false,
            feed,
            answers: Answers::default(),
            snapshot,
            fed: Fed::new(snapshot, now),
            last_active: now,
            last_received: now,
            held_since: None,
            throttled: None,
            idle_look: None,
            incomplete: 0,
            progress: 0,
            memory,
            timer,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    /// Begins again, as if nothing had been sent.
    pub(super) fn restart(&mut self, exchange: Exchange, session: Session, out: BytesMut) {
        (self.exchange, self.session, self.out) = (exchange, session, out);
        (self.request, self.next_row, self.first) = (Request::Replaying, 0, true);
        self.last_active = Instant::now();
    }

    /// Journal entries that the handler had been sent before it suspended. It reads to the end of the request stream
    /// before it does; one that did not wait for the end may have read nothing behind the replay.
    pub(super) fn seen(&self) -> u32 {
        if self.request == Request::Ended { self.fed.end() } else { self.snapshot }
    }

    /// Ends the request stream, also in the middle of a replay.
    pub(super) fn end_request(&mut self) {
        if self.request != Request::Ended {
            self.request = Request::Ended;
            self.exchange.send(Bytes::new(), true);
        }
    }

    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        match self.poll_all(cx) {
            Ok(()) => Poll::Pending,
            Err(step) => {
                let metrics = self.around.metrics;
                metrics.sent_bytes.increment(std::mem::take(&mut self.sent_bytes));
                metrics.received_bytes.increment(std::mem::take(&mut self.received_bytes));
                Poll::Ready(step)
            }
        }
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Result<(), Step> {
        self.poll_write(cx);
        let mut more;
        loop {
            more = self.poll_feed(cx)?;
            // Behind the feed: an attempt that was refused hears of that first.
            more |= self.poll_answers(cx)?;
            self.poll_write(cx);
            if !(more && self.has_room()) {
                break;
            }
        }
        let read = self.poll_read(cx);
        self.poll_write(cx);
        read?;
        if more && self.has_room() {
            cx.waker().wake_by_ref();
        }
        if self.answers.wants_read() {
            return Err(Step::Read);
        }
        self.poll_timer(cx)
    }

    /// More may be added behind the replay.
    fn has_room(&self) -> bool {
        matches!(self.request, Request::Open | Request::Ending) && self.out.len() < OUT_BYTES
    }

    /// `true`: there is more, and no room for it.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Result<bool, Step> {
        loop {
            let feed = match self.request {
                // Only to learn of an abort.
                Request::Replaying if self.feed.backlog.len() >= BACKLOG_MAX => return Ok(true),
                Request::Replaying => self.feed.receiver.poll_recv(cx),
                Request::Open if self.out.len() >= OUT_BYTES => return Ok(true),
                _ => self.feed.poll(cx),
            };
            match feed {
                Poll::Pending => return Ok(!self.feed.backlog.is_empty()),
                Poll::Ready(None) => return Err(Step::Aborted),
                Poll::Ready(Some(Feed::Refused(error))) => return Err(refused(error)),
                Poll::Ready(Some(feed)) if self.request == Request::Replaying => self.feed.backlog.push_back(feed),
                Poll::Ready(Some(Feed::Suspend)) => self.end(),
                Poll::Ready(Some(Feed::Entry { index, row, ack })) => {
                    // Behind the end of the request stream it waits for the next attempt.
                    if self.request == Request::Open {
                        self.forward(index, &row.entry, ack);
                    }
                }
            }
        }
    }

    /// As [`Stream::poll_feed`].
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<bool, Step> {
        if self.answers.is_empty() {
            return Ok(false);
        }
        match self.request {
            Request::Replaying => Ok(true),
            Request::Open | Request::Ending => {
                self.answers.poll(cx, &mut self.session, &mut self.out, OUT_BYTES).map_err(Step::Failed)
            }
            Request::Ended => {
                self.answers = Answers::default();
                Ok(false)
            }
        }
    }

    /// Acknowledges commands once they are stored.
    pub(super) fn acknowledge(&mut self, commands: Vec<u32>, stored: Stored) {
        if self.request != Request::Ended {
            self.answers.acknowledge(commands, stored);
        }
    }

    fn forward(&mut self, index: u32, entry: &Entry, ack: bool) {
        let Entry::Notification(notification) = entry else { return };
        match notification.id {
            NotificationId::Completion(id) if ack && self.session.version().acknowledges_runs() => {
                self.session.encode_run_ack(id, &mut self.out);
            }
            _ => self.session.encode_entry(entry, &mut self.out),
        }
        self.plan.on_sent(entry);
        self.journal_bytes += entry_bytes(entry);
        let now = Instant::now();
        self.fed.hand_over(index, now);
        self.last_active = now;
    }

    /// Asks the handler to suspend.
    fn end(&mut self) {
        if self.request == Request::Open {
            self.request = Request::Ending;
            self.last_active = Instant::now();
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<(), Step> {
        if !self.head {
            match self.exchange.poll_head(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) if error.is_stale_connection() && self.fed.end() == self.snapshot => {
                    return Err(Step::Refused(error));
                }
                Poll::Ready(Err(error)) => return Err(Step::Unanswered(error)),
                Poll::Ready(Ok(head)) => {
                    self.head = true;
                    self.around.health.answered(self.around.deployment);
                    self.around.servers.answered(self.around.deployment.id, &head.headers);
                    if self.request != Request::Replaying {
                        self.journal = Vec::new();
                    }
                    let now = self.around.who.env.now();
                    request::check(&head, self.session.version(), now).map_err(Step::Failed)?;
                    self.active();
                }
            }
        }
        let mut now = None;
        while !self.plan.is_over() {
            if self.throttled.is_some() || self.answers.is_full() {
                return if self.plan.is_urgent() { Err(Step::Propose) } else { self.after_read(now) };
            }
            // An endpoint that floods us must not keep a thread to itself.
            let data = match coop::poll_proceed(cx) {
                Poll::Ready(turn) => self.exchange.poll_data(cx).map(|data| {
                    turn.made_progress();
                    data
                }),
                Poll::Pending => Poll::Pending,
            };
            match data {
                Poll::Pending if self.plan.is_urgent() => return Err(Step::Propose),
                Poll::Pending => return self.after_read(now),
                Poll::Ready(None) => {
                    self.ended = true;
                    self.session.on_end().map_err(|error| Step::Failed(error.into()))?;
                }
                Poll::Ready(Some(Err(error))) => return Err(Step::Failed(error.into())),
                Poll::Ready(Some(Ok(data))) => {
                    let now = *now.get_or_insert_with(|| self.around.who.env.now());
                    self.on_data(data, now)?;
                }
            }
        }
        // One look further: an answer that has ended needs no draining.
        if let Poll::Ready(None) = self.exchange.poll_data(cx) {
            self.ended = true;
        }
        Err(Step::Over)
    }

    fn on_data(&mut self, data: Bytes, now: TimestampMs) -> Result<(), Step> {
        let length = data.len();
        self.received_bytes += length as u64;
        self.incomplete += length;
        self.session.on_bytes(data);
        self.progress += length;
        let seen = self.fed.settled();
        let mut actions = 0;
        let mut alive = self.progress >= PROGRESS_BYTES;
        while let Some(event) = self.session.next_event().map_err(|error| Step::Failed(error.into()))? {
            // What is left is less than what came last.
            self.incomplete = length;
            alive = true;
            actions += u32::from(matches!(event, Event::Command(_) | Event::RunProposal { .. }));
            self.warn_of_size(&event);
            self.grow_journal(&event).map_err(Step::Failed)?;
            if let Event::GetState { ephemeral_id, key } = event {
                // Behind the end of the request stream nobody can be answered.
                if matches!(self.request, Request::Replaying | Request::Open) {
                    self.answers.ask(ephemeral_id, key);
                }
                continue;
            }
            self.plan.on_event(event, seen, now, &self.around.who).map_err(Step::Failed)?;
        }
        self.exchange.consumed(length);
        if alive {
            self.progress = 0;
            self.active();
        }
        self.throttle(actions);
        if self.incomplete > self.memory {
            return Err(Step::Memory(self.incomplete));
        }
        if self.plan.is_full() { Err(Step::Propose) } else { Ok(()) }
    }

    /// What the handler did was more than its part: nothing more is read before that time has passed. That is our
    /// silence, not its own.
    fn throttle(&mut self, actions: u32) {
        let Some(throttle) = self.around.actions.filter(|_| actions > 0) else { return };
        let now = Instant::now();
        let until = throttle.take(actions, now);
        if until > now {
            self.throttled = Some(until);
            self.last_active = until;
            self.last_received = until;
        }
    }

    /// `now`: something was received.
    fn after_read(&mut self, now: Option<TimestampMs>) -> Result<(), Step> {
        let Some(now) = now else { return Ok(()) };
        if self.plan.may_suspend(now) {
            self.end();
        }
        Ok(())
    }

    fn warn_of_size(&self, event: &Event) {
        let Event::Command(command) = event else { return };
        if command.raw.len() >= self.around.size_warning {
            tracing::warn!(
                invocation_id = %self.around.who.id,
                service = %self.around.who.target.service,
                handler = %self.around.who.target.handler,
                command_index = command.command_index,
                bytes = command.raw.len(),
                "large message from a handler"
            );
        }
    }

    /// A handler that never ends what it does must not write a journal that nobody can read back.
    fn grow_journal(&mut self, event: &Event) -> Result<(), Trouble> {
        let Event::Command(command) = event else { return Ok(()) };
        self.journal_bytes += command.raw.len() + ENTRY_BYTES;
        let max = self.around.journal_max;
        if self.journal_bytes <= max {
            return Ok(());
        }
        let message = format!("the journal is larger than memory-limit, {max} bytes");
        Err(Trouble::about(codes::RT0003, message, command.command_index, &command.name, command.ty))
    }

    fn active(&mut self) {
        let now = Instant::now();
        self.fed.settle(now);
        self.last_active = now;
        self.last_received = now;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        while self.request != Request::Ended {
            self.fill();
            // What was asked for before is answered before.
            let ending = self.request == Request::Ending && self.answers.is_empty();
            if self.out.is_empty() {
                if ending {
                    self.sent_end(Bytes::new());
                }
                return;
            }
            let length = if self.first && self.out.len() <= FIRST_BYTES {
                self.out.len()
            } else {
                match self.exchange.poll_room(cx, self.out.len()) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(room)) => room.min(self.out.len()),
                    Poll::Ready(Err(_)) => {
                        // It takes no more; its answer says why.
                        self.out.clear();
                        self.next_row = usize::MAX;
                        self.request = Request::Ended;
                        self.last_received = Instant::now();
                        return;
                    }
                }
            };
            self.first = false;
            self.sent_bytes += length as u64;
            let data = self.out.split_to(length).freeze();
            if ending && self.out.is_empty() {
                return self.sent_end(data);
            }
            self.exchange.send(data, false);
            self.last_active = Instant::now();
        }
    }

    fn sent_end(&mut self, data: Bytes) {
        self.exchange.send(data, true);
        self.request = Request::Ended;
        self.last_received = Instant::now();
    }

    /// Encodes more of the replay.
    fn fill(&mut self) {
        if self.request != Request::Replaying {
            return;
        }
        while self.out.len() < OUT_BYTES {
            let Some(row) = self.journal.get(self.next_row) else {
                self.request = match self.mode {
                    Mode::BidiStream => Request::Open,
                    Mode::RequestResponse => Request::Ending,
                };
                return;
            };
            self.next_row += 1;
            self.session.encode_entry(&row.entry, &mut self.out);
        }
    }

    /// One timer for everything: it fires early rather than being moved with every frame.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<(), Step> {
        if !self.plan.is_holding() {
            self.held_since = None;
        } else if self.held_since.is_none() {
            self.held_since = Some(Instant::now());
        }
        if self.plan.take_look() {
            self.idle_look = Some(Instant::now() + LINGER);
        }
        loop {
            let deadline = self.deadline();
            if self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            let now = Instant::now();
            if now < self.deadline() {
                let deadline = self.deadline();
                self.timer.as_mut().reset(deadline);
                continue;
            }
            if self.held_since.is_some_and(|since| now >= since + LINGER) {
                return Err(Step::Propose);
            }
            if self.throttled.is_some_and(|until| now >= until) {
                self.throttled = None;
                // Reads on.
                cx.waker().wake_by_ref();
                continue;
            }
            if self.idle_look.take_if(|at| now >= *at).is_some() {
                if self.plan.may_suspend(self.around.who.env.now()) {
                    self.end();
                    self.poll_write(cx);
                }
                continue;
            }
            if self.request != Request::Open {
                return Err(Step::Failed(self.timed_out()));
            }
            self.end();
            self.poll_write(cx);
        }
    }

    fn deadline(&self) -> Instant {
        let held = self.held_since.map(|since| since + LINGER);
        [held, self.throttled, self.idle_look].into_iter().flatten().fold(self.silent_at(), Instant::min)
    }

    /// When whoever is silent was so for too long.
    fn silent_at(&self) -> Instant {
        let policy = self.around.policy;
        match self.request {
            Request::Open => after(self.last_active, policy.inactivity_timeout),
            Request::Replaying | Request::Ending => after(self.last_active, policy.abort_timeout),
            Request::Ended => after(self.last_received, policy.abort_timeout),
        }
    }

    fn timed_out(&self) -> Trouble {
        let timeout = self.around.policy.abort_timeout;
        let what = match self.request {
            Request::Ended => "the handler neither went on nor suspended",
            _ => "the endpoint does not read what it is sent",
        };
        Trouble::new(codes::RT0001, format!("abort timeout: {what} within {timeout:?}"))
    }
}

fn refused(error: AttemptError) -> Step {
    Step::Failed(error.into())
}

/// Timeouts can be as long as an operator likes; timers cannot.
fn after(start: Instant, timeout: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    start + timeout.min(LONGEST)
}
