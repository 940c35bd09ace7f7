//! The variants of every stored enum. A new one does not compile until it has a line here, and then the golden test
//! fails until it has a sample.

use millrace_model::{
    Command,
    command::{Action, CommandEffect, Decision, IngestRecord, Known, Lane, Message, SeekReason, TerminateMode},
    invocation::{HandlerKind, Pending, Promise, Source, Status, Waiting},
    journal::{Combinator, Completion, Entry, NotificationId, NotificationResult},
    source::{FailurePolicy, RejectReason},
    table::{ExpiryKind, TimerKind},
};

pub trait Variants {
    const TYPE: &'static str;
    const NAMES: &'static [&'static str];
    fn variant(&self) -> &'static str;
}

macro_rules! variants {
    ($($type:ident { $($variant:ident),* $(,)? })*) => {$(
        impl Variants for $type {
            const TYPE: &'static str = stringify!($type);
            const NAMES: &'static [&'static str] = &[$(stringify!($variant)),*];
            fn variant(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant),)*
                }
            }
        }
    )*};
}

variants! {
    Command {
        Announce, Invoke, Attempt, FireTimers, Deliver, TruncateOutbox, OpenSource, Ingest, SeekSource, CloseSource,
        Terminate, Resume, Purge, PurgeJournal, Expire, Pause, Signal, MutateState, RestartAsNew,
        LettersWritten, ForgetSubscription,
    }
    Message { Invoke, CallResult, Settle, Signal, Kill, Attach, GetOutput }
    Action { Command, RunResult, AwaitingOn, Suspend, End, Fail, EndBy }
    CommandEffect {
        None, Output, SetState, ClearState, ClearAllState, GetState, GetStateKeys, Sleep, Run, Call,
        GetPromise, PeekPromise, CompletePromise, SendSignal, Attach, GetOutput,
    }
    Decision { RetryAt, Pause, Fail, Settle }
    FailurePolicy { Park, DeadLetter, Skip }
    IngestRecord { Invoke, Reject, Letter }
    SeekReason { Operator, Trimmed, Truncated }
    RejectReason { NullKey, KeyNotUtf8, TooLarge }
    Known { Fresh, Maybe }
    Lane { Events, Control }
    TerminateMode { Cancel, Kill }
    HandlerKind { Plain, Exclusive, Shared, Workflow }
    Source { Ingress, Record, Caller, RestartAsNew }
    Pending { Run, Sleep, Call, Attach, Output, Promise }
    Status { Scheduled, Inboxed, Running, Suspended, BackingOff, Paused }
    Completion { Success, Failure }
    NotificationId { Completion, Signal, Named }
    NotificationResult { Void, Value, Failure, InvocationId, StateKeys }
    Entry { Input, Command, Notification }
    TimerKind { Start, Retry, Sleep }
    ExpiryKind { Journal, Invocation, Workflow }
    Combinator { Unknown, FirstCompleted, AllCompleted, FirstSucceededOrAllFailed, AllSucceededOrFirstFailed }
    Waiting { Invocation, Edit }
    Promise { Awaited, Completed }
}
