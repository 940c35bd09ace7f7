//! One attempt of a handler: replays, goes on, waits, suspends, fails, hangs, vanishes.
//!
//! It is the invoker and the SDK in one. A command's payload is `op u8 | attempt u64 | argument`, so that the checkers
//! can tell which attempt wrote it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use millrace_model::{
    DeploymentId, InvocationId, Lsn, PartitionId, PartitionKey, Text, TimestampMs,
    command::{Action, Attempt as Proposal, Callee, CommandEffect, Decision, Slice},
    invocation::{AttemptError, HandlerKind, NewInvocation, Pin, Source, Target},
    journal::{
        AwaitNode, Awaiting, Combinator, Completion, Entry, Failure, JournalRow, Notification, NotificationId,
        NotificationResult, SIGNAL_AWAKEABLE_FIRST, SIGNAL_CANCEL, ty,
    },
};
use millrace_partition::{AttemptJob, Feed};
use tokio::sync::mpsc::{Receiver, error::TryRecvError};

use crate::{
    checker::{Checker, Invariant, Violation},
    network::Leadership,
    program::{LOG_KEY, Op, Program},
    rng::Rng,
    tuning::{Mutation, Tuning},
};

/// Bytes of a command's payload before its argument.
const TAG_LEN: usize = 9;

/// The attempt that wrote a command.
pub fn writer_of(raw: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*raw.get(1..TAG_LEN)?.first_chunk()?))
}

/// What an attempt may use.
pub struct Around<'a> {
    pub now: u64,
    pub rng: &'a mut Rng,
    pub tuning: &'a Tuning,
    /// Handlers misbehave.
    pub faults: bool,
    pub check: &'a mut Checker,
}

/// What an attempt wants after a step.
#[derive(Default)]
pub struct Step {
    /// To be proposed, in order; `true`: may wait for the next batch.
    pub proposals: Vec<(Proposal, bool)>,
    /// It is over.
    pub closed: bool,
    /// Milliseconds until the next step.
    pub again: u64,
}

/// See the module.
pub struct Attempt {
    pub uid: u64,
    pub leadership: Leadership,
    pub partition: PartitionId,
    pub id: InvocationId,
    pub created_lsn: Lsn,
    pub number: u32,
    /// What `created_lsn` is to the checkers: where its journal began.
    began: Lsn,
    of_record: bool,
    target: Target,
    pin: Option<Pin>,
    program: Program,
    ops: Vec<Op>,
    /// Commands of earlier attempts that are still to be met.
    recorded: VecDeque<Bytes>,
    next_index: u32,
    results: BTreeMap<u32, NotificationResult>,
    cancelled: bool,
    /// Its awakeable is completed.
    poked: bool,
    seen: u32,
    feed: Receiver<Feed>,
    state: Bytes,
    /// The op that is next, and whether its command is sent.
    at: usize,
    issued: bool,
    /// When the side effect of this op is done.
    run_done_at: Option<u64>,
    /// Results proposed by this attempt, by completion.
    proposed: BTreeMap<u32, Bytes>,
    list: Bytes,
    actions: Vec<Action>,
    refused: Option<AttemptError>,
    asked_to_suspend: bool,
    hinted: bool,
    finished: bool,
}

impl Attempt {
    /// Starts from what the leader gave out at `applied`; checks that nothing is missing that was told before.
    pub fn start(
        uid: u64,
        leadership: Leadership,
        job: AttemptJob,
        applied: Lsn,
        keys: u64,
        check: &mut Checker,
    ) -> Result<Self, Violation> {
        let AttemptJob { partition, id, attempt, invocation, journal, state, feed, .. } = job;
        let began = check.journal.began(id, invocation.created_lsn, applied);
        check.journal.started(id, began, &journal, applied)?;
        let Some(JournalRow { entry: Entry::Input { value, .. }, .. }) = journal.first() else {
            return Err(Violation::new(Invariant::Journal, format!("{id} starts without its input")));
        };
        let program = Program::decode(value).expect("the workload made it");
        let log = state.iter().find(|(key, _)| key == LOG_KEY).map(|(_, value)| value.clone());
        let mut this = Self {
            uid,
            leadership,
            partition,
            id,
            created_lsn: invocation.created_lsn,
            number: attempt,
            began,
            of_record: matches!(invocation.source, Source::Record(_)),
            target: invocation.target,
            pin: invocation.pin.is_none().then_some(Pin { deployment: DeploymentId(uid.into()), protocol_version: 7 }),
            program,
            ops: program.ops(keys),
            recorded: VecDeque::new(),
            next_index: 1,
            results: BTreeMap::new(),
            cancelled: false,
            poked: false,
            seen: journal.len() as u32,
            feed,
            state: log.unwrap_or_default(),
            at: 0,
            issued: false,
            run_done_at: None,
            proposed: BTreeMap::new(),
            list: Bytes::new(),
            actions: Vec::new(),
            refused: None,
            asked_to_suspend: false,
            hinted: false,
            finished: false,
        };
        if this.target.kind == HandlerKind::Shared {
            this.ops.splice(0..0, [Op::Promise, Op::Fulfil]);
        }
        for row in journal.into_iter().skip(1) {
            match row.entry {
                Entry::Command { raw, .. } => this.recorded.push_back(raw),
                Entry::Notification(notification) => this.take(notification)?,
                Entry::Input { .. } => {
                    return Err(Violation::new(Invariant::Journal, format!("{id} has two inputs")));
                }
            }
        }
        Ok(this)
    }

    fn take(&mut self, notification: Notification) -> Result<(), Violation> {
        match notification.id {
            NotificationId::Completion(completion) => {
                if self.results.insert(completion, notification.result).is_some() {
                    let what = format!("completion {completion} of {} was delivered twice", self.id);
                    return Err(Violation::new(Invariant::Once, what));
                }
            }
            NotificationId::Signal(SIGNAL_AWAKEABLE_FIRST) if self.poked => {
                let what = format!("an awakeable of {} was completed twice", self.id);
                return Err(Violation::new(Invariant::Once, what));
            }
            NotificationId::Signal(SIGNAL_AWAKEABLE_FIRST) => self.poked = true,
            NotificationId::Signal(_) | NotificationId::Named(_) => self.cancelled = true,
        }
        Ok(())
    }

    /// What a leader would do with these actions that does not keep the rules.
    pub fn break_rules(&mut self, actions: &[Action], mutation: Mutation, check: &mut Checker) {
        for action in actions {
            let Action::RunResult { completion, result: Completion::Success(value), ack: true } = action else {
                continue;
            };
            let is_stale = self.results.contains_key(completion);
            let broken = match mutation {
                Mutation::AckBeforeCommit => !is_stale,
                Mutation::AckStale => is_stale,
                _ => false,
            };
            if broken {
                check.journal.acknowledged(self.id, self.began, *completion, value.clone());
            }
        }
    }

    /// Takes what was fed. `false`: aborted.
    fn drain(&mut self, check: &mut Checker) -> Result<bool, Violation> {
        loop {
            match self.feed.try_recv() {
                Ok(Feed::Entry { index, row, ack }) => {
                    if index < self.seen {
                        let what = format!("{} was told entry {index} again, it knew {}", self.id, self.seen);
                        return Err(Violation::new(Invariant::Once, what));
                    }
                    self.seen = index + 1;
                    check.journal.told(self.id, self.began, index, &row);
                    let Entry::Notification(notification) = row.entry else {
                        return Err(Violation::new(Invariant::Journal, format!("{} was fed a command", self.id)));
                    };
                    if let (true, NotificationId::Completion(completion)) = (ack, &notification.id)
                        && let Some(value) = self.proposed.get(completion)
                    {
                        check.journal.acknowledged(self.id, self.began, *completion, value.clone());
                    }
                    self.take(notification)?;
                }
                Ok(Feed::Refused(error)) => self.refused = Some(error),
                Ok(Feed::Suspend) => self.asked_to_suspend = true,
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Goes on as far as it can, or does something else.
    pub fn step(&mut self, around: &mut Around<'_>) -> Result<Step, Violation> {
        let mut step = Step { again: around.rng.between(1, 15), ..Step::default() };
        if !self.drain(around.check)? {
            // Perhaps it had something on its way.
            if around.rng.chance(500) {
                self.propose(&mut step, around.now);
            }
            step.closed = true;
            return Ok(step);
        }
        if let Some(error) = self.refused.take() {
            self.actions.clear();
            self.fail(&mut step, error, around);
            return Ok(step);
        }
        if around.faults {
            if around.rng.chance(around.tuning.handler_crash) {
                step.closed = true;
                return Ok(step);
            }
            if around.rng.chance(around.tuning.handler_fail) {
                self.fail(&mut step, error("it failed"), around);
                return Ok(step);
            }
            if around.rng.chance(around.tuning.handler_hang) {
                step.again = around.rng.between(100, 3000);
                return Ok(step);
            }
        }
        let mut left = around.rng.between(1, 3);
        let waits_for = loop {
            match self.op(around)? {
                Some(completion) => break Some(completion),
                None if self.finished => break None,
                None => {}
            }
            left -= 1;
            if left == 0 {
                break None;
            }
        };
        self.perhaps_stale(around);
        if self.finished {
            let end = match self.of_record {
                true => Action::EndBy { policy: around.tuning.policy(around.rng) },
                false => Action::End,
            };
            self.actions.push(end);
            self.propose(&mut step, around.now);
            step.closed = true;
        } else if waits_for.is_some() || around.rng.chance(600) {
            self.propose(&mut step, around.now);
        }
        // A step that still runs has to be waited for here.
        if let Some(completion) = waits_for.filter(|_| self.run_done_at.is_none()) {
            self.wait(completion, &mut step, around);
        }
        Ok(step)
    }

    /// Sends a second result for a step that has one.
    fn perhaps_stale(&mut self, around: &mut Around<'_>) {
        if !around.faults || !around.rng.chance(around.tuning.handler_stale) {
            return;
        }
        let known = self.results.keys().copied().find(|c| self.ops[*c as usize / 2] == Op::Run);
        if let Some(completion) = known {
            let value = Bytes::from(around.rng.next().to_le_bytes().to_vec());
            self.proposed.insert(completion, value.clone());
            self.actions.push(Action::RunResult { completion, result: Completion::Success(value), ack: true });
        }
    }

    fn wait(&mut self, completion: u32, step: &mut Step, around: &mut Around<'_>) {
        let mut awaiting = Awaiting { completions: vec![completion], signals: vec![1], ..Awaiting::default() };
        match self.ops[self.at] {
            Op::Run => return,
            Op::Listen(_) => awaiting.signals.push(SIGNAL_AWAKEABLE_FIRST),
            Op::Call { wait: true, .. } if around.rng.chance(500) => {
                awaiting.completions.push(completion - 1);
                awaiting.tree = cancel_or_all();
            }
            Op::Fulfil => {
                awaiting.completions = vec![self.at as u32 * 2, self.promised()];
                awaiting.tree = cancel_or_all();
            }
            _ => {}
        }
        if self.asked_to_suspend || around.rng.chance(300) {
            self.actions.push(Action::Suspend { awaiting, seen: self.seen });
            self.propose(step, around.now);
            step.closed = true;
        } else if !self.hinted && around.rng.chance(300) {
            self.hinted = true;
            self.actions.push(Action::AwaitingOn { awaiting: Some(awaiting), seen: self.seen });
            self.propose(step, around.now);
            step.proposals.last_mut().expect("just made").1 = true;
        }
    }

    fn fail(&mut self, step: &mut Step, error: AttemptError, around: &mut Around<'_>) {
        let at = TimestampMs(around.now + around.rng.between(1, 500));
        let pause = around.faults && around.rng.chance(100);
        let decision = if around.faults && around.rng.chance(around.tuning.handler_gives_up) {
            let failure = Failure::new(500, "it gave up");
            Decision::Settle { failure, policy: around.tuning.policy(around.rng) }
        } else if pause {
            Decision::Pause
        } else {
            Decision::RetryAt(at)
        };
        self.actions.push(Action::Fail { decision, error, counts: around.rng.chance(500) });
        self.propose(step, around.now);
        step.closed = true;
    }

    fn propose(&mut self, step: &mut Step, now: u64) {
        if self.actions.is_empty() {
            return;
        }
        let actions = std::mem::take(&mut self.actions);
        let proposal = Proposal {
            id: self.id,
            created_lsn: self.created_lsn,
            attempt: self.number,
            now: TimestampMs(now),
            pin: self.pin.take(),
            actions,
        };
        step.proposals.push((proposal, false));
    }

    /// Does the next op or a part of it. `Some`: it waits for a completion.
    fn op(&mut self, around: &mut Around<'_>) -> Result<Option<u32>, Violation> {
        let op = self.ops[self.at];
        let completion = self.at as u32 * 2;
        if !self.issued {
            self.issue(op, completion, around)?;
            self.issued = true;
            if self.finished {
                return Ok(None);
            }
        }
        let awaited = match op {
            Op::Listen(_) if self.poked => None,
            Op::Read { lazy: true } | Op::Run | Op::Sleep(_) | Op::Listen(_) => Some(completion),
            Op::Watch { .. } if self.callee().is_some() => Some(completion),
            Op::Fulfil if self.results.contains_key(&completion) => Some(self.promised()),
            Op::Fulfil => Some(completion),
            Op::Call { wait: true, .. } => Some(completion + 1),
            // What follows is about the callee.
            Op::Call { wait: false, .. } if self.names_callee() => Some(completion),
            _ => None,
        };
        if let Some(awaited) = awaited {
            let Some(result) = self.results.get(&awaited) else {
                if op == Op::Run && !self.run(completion, around) {
                    return Ok(Some(awaited));
                }
                if self.cancelled && op != Op::Run {
                    self.at = self.ops.len() - 1;
                    self.ops[self.at] = Op::Output { fail: true };
                    self.issued = false;
                    return Ok(None);
                }
                return Ok(Some(awaited));
            };
            if let (Op::Read { .. }, NotificationResult::Value(list)) = (op, result) {
                self.list = list.clone();
            }
        }
        self.at += 1;
        self.issued = false;
        self.run_done_at = None;
        self.hinted = false;
        Ok(None)
    }

    /// Executes the side effect, which takes a while, then proposes its result once. `true`: the result is proposed.
    fn run(&mut self, completion: u32, around: &mut Around<'_>) -> bool {
        if self.proposed.contains_key(&completion) {
            self.run_done_at = None;
            return true;
        }
        let done_at = *self.run_done_at.get_or_insert(around.now + around.rng.delay(20));
        if around.now < done_at {
            return false;
        }
        // Another execution has another result.
        let value = Bytes::from(around.rng.next().to_le_bytes().to_vec());
        self.proposed.insert(completion, value.clone());
        let ack = around.rng.chance(700);
        self.actions.push(Action::RunResult { completion, result: Completion::Success(value), ack });
        self.run_done_at = None;
        true
    }

    /// The completion of the promise that is to be completed.
    fn promised(&self) -> u32 {
        let at = self.ops[..self.at].iter().rposition(|op| *op == Op::Promise);
        at.expect("one is asked for before it is completed") as u32 * 2
    }

    /// What the last one-way call made.
    fn callee(&self) -> Option<InvocationId> {
        let at = self.ops[..self.at].iter().rposition(|op| matches!(op, Op::Call { wait: false, .. }))?;
        match self.results.get(&(at as u32 * 2)) {
            Some(NotificationResult::InvocationId(id)) => Some(*id),
            _ => None,
        }
    }

    /// Something after this op is about what it calls.
    fn names_callee(&self) -> bool {
        self.ops[self.at..].iter().any(|op| matches!(op, Op::Watch { .. } | Op::Poke { .. }))
    }

    /// Sends the command of an op, or meets the one that an earlier attempt has sent.
    fn issue(&mut self, op: Op, completion: u32, around: &mut Around<'_>) -> Result<(), Violation> {
        let kind = match op {
            Op::Output { .. } => u8::MAX,
            _ => self.at as u8,
        };
        if let Some(raw) = self.recorded.pop_front() {
            self.next_index += 1;
            match raw.first() {
                Some(&found) if found == kind => {}
                // An earlier attempt was cancelled here.
                Some(&u8::MAX) if self.cancelled => self.at = self.ops.len() - 1,
                found => {
                    let what = format!("{} replays op {found:?} where {op:?} was sent", self.id);
                    return Err(Violation::new(Invariant::Journal, what));
                }
            }
            if let Op::Read { lazy: false } = op {
                self.list = raw.slice(TAG_LEN..);
            }
            self.finished = matches!(self.ops[self.at], Op::Output { .. });
            return Ok(());
        }
        let mut raw = Vec::with_capacity(64);
        raw.push(kind);
        raw.extend_from_slice(&self.uid.to_le_bytes());
        let (frame, effect) = self.command(op, completion, &mut raw, around);
        let action = Action::Command { index: self.next_index, ty: frame, raw: raw.into(), effect };
        self.actions.push(action);
        self.next_index += 1;
        self.finished = matches!(op, Op::Output { .. });
        Ok(())
    }

    /// A name of its own.
    fn promise(&self, completion: u32) -> Text {
        if matches!(self.target.kind, HandlerKind::Workflow | HandlerKind::Shared) {
            return "of all".into();
        }
        format!("{}-{completion}", self.id).into()
    }

    /// What the op's command does; its argument goes behind `raw`.
    fn command(&mut self, op: Op, completion: u32, raw: &mut Vec<u8>, around: &mut Around<'_>) -> (u16, CommandEffect) {
        let mut put = |bytes: &[u8]| {
            raw.extend_from_slice(bytes);
            Slice { at: (raw.len() - bytes.len()) as u32, len: bytes.len() as u32 }
        };
        match op {
            Op::Read { lazy: true } => (0x0402, CommandEffect::GetState { key: put(LOG_KEY), completion }),
            Op::Read { lazy: false } => {
                put(&self.state);
                self.list = self.state.clone();
                (0x0407, CommandEffect::None)
            }
            Op::Append => {
                let mut list = self.list.to_vec();
                list.extend_from_slice(&self.program.number.to_le_bytes());
                (0x0403, CommandEffect::SetState { key: put(LOG_KEY), value: put(&list) })
            }
            Op::Run => (0x0411, CommandEffect::Run { completion }),
            Op::Sleep(ms) => {
                let wake_at = TimestampMs(around.now + ms);
                (0x040C, CommandEffect::Sleep { wake_at, completion })
            }
            Op::Call { key, wait, delay } => {
                let input = self.program.callee_of(self.at, key.is_some());
                let parameter = put(&input.encode());
                let id_completion = completion;
                let result_completion = wait.then_some(completion + 1);
                let source = Source::Caller { id: self.id, target: self.target.clone(), completion: result_completion };
                let execute_at = (delay > 0).then(|| TimestampMs(around.now + delay));
                let invocation =
                    NewInvocation { execute_at, ..invocation(&input, key, source, around.now, around.rng) };
                let callee = Callee {
                    invocation: NewInvocation { value: Bytes::new(), ..invocation },
                    parameter,
                    id_completion,
                    result_completion,
                };
                (ty::CALL & 0x7fff, CommandEffect::Call(Box::new(callee)))
            }
            Op::Listen(ms) => {
                let wake_at = TimestampMs(around.now + ms);
                (0x040C, CommandEffect::Sleep { wake_at, completion })
            }
            Op::Watch { wait } => match (self.callee(), wait) {
                (None, _) => (0x0408, CommandEffect::None),
                (Some(target), true) => (0x0412, CommandEffect::Attach { target, completion }),
                (Some(target), false) => (0x0413, CommandEffect::GetOutput { target, completion }),
            },
            Op::Poke { cancel } => match self.callee() {
                None => (0x0408, CommandEffect::None),
                Some(target) => {
                    let index = if cancel { SIGNAL_CANCEL } else { SIGNAL_AWAKEABLE_FIRST };
                    let (signal, result) = (NotificationId::Signal(index), NotificationResult::Void);
                    (0x0410, CommandEffect::SendSignal { target, signal, result })
                }
            },
            Op::Promise => (0x0409, CommandEffect::GetPromise { key: self.promise(completion), completion }),
            Op::Fulfil => {
                let result = Completion::Success(Bytes::new());
                (0x040B, CommandEffect::CompletePromise { key: self.promise(self.promised()), result, completion })
            }
            Op::Output { fail } => {
                let value = (!fail).then(|| put(&self.program.number.to_le_bytes()));
                let failure = fail.then(|| Failure::new(500, "it says no"));
                (ty::OUTPUT, CommandEffect::Output { value, failure })
            }
        }
    }
}

/// A cancellation, or both completions.
fn cancel_or_all() -> Vec<AwaitNode> {
    let node = |combinator, leaves: &[u32], children, children_end| AwaitNode {
        combinator,
        leaves: leaves.to_vec(),
        children,
        children_end,
    };
    vec![node(Combinator::FirstCompleted, &[2], 1, 2), node(Combinator::AllCompleted, &[0, 1], 0, 0)]
}

fn error(message: &'static str) -> AttemptError {
    AttemptError {
        code: "RT0007".into(),
        status: 500,
        message: message.into(),
        stacktrace: Default::default(),
        related: None,
    }
}

/// A new invocation for a program; `key`: index of the object.
pub fn invocation(program: &Program, key: Option<u64>, source: Source, now: u64, rng: &mut Rng) -> NewInvocation {
    let service = Program::service(program.depth, program.keyed);
    let key_text = key.map(|key| format!("k{key}")).unwrap_or_default();
    let partition_key = match key {
        Some(_) => PartitionKey::new(&service, key_text.as_bytes()),
        None => PartitionKey::new(&service, &rng.next().to_le_bytes()),
    };
    let unique = ((u128::from(rng.next()) << 64) | u128::from(rng.next())).max(1);
    let kind = if key.is_some() { HandlerKind::Exclusive } else { HandlerKind::Plain };
    NewInvocation {
        id: InvocationId { key: partition_key, unique },
        target: Target { service: service.into(), handler: "h".into(), key: key_text.into(), kind },
        source,
        created_at: TimestampMs(now),
        execute_at: None,
        idempotency_key: None,
        completion_retention: rng.below(3) * 1_200_000,
        journal_retention: rng.below(3) * 900_000,
        random_seed: rng.next(),
        traceparent: None,
        headers: Vec::new(),
        value: program.encode(),
    }
}
