//! Commands: everything that changes the state of a partition. One file per family.
//!
//! A command means for ever what it meant when it was appended; changed behaviour is a new tag.

mod attempt;
mod ingest;

use bytes::Bytes;

pub use attempt::{Action, Attempt, Callee, CommandEffect, Decision, Slice};
pub use ingest::{Ingest, IngestRecord, OpenSource, SeekReason, SeekSource};

use crate::{
    codec::{DecodeError, Input, Wire, wire_enum, wire_struct},
    ids::{ClusterId, DeploymentId, InvocationId, PartitionId, SubscriptionId},
    invocation::{NewInvocation, ObjectKey},
    journal::{NotificationId, NotificationResult},
    key::SourceId,
    source::Budget,
    state::StateEdit,
    table::{ExpiryKey, TimerKey},
    text::{Text, TimestampMs},
};

/// What a leader appends to begin its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceLeader {
    /// A foreign one stops the node.
    pub cluster: ClusterId,
    /// Name of the node.
    pub node: Text,
    /// Where other nodes reach it.
    pub address: Text,
    /// Number of engine partitions: compared, never changed.
    pub partitions: u16,
    /// The leader's clock.
    pub now: TimestampMs,
    /// Random: no two announcements are equal, so that one's own is known by its payload.
    pub nonce: u64,
}
wire_struct! { AnnounceLeader { cluster, node, address, partitions, now, nonce } }

/// Whether an id can have been used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Random and sent for the first time: nobody needs to look.
    Fresh,
    /// Deterministic, or sent again: a known id is answered as accepted.
    Maybe,
}
wire_enum!(Known { 1 => Fresh, 2 => Maybe, });

/// How an invocation is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminateMode {
    /// The handler is told and may compensate; what has not started ends at once.
    Cancel,
    /// At once.
    Kill,
}
wire_enum!(TerminateMode { 1 => Cancel, 2 => Kill, });

/// The two ways between partitions. Only events may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Records for keys of another partition.
    Events,
    /// Calls, responses, signals, settlements.
    Control,
}
wire_enum!(Lane { 1 => Events, 2 => Control, });

/// What one partition tells another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A record of a source, or a call of a handler.
    Invoke(Box<NewInvocation>),
    /// What an invocation asked another one for: the result of a call or of an attach, or a look at a result.
    CallResult {
        /// Who asked.
        caller: InvocationId,
        /// Its completion id.
        completion: u32,
        /// The answer.
        result: NotificationResult,
    },
    /// How the records of a reader moved at the owner of their keys.
    Settle {
        /// Whose budgets.
        subscription: SubscriptionId,
        /// To be added.
        change: Budget,
    },
    /// A signal, or with index 1 a cancellation.
    Signal {
        /// Who gets it.
        target: InvocationId,
        /// By number or by name.
        signal: NotificationId,
        /// Its value.
        result: NotificationResult,
    },
    /// Its caller was killed.
    Kill {
        /// Who ends.
        target: InvocationId,
    },
    /// Somebody wants the result, now or when it is there.
    Attach {
        /// Whose.
        target: InvocationId,
        /// Who wants it.
        caller: InvocationId,
        /// Its completion id.
        completion: u32,
    },
    /// Somebody wants the result if it is there.
    GetOutput {
        /// Whose.
        target: InvocationId,
        /// Who wants it.
        caller: InvocationId,
        /// Its completion id.
        completion: u32,
    },
}
wire_enum!(Message {
    1 => Invoke(invocation),
    2 => CallResult { caller, completion, result },
    3 => Settle { subscription, change },
    4 => Signal { target, signal, result },
    5 => Kill { target },
    6 => Attach { target, caller, completion },
    7 => GetOutput { target, caller, completion },
});

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begins an epoch. Alone in its batch.
    Announce(AnnounceLeader),
    /// A call over HTTP.
    Invoke {
        /// What is to be.
        invocation: Box<NewInvocation>,
        /// Whether to look for it first.
        known: Known,
    },
    /// What an attempt sent.
    Attempt(Box<Attempt>),
    /// Timers that are due by the leader's clock.
    FireTimers {
        /// The leader's clock; a later timer stays.
        now: TimestampMs,
        /// Which.
        timers: Vec<TimerKey>,
    },
    /// Messages of another partition.
    Deliver {
        /// Whose outbox.
        from: PartitionId,
        /// Which lane.
        lane: Lane,
        /// Sequence number of the first; the others follow without gaps.
        first: u64,
        /// In order.
        messages: Vec<Message>,
        /// The receiving leader's clock.
        now: TimestampMs,
    },
    /// The destination has everything up to a sequence number.
    TruncateOutbox {
        /// Where the messages went.
        to: PartitionId,
        /// Which lane.
        lane: Lane,
        /// Last one that is there.
        upto: u64,
    },
    /// Fixes where a source starts, once.
    OpenSource(OpenSource),
    /// Records.
    Ingest(Box<Ingest>),
    /// Opens the next generation of a source.
    SeekSource(SeekSource),
    /// Removes a source.
    CloseSource {
        /// Which.
        source: SourceId,
    },
    /// Ends an invocation from outside.
    Terminate {
        /// Which.
        id: InvocationId,
        /// How.
        mode: TerminateMode,
        /// The proposer's clock.
        now: TimestampMs,
    },
    /// Starts a paused, suspended or backing-off invocation at once.
    Resume {
        /// Which.
        id: InvocationId,
        /// Where its attempts go from now on; it must speak the pinned protocol version, which the proposer has seen to.
        deployment: Option<DeploymentId>,
        /// The proposer's clock.
        now: TimestampMs,
    },
    /// Removes an ended invocation.
    Purge {
        /// Which.
        id: InvocationId,
        /// The proposer's clock.
        now: TimestampMs,
    },
    /// Removes the journal of an ended invocation.
    PurgeJournal {
        /// Which.
        id: InvocationId,
        /// The proposer's clock.
        now: TimestampMs,
    },
    /// Retentions that are over by the leader's clock.
    Expire {
        /// The leader's clock; a later one stays.
        now: TimestampMs,
        /// Which.
        rows: Vec<ExpiryKey>,
    },
    /// Holds a running, suspended or backing-off invocation.
    Pause {
        /// Which.
        id: InvocationId,
        /// The proposer's clock.
        now: TimestampMs,
    },
    /// A signal from outside: completes an awakeable, or cancels.
    Signal {
        /// Who gets it.
        target: InvocationId,
        /// By number or by name; never a completion.
        signal: NotificationId,
        /// Its value.
        result: NotificationResult,
        /// The proposer's clock.
        now: TimestampMs,
    },
    /// Edits the state of a key in turn with its handlers.
    MutateState {
        /// Which.
        object: ObjectKey,
        /// How.
        edit: StateEdit,
        /// The proposer's clock.
        now: TimestampMs,
    },
    /// Makes a new invocation from the input of one that has ended.
    RestartAsNew(RestartAsNew),
    /// The broker has acknowledged dead letters.
    LettersWritten {
        /// Whose.
        subscription: SubscriptionId,
        /// Which.
        ids: Vec<InvocationId>,
    },
    /// A subscription is gone: nobody looks at how its records ended any more.
    ForgetSubscription {
        /// Which.
        subscription: SubscriptionId,
    },
}
wire_enum!(Command {
    1 => Announce(announce),
    2 => Invoke { invocation, known },
    3 => Attempt(attempt),
    4 => FireTimers { now, timers },
    5 => Deliver { from, lane, first, messages, now },
    6 => TruncateOutbox { to, lane, upto },
    7 => OpenSource(open),
    8 => Ingest(ingest),
    9 => SeekSource(seek),
    10 => CloseSource { source },
    11 => Terminate { id, mode, now },
    12 => Resume { id, deployment, now },
    13 => Purge { id, now },
    14 => PurgeJournal { id, now },
    15 => Expire { now, rows },
    16 => Pause { id, now },
    17 => Signal { target, signal, result, now },
    18 => MutateState { object, edit, now },
    19 => RestartAsNew(restart),
    30 => LettersWritten { subscription, ids },
    31 => ForgetSubscription { subscription },
});

/// See [`Command::RestartAsNew`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartAsNew {
    /// The one that has ended.
    pub id: InvocationId,
    /// The new one; it has the same partition key.
    pub new: InvocationId,
    /// Journal index up to which entries are copied, it included; 0 is the input alone.
    pub from: u32,
    /// Where it runs, if the old one was pinned; it must speak the pinned protocol version. `None`: what has a copied
    /// prefix stays where it was, else it is as for any new invocation.
    pub deployment: Option<DeploymentId>,
    /// Of the new one.
    pub random_seed: u64,
    /// The proposer's clock.
    pub now: TimestampMs,
}
wire_struct! { RestartAsNew { id, new, from, deployment, random_seed, now } }

/// First byte of an encoded batch.
const BATCH_VERSION: u8 = 1;

/// The payload of a log batch: a version, then commands until the end.
#[derive(Default)]
pub struct BatchEncoder {
    bytes: Vec<u8>,
    commands: usize,
}

impl BatchEncoder {
    /// Adds a command.
    pub fn push(&mut self, command: &Command) {
        if self.bytes.is_empty() {
            self.bytes.push(BATCH_VERSION);
        }
        command.put(&mut self.bytes);
        self.commands += 1;
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Commands so far.
    pub fn commands(&self) -> usize {
        self.commands
    }

    /// No command yet.
    pub fn is_empty(&self) -> bool {
        self.commands == 0
    }

    /// The payload.
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

/// Inverse of [`BatchEncoder`]. An unknown command is an error: a follower stops on it, it does not skip.
pub fn decode_batch(payload: Bytes) -> Result<Vec<Command>, DecodeError> {
    let mut input = Input::new(payload);
    match input.tag()? {
        BATCH_VERSION => {}
        tag => return Err(DecodeError::UnknownTag { of: "batch", tag }),
    }
    let mut commands = Vec::new();
    while input.remaining() > 0 {
        commands.push(Command::get(&mut input)?);
    }
    Ok(commands)
}
