//! Calls and sends to other handlers.

use bytes::Bytes;
use millrace_model::{
    InvocationId, TimestampMs,
    command::{Callee, Message},
    invocation::{Invocation, NewInvocation, Pending},
    journal::{NotificationResult, ty},
};

use crate::{StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    pub(super) fn call(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        callee: Callee,
        raw: &Bytes,
        now: TimestampMs,
    ) -> Result<Invocation, V::Error> {
        let new = NewInvocation { value: callee.parameter.within(raw), ..callee.invocation };
        let callee_id = new.id;
        self.answer(
            id,
            &mut invocation,
            ty::CALL_ID,
            callee.id_completion,
            NotificationResult::InvocationId(callee_id),
            now,
        );
        if let Some(completion) = callee.result_completion {
            invocation.pending.push((completion, Pending::Call { id: callee_id }));
        }
        self.tell_for(id, invocation, callee_id, Message::Invoke(Box::new(new)), now)
    }
}
