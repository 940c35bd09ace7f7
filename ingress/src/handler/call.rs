//! Calling a handler and waiting for its result.

use millrace_model::{
    command::Known,
    invocation::{HandlerKind, NewInvocation},
};

use super::Ingress;
use crate::{
    backend::Backend,
    error::Error,
    reply::{self, Answer},
    routes::{HandlerRoute, Routes},
};

impl<B: Backend, R: Routes> Ingress<B, R> {
    pub(super) async fn call(
        &self,
        invocation: NewInvocation,
        known: Known,
        handler: &HandlerRoute,
    ) -> Result<Answer, Error> {
        let id = invocation.id;
        if handler.kind() == HandlerKind::Workflow {
            return self.run_workflow(invocation, known, handler).await;
        }
        let ended = self.backend.call(invocation, known).await?;
        Ok(reply::ended(id, ended.result, Some(handler), ended.ended_before))
    }

    /// In two steps, so that the second run of a key is refused at once and not when the first one has ended.
    async fn run_workflow(
        &self,
        invocation: NewInvocation,
        known: Known,
        handler: &HandlerRoute,
    ) -> Result<Answer, Error> {
        let id = invocation.id;
        if self.backend.invoke(invocation, known).await?.known {
            return Err(Error::WorkflowKnown(id));
        }
        let ended = self.backend.attach(id).await?.ok_or(Error::AttachNotFound(id))?;
        // It is the answer to the first caller, even if it was there before the second step.
        Ok(reply::ended(id, ended.result, Some(handler), None))
    }
}
