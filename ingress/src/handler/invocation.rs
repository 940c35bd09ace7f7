//! Results of invocations that were made before: waiting for them, looking at them.

use http::{Method, request::Parts};
use hyper::body::Incoming;
use millrace_model::{InvocationId, key};
use millrace_partition::Output;

use super::{Ingress, lookup, require};
use crate::{
    api::Target,
    backend::Backend,
    error::Error,
    path::{Idempotent, Peek},
    reply::{self, Answer},
    routes::{HandlerRoute, Routes},
};

impl<B: Backend, R: Routes> Ingress<B, R> {
    pub(super) async fn peek_id(&self, parts: &Parts, id: &str, peek: Peek) -> Result<Answer, Error> {
        require(parts, &Method::GET)?;
        self.peek(lookup::parse_id(id)?, None, peek).await
    }

    pub(super) async fn peek_idempotent(&self, parts: &Parts, path: &Idempotent<'_>) -> Result<Answer, Error> {
        require(parts, &Method::GET)?;
        let service = self.service(path.service)?;
        let target = path.resolve(service.is_keyed())?;
        let (key, idempotency_key) = (target.key.as_deref(), target.idempotency_key);
        let id = key::idempotent_invocation(path.service, key, target.handler, idempotency_key, "");
        self.peek(id, service.handler(target.handler).map(|handler| &**handler), path.peek).await
    }

    pub(super) async fn peek_target(&self, parts: &Parts, body: &mut Incoming, peek: Peek) -> Result<Answer, Error> {
        require(parts, &Method::POST)?;
        let target = self.read_target(body).await?;
        let id = lookup::id_of(&target)?;
        let service = match &target {
            Target::Invocation { .. } => None,
            Target::IdempotentInvocation { service, .. } => self.routes.service(service),
            Target::Workflow { workflow_name, .. } => self.routes.service(workflow_name),
        };
        let handler = service.as_ref().and_then(|service| match &target {
            Target::IdempotentInvocation { handler, .. } => service.handler(handler),
            _ => service.main_handler(),
        });
        self.peek(id, handler.map(|handler| &**handler), peek).await
    }

    /// `handler`: whose result it is, if that is known.
    pub(super) async fn peek(
        &self,
        id: InvocationId,
        handler: Option<&HandlerRoute>,
        peek: Peek,
    ) -> Result<Answer, Error> {
        match peek {
            Peek::Attach => {
                let ended = self.backend.attach(id).await?.ok_or(Error::AttachNotFound(id))?;
                Ok(reply::ended(id, ended.result, handler, ended.ended_before))
            }
            Peek::Output => match self.backend.output(id).await? {
                Output::NotFound => Err(Error::InvocationNotFound),
                Output::NotReady => Err(Error::NotReady),
                Output::Ended { result, result_until } => Ok(reply::ended(id, result, handler, Some(result_until))),
            },
        }
    }
}
