//! The way to the leaders of all partitions, for everybody outside.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use bytes::Bytes;
use millrace_machine::{Answer, StateView};
use millrace_model::{
    Command, Env, InvocationId, PartitionId, SubscriptionId, TimestampMs,
    codes::{self, Code, Coded},
    command::{Attempt, Known, Lane},
    invocation::{NewInvocation, ObjectKey, Target},
    journal::Completion,
    source::Budget,
    table::{Invocations, OutboxLanes, Received, State},
};
use millrace_store::{PartitionStore, StoreError};
use tokio::sync::oneshot;

use crate::{
    mailbox::{Full, Input, Mailbox},
    status::{Board, LeaderStatus},
};

/// Why a leader did not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Too much waits already. Nothing happened.
    #[error("too much work is waiting")]
    Overloaded,
    /// The disk is at its watermark. Nothing happened.
    #[error("the disk is almost full: no new work is admitted")]
    StorageFull,
    /// The leader stopped before it could tell what became of it: it may have happened.
    #[error("the partition stopped before the outcome was known")]
    Unknown,
    /// The leader has stopped. Nothing happened.
    #[error("the server is shutting down")]
    Stopped,
}

impl Coded for ProposeError {
    fn code(&self) -> Code {
        match self {
            Self::Overloaded => codes::ENG0001,
            Self::StorageFull => codes::LOG0004,
            Self::Unknown => codes::ENG0002,
            Self::Stopped => codes::ENG0003,
        }
    }
}

/// An invocation has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// What it ran.
    pub target: Target,
    /// How.
    pub result: Completion,
    /// It was there before this call.
    pub known: bool,
    /// It had ended before this call, and its result answers repeats until then.
    pub ended_before: Option<TimestampMs>,
}

/// An invocation is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// It was there before this call.
    pub known: bool,
    /// When it starts, if it is scheduled.
    pub execute_at: Option<TimestampMs>,
}

/// A look at a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// No such invocation, or no longer.
    NotFound,
    /// It has not ended.
    NotReady,
    /// It has ended.
    Ended {
        /// What it ran.
        target: Target,
        /// How.
        result: Completion,
        /// Until when the result answers repeats.
        result_until: TimestampMs,
    },
}

const ADMIT: u8 = 0;
const STORAGE_FULL: u8 = 1;
const STOPPING: u8 = 2;

pub(crate) struct Shared {
    pub(crate) partitions: u16,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) board: Board,
    admission: AtomicU8,
    env: Arc<dyn Env>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Shared>);

impl Handle {
    /// For `partitions` partitions, dealt out to as many drivers as there are mailboxes.
    pub(crate) fn new(partitions: u16, mailboxes: Vec<Arc<Mailbox>>, env: Arc<dyn Env>) -> Self {
        let board = Board::new(partitions);
        Self(Arc::new(Shared { partitions, mailboxes, board, admission: AtomicU8::new(ADMIT), env }))
    }

    pub(crate) fn env(&self) -> &dyn Env {
        &*self.0.env
    }

    pub(crate) fn now(&self) -> TimestampMs {
        self.0.env.now()
    }

    /// N of DESIGN.md section 2.
    pub fn partitions(&self) -> u16 {
        self.0.partitions
    }

    /// Who owns an invocation.
    pub fn owner(&self, id: InvocationId) -> PartitionId {
        id.key.partition(self.0.partitions)
    }

    /// Budgets of sources.
    pub fn board(&self) -> &Board {
        &self.0.board
    }

    /// Budget of one subscription, added up over the partitions.
    pub fn budget(&self, subscription: SubscriptionId) -> Budget {
        (0..self.0.partitions).fold(Budget::ZERO, |sum, p| sum + self.0.board.budget(PartitionId(p), subscription))
    }

    /// Refuses new work while the disk is at its watermark.
    pub fn set_storage_full(&self, full: bool) {
        let (from, to) = if full { (ADMIT, STORAGE_FULL) } else { (STORAGE_FULL, ADMIT) };
        let _ = self.0.admission.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Refuses new work from now on; what is in flight goes on.
    pub fn stop_admission(&self) {
        self.0.admission.store(STOPPING, Ordering::Relaxed);
    }

    /// Would new work be taken now?
    pub fn admission(&self) -> Result<(), ProposeError> {
        match self.0.admission.load(Ordering::Relaxed) {
            STORAGE_FULL => Err(ProposeError::StorageFull),
            STOPPING => Err(ProposeError::Stopped),
            _ => Ok(()),
        }
    }

    pub(crate) fn mailbox(&self, partition: PartitionId) -> &Mailbox {
        &self.0.mailboxes[usize::from(partition.0) % self.0.mailboxes.len()]
    }

    fn offer(&self, partition: PartitionId, input: Input, bytes: usize) -> Result<(), ProposeError> {
        self.mailbox(partition).offer(partition, input, bytes).map_err(|full| match full {
            Full::Overloaded => ProposeError::Overloaded,
            Full::Closed => ProposeError::Stopped,
        })
    }

    /// Makes an invocation and resolves when it is in the log and applied. Dropping the future takes nothing back.
    pub async fn invoke(&self, invocation: NewInvocation, known: Known) -> Result<Accepted, ProposeError> {
        self.admission()?;
        let (partition, bytes) = (self.owner(invocation.id), invocation.value.len());
        let command = Command::Invoke { invocation: Box::new(invocation), known };
        match self.propose_sized(partition, command, bytes).await? {
            Answer::Accepted { known, execute_at, .. } => Ok(Accepted { known, execute_at }),
            _ => Err(ProposeError::Unknown),
        }
    }

    /// Makes an invocation and resolves when it has ended. Dropping the future takes nothing back.
    pub async fn call(&self, invocation: NewInvocation, known: Known) -> Result<Ended, ProposeError> {
        self.admission()?;
        let (partition, bytes, id) = (self.owner(invocation.id), invocation.value.len(), invocation.id);
        let command = Command::Invoke { invocation: Box::new(invocation), known };
        let (reply, ended) = oneshot::channel();
        self.offer(partition, Input::ProposeAndWait { command, id, reply }, bytes)?;
        // `None` is for those who only attach: this one was made, or found.
        ended.await.ok().flatten().ok_or(ProposeError::Unknown)
    }

    /// Resolves when the invocation has ended; `None` if it is not known.
    pub async fn attach(&self, id: InvocationId) -> Result<Option<Ended>, ProposeError> {
        match self.attach_once(id).await? {
            None if self.wait_for_messages(self.owner(id)).await? => self.attach_once(id).await,
            ended => Ok(ended),
        }
    }

    async fn attach_once(&self, id: InvocationId) -> Result<Option<Ended>, ProposeError> {
        let (reply, ended) = oneshot::channel();
        self.offer(self.owner(id), Input::Attach { id, reply }, 0)?;
        ended.await.map_err(|_| ProposeError::Unknown)
    }

    /// The read barrier of "not found" (DESIGN.md section 4, item 7): a handler may know an id whose invocation is still
    /// on its way. Resolves when `owner` has received what the other partitions had for it when this was called; `false`
    /// if there was nothing, so that looking again is of no use.
    pub(crate) async fn wait_for_messages(&self, owner: PartitionId) -> Result<bool, ProposeError> {
        let mut sent = Vec::new();
        for from in (0..self.0.partitions).map(PartitionId).filter(|from| *from != owner) {
            for lane in [Lane::Control, Lane::Events] {
                let ends = self.read(from, move |store, _| store.get::<OutboxLanes>(&(owner, lane))).await?;
                match ends.map_err(|_| ProposeError::Unknown)? {
                    Some(ends) if ends.first < ends.next => sent.push(((from, lane), ends.next - 1)),
                    _ => {}
                }
            }
        }
        let any = !sent.is_empty();
        while let Some((lane, last)) = sent.last().copied() {
            // Each look takes a turn of the driver, which is what moves messages.
            let seen = self.read(owner, move |store, _| store.get::<Received>(&lane)).await?;
            if seen.map_err(|_| ProposeError::Unknown)?.unwrap_or(0) >= last {
                sent.pop();
            }
        }
        Ok(any)
    }

    /// The result, if it is there.
    pub async fn output(&self, id: InvocationId) -> Result<Output, ProposeError> {
        match self.output_once(id).await? {
            Output::NotFound if self.wait_for_messages(self.owner(id)).await? => self.output_once(id).await,
            output => Ok(output),
        }
    }

    async fn output_once(&self, id: InvocationId) -> Result<Output, ProposeError> {
        let seen = self.read(self.owner(id), move |store, _| crate::leader::look_up_in(store, id)).await?;
        seen.map_err(|_| ProposeError::Unknown)
    }

    /// Proposes any command and resolves with its answer once it is applied. For operators' commands and sources;
    /// `Unknown`: it may have happened.
    pub async fn propose(&self, partition: PartitionId, command: Command) -> Result<Answer, ProposeError> {
        self.propose_sized(partition, command, 0).await
    }

    /// As [`Handle::propose`], for a command with `bytes` of payload.
    pub async fn propose_sized(
        &self,
        partition: PartitionId,
        command: Command,
        bytes: usize,
    ) -> Result<Answer, ProposeError> {
        let (reply, answer) = oneshot::channel();
        self.offer(partition, Input::Propose { command, reply: Some(reply) }, bytes)?;
        answer.await.map_err(|_| ProposeError::Unknown)
    }

    /// Looks at a partition between two batches: what is committed, and what its leader does. `look` must be quick,
    /// the leader waits for it: at most a few thousand rows.
    pub async fn read<R: Send + 'static>(
        &self,
        partition: PartitionId,
        look: impl FnOnce(&PartitionStore, &LeaderStatus) -> R + Send + 'static,
    ) -> Result<R, ProposeError> {
        let (reply, seen) = oneshot::channel();
        let read = Input::Read(Box::new(move |store, status| {
            let _ = reply.send(look(store, status));
        }));
        self.offer(partition, read, 0)?;
        seen.await.map_err(|_| ProposeError::Unknown)
    }

    /// Proposes what an attempt sent. Waits while too much waits at the leader. `lazy`: may wait for the next batch,
    /// for hints that need no sync of their own.
    pub async fn attempt(&self, attempt: Attempt, lazy: bool, bytes: usize) -> Result<(), ProposeError> {
        let partition = self.owner(attempt.id);
        let input = Input::Attempt { attempt: Box::new(attempt), lazy };
        self.mailbox(partition).push_when_room(partition, input, bytes).await.map_err(|_| ProposeError::Stopped)
    }

    /// As [`Handle::attempt`], at once and for an attempt that goes on. What it resolves with tells, once the proposal is
    /// applied, how many commands of this attempt's invocation are stored; 0 if that cannot be known.
    pub async fn attempt_told(
        &self,
        attempt: Attempt,
        bytes: usize,
    ) -> Result<impl Future<Output = u32> + Send + use<>, ProposeError> {
        let Attempt { id, created_lsn, attempt: number, .. } = attempt;
        let partition = self.owner(id);
        let (reply, applied) = oneshot::channel();
        let input = Input::Propose { command: Command::Attempt(Box::new(attempt)), reply: Some(reply) };
        self.mailbox(partition).push_when_room(partition, input, bytes).await.map_err(|_| ProposeError::Stopped)?;
        let handle = self.clone();
        Ok(async move {
            if applied.await.is_err() {
                return 0;
            }
            // Applied and stored are not the same: it may have been refused, or void.
            let stored = handle.read(partition, move |store, _| match store.get::<Invocations>(&id) {
                Ok(Some(row)) if row.created_lsn == created_lsn && row.attempt == number => row.commands,
                _ => 0,
            });
            stored.await.unwrap_or(0)
        })
    }

    /// What keys of an object hold in the latest committed state of the partition that owns `id`: of the first of
    /// `keys`, until their values are `bytes_max`; of one at least.
    pub async fn state(
        &self,
        id: InvocationId,
        object: ObjectKey,
        keys: Vec<Bytes>,
        bytes_max: usize,
    ) -> Result<Vec<Option<Bytes>>, ProposeError> {
        let look = move |store: &PartitionStore, _: &LeaderStatus| {
            let (mut values, mut bytes) = (Vec::with_capacity(keys.len()), 0);
            for key in keys {
                if bytes >= bytes_max {
                    break;
                }
                let value = store.get::<State>(&(object.clone(), key))?;
                bytes += value.as_ref().map_or(0, Bytes::len);
                values.push(value);
            }
            Ok::<_, StoreError>(values)
        };
        // A store that cannot be read stops its leader.
        self.read(self.owner(id), look).await?.map_err(|_| ProposeError::Unknown)
    }

    /// An attempt is over; nothing of it comes behind this.
    pub fn attempt_closed(&self, id: InvocationId, attempt: u32) {
        let partition = self.owner(id);
        // A driver that has stopped does not mind.
        let _ = self.mailbox(partition).force(partition, Input::AttemptClosed { id, attempt }, 0);
    }
}
