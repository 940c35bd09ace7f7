//! What the API wants of the leaders of the partitions.

mod leaders;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_machine::Refusal;
use millrace_model::{
    Code, DeploymentId, InvocationId, TimestampMs,
    invocation::{Completed, Invocation, Lock, ObjectKey, Pin, Target},
    state::StateVersion,
};

pub use leaders::Leaders;

/// What an operator does to an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Ends it at once.
    Kill,
    /// Tells the handler; ends it at once if it has not started.
    Cancel,
    /// Removes it once it has ended.
    Purge,
    /// Removes its journal once it has ended.
    PurgeJournal,
    /// Holds it.
    Pause,
    /// Starts its next attempt at once.
    Resume {
        /// Where it and those after it go, if not where it is pinned. It can run there.
        deployment: Option<DeploymentId>,
    },
    /// Makes a new invocation of one that has ended.
    RestartAsNew {
        /// Up to which journal index it has done already what the old one did.
        from: u32,
        /// As for [`Operation::Resume`].
        deployment: Option<DeploymentId>,
    },
}

/// It was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is over.
    Now,
    /// It takes effect when the handler reacts.
    Asynchronously,
    /// This is the new invocation.
    Made(InvocationId),
}

/// What an invocation runs, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What.
    pub target: Target,
    /// Where; `None` if nothing of an attempt was stored.
    pub pin: Option<Pin>,
}

/// The leaders could not be asked, or did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    /// Says what the caller can do, and whether it may have happened.
    pub code: Code,
    /// What happened.
    pub message: String,
}

/// One journal entry, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    /// Its place.
    pub index: u32,
    /// When it was proposed.
    pub appended_at: TimestampMs,
    /// Frame type; `Input` has that of the protocol.
    pub ty: u16,
    /// It is a command, else a notification.
    pub command: bool,
    /// Stored bytes.
    pub bytes: usize,
}

/// An invocation as it is now.
#[derive(Clone, Debug, PartialEq)]
pub enum InvocationLook {
    /// It has not ended.
    Active {
        /// Its row.
        row: Box<Invocation>,
        /// The end of its journal, at most [`JOURNAL_LINES_MAX`].
        journal: Vec<JournalLine>,
        /// The attempt that runs now.
        attempt: Option<u32>,
        /// The lock of its key, if it has one.
        lock: Option<Lock>,
    },
    /// It has.
    Ended {
        /// Its row.
        row: Box<Completed>,
        /// The end of its journal, as long as that is kept.
        journal: Vec<JournalLine>,
    },
}

/// Entries that [`InvocationLook`] shows.
pub const JOURNAL_LINES_MAX: usize = 100;
/// Waiting invocations that [`KeyLook`] names.
pub const WAITING_MAX: usize = 20;

/// A key as it is now. All empty: nothing runs, nothing waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyLook {
    /// Who runs, and who waits.
    pub lock: Option<Lock>,
    /// The one that runs.
    pub holder: Option<Box<Invocation>>,
    /// Its attempt that runs now.
    pub attempt: Option<u32>,
    /// The first that wait, in order, at most [`WAITING_MAX`].
    pub waiting: Vec<InvocationId>,
}

/// Reaches the leaders of all partitions.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Does something to an invocation, and resolves when that is in the log. `Ok(Err(_))`: why not.
    async fn operate(&self, id: InvocationId, operation: Operation) -> Result<Result<Done, Refusal>, EngineError>;

    /// Where an invocation is, if it is known.
    async fn place(&self, id: InvocationId) -> Result<Option<Place>, EngineError>;

    /// Replaces all state of a key, in turn with its handlers, if it is then as `expected`.
    async fn edit_state(
        &self,
        object: ObjectKey,
        expected: Option<StateVersion>,
        entries: Vec<(Bytes, Bytes)>,
    ) -> Result<(), EngineError>;

    /// An invocation, if it is known.
    async fn invocation(&self, id: InvocationId) -> Result<Option<InvocationLook>, EngineError>;

    /// A key of an object or workflow.
    async fn key(&self, object: ObjectKey) -> Result<KeyLook, EngineError>;

    /// Invocations that have not ended and are pinned to a deployment; stops counting at `max`.
    async fn pinned(&self, deployment: DeploymentId, max: usize) -> Result<usize, EngineError>;
}
