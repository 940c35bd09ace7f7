//! What an attempt proposes.

use bytes::Bytes;

use crate::{
    codec::{wire_enum, wire_struct},
    ids::InvocationId,
    invocation::{AttemptError, NewInvocation, Pin},
    journal::{Awaiting, Completion, Failure, NotificationId, NotificationResult},
    lsn::Lsn,
    source::FailurePolicy,
    text::{Text, TimestampMs},
};

/// Everything an attempt has sent since its last proposal, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whose.
    pub id: InvocationId,
    /// Of the invocation as the attempt knows it; another one is void.
    pub created_lsn: Lsn,
    /// A lower number than one that has proposed is void.
    pub attempt: u32,
    /// The leader's clock.
    pub now: TimestampMs,
    /// On the first proposal of an invocation that is not pinned.
    pub pin: Option<Pin>,
    /// In order.
    pub actions: Vec<Action>,
}
wire_struct! { Attempt { id, created_lsn, attempt, now, pin, actions } }

/// A part of a command's raw payload, so that a payload stands in the log once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First byte.
    pub at: u32,
    /// Bytes.
    pub len: u32,
}
wire_struct! { Slice { at, len } }

impl Slice {
    /// Where `part`, a slice of `whole`, stands in it. `None` if it is no part of it.
    pub fn of(part: &Bytes, whole: &Bytes) -> Option<Self> {
        if part.is_empty() {
            return Some(Self { at: 0, len: 0 });
        }
        let at = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        let end = at.checked_add(part.len())?;
        (end <= whole.len()).then_some(Self { at: u32::try_from(at).ok()?, len: u32::try_from(part.len()).ok()? })
    }

    /// The part. Empty if `whole` is shorter: no reader may fail on a stored command.
    pub fn within(self, whole: &Bytes) -> Bytes {
        let end = (self.at as usize).saturating_add(self.len as usize).min(whole.len());
        whole.slice((self.at as usize).min(end)..end)
    }
}

/// One thing that an attempt did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A command for the journal.
    Command {
        /// The command index it must get; Input has 0.
        index: u32,
        /// Frame type.
        ty: u16,
        /// Its payload as received.
        raw: Bytes,
        /// What it does besides being stored.
        effect: CommandEffect,
    },
    /// The result of a step.
    RunResult {
        /// Of the Run command.
        completion: u32,
        /// The result.
        result: Completion,
        /// The SDK wants an acknowledgement in place of the notification.
        ack: bool,
    },
    /// A hint: what it waits for while the stream is open.
    AwaitingOn {
        /// The leaves; `None` while a side effect runs.
        awaiting: Option<Awaiting>,
        /// As in `Suspend`.
        seen: u32,
    },
    /// It ended by suspending.
    Suspend {
        /// What wakes it.
        awaiting: Awaiting,
        /// Journal index behind the last entry that the attempt was sent: a listed notification that stands there or
        /// later wakes it at once.
        seen: u32,
    },
    /// It ended well.
    End,
    /// It failed.
    Fail {
        /// What follows from it.
        decision: Decision,
        /// Why.
        error: AttemptError,
        /// User code may have run: counts for the retries that SDKs see.
        counts: bool,
    },
    /// It ended well, and is that of a record: if its output is a failure, the policy says what follows.
    EndBy {
        /// Of the record's subscription, at that moment.
        policy: FailurePolicy,
    },
}
wire_enum!(Action {
    1 => Command { index, ty, raw, effect },
    2 => RunResult { completion, result, ack },
    3 => AwaitingOn { awaiting, seen },
    4 => Suspend { awaiting, seen },
    5 => End,
    6 => Fail { decision, error, counts },
    7 => EndBy { policy },
});

/// What follows from a failed attempt; decided when it failed, from the policy of that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Another attempt.
    RetryAt(TimestampMs),
    /// An operator must look at it.
    Pause,
    /// It ends with this failure.
    Fail(Failure),
    /// The invocation of a record failed for good: its subscription's policy of that moment says what follows.
    Settle {
        /// Why.
        failure: Failure,
        /// What follows.
        policy: FailurePolicy,
    },
}
wire_enum!(Decision { 1 => RetryAt(at), 2 => Pause, 3 => Fail(failure), 4 => Settle { failure, policy }, });

/// What a command does besides being stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEffect {
    /// Nothing.
    None,
    /// The result, if the invocation ends.
    Output {
        /// Success: a slice of the command.
        value: Option<Slice>,
        /// Or the failure.
        failure: Option<Failure>,
    },
    /// Writes a state value.
    SetState {
        /// Slice of the command.
        key: Slice,
        /// Slice of the command.
        value: Slice,
    },
    /// Removes a state value.
    ClearState {
        /// Slice of the command.
        key: Slice,
    },
    /// Removes all state of the key.
    ClearAllState,
    /// Reads a state value.
    GetState {
        /// Slice of the command.
        key: Slice,
        /// Answered at once.
        completion: u32,
    },
    /// Lists state keys.
    GetStateKeys {
        /// Answered at once.
        completion: u32,
    },
    /// A timer.
    Sleep {
        /// When it fires.
        wake_at: TimestampMs,
        /// Answered then.
        completion: u32,
    },
    /// A step; its result will be proposed.
    Run {
        /// Answered then.
        completion: u32,
    },
    /// A call or a send.
    Call(Box<Callee>),
    /// Waits for a promise of the workflow.
    GetPromise {
        /// Its name.
        key: Text,
        /// Answered when it is completed.
        completion: u32,
    },
    /// Looks at a promise of the workflow.
    PeekPromise {
        /// Its name.
        key: Text,
        /// Answered at once.
        completion: u32,
    },
    /// Completes a promise of the workflow, unless it is completed.
    CompletePromise {
        /// Its name.
        key: Text,
        /// What who waits for it gets.
        result: Completion,
        /// Answered at once: void, or a failure with code 409.
        completion: u32,
    },
    /// Sends a signal: an awakeable's completion, a named one, or with [`crate::journal::SIGNAL_CANCEL`] a cancellation.
    SendSignal {
        /// Who gets it.
        target: InvocationId,
        /// By number or by name; never a completion.
        signal: NotificationId,
        /// Its value.
        result: NotificationResult,
    },
    /// Waits for the result of an invocation.
    Attach {
        /// Whose.
        target: InvocationId,
        /// Answered when it has ended; a failure with code 404 if it is not known.
        completion: u32,
    },
    /// Looks at the result of an invocation.
    GetOutput {
        /// Whose.
        target: InvocationId,
        /// Answered at once or nearly: void while it has not ended, a failure with code 404 if it is not known.
        completion: u32,
    },
}
wire_enum!(CommandEffect {
    1 => None,
    2 => Output { value, failure },
    3 => SetState { key, value },
    4 => ClearState { key },
    5 => ClearAllState,
    6 => GetState { key, completion },
    7 => GetStateKeys { completion },
    8 => Sleep { wake_at, completion },
    9 => Run { completion },
    10 => Call(callee),
    11 => GetPromise { key, completion },
    12 => PeekPromise { key, completion },
    13 => CompletePromise { key, result, completion },
    14 => SendSignal { target, signal, result },
    15 => Attach { target, completion },
    16 => GetOutput { target, completion },
});

/// What is called, resolved from the metadata when the command came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callee {
    /// With an empty `value`: the parameter is a slice of the command. Its source names the caller.
    pub invocation: NewInvocation,
    /// Slice of the command.
    pub parameter: Slice,
    /// Answered at once with the callee's id.
    pub id_completion: u32,
    /// Answered with the callee's result; `None` for a one-way call.
    pub result_completion: Option<u32>,
}
wire_struct! { Callee { invocation, parameter, id_completion, result_completion } }
