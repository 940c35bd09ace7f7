//! What a batch wants done in the world, after it is in the store, by the leader alone.

use millrace_model::{
    InvocationId, PartitionId, SourceId, SubscriptionId, TimestampMs,
    command::{Lane, Message},
    invocation::{AttemptError, Target},
    journal::{Completion, JournalRow},
    table::TimerKey,
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An attempt is to start: the invocation is running and has none.
    Start {
        /// Which.
        id: InvocationId,
    },
    /// The journal of a running invocation got a notification.
    Forward {
        /// Which.
        id: InvocationId,
        /// Its place in the journal.
        index: u32,
        /// The entry.
        row: JournalRow,
        /// The attempt that proposed it wants an acknowledgement in its place; others get the entry.
        ack: Option<u32>,
    },
    /// The attempt may not go on: reset its stream. No proposal of it counts any more.
    Abort {
        /// Which.
        id: InvocationId,
    },
    /// The attempt did what it may not: it must fail with this error, which is its only proposal that still counts.
    Refuse {
        /// Which.
        id: InvocationId,
        /// The attempt.
        attempt: u32,
        /// What was wrong.
        error: AttemptError,
    },
    /// An invocation has ended: tell who waits.
    Ended {
        /// Which.
        id: InvocationId,
        /// What it ran.
        target: Target,
        /// How.
        result: Completion,
        /// Until when the result answers repeats.
        result_until: TimestampMs,
    },
    /// A timer was set.
    SetTimer {
        /// It.
        key: TimerKey,
    },
    /// A message for another partition is in the outbox.
    Send {
        /// Where it goes.
        to: PartitionId,
        /// Which lane.
        lane: Lane,
        /// Its sequence number.
        seq: u64,
        /// The message.
        message: Message,
    },
    /// A source moved: position, generation, or it is gone.
    Source {
        /// Which.
        source: SourceId,
    },
    /// A dead letter is there to be written.
    Letter {
        /// Whose.
        subscription: SubscriptionId,
    },
    /// The budgets of a subscription changed.
    Budget {
        /// Which.
        subscription: SubscriptionId,
    },
}

/// What the proposer of a command is told once it is applied.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// An invocation is there.
    Accepted {
        /// It was there before this command.
        known: bool,
        /// When it starts, if it is still scheduled.
        execute_at: Option<TimestampMs>,
        /// If it has ended.
        ended: Option<Box<Past>>,
    },
    /// Done.
    Done,
    /// It takes effect when the handler reacts.
    Asynchronous,
    /// Not possible.
    Refused(Refusal),
    /// Where the source stands now; `None` if it is not open.
    Source(Option<(u32, i64)>),
    /// The next sequence number that the receiver takes.
    Delivered {
        /// It.
        next: u64,
    },
}

/// An invocation that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// What it ran.
    pub target: Target,
    /// How it ended.
    pub result: Completion,
    /// Until when the result answers repeats.
    pub result_until: TimestampMs,
}

/// Why a command from outside did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such invocation, or no longer.
    NotFound,
    /// It has ended.
    Ended,
    /// It has not ended.
    NotEnded,
    /// It waits for its key or its time.
    NotStarted,
    /// It is not running.
    NotRunning,
    /// The awakeable has been completed.
    AlreadyCompleted,
    /// It runs, or it has no deployment yet, so that this cannot be changed.
    NotPinned,
    /// What it was called with is not kept any more.
    NoInput,
    /// Commands up to there have no results.
    Unresolved,
    /// Not for workflows.
    Workflow,
    /// The state is not what the edit was made against.
    StateChanged,
    /// A parked one whose failed run has calls that have not ended.
    StillCalling,
}
