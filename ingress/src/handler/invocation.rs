//! Results of invocations that were made before: waiting for them, looking at them.

use std::sync::Arc;

use http::{Method, request::Parts};
use hyper::body::Incoming;
use millrace_model::{InvocationId, invocation::Target, key};
use millrace_partition::Output;

use super::{Ingress, lookup, require};
use crate::{
    backend::Backend,
    error::Error,
    path::{Idempotent, Peek},
    reply::{self, Answer},
    routes::{HandlerRoute, Routes},
};

impl<B: Backend, R: Routes> Ingress<B, R> {
    pub(super) async fn peek_id(&self, parts: &Parts, id: &str, peek: Peek) -> Result<Answer, Error> {
        require(parts, &Method::GET)?;
        self.peek(lookup::parse_id(id)?, peek).await
    }

    pub(super) async fn peek_idempotent(&self, parts: &Parts, path: &Idempotent<'_>) -> Result<Answer, Error> {
        require(parts, &Method::GET)?;
        let service = self.service(path.service)?;
        let target = path.resolve(service.is_keyed())?;
        let (key, idempotency_key) = (target.key.as_deref(), &*target.idempotency_key);
        let id = key::idempotent_invocation(path.service, key, target.handler, idempotency_key, "");
        self.peek(id, path.peek).await
    }

    pub(super) async fn peek_target(&self, parts: &Parts, body: &mut Incoming, peek: Peek) -> Result<Answer, Error> {
        require(parts, &Method::POST)?;
        let id = lookup::id_of(&self.read_target(body).await?)?;
        self.peek(id, peek).await
    }

    pub(super) async fn peek(&self, id: InvocationId, peek: Peek) -> Result<Answer, Error> {
        match peek {
            Peek::Attach => {
                let ended = self.backend.attach(id).await?.ok_or(Error::AttachNotFound(id))?;
                let handler = self.handler_of(&ended.target);
                Ok(reply::ended(id, ended.result, handler.as_deref(), ended.ended_before))
            }
            Peek::Output => match self.backend.output(id).await? {
                Output::NotFound => Err(Error::InvocationNotFound),
                Output::NotReady => Err(Error::NotReady),
                Output::Ended { target, result, result_until } => {
                    let handler = self.handler_of(&target);
                    Ok(reply::ended(id, result, handler.as_deref(), Some(result_until)))
                }
            },
        }
    }

    /// Who made a result, as it is registered now: that says how the result is labelled.
    fn handler_of(&self, target: &Target) -> Option<Arc<HandlerRoute>> {
        self.routes.service(&target.service)?.handler(&target.handler).cloned()
    }
}
