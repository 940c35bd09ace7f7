//! What a journal command does besides being stored. One file per family.

mod call;
mod promise;
mod state;

use bytes::Bytes;
use millrace_model::{
    InvocationId, TimestampMs,
    command::{CommandEffect, Message},
    invocation::{Invocation, Pending},
    journal::{Completion, Notification, NotificationId, NotificationResult, ty},
    table::{TimerKey, TimerKind},
};

use crate::{StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    /// The command has been appended. Returns the row as it is afterwards; the caller stores it.
    pub(crate) fn entry(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        effect: CommandEffect,
        raw: &Bytes,
        now: TimestampMs,
    ) -> Result<Invocation, V::Error> {
        match effect {
            CommandEffect::None => {}
            CommandEffect::Output { value, failure } => {
                invocation.output = Some(match failure {
                    Some(failure) => Completion::Failure(failure),
                    None => Completion::Success(value.map(|value| value.within(raw)).unwrap_or_default()),
                });
            }
            CommandEffect::Run { completion } => invocation.pending.push((completion, Pending::Run)),
            CommandEffect::Sleep { wake_at, completion } => {
                if wake_at <= now {
                    self.answer(id, &mut invocation, ty::SLEEP, completion, NotificationResult::Void, now);
                } else {
                    invocation.pending.push((completion, Pending::Sleep { wake_at }));
                    self.set_timer(TimerKey { at: wake_at, id, kind: TimerKind::Sleep(completion) });
                }
            }
            CommandEffect::SetState { key, value } => {
                self.set_state(&invocation, key.within(raw), Some(value.within(raw)));
            }
            CommandEffect::ClearState { key } => self.set_state(&invocation, key.within(raw), None),
            CommandEffect::ClearAllState => self.clear_state(&invocation)?,
            CommandEffect::GetState { key, completion } => {
                let result = self.read_state(&invocation, key.within(raw))?;
                self.answer(id, &mut invocation, ty::LAZY_STATE, completion, result, now);
            }
            CommandEffect::GetStateKeys { completion } => {
                let result = self.list_state(&invocation)?;
                self.answer(id, &mut invocation, ty::LAZY_STATE_KEYS, completion, result, now);
            }
            CommandEffect::Call(callee) => return self.call(id, invocation, *callee, raw, now),
            CommandEffect::GetPromise { key, completion } => {
                return self.get_promise(id, invocation, key, completion, now);
            }
            CommandEffect::PeekPromise { key, completion } => {
                return self.peek_promise(id, invocation, key, completion, now);
            }
            CommandEffect::CompletePromise { key, result, completion } => {
                return self.complete_promise(id, invocation, key, result, completion, now);
            }
            CommandEffect::SendSignal { target, signal, result } => {
                return self.tell_for(id, invocation, target, Message::Signal { target, signal, result }, now);
            }
            CommandEffect::Attach { target, completion } => {
                invocation.pending.push((completion, Pending::Attach { id: target }));
                let message = Message::Attach { target, caller: id, completion };
                return self.tell_for(id, invocation, target, message, now);
            }
            CommandEffect::GetOutput { target, completion } => {
                invocation.pending.push((completion, Pending::Output { id: target }));
                let message = Message::GetOutput { target, caller: id, completion };
                return self.tell_for(id, invocation, target, message, now);
            }
        }
        Ok(invocation)
    }

    /// Answers a command in the step that stored it.
    fn answer(
        &mut self,
        id: InvocationId,
        invocation: &mut Invocation,
        ty: u16,
        completion: u32,
        result: NotificationResult,
        now: TimestampMs,
    ) {
        let notification = Notification { ty, id: NotificationId::Completion(completion), result };
        self.add_notification(id, invocation, notification, None, now);
    }
}
