//! What is asked of invocations and keys from outside, besides calling them: signals and the verbs of operators.
//!
//! All of these resolve when the command is applied. [`Answer::Refused`] says why nothing happened; `Unknown` as an
//! error: it may have happened.

use bytes::Bytes;
use millrace_machine::{Answer, Refusal};
use millrace_model::{
    Command, DeploymentId, InvocationId, PartitionKey,
    command::{RestartAsNew, TerminateMode},
    invocation::ObjectKey,
    journal::{NotificationId, NotificationResult},
    state::{StateEdit, StateVersion},
};

use crate::handle::{Handle, ProposeError};

impl Handle {
    /// Sends a signal, which completes an awakeable, or cancels with [`millrace_model::journal::SIGNAL_CANCEL`].
    ///
    /// [`Answer::Done`]: it is in the journal. Refused as `NotFound`, `Ended`, or `AlreadyCompleted` for an awakeable.
    pub async fn signal(
        &self,
        id: InvocationId,
        signal: NotificationId,
        result: NotificationResult,
    ) -> Result<Answer, ProposeError> {
        let bytes = match &result {
            NotificationResult::Value(value) => value.len(),
            _ => 0,
        };
        let command =
            || Command::Signal { target: id, signal: signal.clone(), result: result.clone(), now: self.now() };
        match self.propose_sized(self.owner(id), command(), bytes).await? {
            // A handler may have handed out an id whose invocation is still on its way.
            Answer::Refused(Refusal::NotFound) if self.wait_for_messages(self.owner(id)).await? => {
                self.propose_sized(self.owner(id), command(), bytes).await
            }
            answer => Ok(answer),
        }
    }

    /// Kills or cancels. [`Answer::Asynchronous`]: the handler has to react. Refused as `NotFound` or `Ended`.
    pub async fn terminate(&self, id: InvocationId, mode: TerminateMode) -> Result<Answer, ProposeError> {
        self.operate(id, Command::Terminate { id, mode, now: self.now() }).await
    }

    /// Starts a paused, suspended or backing-off invocation at once; one that runs goes on.
    ///
    /// * `deployment`: where its attempts go from now on. The caller has seen to it that this deployment has the handler
    ///   and speaks the pinned protocol version. Refused as `NotPinned` for one that runs or has no deployment yet.
    /// * Refused as `NotFound`, `Ended`, or `NotStarted` while it waits for its key or its time.
    pub async fn resume(&self, id: InvocationId, deployment: Option<DeploymentId>) -> Result<Answer, ProposeError> {
        self.operate(id, Command::Resume { id, deployment, now: self.now() }).await
    }

    /// Holds a running, suspended or backing-off invocation. [`Answer::Done`]: it was paused already. Refused as
    /// `NotFound`, `Ended` or `NotRunning`.
    pub async fn pause(&self, id: InvocationId) -> Result<Answer, ProposeError> {
        self.operate(id, Command::Pause { id, now: self.now() }).await
    }

    /// Removes an ended invocation; of a workflow's run state and promises too. Refused as `NotFound` or `NotEnded`.
    pub async fn purge(&self, id: InvocationId) -> Result<Answer, ProposeError> {
        self.operate(id, Command::Purge { id, now: self.now() }).await
    }

    /// Removes the journal of an ended invocation. Refused as `NotFound` or `NotEnded`.
    pub async fn purge_journal(&self, id: InvocationId) -> Result<Answer, ProposeError> {
        self.operate(id, Command::PurgeJournal { id, now: self.now() }).await
    }

    /// Makes a new invocation from the input of one that has ended, and returns its id.
    ///
    /// * `from_entry`: journal index up to which its journal is copied, it included, with the results that belong to
    ///   it; `None` or 0 is the input alone.
    /// * `deployment`: as for [`Handle::resume`]; `None`: what has a copied prefix stays where it was, else the
    ///   deployment is chosen as for any new invocation.
    /// * Refused as `NotFound`, `NotEnded`, `NotStarted`, `Workflow`, `NoInput` once the journal is gone, `Unresolved` if
    ///   the prefix has commands without results or is longer than the journal, `NotPinned` if `deployment` is given
    ///   and the old one never had one.
    pub async fn restart_as_new(
        &self,
        id: InvocationId,
        from_entry: Option<u32>,
        deployment: Option<DeploymentId>,
    ) -> Result<Result<InvocationId, Refusal>, ProposeError> {
        self.admission()?;
        let env = self.env();
        let new = InvocationId { key: id.key, unique: env.random_unique() };
        let restart = RestartAsNew {
            id,
            new,
            from: from_entry.unwrap_or(0),
            deployment,
            random_seed: env.random(),
            now: env.now(),
        };
        Ok(match self.operate(id, Command::RestartAsNew(restart)).await? {
            Answer::Refused(refusal) => Err(refusal),
            _ => Ok(new),
        })
    }

    /// Replaces all state of a key, in turn with its handlers.
    ///
    /// [`Answer::Asynchronous`]: it waits behind what waits for the key; it is dropped then if the state is not
    /// `expected` any more. Refused as `StateChanged` if that is known at once.
    pub async fn mutate_state(
        &self,
        object: ObjectKey,
        expected: Option<StateVersion>,
        entries: Vec<(Bytes, Bytes)>,
    ) -> Result<Answer, ProposeError> {
        self.admission()?;
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        let partition = PartitionKey::new(&object.service, object.key.bytes()).partition(self.partitions());
        let command = Command::MutateState { object, edit: StateEdit { expected, entries }, now: self.now() };
        self.propose_sized(partition, command, bytes).await
    }

    async fn operate(&self, id: InvocationId, command: Command) -> Result<Answer, ProposeError> {
        self.propose(self.owner(id), command).await
    }
}
