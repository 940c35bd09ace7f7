//! What an attempt sent.

use millrace_model::{
    InvocationId, Text, TimestampMs,
    codes::{self, Code},
    command::{Action, Attempt, Decision},
    invocation::{AttemptError, Invocation, Pending, Status},
    journal::{Completion, Entry, Notification, NotificationId, ty},
    table::{Invocations, TimerKey, TimerKind},
};

use crate::{Answer, Effect, StateView, Txn};

/// Whether the attempt goes on behind an action.
#[expect(clippy::large_enum_variant, reason = "it lives for one step and boxing would cost an allocation a command")]
enum Next {
    /// The next action.
    Continue(Invocation),
    /// The row is stored or gone; what follows is void.
    Over,
}

impl<V: StateView> Txn<'_, V> {
    pub(super) fn attempt(&mut self, attempt: Attempt) -> Result<Answer, V::Error> {
        let Attempt { id, created_lsn, attempt, now, pin, actions } = attempt;
        let Some(mut invocation) = self.get::<Invocations>(&id)? else {
            return Ok(Answer::Done); // A straggler of an ended invocation.
        };
        let stale = invocation.created_lsn != created_lsn || attempt < invocation.attempt;
        if stale || invocation.status != Status::Running {
            return Ok(Answer::Done);
        }
        if attempt > invocation.attempt {
            invocation.attempt = attempt;
            invocation.last_start_at = Some(now);
            invocation.refused = false;
        }
        if invocation.pin.is_none() {
            invocation.pin = pin;
        }
        invocation.modified_at = now;
        for action in actions {
            if invocation.refused && !matches!(action, Action::Fail { .. }) {
                continue;
            }
            match self.act(id, invocation, action, now)? {
                Next::Continue(row) => invocation = row,
                Next::Over => return Ok(Answer::Done),
            }
        }
        self.put::<Invocations>(id, invocation);
        Ok(Answer::Done)
    }

    fn act(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        action: Action,
        now: TimestampMs,
    ) -> Result<Next, V::Error> {
        match action {
            Action::Command { index, ty, raw, effect } => {
                if index != invocation.commands {
                    let what = "a command came out of order";
                    self.refuse(id, &mut invocation, codes::RT0012, what);
                    return Ok(Next::Continue(invocation));
                }
                self.append(id, &mut invocation, Entry::Command { ty, raw: raw.clone() }, now);
                invocation.commands += 1;
                invocation.last_entry_at = now;
                invocation.retries.failed_since_entry = 0;
                invocation.awaiting = None;
                self.entry(id, invocation, effect, &raw, now).map(Next::Continue)
            }
            Action::RunResult { completion, result, ack } => {
                let found =
                    invocation.pending.iter().position(|(of, pending)| *of == completion && *pending == Pending::Run);
                let Some(at) = found else {
                    let what = "a step result that no step waits for";
                    self.refuse(id, &mut invocation, codes::RT0012, what);
                    return Ok(Next::Continue(invocation));
                };
                invocation.pending.remove(at);
                let ack = ack.then_some(invocation.attempt);
                let notification =
                    Notification { ty: ty::RUN, id: NotificationId::Completion(completion), result: result.into() };
                self.add_notification(id, &mut invocation, notification, ack, now);
                Ok(Next::Continue(invocation))
            }
            Action::AwaitingOn { awaiting, seen } => {
                invocation.awaiting = match awaiting {
                    Some(awaiting) if !self.has_unseen(id, &invocation, &awaiting, seen)? => Some(awaiting),
                    _ => None,
                };
                Ok(Next::Continue(invocation))
            }
            Action::Suspend { awaiting, seen } => {
                self.suspend(id, invocation, awaiting, seen, now).map(|()| Next::Over)
            }
            Action::End => match invocation.output.take() {
                Some(result) => self.end(id, invocation, result, now).map(|()| Next::Over),
                None => {
                    self.refuse(id, &mut invocation, codes::RT0012, "the handler ended without an output");
                    Ok(Next::Continue(invocation))
                }
            },
            Action::EndBy { policy } => match invocation.output.clone() {
                Some(Completion::Failure(failure)) => {
                    self.settle_failed(id, invocation, failure, policy, now).map(|()| Next::Over)
                }
                _ => self.act(id, invocation, Action::End, now),
            },
            Action::Fail { decision, error, counts } => self.fail(id, invocation, decision, error, counts, now),
        }
    }

    fn fail(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        decision: Decision,
        error: AttemptError,
        counts: bool,
        now: TimestampMs,
    ) -> Result<Next, V::Error> {
        invocation.retries.failed = invocation.retries.failed.saturating_add(1);
        if counts {
            invocation.retries.failed_since_entry = invocation.retries.failed_since_entry.saturating_add(1);
        }
        invocation.last_error = Some(error);
        invocation.awaiting = None;
        match decision {
            Decision::RetryAt(at) => {
                invocation.status = Status::BackingOff { at };
                self.set_timer(TimerKey { at, id, kind: TimerKind::Retry });
            }
            Decision::Pause => invocation.status = Status::Paused,
            Decision::Fail(failure) => {
                self.end(id, invocation, Completion::Failure(failure), now)?;
                return Ok(Next::Over);
            }
            Decision::Settle { failure, policy } => {
                self.settle_failed(id, invocation, failure, policy, now)?;
                return Ok(Next::Over);
            }
        }
        self.block(id, &invocation, true)?;
        self.put::<Invocations>(id, invocation);
        Ok(Next::Over)
    }

    /// The attempt did what it may not: everything of it but its failure is void from here on.
    pub(crate) fn refuse(&mut self, id: InvocationId, invocation: &mut Invocation, code: Code, message: &'static str) {
        invocation.refused = true;
        let error = AttemptError {
            code: Text::constant(code.id),
            status: 571,
            message: Text::constant(message),
            stacktrace: Text::default(),
            related: None,
        };
        self.effect(Effect::Refuse { id, attempt: invocation.attempt, error });
    }
}
