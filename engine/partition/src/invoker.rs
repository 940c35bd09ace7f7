//! What a leader wants of whoever runs attempts. Implemented by `millrace-invoker`, and by the simulator.

use bytes::Bytes;
use millrace_model::{
    InvocationId, PartitionId,
    invocation::{AttemptError, Invocation, Target},
    journal::JournalRow,
};
use tokio::sync::mpsc;

/// Notifications that an attempt may be behind with. Beyond it the attempt is aborted and replays.
pub const FEED_MAX: usize = 1024;

/// Everything an attempt starts from, taken at one position of the log.
#[derive(Debug)]
pub struct AttemptJob {
    /// Where it lives.
    pub partition: PartitionId,
    /// Which.
    pub id: InvocationId,
    /// Higher than every attempt that has proposed anything.
    pub attempt: u32,
    /// The invocation at the snapshot: target, pin, retries, commands, what is pending.
    pub invocation: Invocation,
    /// The whole journal at the snapshot, entry 0 first.
    pub journal: Vec<JournalRow>,
    /// State of the key at the snapshot, sorted bytewise; empty for a target without a key.
    pub state: Vec<(Bytes, Bytes)>,
    /// `state` is all there is.
    pub state_complete: bool,
    /// What is appended after the snapshot, in journal order. Closed: the attempt is aborted, reset its stream.
    pub feed: mpsc::Receiver<Feed>,
}

/// What a running attempt is told.
#[derive(Debug)]
pub enum Feed {
    /// A notification is in the journal. Send it, or its acknowledgement.
    Entry {
        /// Its place.
        index: u32,
        /// The entry.
        row: JournalRow,
        /// This attempt proposed it and asked for an acknowledgement.
        ack: bool,
    },
    /// The attempt sent what it may not. Fail with this error.
    Refused(AttemptError),
    /// Ask the handler to suspend: end the request stream.
    Suspend,
}

/// Runs attempts. None of its calls blocks.
///
/// An attempt proposes through [`crate::Handle::attempt`] and, after its last proposal, reports
/// [`crate::Handle::attempt_closed`], whatever happened to it, exactly once.
pub trait Invoker: Send + Sync {
    /// Takes one of the slots for attempts that run at the same time, node-wide. `false`: none is free; the driver is
    /// woken by the next [`crate::Handle::attempt_closed`].
    fn try_reserve(&self) -> bool;

    /// Gives a slot back that was reserved and not used.
    fn release(&self);

    /// Whether attempts of a handler with a key start with its state. If not, it is not loaded either.
    fn wants_state(&self, _: &Target) -> bool {
        true
    }

    /// Starts an attempt in a reserved slot; its end gives the slot back.
    fn start(&self, job: AttemptJob);
}
