//! What can go wrong below the service protocol.

use std::{io, sync::Arc, time::Duration};

use crate::{exchange::LambdaError, identity::IdentityError};

/// No answer, or only a part of one. Cheap to clone: many attempts share one failed connection.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Nobody listens, no such name, no route.
    #[error("could not connect to {origin}")]
    Connect {
        /// Where.
        origin: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The connection was not there in time.
    #[error("no connection to {origin} within {timeout:?}")]
    ConnectTimeout {
        /// Where.
        origin: String,
        /// The limit.
        timeout: Duration,
    },
    /// The TLS settings of this node cannot be used.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
    /// Too many attempts wait for a connection.
    #[error("too many requests wait for a connection to {0}")]
    Crowded(String),
    /// The connection ended before the request was sent on it.
    #[error("the connection was closed")]
    Closed,
    /// Of the HTTP/2 stream or connection.
    #[error("HTTP/2")]
    H2(#[source] Arc<h2::Error>),
    /// Of the HTTP/1.1 connection.
    #[error("HTTP/1.1")]
    H1(#[source] Arc<hyper::Error>),
    /// A function could not be called, or did not answer.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    /// The key that requests are signed with cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The request cannot be written.
    #[error("bad request: {0}")]
    Request(String),
}

impl TransportError {
    /// The endpoint may have seen the request.
    pub fn request_may_have_run(&self) -> bool {
        match self {
            Self::H2(error) => {
                let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
                // An endpoint that goes in good order ends what it has begun.
                let going = error.is_go_away() && error.is_remote();
                let too_late = going && error.reason() == Some(h2::Reason::NO_ERROR);
                !refused && !too_late && !self.looks_like_http1()
            }
            Self::H1(_) => true,
            Self::Lambda(error) => error.may_have_run(),
            _ => false,
        }
    }

    /// Nobody was there to answer.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Lambda(error) => error.is_absence(),
            _ => true,
        }
    }

    /// A server that speaks HTTP/1.1 only answers the HTTP/2 preface with text, whose first bytes read as the header
    /// of a frame are one that is too large.
    pub fn looks_like_http1(&self) -> bool {
        match self {
            Self::H2(error) => error.reason() == Some(h2::Reason::FRAME_SIZE_ERROR) && !error.is_remote(),
            _ => false,
        }
    }

    /// A fresh connection may do better, at once.
    pub(crate) fn is_stale_connection(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::H2(_) => !self.request_may_have_run() && !self.looks_like_http1(),
            Self::H1(error) => error.is_canceled(),
            _ => false,
        }
    }
}

impl From<h2::Error> for TransportError {
    fn from(error: h2::Error) -> Self {
        Self::H2(Arc::new(error))
    }
}

impl From<hyper::Error> for TransportError {
    fn from(error: hyper::Error) -> Self {
        Self::H1(Arc::new(error))
    }
}
