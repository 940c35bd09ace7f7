//! A few partitions that only apply: every batch is applied at once, outboxes are delivered by hand.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::ops::ControlFlow;

use bytes::Bytes;
use millrace_machine::{Answer, Effect, MemoryView, StateView, Txn};
use millrace_model::{
    ClusterId, Command, InvocationId, Lsn, PartitionId, PartitionKey, SourceId, SubscriptionId, Text, TimestampMs,
    command::{Action, AnnounceLeader, Attempt, Callee, CommandEffect, Known, Lane, Message, Slice, TerminateMode},
    invocation::{HandlerKind, Invocation, NewInvocation, RecordSource, Source, Target},
    journal::{Awaiting, Entry, Notification, NotificationId, NotificationResult},
    source::Budget,
    table::{Budgets, Expiries, Invocations, Journal, Outbox, OutboxLanes, Table},
};

pub const DAY: u64 = 86_400_000;

#[derive(Clone)]
pub struct World {
    pub parts: Vec<MemoryView>,
    pub now: u64,
    lsn: u64,
    unique: u128,
}

impl World {
    pub fn new(partitions: u16) -> Self {
        let parts = (0..partitions).map(|_| MemoryView::new()).collect();
        let mut world = Self { parts, now: 1_000_000, lsn: 0, unique: 0 };
        for p in 0..partitions {
            let announce = AnnounceLeader {
                cluster: ClusterId(1),
                node: "n".into(),
                address: "a".into(),
                partitions,
                now: TimestampMs(world.now),
                nonce: 0,
            };
            world.apply(p, Command::Announce(announce));
        }
        world
    }

    pub fn now(&self) -> TimestampMs {
        TimestampMs(self.now)
    }

    pub fn partitions(&self) -> u16 {
        self.parts.len() as u16
    }

    pub fn batch(&mut self, p: u16, commands: Vec<Command>) -> (Vec<Answer>, Vec<Effect>) {
        self.lsn += 10;
        let view = &self.parts[usize::from(p)];
        let mut txn = Txn::new(view, PartitionId(p), Lsn(self.lsn));
        let answers = commands.into_iter().map(|command| txn.apply(command).unwrap()).collect();
        let outcome = txn.finish().unwrap();
        self.parts[usize::from(p)].commit(&outcome.changes);
        (answers, outcome.effects)
    }

    pub fn apply(&mut self, p: u16, command: Command) -> (Answer, Vec<Effect>) {
        let (mut answers, effects) = self.batch(p, vec![command]);
        (answers.remove(0), effects)
    }

    pub fn get<T: Table>(&self, p: u16, key: &T::Key) -> Option<T::Row> {
        self.parts[usize::from(p)].get::<T>(key).unwrap()
    }

    pub fn row(&self, id: InvocationId) -> Option<Invocation> {
        self.get::<Invocations>(self.owner(id), &id)
    }

    pub fn owner(&self, id: InvocationId) -> u16 {
        id.key.partition(self.partitions()).0
    }

    pub fn budget(&self, p: u16) -> Budget {
        self.get::<Budgets>(p, &SUBSCRIPTION).unwrap_or_default()
    }

    /// An object handler's invocation.
    pub fn exclusive(&mut self, key: &str) -> NewInvocation {
        self.invocation(key, HandlerKind::Exclusive)
    }

    pub fn invocation(&mut self, key: &str, kind: HandlerKind) -> NewInvocation {
        self.unique += 1;
        let service = "S";
        NewInvocation {
            id: InvocationId { key: PartitionKey::new(service, key.as_bytes()), unique: self.unique },
            target: Target { service: service.into(), handler: "h".into(), key: key.into(), kind },
            source: Source::Ingress,
            created_at: self.now(),
            execute_at: None,
            idempotency_key: None,
            completion_retention: 0,
            journal_retention: DAY,
            random_seed: 7,
            traceparent: None,
            headers: Vec::new(),
            value: Bytes::from_static(b"input"),
        }
    }

    /// The same, made by a record that `reader` read.
    pub fn record(&mut self, key: &str, kind: HandlerKind, reader: u16, key_share: u32) -> NewInvocation {
        let new = self.invocation(key, kind);
        let source = RecordSource { subscription: SUBSCRIPTION, reader: PartitionId(reader), bytes: 10, key_share };
        NewInvocation { source: Source::Record(source), ..new }
    }

    pub fn invoke(&mut self, new: &NewInvocation) -> (Answer, Vec<Effect>) {
        let owner = self.owner(new.id);
        self.apply(owner, Command::Invoke { invocation: Box::new(new.clone()), known: Known::Fresh })
    }

    pub fn attempt(&mut self, id: InvocationId, attempt: u32, actions: Vec<Action>) -> Vec<Effect> {
        let created_lsn = self.row(id).map(|row| row.created_lsn).unwrap_or_default();
        self.attempt_of(id, created_lsn, attempt, actions)
    }

    pub fn attempt_of(&mut self, id: InvocationId, created: Lsn, attempt: u32, actions: Vec<Action>) -> Vec<Effect> {
        let (now, owner) = (self.now(), self.owner(id));
        let attempt = Attempt { id, created_lsn: created, attempt, now, pin: None, actions };
        self.apply(owner, Command::Attempt(Box::new(attempt))).1
    }

    /// Ends a running invocation whose next command index is `index`.
    pub fn end(&mut self, id: InvocationId) -> Vec<Effect> {
        let row = self.row(id).expect("it is active");
        self.attempt(id, row.attempt + 1, vec![output(row.commands, b"done"), Action::End])
    }

    /// What an attempt does, by its effect, with the next command index; the attempt is the next one.
    pub fn does(&mut self, id: InvocationId, effect: CommandEffect) -> Vec<Effect> {
        let row = self.row(id).expect("it is active");
        self.attempt(id, row.attempt.max(1), vec![command(row.commands, effect)])
    }

    /// The attempt suspends, having been sent everything up to `seen`.
    pub fn suspend(&mut self, id: InvocationId, awaiting: Awaiting, seen: u32) -> Vec<Effect> {
        let row = self.row(id).expect("it is active");
        self.attempt(id, row.attempt + 1, vec![Action::Suspend { awaiting, seen }])
    }

    /// Notifications in the journal, oldest first.
    pub fn notifications(&self, id: InvocationId) -> Vec<Notification> {
        let len = self.row(id).map_or(0, |row| row.journal_len);
        let entry = |index| self.get::<Journal>(self.owner(id), &(id, index)).expect("in the journal").entry;
        (0..len)
            .map(entry)
            .filter_map(|entry| if let Entry::Notification(n) = entry { Some(n) } else { None })
            .collect()
    }

    /// The last answer to a command of an invocation: frame type, completion id, result.
    pub fn answer(&self, id: InvocationId) -> (u16, u32, NotificationResult) {
        match self.notifications(id).pop() {
            Some(Notification { ty, id: NotificationId::Completion(id), result }) => (ty, id, result),
            other => panic!("no answer but {other:?}"),
        }
    }

    /// A signal from outside.
    pub fn signal(&mut self, id: InvocationId, signal: NotificationId, value: &'static [u8]) -> (Answer, Vec<Effect>) {
        let result = NotificationResult::Value(Bytes::from_static(value));
        let (now, owner) = (self.now(), self.owner(id));
        self.apply(owner, Command::Signal { target: id, signal, result, now })
    }

    pub fn kill(&mut self, id: InvocationId) -> Answer {
        let (now, owner) = (self.now(), self.owner(id));
        self.apply(owner, Command::Terminate { id, mode: TerminateMode::Kill, now }).0
    }

    /// `caller` calls `callee`, with completion ids 1 and 2 more than its commands; or sends to it.
    pub fn call(&mut self, caller: InvocationId, callee: &NewInvocation, waits: bool) -> u32 {
        let row = self.row(caller).expect("it is active");
        let completion = 10 * row.commands;
        let result_completion = waits.then_some(completion + 1);
        let source = Source::Caller { id: caller, target: row.target, completion: result_completion };
        let invocation = NewInvocation { source, value: Bytes::new(), ..callee.clone() };
        let parameter = Slice { at: 0, len: 0 };
        let callee = Callee { invocation, parameter, id_completion: completion, result_completion };
        self.does(caller, CommandEffect::Call(Box::new(callee)));
        self.shuffle();
        completion + 1
    }

    /// Ends the retentions that are over.
    pub fn expire(&mut self) {
        for p in 0..self.partitions() {
            let now = self.now();
            let mut rows = Vec::new();
            let scan = self.parts[usize::from(p)].scan::<Expiries>(None, &mut |key, ()| {
                rows.extend((key.at <= now).then_some(key));
                ControlFlow::Continue(())
            });
            scan.unwrap();
            self.apply(p, Command::Expire { now, rows });
        }
    }

    /// Delivers what waits in all outboxes until nothing does.
    pub fn shuffle(&mut self) {
        let n = self.partitions();
        loop {
            let mut moved = false;
            for from in 0..n {
                for to in 0..n {
                    for lane in [Lane::Events, Lane::Control] {
                        moved |= self.deliver(from, to, lane);
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub fn outbox(&self, from: u16, to: u16, lane: Lane) -> (u64, Vec<Message>) {
        let Some(ends) = self.get::<OutboxLanes>(from, &(PartitionId(to), lane)) else {
            return (1, Vec::new());
        };
        let message = |seq| self.get::<Outbox>(from, &(PartitionId(to), lane, seq)).unwrap();
        (ends.first, (ends.first..ends.next).map(message).collect())
    }

    fn deliver(&mut self, from: u16, to: u16, lane: Lane) -> bool {
        let (first, messages) = self.outbox(from, to, lane);
        if messages.is_empty() {
            return false;
        }
        let now = self.now();
        let deliver = Command::Deliver { from: PartitionId(from), lane, first, messages, now };
        let Answer::Delivered { next } = self.apply(to, deliver).0 else { panic!("an answer to a delivery") };
        self.apply(from, Command::TruncateOutbox { to: PartitionId(to), lane, upto: next - 1 });
        true
    }
}

pub const SUBSCRIPTION: SubscriptionId = SubscriptionId(9);

pub fn source_id() -> SourceId {
    SourceId { subscription: SUBSCRIPTION, cluster: "c".into(), topic_id: 5, source_partition: 0 }
}

pub fn output(index: u32, value: &'static [u8]) -> Action {
    let raw = Bytes::from_static(value);
    let slice = Slice { at: 0, len: raw.len() as u32 };
    Action::Command { index, ty: 0x0401, raw, effect: CommandEffect::Output { value: Some(slice), failure: None } }
}

pub fn command(index: u32, effect: CommandEffect) -> Action {
    Action::Command { index, ty: 0x0411, raw: Bytes::new(), effect }
}

pub fn starts(effects: &[Effect]) -> Vec<InvocationId> {
    effects.iter().filter_map(|e| if let Effect::Start { id } = e { Some(*id) } else { None }).collect()
}

pub fn text(text: &str) -> Text {
    text.into()
}
