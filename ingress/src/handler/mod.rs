//! What requests do, one file per resource.

mod awakeable;
mod call;
mod health;
mod invocation;
mod invoke;
mod lookup;
mod send;
mod workflow;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, Version, header::EXPECT, request::Parts};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use millrace_model::Env;
use tracing::debug;

use crate::{
    backend::Backend,
    body::{self, Limits, Pool},
    config::IngressConfig,
    cors,
    error::Error,
    metrics::{DOOR, Outcome},
    path::{self, Path, Verb},
    reply::{self, Answer},
    routes::{Routes, ServiceRoute},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The front door, shared by all connections.
pub struct Ingress<B, R> {
    backend: B,
    routes: R,
    env: Arc<dyn Env>,
    limits: Limits,
    pool: Pool,
    requests: AtomicUsize,
    requests_limit: usize,
}

/// One of the requests that may be under way.
struct Slot<'a>(&'a AtomicUsize);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts how a request ends, also when its caller goes away first.
struct Ticket {
    started: Instant,
    service: Option<(Arc<ServiceRoute>, Verb)>,
    outcome: Outcome,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match &self.service {
            Some((service, verb)) => service.metrics().of(*verb).record(self.outcome, self.started.elapsed()),
            None => DOOR.record(self.outcome),
        }
    }
}

impl<B: Backend, R: Routes> Ingress<B, R> {
    pub fn new(config: &IngressConfig, backend: B, routes: R, env: Arc<dyn Env>) -> Self {
        Self {
            backend,
            routes,
            env,
            limits: Limits { bytes: config.request_size_limit, idle: config.body_timeout },
            pool: Pool::new(config.request_memory_limit),
            requests: AtomicUsize::new(0),
            requests_limit: config.concurrent_requests_limit,
        }
    }

    /// Answers one request. Dropping the future takes nothing back.
    pub async fn serve(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, mut body) = request.into_parts();
        let origin = cors::origin(&parts.headers);
        let mut response = if parts.method == Method::OPTIONS {
            cors::preflight(&parts.headers)
        } else {
            DOOR.admitted.increment(1);
            let mut ticket = Ticket { started: Instant::now(), service: None, outcome: Outcome::Abandoned };
            let answer = match self.admit() {
                Ok(_slot) => self.dispatch(&parts, &mut body, &mut ticket).await,
                Err(error) => Err(error),
            };
            let answer = answer.unwrap_or_else(|error| {
                debug!(error = %error, "request refused");
                reply::refused(&error)
            });
            ticket.outcome = answer.outcome;
            answer.response
        };
        cors::apply(origin, response.headers_mut());
        // HTTP/2 resets the stream, which takes no answer with it. Who waits for "100 Continue" has sent nothing, who
        // was too slow will send no more.
        if !body.is_end_stream()
            && parts.version < Version::HTTP_2
            && !parts.headers.contains_key(EXPECT)
            && response.status() != StatusCode::REQUEST_TIMEOUT
        {
            body::linger(body);
        }
        response
    }

    fn admit(&self) -> Result<Slot<'_>, Error> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(&self.requests);
        if before < self.requests_limit { Ok(slot) } else { Err(Error::Overloaded) }
    }

    async fn dispatch(&self, parts: &Parts, body: &mut Incoming, ticket: &mut Ticket) -> Result<Answer, Error> {
        match path::parse(parts.uri.path())? {
            Path::Invoke(path) => self.invoke(&path, parts, body, ticket).await,
            Path::ById(id, peek) => self.peek_id(parts, id, peek).await,
            Path::ByIdempotencyKey(path) => self.peek_idempotent(parts, &path).await,
            Path::ByWorkflow { workflow, key, peek } => self.peek_workflow(parts, workflow, key, peek).await,
            Path::ByTarget(peek) => self.peek_target(parts, body, peek).await,
            Path::Lookup => self.lookup(parts, body).await,
            Path::Health => self.health(parts),
            Path::Awakeable { id, verdict } => self.complete_awakeable(parts, body, id, verdict).await,
        }
    }

    fn service(&self, name: &str) -> Result<Arc<ServiceRoute>, Error> {
        self.routes.service(name).ok_or_else(|| Error::ServiceNotFound(name.to_owned()))
    }
}

fn require(parts: &Parts, method: &Method) -> Result<(), Error> {
    if parts.method == *method { Ok(()) } else { Err(Error::Method) }
}
