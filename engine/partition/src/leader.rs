//! One partition's leader: decides, given inputs, delivery reports and time. Its driver owns threads and clocks.
//!
//! ```text
//! on_input ──> batch ──flush──> log ──> on_delivery ──> apply ──> store ──> hooks, then effects
//!                                                                     on_time ──> timers, retention, outbox
//! ```
//!
//! Two batches are under way at most: one in the sync, one behind it; what comes meanwhile makes the next one larger.

mod starts;
mod time;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
};

use millrace_log::{Append, AppendError, Decision, Delivery, Kind, Loglet, Over, Settle};
use millrace_machine::{Answer, Effect, Past, StateView, Txn};
use millrace_model::{
    Command, InvocationId, LeaderEpoch, PartitionId, TimestampMs,
    command::{Action, AnnounceLeader},
    invocation::Status,
    table::{self, Budgets, ExpiryKey, Invocations, Outbox},
};
use tokio::sync::oneshot;

use crate::{
    attempts::{Attempts, Closed},
    batch::{Batch, Hook},
    census::Census,
    error::LeaderError,
    handle::{Ended, Output},
    invoker::Invoker,
    mailbox::Input,
    outbox::OutboxQueue,
    status::{Board, LeaderStatus},
    store::Store,
    timers::TimerQueue,
};

/// Batches under way in the log.
pub const IN_FLIGHT_MAX: usize = 2;
/// Retentions that one command ends.
pub const EXPIRE_MAX: usize = 250;
/// Pause between two such commands, milliseconds: what expires must not crowd out what runs. Eight partitions on one
/// thread end 12,500 retentions a second, each of which costs some 10 us.
pub const EXPIRE_PAUSE_MS: u64 = 160;
/// The pause of a partition that is [`EXPIRE_LATE_MS`] behind: what comes in faster than that must go out as fast, and
/// what expired while the server was away must not stop what has begun again.
pub const EXPIRE_PAUSE_LATE_MS: u64 = 50;
/// How far behind the end of a retention its clean-up may be, beyond its interval, milliseconds.
pub const EXPIRE_LATE_MS: u64 = 5 * 60 * 1000;
/// How long hints and clean-up wait for a batch that is made anyway, milliseconds.
pub const LAZY_MAX_MS: u64 = 500;

/// What a leader needs to know.
#[derive(Clone, Debug)]
pub struct LeaderConfig {
    /// What it announces; the time is filled in.
    pub announce: AnnounceLeader,
    /// Timers kept in memory.
    pub timers_in_memory: usize,
    /// How often ended retentions are looked for, milliseconds.
    pub cleanup_interval_ms: u64,
    /// State sent with the start of an attempt, bytes of keys and values; beyond it the handler asks.
    pub eager_state_bytes_max: usize,
}

/// What a leader acts through.
pub struct Surroundings<'a> {
    /// The log.
    pub log: &'a dyn Loglet,
    /// Who runs attempts.
    pub invoker: &'a dyn Invoker,
    /// Where budgets are shown.
    pub board: &'a Board,
}

/// Who waits for the end of an invocation, and whether it was there before.
type Waiter = (bool, oneshot::Sender<Option<Ended>>);

/// See the module.
pub struct Leader<S: Store> {
    partition: PartitionId,
    config: Arc<LeaderConfig>,
    store: S,
    settle: Settle,
    epoch: Option<LeaderEpoch>,
    next_number: u64,
    now: TimestampMs,
    building: Batch,
    building_since: TimestampMs,
    ready: VecDeque<Batch>,
    in_flight: VecDeque<Batch>,
    attempts: Attempts,
    timers: TimerQueue,
    outbox: OutboxQueue,
    waiters: HashMap<InvocationId, Vec<Waiter>>,
    next_cleanup: TimestampMs,
    cleanup_from: Option<ExpiryKey>,
    outgoing: Vec<(PartitionId, Input)>,
    census: Census,
}

impl<S: Store> Leader<S>
where
    S::Error: std::error::Error + Send + Sync + 'static,
{
    /// A leader over a store that has been caught up with the log. [`Leader::announce`] begins its epoch.
    pub fn new(partition: PartitionId, config: Arc<LeaderConfig>, store: S) -> Self {
        let settle = Settle::new(store.applied(), 0);
        let timers = TimerQueue::new(config.timers_in_memory);
        Self {
            partition,
            config,
            store,
            settle,
            epoch: None,
            next_number: 1,
            now: TimestampMs(0),
            building: Batch::default(),
            building_since: TimestampMs(0),
            ready: VecDeque::new(),
            in_flight: VecDeque::new(),
            attempts: Attempts::default(),
            timers,
            outbox: OutboxQueue::default(),
            waiters: HashMap::new(),
            next_cleanup: TimestampMs(0),
            cleanup_from: None,
            outgoing: Vec::new(),
            census: Census::default(),
        }
    }

    /// The state.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The state, for flushes.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the state back when the leadership is over.
    pub fn into_store(self) -> S {
        self.store
    }

    /// It leads: its announcement counts and is applied.
    pub fn leads(&self) -> bool {
        self.epoch.is_some()
    }

    /// Invocations that wait for a slot.
    pub fn starting(&self) -> usize {
        self.attempts.waiting()
    }

    /// How many invocations are in which state.
    pub fn census(&self) -> Census {
        self.census
    }

    /// Nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.building.is_empty() && self.ready.is_empty() && self.in_flight.is_empty()
    }

    /// Bytes of batches that the log has not been given yet.
    pub fn backlog_bytes(&self) -> usize {
        self.building.bytes() + self.ready.iter().map(Batch::bytes).sum::<usize>()
    }

    /// What it shows of itself.
    pub fn status(&self) -> LeaderStatus {
        LeaderStatus {
            partition: self.partition,
            epoch: self.epoch.unwrap_or(LeaderEpoch::ANNOUNCE),
            applied: self.store.applied().lsn,
            running: self.attempts.running().collect(),
            starting: self.attempts.waiting(),
        }
    }

    /// Inputs for other partitions since the last call.
    pub fn take_outgoing(&mut self) -> Vec<(PartitionId, Input)> {
        std::mem::take(&mut self.outgoing)
    }

    /// Appends the announcement. `nonce` is random.
    pub fn announce(&mut self, now: TimestampMs, nonce: u64, log: &dyn Loglet) -> Result<(), LeaderError> {
        self.now = now;
        let command = Command::Announce(AnnounceLeader { now, nonce, ..self.config.announce.clone() });
        let mut batch = Batch::default();
        batch.push(command);
        let cluster = self.config.announce.cluster;
        let payload = batch.payload();
        log.append(Append { partition: self.partition, cluster, kind: Kind::Announce, payload })?;
        self.settle.announced(payload.clone());
        self.in_flight.push_back(batch);
        Ok(())
    }

    /// Something came from outside. [`Input::Read`] is the driver's.
    pub fn on_input(&mut self, input: Input) -> Result<(), LeaderError> {
        match input {
            Input::Propose { command, reply } => {
                let at = self.push(command, true);
                if let Some(reply) = reply {
                    self.building_hook(Hook::Reply { at, reply });
                }
            }
            Input::ProposeAndWait { command, id, reply } => {
                let at = self.push(command, true);
                self.building_hook(Hook::Ended { at, id, reply });
            }
            Input::Attempt { attempt, lazy } => {
                let last = attempt.actions.last();
                if let Some(Action::End | Action::EndBy { .. } | Action::Suspend { .. } | Action::Fail { .. }) = last {
                    self.attempts.finished(attempt.id, attempt.attempt);
                }
                self.push(Command::Attempt(attempt), !lazy);
                self.building.has_hints |= lazy;
            }
            Input::AttemptClosed { id, attempt } => {
                // Behind everything that it proposed; a hint of it does not keep the next attempt waiting.
                self.building.urgent |= self.building.has_hints;
                let hook = Hook::Closed { id, attempt };
                let last = [&mut self.building]
                    .into_iter()
                    .filter(|batch| batch.urgent)
                    .chain(self.ready.back_mut())
                    .chain(self.in_flight.back_mut())
                    .next();
                match last {
                    Some(batch) => batch.hooks.push(hook),
                    None => self.closed(id, attempt)?,
                }
            }
            Input::Attach { id, reply } => match look_up_in(&self.store, id)? {
                Output::Ended { target, result, result_until } => {
                    let _ = reply.send(Some(Ended { target, result, known: true, ended_before: Some(result_until) }));
                }
                Output::NotReady => self.wait(id, true, reply),
                Output::NotFound => _ = reply.send(None),
            },
            Input::Deliver { from, lane, first, messages } => {
                let at = self.push(Command::Deliver { from, lane, first, messages, now: self.now }, true);
                self.building_hook(Hook::Delivered { at, from, lane });
            }
            Input::Delivered { by, lane, next } => {
                if let Some(upto) = self.outbox.answered(by, lane, next) {
                    self.push(Command::TruncateOutbox { to: by, lane, upto }, false);
                }
            }
            Input::Read(_) => unreachable!("the driver answers reads"),
        }
        Ok(())
    }

    /// Adds a command to the batch in the making; returns its place there.
    fn push(&mut self, command: Command, urgent: bool) -> usize {
        if self.building.is_full() {
            self.ready.push_back(std::mem::take(&mut self.building));
        }
        if self.building.is_empty() {
            self.building_since = self.now;
        }
        self.building.urgent |= urgent;
        self.building.push(command)
    }

    /// What is not urgent has waited long enough for something that is.
    fn is_building_old(&self) -> bool {
        !self.building.is_empty() && self.now >= self.building_since.after(LAZY_MAX_MS)
    }

    fn building_hook(&mut self, hook: Hook) {
        self.building.hooks.push(hook);
    }

    fn scan<T: table::Table>(
        &self,
        from: Option<&T::Key>,
        row: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), LeaderError> {
        self.store.scan::<T>(from, row).map_err(LeaderError::store)
    }

    /// Sends what waits: the outbox to its destinations, batches to the log.
    pub fn flush(&mut self, log: &dyn Loglet) -> Result<(), LeaderError> {
        let Some(epoch) = self.epoch else { return Ok(()) };
        let store = &self.store;
        let deliveries = self
            .outbox
            .deliveries(|to, lane, seq| store.get::<Outbox>(&(to, lane, seq)))
            .map_err(LeaderError::store)?;
        for delivery in deliveries {
            let crate::outbox::Delivery { to, lane, first, messages } = delivery;
            self.outgoing.push((to, Input::Deliver { from: self.partition, lane, first, messages }));
        }
        while self.in_flight.len() < IN_FLIGHT_MAX {
            let mut batch = match self.ready.pop_front() {
                Some(batch) => batch,
                None if self.building.urgent || self.is_building_old() => std::mem::take(&mut self.building),
                None => break,
            };
            let kind = Kind::Commands { epoch, number: self.next_number };
            let cluster = self.config.announce.cluster;
            let payload = batch.payload();
            let parts = match log.append(Append { partition: self.partition, cluster, kind, payload }) {
                Ok(parts) => parts,
                Err(AppendError::Backlog { .. } | AppendError::Full { .. }) => {
                    // Nothing was taken: again when the log has moved, or has room.
                    self.ready.push_front(batch);
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            batch.drop_payload();
            self.next_number += u64::from(parts);
            self.settle.appended(kind);
            self.in_flight.push_back(batch);
        }
        Ok(())
    }

    /// The log reports. `Ok(Some)`: the leadership is over; what was not applied is unknown.
    pub fn on_delivery(&mut self, delivery: &Delivery, around: &Surroundings<'_>) -> Result<Option<Over>, LeaderError> {
        self.settle.on_delivery(delivery);
        while let Some(decision) = self.settle.poll() {
            match decision {
                Decision::Announced(applied) => {
                    let batch = self.in_flight.pop_front().expect("the announcement is under way");
                    if applied != self.store.applied() {
                        self.apply(batch, applied, around)?;
                    }
                    self.epoch = Some(applied.epoch);
                    self.take_over(around)?;
                }
                Decision::Committed(applied) => {
                    let batch = self.in_flight.pop_front().expect("an own batch is under way");
                    self.apply(batch, applied, around)?;
                }
                Decision::Read { behind, upto } => {
                    if let Some(over) = self.read_gap(behind, upto, around)? {
                        return Ok(Some(over));
                    }
                }
                Decision::Over(over) => return Ok(Some(over)),
            }
        }
        Ok(None)
    }

    /// A gap in the reports: what stands there is applied as a follower does, own batches are found by their numbers.
    fn read_gap(
        &mut self,
        behind: millrace_log::Applied,
        upto: millrace_log::Upto,
        around: &Surroundings<'_>,
    ) -> Result<Option<Over>, LeaderError> {
        let mut counting = millrace_log::CountingReader::resume(Some(self.config.announce.cluster), behind);
        let end = match upto {
            millrace_log::Upto::At(lsn) => lsn,
            millrace_log::Upto::Tail => around.log.tail(self.partition)?,
        };
        let mut reader = match around.log.read(self.partition, behind.lsn.next()) {
            Ok(reader) => reader,
            Err(millrace_log::ReadError::Trimmed { .. }) => {
                self.settle.on_trimmed();
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        loop {
            let record = match reader.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(millrace_log::ReadError::Trimmed { .. }) => {
                    self.settle.on_trimmed();
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            if record.lsn > end {
                break;
            }
            let Some(counted) = counting.push(record)? else { continue };
            match self.settle.on_counted(&counted) {
                Ok(millrace_log::Whose::Own) => {
                    let batch = self.in_flight.pop_front().expect("an own batch is under way");
                    self.apply(batch, counted.applied(), around)?;
                }
                Ok(millrace_log::Whose::Other) => self.follow(&counted)?,
                Err(over) => return Ok(Some(over)),
            }
        }
        self.settle.on_read(counting.position());
        Ok(None)
    }

    /// Applies a batch of somebody else: no effect, nobody waits.
    pub fn follow(&mut self, counted: &millrace_log::CountedBatch) -> Result<(), LeaderError> {
        follow(&mut self.store, self.partition, counted)
    }

    /// Applies an own batch, then tells who waits for it, then acts.
    fn apply(
        &mut self,
        batch: Batch,
        applied: millrace_log::Applied,
        around: &Surroundings<'_>,
    ) -> Result<(), LeaderError> {
        let mut txn = Txn::new(&self.store, self.partition, applied.lsn);
        let mut answers = Vec::with_capacity(batch.commands.len());
        for command in batch.commands {
            answers.push(txn.apply(command).map_err(LeaderError::store)?);
        }
        let outcome = txn.finish().map_err(LeaderError::store)?;
        self.census.note(&self.store, &outcome.changes).map_err(LeaderError::store)?;
        self.store.commit(&outcome.changes, applied).map_err(LeaderError::store)?;
        self.note_expiries(&outcome.changes);
        self.show_budgets(&outcome.effects, around.board)?;
        if outcome.effects.iter().any(|effect| matches!(effect, Effect::Letter { .. })) {
            around.board.letters_are_there();
        }
        for hook in batch.hooks {
            self.tell(hook, &mut answers)?;
        }
        for effect in outcome.effects {
            self.act(effect);
        }
        Ok(())
    }

    /// Before anybody is answered: whoever reads on must not look at an old budget.
    fn show_budgets(&self, effects: &[Effect], board: &Board) -> Result<(), LeaderError> {
        let mut budgets = BTreeMap::new();
        for effect in effects {
            if let Effect::Budget { subscription } = effect {
                let budget = self.store.get::<Budgets>(subscription).map_err(LeaderError::store)?;
                budgets.insert(*subscription, budget.unwrap_or_default());
            }
        }
        if !budgets.is_empty() {
            board.set(self.partition, budgets);
        }
        Ok(())
    }

    fn tell(&mut self, hook: Hook, answers: &mut [Answer]) -> Result<(), LeaderError> {
        match hook {
            // Whoever no longer waits need not be told.
            Hook::Reply { at, reply } => {
                let _ = reply.send(std::mem::replace(&mut answers[at], Answer::Done));
            }
            Hook::Ended { at, id, reply } => {
                if let Answer::Accepted { known, ended, .. } = std::mem::replace(&mut answers[at], Answer::Done) {
                    match ended {
                        Some(past) => {
                            let Past { target, result, result_until } = *past;
                            let ended_before = Some(result_until);
                            let _ = reply.send(Some(Ended { target, result, known, ended_before }));
                        }
                        None => self.wait(id, known, reply),
                    }
                }
            }
            Hook::Delivered { at, from, lane } => {
                if let Answer::Delivered { next } = answers[at] {
                    self.outgoing.push((from, Input::Delivered { by: self.partition, lane, next }));
                }
            }
            Hook::Closed { id, attempt } => self.closed(id, attempt)?,
        }
        Ok(())
    }

    /// Somebody waits for the end; whoever has gone away meanwhile makes room.
    fn wait(&mut self, id: InvocationId, known: bool, reply: oneshot::Sender<Option<Ended>>) {
        let waiters = self.waiters.entry(id).or_default();
        waiters.retain(|(_, reply)| !reply.is_closed());
        waiters.push((known, reply));
    }

    fn closed(&mut self, id: InvocationId, attempt: u32) -> Result<(), LeaderError> {
        if self.attempts.closed(id, attempt) == Closed::Vanished {
            let row = self.store.get::<Invocations>(&id).map_err(LeaderError::store)?;
            if row.is_some_and(|row| row.status == Status::Running) {
                self.attempts.start(id);
            }
        }
        Ok(())
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Start { id } => self.attempts.start(id),
            Effect::Forward { id, index, row, ack } => self.attempts.forward(id, index, row, ack),
            Effect::Abort { id } => self.attempts.abort(id),
            Effect::Refuse { id, attempt, error } => self.attempts.refuse(id, attempt, error),
            Effect::Ended { id, target, result, .. } => {
                for (known, waiter) in self.waiters.remove(&id).into_iter().flatten() {
                    let (target, result) = (target.clone(), result.clone());
                    let _ = waiter.send(Some(Ended { target, result, known, ended_before: None }));
                }
            }
            Effect::SetTimer { key } => self.timers.set(key),
            Effect::Send { to, lane, seq, message } => self.outbox.added(to, lane, seq, message),
            Effect::Source { .. } | Effect::Budget { .. } | Effect::Letter { .. } => {}
        }
    }

    /// Stops acting: attempts are reset, who waits is told that the outcome is not known.
    pub fn stop(&mut self) {
        self.epoch = None;
        self.attempts.abort_all();
        self.waiters.clear();
    }
}

/// Applies a counted batch to a store: what followers do, and every start.
pub fn follow<S: Store>(
    store: &mut S,
    partition: PartitionId,
    counted: &millrace_log::CountedBatch,
) -> Result<(), LeaderError>
where
    S::Error: std::error::Error + Send + Sync + 'static,
{
    let applied = counted.applied();
    let mut txn = Txn::new(&*store, partition, applied.lsn);
    let commands = millrace_model::command::decode_batch(counted.payload.clone())
        .map_err(|source| LeaderError::Batch { partition, lsn: applied.lsn, source })?;
    for command in commands {
        txn.apply(command).map_err(LeaderError::store)?;
    }
    let outcome = txn.finish().map_err(LeaderError::store)?;
    store.commit(&outcome.changes, applied).map_err(LeaderError::store)
}

/// The result of an invocation as the state has it.
pub(crate) fn look_up_in<S: StateView>(store: &S, id: InvocationId) -> Result<Output, LeaderError>
where
    S::Error: std::error::Error + Send + Sync + 'static,
{
    if store.get::<Invocations>(&id).map_err(LeaderError::store)?.is_some() {
        return Ok(Output::NotReady);
    }
    // Of one that was ended before it started nothing is left but its id.
    Ok(match store.get::<table::Ended>(&id).map_err(LeaderError::store)?.filter(|ended| !ended.unstarted) {
        Some(ended) => Output::Ended { target: ended.target, result: ended.result, result_until: ended.result_until },
        None => Output::NotFound,
    })
}
