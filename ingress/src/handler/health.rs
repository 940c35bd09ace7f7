//! Liveness.

use http::{Method, request::Parts};

use super::{Ingress, require};
use crate::{
    api::HealthResponse,
    backend::Backend,
    error::Error,
    reply::{self, Answer},
    routes::Routes,
};

impl<B: Backend, R: Routes> Ingress<B, R> {
    pub(super) fn health(&self, parts: &Parts) -> Result<Answer, Error> {
        require(parts, &Method::GET)?;
        Ok(reply::ok(&HealthResponse { services: self.routes.names() }))
    }
}
