//! [`Engine`] over the leaders of this node.

use std::ops::ControlFlow;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_machine::{Answer, Refusal, StateView};
use millrace_model::{
    Code, Coded, DeploymentId, InvocationId, PartitionId, PartitionKey,
    command::TerminateMode,
    invocation::{Completed, Invocation, ObjectKey, Status, Waiting},
    journal::{Entry, JournalRow, NotificationResult, ty},
    state::StateVersion,
    table::{Ended, Inbox, Invocations, Journal, Locks},
};
use millrace_partition::{Handle, LeaderStatus, ProposeError};
use millrace_store::{PartitionStore, StoreError};

use super::{
    Done, Engine, EngineError, InvocationLook, JOURNAL_LINES_MAX, JournalLine, KeyLook, Operation, Place, WAITING_MAX,
};

/// Rows that one look at a partition reads: its leader waits meanwhile.
const PAGE_ROWS: usize = 2000;

/// The leaders, through their handle.
#[derive(Clone)]
pub struct Leaders {
    handle: Handle,
}

impl Leaders {
    /// Of all partitions.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }

    async fn look<R: Send + 'static>(
        &self,
        partition: PartitionId,
        look: impl FnOnce(&PartitionStore, &LeaderStatus) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, EngineError> {
        Ok(self.handle.read(partition, look).await??)
    }
}

fn failed(code: Code, error: impl std::fmt::Display) -> EngineError {
    EngineError { code, message: error.to_string() }
}

impl From<ProposeError> for EngineError {
    fn from(error: ProposeError) -> Self {
        failed(error.code(), error)
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        failed(error.code(), error)
    }
}

#[async_trait]
impl Engine for Leaders {
    async fn operate(&self, id: InvocationId, operation: Operation) -> Result<Result<Done, Refusal>, EngineError> {
        let handle = &self.handle;
        let answer = match operation {
            Operation::Kill => handle.terminate(id, TerminateMode::Kill).await?,
            Operation::Cancel => handle.terminate(id, TerminateMode::Cancel).await?,
            Operation::Purge => handle.purge(id).await?,
            Operation::PurgeJournal => handle.purge_journal(id).await?,
            Operation::Pause => handle.pause(id).await?,
            Operation::Resume { deployment } => handle.resume(id, deployment).await?,
            Operation::RestartAsNew { from, deployment } => {
                return Ok(handle.restart_as_new(id, Some(from), deployment).await?.map(Done::Made));
            }
        };
        Ok(match answer {
            Answer::Done => Ok(Done::Now),
            Answer::Asynchronous => Ok(Done::Asynchronously),
            Answer::Refused(refusal) => Err(refusal),
            // No operator's command is answered otherwise.
            _ => return Err(ProposeError::Unknown.into()),
        })
    }

    async fn place(&self, id: InvocationId) -> Result<Option<Place>, EngineError> {
        let place = move |store: &PartitionStore| {
            if let Some(Invocation { target, pin, .. }) = store.get::<Invocations>(&id)? {
                return Ok(Some(Place { target, pin }));
            }
            Ok(ended(store, id)?.map(|Completed { target, pin, .. }| Place { target, pin }))
        };
        self.look(self.handle.owner(id), move |store, _| place(store)).await
    }

    async fn edit_state(
        &self,
        object: ObjectKey,
        expected: Option<StateVersion>,
        entries: Vec<(Bytes, Bytes)>,
    ) -> Result<(), EngineError> {
        // Whether it was dropped is not told: it may be dropped later as well.
        self.handle.mutate_state(object, expected, entries).await?;
        Ok(())
    }

    async fn invocation(&self, id: InvocationId) -> Result<Option<InvocationLook>, EngineError> {
        self.look(self.handle.owner(id), move |store, status| look_at_invocation(store, status, id)).await
    }

    async fn key(&self, object: ObjectKey) -> Result<KeyLook, EngineError> {
        let partition = PartitionKey::new(&object.service, object.key.bytes()).partition(self.handle.partitions());
        self.look(partition, move |store, status| look_at_key(store, status, &object)).await
    }

    async fn pinned(&self, deployment: DeploymentId, max: usize) -> Result<usize, EngineError> {
        let mut found = 0;
        for partition in (0..self.handle.partitions()).map(PartitionId) {
            let mut from = None;
            while found < max {
                let page = self.look(partition, move |store, _| pinned_page(store, deployment, from)).await?;
                found += page.found;
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }
}

fn look_at_invocation(
    store: &PartitionStore,
    status: &LeaderStatus,
    id: InvocationId,
) -> Result<Option<InvocationLook>, StoreError> {
    if let Some(row) = store.get::<Invocations>(&id)? {
        let journal = journal_end(store, id, row.journal_len)?;
        let lock = match (&row.status, row.target.object()) {
            (Status::Inboxed { .. }, Some(object)) => store.get::<Locks>(&object)?,
            _ => None,
        };
        let attempt = status.running.get(&id).copied();
        return Ok(Some(InvocationLook::Active { row: Box::new(row), journal, attempt, lock }));
    }
    let Some(row) = ended(store, id)? else { return Ok(None) };
    let journal = journal_end(store, id, row.journal_len)?;
    Ok(Some(InvocationLook::Ended { row: Box::new(row), journal }))
}

/// Of one that was ended before it started nothing is left but its id.
fn ended(store: &PartitionStore, id: InvocationId) -> Result<Option<Completed>, StoreError> {
    Ok(store.get::<Ended>(&id)?.filter(|ended| !ended.unstarted))
}

fn journal_end(store: &PartitionStore, id: InvocationId, len: u32) -> Result<Vec<JournalLine>, StoreError> {
    let first = len.saturating_sub(JOURNAL_LINES_MAX as u32);
    let mut lines = Vec::new();
    store.scan::<Journal>(Some(&(id, first)), &mut |(of, index), row| {
        if of != id || lines.len() == JOURNAL_LINES_MAX {
            return ControlFlow::Break(());
        }
        lines.push(line(index, &row));
        ControlFlow::Continue(())
    })?;
    Ok(lines)
}

fn line(index: u32, row: &JournalRow) -> JournalLine {
    let (ty, command, bytes) = match &row.entry {
        Entry::Input { value, .. } => (ty::INPUT, true, value.len()),
        Entry::Command { ty, raw } => (*ty, true, raw.len()),
        Entry::Notification(notification) => {
            let bytes = match &notification.result {
                NotificationResult::Value(value) => value.len(),
                NotificationResult::Failure(failure) => failure.message.len(),
                NotificationResult::StateKeys(keys) => keys.iter().map(bytes::Bytes::len).sum(),
                NotificationResult::Void | NotificationResult::InvocationId(_) => 0,
            };
            (notification.ty, false, bytes)
        }
    };
    JournalLine { index, appended_at: row.appended_at, ty, command, bytes }
}

fn look_at_key(store: &PartitionStore, status: &LeaderStatus, object: &ObjectKey) -> Result<KeyLook, StoreError> {
    let Some(lock) = store.get::<Locks>(object)? else { return Ok(KeyLook::default()) };
    let holder = store.get::<Invocations>(&lock.holder)?.map(Box::new);
    let mut waiting = Vec::new();
    store.scan::<Inbox>(Some(&(object.clone(), lock.head)), &mut |(of, _), row| {
        if of != *object || waiting.len() == WAITING_MAX {
            return ControlFlow::Break(());
        }
        // An edit of the state has no id, and passes as soon as the key is free.
        if let Waiting::Invocation(id) = row {
            waiting.push(id);
        }
        ControlFlow::Continue(())
    })?;
    let attempt = status.running.get(&lock.holder).copied();
    Ok(KeyLook { lock: Some(lock), holder, attempt, waiting })
}

struct Page {
    found: usize,
    /// Where the next page begins; `None` behind the last.
    next: Option<InvocationId>,
}

fn pinned_page(
    store: &PartitionStore,
    deployment: DeploymentId,
    from: Option<InvocationId>,
) -> Result<Page, StoreError> {
    let mut page = Page { found: 0, next: None };
    let mut rows = 0;
    store.scan::<Invocations>(from.as_ref(), &mut |id, row| {
        if rows == PAGE_ROWS {
            page.next = Some(id);
            return ControlFlow::Break(());
        }
        rows += 1;
        page.found += usize::from(row.pin.is_some_and(|pin| pin.deployment == deployment));
        ControlFlow::Continue(())
    })?;
    Ok(page)
}

#[cfg(test)]
mod tests;
