//! Everything a request can be refused for, and how it is answered.

use millrace_model::{
    Code, Coded, IdError, InvocationId,
    codes::{self, Applied},
};
use millrace_partition::ProposeError;
use millrace_protocol::rule::InputError;

use crate::{delay::DelayError, path::PathError};

/// Why a request is not answered with a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("service '{0}' not found, make sure to register the service before calling it.")]
    ServiceNotFound(String),
    #[error(
        "the service '{service}' exists, but the handler '{handler}' was not found, \
         check that the handler exists in the latest registered service version."
    )]
    HandlerNotFound { service: String, handler: String },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("the invoked service is not public")]
    NotPublic,
    #[error("method not allowed")]
    Method,
    #[error(
        "cannot use the idempotency key with workflow handlers. \
         The handler invocation will already be idempotent by the workflow key itself."
    )]
    IdempotencyKeyOfWorkflow,
    #[error("bad scope value: value contains characters outside the allowed set [a-zA-Z0-9_.-]")]
    ScopeCharacters,
    #[error("scoped invocations require vqueues to be enabled")]
    Scope,
    #[error("limit-key requires a scope to be set")]
    LimitKey,
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Delay(#[from] DelayError),
    #[error("cannot use the delay query parameter with calls. The delay is supported only with sends")]
    DelayOfCall,
    #[error("bad header {0}: the value has characters outside of visible ASCII")]
    Header(String),
    #[error("cannot read body: {0}")]
    Body(String),
    #[error("cannot read body: it is longer than {0} bytes")]
    BodyTooLong(usize),
    #[error("cannot read body: nothing arrived for {0} seconds")]
    BodyTimeout(u64),
    #[error("bad invocation id '{text}': {error}")]
    InvocationId { text: String, error: IdError },
    #[error("bad awakeable id '{text}': {error}")]
    AwakeableId { text: String, error: IdError },
    #[error("too many requests, the ingress is overloaded. Retry later.")]
    Overloaded,
    #[error("invocation not found")]
    InvocationNotFound,
    #[error("not found")]
    AttachNotFound(InvocationId),
    #[error("the workflow method was already invoked")]
    WorkflowKnown(InvocationId),
    #[error("the invocation exists but has not completed yet")]
    NotReady,
    #[error("awakeable '{0}' not found: its invocation is not known, or no longer")]
    AwakeableNotFound(String),
    #[error("awakeable '{0}' cannot be completed: its invocation has ended")]
    AwakeableEnded(String),
    #[error("awakeable '{0}' was already completed")]
    AwakeableCompleted(String),
    #[error("{0}")]
    Propose(#[from] ProposeError),
}

impl Error {
    pub fn status(&self) -> u16 {
        match self {
            Self::Path(PathError::NotFound)
            | Self::ServiceNotFound(_)
            | Self::HandlerNotFound { .. }
            | Self::InvocationNotFound
            | Self::AwakeableNotFound(_)
            | Self::AttachNotFound(_) => 404,
            Self::Method => 405,
            Self::BodyTimeout(_) => 408,
            Self::WorkflowKnown(_) | Self::AwakeableEnded(_) | Self::AwakeableCompleted(_) => 409,
            Self::BodyTooLong(_) => 413,
            Self::Overloaded => 429,
            Self::NotReady => 470,
            // No new work while the disk is full: that is the server's state, not the caller's pace.
            Self::Propose(ProposeError::StorageFull) => 503,
            Self::Propose(error) => error.code().kind.http_status(),
            _ => 400,
        }
    }

    /// Who refused: this server at its door, or the invocation.
    pub fn source(&self) -> &'static str {
        if self.invocation().is_some() { "invocation" } else { "ingress" }
    }

    /// The invocation that the answer is about.
    pub fn invocation(&self) -> Option<InvocationId> {
        match self {
            Self::AttachNotFound(id) | Self::WorkflowKnown(id) => Some(*id),
            _ => None,
        }
    }

    pub fn code(&self) -> Option<Code> {
        match self {
            Self::BodyTooLong(_) => Some(codes::RT0003),
            Self::Overloaded => Some(codes::ENG0001),
            Self::Propose(error) => Some(error.code()),
            _ => None,
        }
    }

    pub fn applied_unknown(&self) -> bool {
        self.code().is_some_and(|code| code.applied == Applied::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_decided_is_unavailable() {
        for (error, status, unknown) in [
            (ProposeError::Overloaded, 429, false),
            (ProposeError::StorageFull, 503, false),
            (ProposeError::Unknown, 503, true),
            (ProposeError::Stopped, 503, false),
        ] {
            let error = Error::from(error);
            assert_eq!((error.status(), error.applied_unknown()), (status, unknown), "{error:?}");
            assert!(error.code().is_some());
        }
    }
}
