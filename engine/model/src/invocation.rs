//! Rows about invocations: what is active, what has ended, who holds a key.

use bytes::Bytes;

use crate::{
    codec::{wire_enum, wire_struct},
    ids::{DeploymentId, InvocationId, PartitionId, SubscriptionId},
    journal::{Awaiting, Completion, Header},
    lsn::Lsn,
    ranges::IndexRanges,
    state::StateEdit,
    text::{Text, TimestampMs},
};

/// How a handler may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HandlerKind {
    /// Of a service: no key, no state, any number at once.
    Plain,
    /// Of an object: one at a time per key, may write state.
    Exclusive,
    /// Of an object or workflow: any number at once, reads state.
    Shared,
    /// The run handler of a workflow: once per key.
    Workflow,
}
wire_enum!(HandlerKind { 1 => Plain, 2 => Exclusive, 3 => Shared, 4 => Workflow, });

impl HandlerKind {
    /// Takes the lock of its key.
    pub fn is_exclusive(self) -> bool {
        matches!(self, Self::Exclusive | Self::Workflow)
    }

    /// Has a key and state.
    pub fn is_keyed(self) -> bool {
        self != Self::Plain
    }
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Service, object or workflow.
    pub service: Text,
    /// Its handler.
    pub handler: Text,
    /// Object key or workflow id; empty for a plain service, and allowed to be empty for the others.
    pub key: Text,
    /// Fixed when the invocation was made.
    pub kind: HandlerKind,
}
wire_struct! { Target { service, handler, key, kind } }

impl Target {
    /// Whose lock and state it uses, if it is keyed.
    pub fn object(&self) -> Option<ObjectKey> {
        self.kind.is_keyed().then(|| ObjectKey { service: self.service.clone(), key: self.key.clone() })
    }
}

/// One virtual object or workflow: what has a lock, an inbox and state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Object or workflow.
    pub service: Text,
    /// Its key.
    pub key: Text,
}
wire_struct! { ObjectKey { service, key } }

/// Who made an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A caller over HTTP.
    Ingress,
    /// A record.
    Record(RecordSource),
    /// Another handler.
    Caller {
        /// Which invocation.
        id: InvocationId,
        /// What it runs.
        target: Target,
        /// Where it wants the result; `None` for a one-way call.
        completion: Option<u32>,
    },
    /// An operator, from the input of one that has ended.
    RestartAsNew {
        /// The one that has ended.
        from: InvocationId,
    },
}
wire_enum!(Source {
    1 => Ingress,
    2 => Record(record),
    3 => Caller { id, target, completion },
    4 => RestartAsNew { from },
});

/// Which record, and how it counts in its subscription's budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSource {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The partition that read it and keeps its budgets.
    pub reader: PartitionId,
    /// Its share of the byte budgets: key, value and headers.
    pub bytes: u32,
    /// How many records of one key may count as ready; the others are held.
    pub key_share: u32,
}
wire_struct! { RecordSource { subscription, reader, bytes, key_share } }

/// An invocation that is to be: fixed for ever when it is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInvocation {
    /// Its name.
    pub id: InvocationId,
    /// What it runs.
    pub target: Target,
    /// Who made it.
    pub source: Source,
    /// The proposer's clock.
    pub created_at: TimestampMs,
    /// Not before this.
    pub execute_at: Option<TimestampMs>,
    /// Given by the caller.
    pub idempotency_key: Option<Text>,
    /// How long the result is kept, milliseconds.
    pub completion_retention: u64,
    /// How long the journal is kept after the end, milliseconds.
    pub journal_retention: u64,
    /// The same for all attempts.
    pub random_seed: u64,
    /// W3C trace context of who made it.
    pub traceparent: Option<Text>,
    /// Of journal entry 0.
    pub headers: Vec<Header>,
    /// Of journal entry 0.
    pub value: Bytes,
}
wire_struct! {
    NewInvocation {
        id, target, source, created_at, execute_at, idempotency_key, completion_retention, journal_retention,
        random_seed, traceparent, headers, value,
    }
}

/// The deployment and protocol version of an invocation, fixed by its first durable effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Where its attempts go.
    pub deployment: DeploymentId,
    /// Service protocol version, 5 to 7.
    pub protocol_version: u32,
}
wire_struct! { Pin { deployment, protocol_version } }

/// A result that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A step whose result the handler will propose.
    Run,
    /// A timer.
    Sleep {
        /// When it fires.
        wake_at: TimestampMs,
    },
    /// A callee's result.
    Call {
        /// The callee.
        id: InvocationId,
    },
    /// The result of an invocation that somebody else made.
    Attach {
        /// Which.
        id: InvocationId,
    },
    /// A look at the result of an invocation.
    Output {
        /// Which.
        id: InvocationId,
    },
    /// A promise of the workflow.
    Promise {
        /// Its name.
        name: Text,
    },
}
wire_enum!(Pending {
    1 => Run,
    2 => Sleep { wake_at },
    3 => Call { id },
    4 => Attach { id },
    5 => Output { id },
    6 => Promise { name },
});

/// Where an active invocation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Starts at a time.
    Scheduled {
        /// When.
        at: TimestampMs,
    },
    /// Waits for its key.
    Inboxed {
        /// Its place in the inbox.
        seq: u64,
    },
    /// An attempt runs or is to start.
    Running,
    /// Waits for a notification, without an attempt.
    Suspended,
    /// An attempt failed; the next one starts at a time.
    BackingOff {
        /// When.
        at: TimestampMs,
    },
    /// Waits for an operator.
    Paused,
}
wire_enum!(Status {
    1 => Scheduled { at },
    2 => Inboxed { seq },
    3 => Running,
    4 => Suspended,
    5 => BackingOff { at },
    6 => Paused,
});

/// The last failure of an attempt, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// One of `codes`, such as `RT0007`.
    pub code: Text,
    /// HTTP-like, from the SDK or the endpoint.
    pub status: u32,
    /// What happened.
    pub message: Text,
    /// Of user code, if the SDK sent it.
    pub stacktrace: Text,
    /// The command concerned: index among commands, name, frame type.
    pub related: Option<RelatedCommand>,
}
wire_struct! { AttemptError { code, status, message, stacktrace, related } }

/// The command that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelatedCommand {
    /// Among commands, Input is 0.
    pub index: Option<u32>,
    /// Given by user code.
    pub name: Option<Text>,
    /// Frame type.
    pub ty: Option<u32>,
}
wire_struct! { RelatedCommand { index, name, ty } }

/// Counters that decide about retries and that SDKs see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// Failed attempts since the last start or resume.
    pub failed: u32,
    /// Failed attempts since the last command was stored.
    pub failed_since_entry: u32,
}
wire_struct! { Retries { failed, failed_since_entry } }

/// When an invocation came to where, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Milestones {
    /// It was scheduled.
    pub scheduled_at: Option<TimestampMs>,
    /// For when.
    pub scheduled_start_at: Option<TimestampMs>,
    /// It was put into the inbox of its key.
    pub inboxed_at: Option<TimestampMs>,
    /// It could run for the first time.
    pub running_at: Option<TimestampMs>,
}
wire_struct! { Milestones { scheduled_at, scheduled_start_at, inboxed_at, running_at } }

/// Who gets the result besides those who wait over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultSink {
    /// The caller.
    pub caller: InvocationId,
    /// Its completion id.
    pub completion: u32,
}
wire_struct! { ResultSink { caller, completion } }

/// An invocation that has not ended. This table is the index of what is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// LSN of the batch that made it: with the attempt number the fence of its attempts.
    pub created_lsn: Lsn,
    /// The proposer's clock.
    pub created_at: TimestampMs,
    /// Time of the last command that changed it.
    pub modified_at: TimestampMs,
    /// Where it has been.
    pub milestones: Milestones,
    /// What it runs.
    pub target: Target,
    /// Who made it.
    pub source: Source,
    /// Given by the caller.
    pub idempotency_key: Option<Text>,
    /// Milliseconds.
    pub completion_retention: u64,
    /// Milliseconds.
    pub journal_retention: u64,
    /// The same for all attempts.
    pub random_seed: u64,
    /// W3C trace context.
    pub traceparent: Option<Text>,
    /// Where it stands.
    pub status: Status,
    /// Entries in the journal.
    pub journal_len: u32,
    /// Commands among them; Input counts.
    pub commands: u32,
    /// Index of the last notification; 0 before the first. [`crate::journal::JournalRow::previous`] leads on from it.
    pub last_notification: u32,
    /// Awakeables that have been completed, by signal index.
    pub awakeables: IndexRanges,
    /// Time of the last command stored.
    pub last_entry_at: TimestampMs,
    /// Highest attempt that has proposed anything; 0 before the first.
    pub attempt: u32,
    /// When that attempt proposed something first.
    pub last_start_at: Option<TimestampMs>,
    /// The attempt did what it may not; only its failure is still taken.
    pub refused: bool,
    /// Fixed by the first durable effect.
    pub pin: Option<Pin>,
    /// Results that are to come, by completion id, in the order of their commands.
    pub pending: Vec<(u32, Pending)>,
    /// What it waits for: of a suspension, or the latest hint of a running attempt. Empty as soon as one is there.
    pub awaiting: Option<Awaiting>,
    /// The last Output, published at the end.
    pub output: Option<Completion>,
    /// Callers that wait.
    pub sinks: Vec<ResultSink>,
    /// About retries.
    pub retries: Retries,
    /// The last failed attempt.
    pub last_error: Option<AttemptError>,
}
wire_struct! {
    Invocation {
        created_lsn, created_at, modified_at, milestones, target, source, idempotency_key, completion_retention,
        journal_retention, random_seed, traceparent, status, journal_len, commands, last_notification, awakeables,
        last_entry_at, attempt, last_start_at, refused, pin, pending, awaiting, output, sinks, retries, last_error,
    }
}

/// An invocation that has ended, until its retention is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// LSN of the batch that made it.
    pub created_lsn: Lsn,
    /// The proposer's clock.
    pub created_at: TimestampMs,
    /// When it ended.
    pub completed_at: TimestampMs,
    /// Where it has been.
    pub milestones: Milestones,
    /// What it ran.
    pub target: Target,
    /// Who made it.
    pub source: Source,
    /// Given by the caller.
    pub idempotency_key: Option<Text>,
    /// Milliseconds.
    pub completion_retention: u64,
    /// Milliseconds.
    pub journal_retention: u64,
    /// The same for all attempts; also tells a repeated command from a later call with the same id.
    pub random_seed: u64,
    /// W3C trace context.
    pub traceparent: Option<Text>,
    /// Where it ran last.
    pub pin: Option<Pin>,
    /// Attempts that proposed anything.
    pub attempts: u32,
    /// Entries kept; 0 once the journal is gone.
    pub journal_len: u32,
    /// Commands that it had, Input included.
    pub commands: u32,
    /// It ended before it started: kept so that its command is known, and not shown.
    pub unstarted: bool,
    /// How it ended.
    pub result: Completion,
    /// Until when the result answers repeats of the call.
    pub result_until: TimestampMs,
    /// When this row is removed: behind every retention, and at least 10 minutes after the end.
    pub expires_at: TimestampMs,
    /// When the journal is removed.
    pub journal_expires_at: TimestampMs,
}
wire_struct! {
    Completed {
        created_lsn, created_at, completed_at, milestones, target, source, idempotency_key, completion_retention,
        journal_retention, random_seed, traceparent, pin, attempts, journal_len, commands, unstarted, result,
        result_until, expires_at, journal_expires_at,
    }
}

impl Completed {
    /// Until when people see it: the row itself may stay longer, so that its id is known.
    pub fn shown_until(&self) -> TimestampMs {
        if self.unstarted {
            return self.completed_at;
        }
        self.completed_at.after(self.completion_retention.max(self.journal_retention))
    }
}

/// What waits at a place of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// An invocation.
    Invocation(InvocationId),
    /// An edit of the state.
    Edit(Box<StateEdit>),
}
wire_enum!(Waiting { 1 => Invocation(id), 2 => Edit(edit), });

/// A durable promise of a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Not completed. Who waits for it.
    Awaited(Vec<ResultSink>),
    /// For good.
    Completed(Completion),
}
wire_enum!(Promise { 1 => Awaited(waiters), 2 => Completed(result), });

/// Unsettled records of one subscription, read by one partition, at one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLoad {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Who keeps its budgets.
    pub reader: PartitionId,
    /// How many of them may count as ready.
    pub key_share: u32,
    /// Records, the running one included.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}
wire_struct! { KeyLoad { subscription, reader, key_share, records, bytes } }

/// The lock of a key and the ends of its inbox. Absent: free, nobody waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Who runs.
    pub holder: InvocationId,
    /// The next place to look at in the inbox.
    pub head: u64,
    /// The next place to give out. Places of invocations that were killed while waiting are empty.
    pub tail: u64,
    /// The holder fails or is paused: what waits counts as held.
    pub blocked: bool,
    /// How its records count.
    pub loads: Vec<KeyLoad>,
}
wire_struct! { Lock { holder, head, tail, blocked, loads } }
