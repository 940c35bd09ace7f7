//! One-way calls, possibly for later.

use millrace_model::{TimestampMs, command::Known, invocation::NewInvocation};

use super::Ingress;
use crate::{
    api::{SendResponse, SendStatus},
    backend::Backend,
    delay::DelayError,
    error::Error,
    reply::{self, Answer},
    routes::Routes,
};

impl<B: Backend, R: Routes> Ingress<B, R> {
    /// `execute_at`: when it is to start, if a delay was given, be it zero.
    pub(super) async fn send(
        &self,
        invocation: NewInvocation,
        known: Known,
        execute_at: Option<TimestampMs>,
    ) -> Result<Answer, Error> {
        let id = invocation.id;
        let own = match execute_at {
            // Beyond the calendar nobody could be told when it starts.
            Some(at) => Some(reply::execution_time(at).ok_or(DelayError::TooLong)?),
            None => None,
        };
        let accepted = self.backend.invoke(invocation, known).await?;
        let (execution_time, status) = if accepted.known {
            (accepted.execute_at.and_then(reply::execution_time), SendStatus::PreviouslyAccepted)
        } else {
            (own, SendStatus::Accepted)
        };
        Ok(reply::accepted(id, &SendResponse { invocation_id: id.to_string(), execution_time, status }))
    }
}
