//! The result of a workflow's run, by its key.

use http::{Method, request::Parts};
use millrace_model::key;

use super::{Ingress, require};
use crate::{
    backend::Backend,
    error::Error,
    path::{Peek, decode_key},
    reply::Answer,
    routes::Routes,
};

impl<B: Backend, R: Routes> Ingress<B, R> {
    /// Whether there is such a workflow is not asked: without a run there is no result.
    pub(super) async fn peek_workflow(
        &self,
        parts: &Parts,
        workflow: &str,
        workflow_key: &str,
        peek: Peek,
    ) -> Result<Answer, Error> {
        require(parts, &Method::GET)?;
        let id = key::workflow_invocation(workflow, &decode_key(workflow_key)?, "");
        self.peek(id, peek).await
    }
}
