//! What invocations tell and ask one another. A message to the own partition is received in the batch that made it.

use millrace_model::{
    InvocationId, TimestampMs,
    command::{Known, Lane, Message, TerminateMode},
    invocation::{Invocation, Pending, ResultSink, Status},
    journal::{Failure, Notification, NotificationId, NotificationResult, SIGNAL_AWAKEABLE_FIRST, SIGNAL_CANCEL, ty},
    table::{Ended, Invocations},
};

use crate::{Answer, Refusal, StateView, Txn};

/// The invocation that somebody wants the result of is not known.
fn not_found() -> Failure {
    Failure::new(404, "not found")
}

impl<V: StateView> Txn<'_, V> {
    /// Hands a message to its owner: at once if that is this partition.
    pub(crate) fn tell(&mut self, id: InvocationId, message: Message, now: TimestampMs) -> Result<(), V::Error> {
        let owner = self.owner(id)?;
        if owner == self.me { self.receive(message, now) } else { self.send(owner, Lane::Control, message) }
    }

    /// The same in the middle of a command of `id`: the message may be about that invocation itself, and the answer may
    /// come at once. Returns its row as it is afterwards.
    pub(crate) fn tell_for(
        &mut self,
        id: InvocationId,
        invocation: Invocation,
        target: InvocationId,
        message: Message,
        now: TimestampMs,
    ) -> Result<Invocation, V::Error> {
        let owner = self.owner(target)?;
        if owner != self.me {
            self.send(owner, Lane::Control, message)?;
            return Ok(invocation);
        }
        self.put::<Invocations>(id, invocation.clone());
        self.receive(message, now)?;
        Ok(self.get::<Invocations>(&id)?.unwrap_or(invocation))
    }

    /// A message has come to its owner.
    pub(crate) fn receive(&mut self, message: Message, now: TimestampMs) -> Result<(), V::Error> {
        match message {
            Message::Invoke(new) => self.create(*new, Known::Fresh, now).map(drop),
            Message::CallResult { caller, completion, result } => self.complete(caller, completion, result, now),
            Message::Settle { subscription, change } => self.change_budget(subscription, change),
            Message::Signal { target, signal, result } => self.signal(target, signal, result, now).map(drop),
            Message::Kill { target } => {
                self.kill_later(target, now);
                Ok(())
            }
            Message::Attach { target, caller, completion } => self.attach(target, caller, completion, now),
            Message::GetOutput { target, caller, completion } => {
                let result = match self.get::<Invocations>(&target)? {
                    Some(_) => NotificationResult::Void,
                    None => self.result_of(target)?,
                };
                self.respond(caller, completion, result, now)
            }
        }
    }

    /// Gives a result to the invocation that asked for it.
    pub(crate) fn respond(
        &mut self,
        caller: InvocationId,
        completion: u32,
        result: impl Into<NotificationResult>,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        self.tell(caller, Message::CallResult { caller, completion, result: result.into() }, now)
    }

    /// Answers a command of an invocation of this partition, and wakes it if it waits for that. What is not expected,
    /// and anything for one that has ended, is ignored.
    pub(crate) fn complete(
        &mut self,
        id: InvocationId,
        completion: u32,
        result: NotificationResult,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        let Some(mut invocation) = self.get::<Invocations>(&id)? else {
            return Ok(());
        };
        let Some(at) = invocation.pending.iter().position(|(pending, _)| *pending == completion) else {
            return Ok(());
        };
        let ty = match invocation.pending.remove(at).1 {
            Pending::Run => ty::RUN,
            Pending::Sleep { .. } => ty::SLEEP,
            Pending::Call { .. } => ty::CALL,
            Pending::Attach { .. } => ty::ATTACH,
            Pending::Output { .. } => ty::INVOCATION_OUTPUT,
            Pending::Promise { .. } => ty::PROMISE,
        };
        let notification = Notification { ty, id: NotificationId::Completion(completion), result };
        self.add_notification(id, &mut invocation, notification, None, now);
        self.put::<Invocations>(id, invocation);
        Ok(())
    }

    /// A signal for an invocation of this partition. One that has not started keeps it; each one of the same name is
    /// kept, but an awakeable is completed once.
    pub(crate) fn signal(
        &mut self,
        target: InvocationId,
        signal: NotificationId,
        result: NotificationResult,
        now: TimestampMs,
    ) -> Result<Answer, V::Error> {
        if signal == NotificationId::Signal(SIGNAL_CANCEL) {
            return self.terminate(target, TerminateMode::Cancel, now);
        }
        let mut invocation = match self.active(target)? {
            Ok(invocation) => invocation,
            Err(answer) => return Ok(answer),
        };
        match signal {
            // Never proposed: completions belong to commands.
            NotificationId::Completion(_) => return Ok(Answer::Refused(Refusal::NotFound)),
            NotificationId::Signal(index) if index >= SIGNAL_AWAKEABLE_FIRST => {
                if !invocation.awakeables.insert(index) {
                    return Ok(Answer::Refused(Refusal::AlreadyCompleted));
                }
            }
            NotificationId::Signal(_) | NotificationId::Named(_) => {}
        }
        let notification = Notification { ty: ty::SIGNAL, id: signal, result };
        self.add_notification(target, &mut invocation, notification, None, now);
        self.put::<Invocations>(target, invocation);
        Ok(Answer::Done)
    }

    /// Somebody wants the result of an invocation of this partition.
    fn attach(
        &mut self,
        target: InvocationId,
        caller: InvocationId,
        completion: u32,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        if let Some(mut invocation) = self.get::<Invocations>(&target)? {
            invocation.sinks.push(ResultSink { caller, completion });
            self.put::<Invocations>(target, invocation);
            return Ok(());
        }
        let result = self.result_of(target)?;
        self.respond(caller, completion, result, now)
    }

    /// The result of an invocation that is not active.
    fn result_of(&self, id: InvocationId) -> Result<NotificationResult, V::Error> {
        Ok(match self.get::<Ended>(&id)? {
            Some(ended) => ended.result.into(),
            None => NotificationResult::Failure(not_found()),
        })
    }

    /// Kills what this invocation has called and waits for; what it sent is on its own.
    pub(crate) fn kill_callees(&mut self, killed: &Invocation, now: TimestampMs) -> Result<(), V::Error> {
        debug_assert!(!matches!(killed.status, Status::Scheduled { .. } | Status::Inboxed { .. }));
        for (_, pending) in &killed.pending {
            if let Pending::Call { id } = pending {
                self.tell(*id, Message::Kill { target: *id }, now)?;
            }
        }
        Ok(())
    }
}
