//! Completing awakeables: a value or a failure for whoever waits for it.

use http::{Method, request::Parts};
use hyper::body::Incoming;
use millrace_machine::Refusal;
use millrace_model::{
    AwakeableId, Text,
    journal::{Failure, NotificationId, NotificationResult},
};

use super::{Ingress, require};
use crate::{
    backend::Backend,
    body,
    error::Error,
    path::Verdict,
    reply::{self, Answer},
    routes::Routes,
};

/// Ids as protocol versions before 4 gave them out: no invocation of this server has one.
const LEGACY_PREFIX: &str = "prom_1";
/// What a rejected awakeable fails with.
const REJECTED: u32 = 500;

impl<B: Backend, R: Routes> Ingress<B, R> {
    /// The first completion wins; a later one is told so. The content type of a value is the handler's own affair.
    pub(super) async fn complete_awakeable(
        &self,
        parts: &Parts,
        body: &mut Incoming,
        id: &str,
        verdict: Verdict,
    ) -> Result<Answer, Error> {
        require(parts, &Method::POST)?;
        let awakeable = parse(id)?;
        // Held until the bytes are the leader's, which has a limit of its own.
        let (body, share) = body::read(body, self.limits, &self.pool).await?;
        let result = match verdict {
            Verdict::Resolve => NotificationResult::Value(body),
            Verdict::Reject => {
                let reason = Text::from_utf8(body);
                let message = reason.ok_or_else(|| Error::Body("the reason is not UTF-8".to_owned()))?;
                NotificationResult::Failure(Failure { code: REJECTED, message, metadata: Vec::new() })
            }
        };
        drop(share);
        let signal = NotificationId::Signal(awakeable.signal);
        match self.backend.signal(awakeable.invocation, signal, result).await? {
            Ok(()) => Ok(reply::taken()),
            Err(Refusal::NotFound) => Err(Error::AwakeableNotFound(id.to_owned())),
            Err(Refusal::Ended) => Err(Error::AwakeableEnded(id.to_owned())),
            Err(_) => Err(Error::AwakeableCompleted(id.to_owned())),
        }
    }
}

fn parse(id: &str) -> Result<AwakeableId, Error> {
    if id.starts_with(LEGACY_PREFIX) {
        return Err(Error::AwakeableNotFound(id.to_owned()));
    }
    id.parse().map_err(|error| Error::AwakeableId { text: id.to_owned(), error })
}
