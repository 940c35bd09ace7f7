//! What operators ask for.

use millrace_model::{
    DeploymentId, InvocationId, TimestampMs,
    command::TerminateMode,
    invocation::{Completed, Invocation, Retries, Status},
    journal::{Completion, Failure, Notification, NotificationId, NotificationResult, SIGNAL_CANCEL, ty},
    table::{Ended, Expiries, ExpiryKey, ExpiryKind, Invocations, TimerKey, TimerKind, Timers},
};

use crate::{Answer, Effect, Refusal, StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    /// The active invocation, or why there is none.
    pub(crate) fn active(&self, id: InvocationId) -> Result<Result<Invocation, Answer>, V::Error> {
        Ok(match self.get::<Invocations>(&id)? {
            Some(invocation) => Ok(invocation),
            None if self.ended(id)?.is_some() => Err(Answer::Refused(Refusal::Ended)),
            None => Err(Answer::Refused(Refusal::NotFound)),
        })
    }

    /// One that has run and ended. Of one that was ended before it started only the id is left, for repeated commands.
    fn ended(&self, id: InvocationId) -> Result<Option<Completed>, V::Error> {
        Ok(self.get::<Ended>(&id)?.filter(|ended| !ended.unstarted))
    }

    pub(crate) fn terminate(
        &mut self,
        id: InvocationId,
        mode: TerminateMode,
        now: TimestampMs,
    ) -> Result<Answer, V::Error> {
        let mut invocation = match self.active(id)? {
            Ok(invocation) => invocation,
            Err(answer) => return Ok(answer),
        };
        let unstarted = matches!(invocation.status, Status::Scheduled { .. } | Status::Inboxed { .. });
        match mode {
            TerminateMode::Kill if unstarted => {
                self.remove_unstarted(id, invocation, Failure::new(409, "killed"), now)?;
            }
            TerminateMode::Cancel if unstarted => {
                self.remove_unstarted(id, invocation, Failure::new(409, "canceled"), now)?;
            }
            TerminateMode::Kill => {
                if invocation.status == Status::Running {
                    self.effect(Effect::Abort { id });
                }
                self.kill_callees(&invocation, now)?;
                self.end(id, invocation, Completion::Failure(Failure::new(409, "killed")), now)?;
            }
            // Its handler is not there to react.
            TerminateMode::Cancel if self.is_parked(id, &invocation)? => {
                self.end(id, invocation, Completion::Failure(Failure::new(409, "canceled")), now)?;
            }
            TerminateMode::Cancel => {
                let id_of = NotificationId::Signal(SIGNAL_CANCEL);
                let signal = Notification { ty: ty::SIGNAL, id: id_of, result: NotificationResult::Void };
                self.add_notification(id, &mut invocation, signal, None, now);
                match invocation.status {
                    Status::Paused => self.restart(id, &mut invocation, now)?,
                    // Not after the delay, which can be long. The handler still has to react, so it counts on.
                    Status::BackingOff { at } => {
                        self.delete::<Timers>(TimerKey { at, id, kind: TimerKind::Retry });
                        self.run(id, &mut invocation, now);
                    }
                    _ => {}
                }
                self.put::<Invocations>(id, invocation);
                return Ok(Answer::Asynchronous);
            }
        }
        Ok(Answer::Done)
    }

    /// Starts a new run of attempts. The caller stores the row.
    fn restart(&mut self, id: InvocationId, invocation: &mut Invocation, now: TimestampMs) -> Result<(), V::Error> {
        if let Status::BackingOff { at } = invocation.status {
            self.delete::<Timers>(TimerKey { at, id, kind: TimerKind::Retry });
        }
        if self.unpark(id, invocation, |outcomes| outcomes.redriven += 1)? {
            self.rewind(id, invocation);
        }
        invocation.retries = Retries::default();
        invocation.awaiting = None;
        self.block(id, invocation, false)?;
        self.run(id, invocation, now);
        Ok(())
    }

    pub(super) fn resume(
        &mut self,
        id: InvocationId,
        deployment: Option<DeploymentId>,
        now: TimestampMs,
    ) -> Result<Answer, V::Error> {
        let mut invocation = match self.active(id)? {
            Ok(invocation) => invocation,
            Err(answer) => return Ok(answer),
        };
        match invocation.status {
            Status::Scheduled { .. } | Status::Inboxed { .. } => return Ok(Answer::Refused(Refusal::NotStarted)),
            _ if deployment.is_some() && invocation.pin.is_none() => return Ok(Answer::Refused(Refusal::NotPinned)),
            Status::Running if deployment.is_some() => return Ok(Answer::Refused(Refusal::NotPinned)),
            Status::Running => return Ok(Answer::Done),
            Status::Paused if self.is_parked(id, &invocation)? && !self.can_redrive(&invocation) => {
                return Ok(Answer::Refused(Refusal::StillCalling));
            }
            Status::Suspended | Status::BackingOff { .. } | Status::Paused => self.restart(id, &mut invocation, now)?,
        }
        if let (Some(deployment), Some(pin)) = (deployment, &mut invocation.pin) {
            pin.deployment = deployment;
        }
        invocation.modified_at = now;
        self.put::<Invocations>(id, invocation);
        Ok(Answer::Done)
    }

    pub(super) fn pause(&mut self, id: InvocationId, now: TimestampMs) -> Result<Answer, V::Error> {
        let mut invocation = match self.active(id)? {
            Ok(invocation) => invocation,
            Err(answer) => return Ok(answer),
        };
        match invocation.status {
            Status::Scheduled { .. } | Status::Inboxed { .. } => return Ok(Answer::Refused(Refusal::NotRunning)),
            Status::Paused => return Ok(Answer::Done),
            Status::Running => self.effect(Effect::Abort { id }),
            Status::BackingOff { at } => self.delete::<Timers>(TimerKey { at, id, kind: TimerKind::Retry }),
            Status::Suspended => {}
        }
        invocation.status = Status::Paused;
        invocation.awaiting = None;
        invocation.modified_at = now;
        self.block(id, &invocation, true)?;
        self.put::<Invocations>(id, invocation);
        Ok(Answer::Asynchronous)
    }

    pub(super) fn purge(&mut self, id: InvocationId, now: TimestampMs) -> Result<Answer, V::Error> {
        Ok(match self.ended(id)? {
            Some(ended) => {
                self.remove_ended(id, &ended, now)?;
                Answer::Done
            }
            None => Answer::Refused(self.not_ended(id)?),
        })
    }

    pub(super) fn purge_journal(&mut self, id: InvocationId) -> Result<Answer, V::Error> {
        Ok(match self.ended(id)? {
            Some(mut ended) => {
                self.remove_journal(id, ended.journal_len);
                self.delete::<Expiries>(ExpiryKey { at: ended.journal_expires_at, id, kind: ExpiryKind::Journal });
                ended.journal_len = 0;
                self.put::<Ended>(id, ended);
                Answer::Done
            }
            None => Answer::Refused(self.not_ended(id)?),
        })
    }

    fn not_ended(&self, id: InvocationId) -> Result<Refusal, V::Error> {
        let active = self.get::<Invocations>(&id)?.is_some();
        Ok(if active { Refusal::NotEnded } else { Refusal::NotFound })
    }
}
