//! Ids without a look at what exists.

use http::{Method, request::Parts};
use hyper::body::Incoming;
use millrace_model::{InvocationId, key};

use super::{Ingress, require};
use crate::{
    api::{LookupResponse, Target},
    backend::Backend,
    body,
    error::Error,
    reply::{self, Answer},
    routes::Routes,
};

impl<B: Backend, R: Routes> Ingress<B, R> {
    pub(super) async fn lookup(&self, parts: &Parts, body: &mut Incoming) -> Result<Answer, Error> {
        require(parts, &Method::POST)?;
        let id = id_of(&self.read_target(body).await?)?;
        Ok(reply::ok(&LookupResponse { invocation_id: id.to_string() }))
    }

    pub(super) async fn read_target(&self, body: &mut Incoming) -> Result<Target, Error> {
        let (body, _share) = body::read(body, self.limits, &self.pool).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Body(error.to_string()))
    }
}

pub fn id_of(target: &Target) -> Result<InvocationId, Error> {
    Ok(match target {
        Target::Invocation { invocation_id } => parse_id(invocation_id)?,
        Target::IdempotentInvocation { service, handler, idempotency_key, key, scope } => {
            let scope = scope.as_deref().unwrap_or_default();
            key::idempotent_invocation(service, key.as_deref(), handler, idempotency_key, scope)
        }
        Target::Workflow { workflow_name, workflow_key, scope } => {
            key::workflow_invocation(workflow_name, workflow_key, scope.as_deref().unwrap_or_default())
        }
    })
}

pub fn parse_id(text: &str) -> Result<InvocationId, Error> {
    text.parse().map_err(|error| Error::InvocationId { text: text.to_owned(), error })
}
