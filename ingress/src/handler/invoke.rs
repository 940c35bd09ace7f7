//! What calls and sends share: the checks, in the order in which clients see them, and the new invocation.

use std::borrow::Cow;

use http::{Method, header::CONTENT_TYPE, request::Parts};
use hyper::body::Incoming;
use millrace_model::{
    Text,
    invocation::{HandlerKind, NewInvocation, Source, Target},
    key,
};

use super::{IDEMPOTENCY_KEY, Ingress, Ticket};
use crate::{
    backend::Backend,
    body, delay,
    error::Error,
    path::{Invoke, Verb},
    query,
    reply::Answer,
    request,
    routes::{HandlerRoute, Routes},
};

impl<B: Backend, R: Routes> Ingress<B, R> {
    pub(super) async fn invoke(
        &self,
        path: &Invoke<'_>,
        parts: &Parts,
        body: &mut Incoming,
        ticket: &mut Ticket,
    ) -> Result<Answer, Error> {
        let service = self.service(path.service)?;
        let resolved = path.resolve(service.is_keyed())?;
        let Some(handler) = service.handler(resolved.handler) else {
            return Err(Error::HandlerNotFound {
                service: path.service.to_owned(),
                handler: resolved.handler.to_owned(),
            });
        };
        ticket.service = Some((service.clone(), resolved.verb));
        if !service.is_public() || !handler.is_public() {
            return Err(Error::NotPublic);
        }
        let idempotency_key = request::header(&parts.headers, &IDEMPOTENCY_KEY)?;
        if idempotency_key.is_some() && handler.kind() == HandlerKind::Workflow {
            return Err(Error::IdempotencyKeyOfWorkflow);
        }
        path.scope.map_or(Ok(()), check_scope)?;
        if parts.method != Method::POST && parts.method != Method::GET {
            return Err(Error::Method);
        }

        // Held until the bytes are the leader's, which has a limit of its own.
        let (body, share) = body::read(body, self.limits, &self.pool).await?;
        handler.input().accepts(request::header(&parts.headers, &CONTENT_TYPE)?, body.is_empty())?;
        let delay = match query::param(parts.uri.query(), "delay") {
            None => None,
            Some(text) => match (delay::parse(&text)?, resolved.verb) {
                (_, Verb::Call) => return Err(Error::DelayOfCall),
                (millis, Verb::Send) => Some(millis),
            },
        };
        if parts.headers.contains_key("x-restate-limit-key") || query::param(parts.uri.query(), "limit-key").is_some() {
            return Err(Error::LimitKey);
        }
        let (headers, value) = request::input(&parts.uri, &parts.headers, body)?;

        let target = Target {
            service: service.name().clone(),
            handler: handler.name().clone(),
            key: resolved.key.map_or(Text::default(), |key| match key {
                Cow::Borrowed(key) => key.into(),
                Cow::Owned(key) => key.into(),
            }),
            kind: handler.kind(),
        };
        let (id, known) = key::call_invocation(&target, idempotency_key, &*self.env);
        let now = self.env.now();
        let invocation = NewInvocation {
            id,
            source: Source::Ingress,
            created_at: now,
            // No delay, no timer.
            execute_at: delay.filter(|millis| *millis > 0).map(|millis| now.after(millis)),
            idempotency_key: idempotency_key.map(Text::from),
            completion_retention: completion_retention(handler, idempotency_key),
            journal_retention: handler.retention().journal,
            random_seed: self.env.random(),
            traceparent: request::traceparent(&parts.headers),
            headers,
            value,
            target,
        };
        drop(share);
        match resolved.verb {
            Verb::Call => self.call(invocation, known, handler).await,
            Verb::Send => self.send(invocation, known, delay.map(|millis| now.after(millis))).await,
        }
    }
}

/// Only who can name an invocation again can ask for its result again.
fn completion_retention(handler: &HandlerRoute, idempotency_key: Option<&str>) -> u64 {
    if idempotency_key.is_some() || handler.kind() == HandlerKind::Workflow {
        handler.retention().completion
    } else {
        0
    }
}

fn check_scope(scope: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    Err(if scope.bytes().all(allowed) { Error::Scope } else { Error::ScopeCharacters })
}
