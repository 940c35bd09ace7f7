//! Durable promises of a workflow: they live with the owner of its key, where all its handlers run.

use millrace_model::{
    InvocationId, Text, TimestampMs,
    invocation::{Invocation, ObjectKey, Pending, Promise, ResultSink},
    journal::{Completion, Failure, NotificationResult, ty},
    table::{Invocations, Promises},
};

use crate::{StateView, Txn};

/// Promises are completed once.
fn already_completed() -> Failure {
    Failure::new(409, "promise was already completed")
}

/// What waits for a promise learns that its workflow's retention is over.
fn gone() -> Failure {
    Failure::new(410, "the workflow is gone")
}

impl<V: StateView> Txn<'_, V> {
    pub(super) fn get_promise(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        name: Text,
        completion: u32,
        now: TimestampMs,
    ) -> Result<Invocation, V::Error> {
        let Some(object) = invocation.target.object() else { return Ok(invocation) };
        let key = (object, name.detached());
        let mut waiters = match self.get::<Promises>(&key)? {
            Some(Promise::Completed(result)) => {
                self.answer(id, &mut invocation, ty::PROMISE, completion, result.into(), now);
                return Ok(invocation);
            }
            Some(Promise::Awaited(waiters)) => waiters,
            None => Vec::new(),
        };
        waiters.push(ResultSink { caller: id, completion });
        invocation.pending.push((completion, Pending::Promise { name: key.1.clone() }));
        self.put::<Promises>(key, Promise::Awaited(waiters));
        Ok(invocation)
    }

    pub(super) fn peek_promise(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        name: Text,
        completion: u32,
        now: TimestampMs,
    ) -> Result<Invocation, V::Error> {
        let Some(object) = invocation.target.object() else { return Ok(invocation) };
        let result = match self.get::<Promises>(&(object, name))? {
            Some(Promise::Completed(result)) => result.into(),
            _ => NotificationResult::Void,
        };
        self.answer(id, &mut invocation, ty::PEEK_PROMISE, completion, result, now);
        Ok(invocation)
    }

    pub(super) fn complete_promise(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        name: Text,
        result: Completion,
        completion: u32,
        now: TimestampMs,
    ) -> Result<Invocation, V::Error> {
        let Some(object) = invocation.target.object() else { return Ok(invocation) };
        let key = (object, name.detached());
        let waiters = match self.get::<Promises>(&key)? {
            Some(Promise::Completed(_)) => {
                let refused = NotificationResult::Failure(already_completed());
                self.answer(id, &mut invocation, ty::COMPLETE_PROMISE, completion, refused, now);
                return Ok(invocation);
            }
            Some(Promise::Awaited(waiters)) => waiters,
            None => Vec::new(),
        };
        self.put::<Promises>(key, Promise::Completed(result.clone()));
        self.answer(id, &mut invocation, ty::COMPLETE_PROMISE, completion, NotificationResult::Void, now);
        if waiters.is_empty() {
            return Ok(invocation);
        }
        // It may be one of those who wait.
        self.put::<Invocations>(id, invocation.clone());
        for waiter in waiters {
            self.complete(waiter.caller, waiter.completion, result.clone().into(), now)?;
        }
        Ok(self.get::<Invocations>(&id)?.unwrap_or(invocation))
    }

    /// One that waited for a promise has ended.
    pub(crate) fn forget_waiter(&mut self, object: ObjectKey, name: &Text, gone: &ResultSink) -> Result<(), V::Error> {
        let key = (object, name.clone());
        if let Some(Promise::Awaited(mut waiters)) = self.get::<Promises>(&key)? {
            waiters.retain(|waiter| waiter != gone);
            if waiters.is_empty() {
                self.delete::<Promises>(key);
            } else {
                self.put::<Promises>(key, Promise::Awaited(waiters));
            }
        }
        Ok(())
    }

    /// Removes all promises of a workflow.
    pub(crate) fn drop_promises(&mut self, object: &ObjectKey, now: TimestampMs) -> Result<(), V::Error> {
        for name in self.promises(object)? {
            let key = (object.clone(), name);
            if let Some(Promise::Awaited(waiters)) = self.get::<Promises>(&key)? {
                for waiter in waiters {
                    self.complete(waiter.caller, waiter.completion, NotificationResult::Failure(gone()), now)?;
                }
            }
            self.delete::<Promises>(key);
        }
        Ok(())
    }
}
