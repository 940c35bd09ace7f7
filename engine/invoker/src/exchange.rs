//! One request and its answer, over either HTTP, both sides at once and without a task of its own.

mod body;
mod h1;
mod h2;
mod lambda;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, response::Parts};

pub use self::lambda::{LambdaError, LambdaFunction};
pub(crate) use self::{body::RequestBody, h1::H1Lease, h2::H2Lease, lambda::Functions};
use crate::transport::TransportError;

/// The right to send one request on a connection.
#[derive(Debug)]
pub(crate) enum Lease {
    H2(H2Lease),
    H1(H1Lease),
}

/// A request that was sent. Dropping it before both sides have ended cancels it.
pub(crate) enum Exchange {
    H2(self::h2::H2Exchange),
    H1(self::h1::H1Exchange),
    Lambda(Box<self::lambda::LambdaExchange>),
}

impl Exchange {
    /// Sends the head. `end`: there is no body.
    pub(crate) fn start(lease: Lease, head: Request<()>, end: bool) -> Result<Self, TransportError> {
        match lease {
            Lease::H2(lease) => self::h2::H2Exchange::start(lease, head, end).map(Self::H2),
            Lease::H1(lease) => self::h1::H1Exchange::start(lease, head, end).map(Self::H1),
        }
    }

    /// The same to a function. Its address is a path.
    pub(crate) fn function(
        functions: &Arc<Functions>,
        function: &Arc<LambdaFunction>,
        head: Request<()>,
        end: bool,
    ) -> Self {
        let exchange = self::lambda::LambdaExchange::start(Arc::clone(functions), Arc::clone(function), head, end);
        Self::Lambda(Box::new(exchange))
    }

    /// The answer's head, once.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, TransportError>> {
        match self {
            Self::H2(exchange) => exchange.poll_head(cx),
            Self::H1(exchange) => exchange.poll_head(cx),
            Self::Lambda(exchange) => exchange.poll_head(cx),
        }
    }

    /// The next part of the answer's body, behind its head; `None` at its end. Follow with [`Exchange::consumed`].
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>> {
        match self {
            Self::H2(exchange) => exchange.poll_data(cx),
            Self::H1(exchange) => exchange.poll_data(cx),
            Self::Lambda(exchange) => exchange.poll_data(),
        }
    }

    /// Room for so many bytes more on the endpoint's side.
    pub(crate) fn consumed(&mut self, bytes: usize) {
        match self {
            Self::H2(exchange) => exchange.consumed(bytes),
            Self::H1(_) | Self::Lambda(_) => {}
        }
    }

    /// How many of `wanted` bytes (at least 1) can be sent now, at least 1. An error: the endpoint takes no more, its
    /// answer says why.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, TransportError>> {
        match self {
            Self::H2(exchange) => exchange.poll_room(cx, wanted),
            Self::H1(exchange) => exchange.poll_room(cx),
            Self::Lambda(exchange) => exchange.poll_room(),
        }
    }

    /// Sends a part of the body. `end`: the last one, which may be empty. An endpoint that takes no more is no error.
    pub(crate) fn send(&mut self, data: Bytes, end: bool) {
        match self {
            Self::H2(exchange) => exchange.send(data, end),
            Self::H1(exchange) => exchange.send(data, end),
            Self::Lambda(exchange) => exchange.send(data, end),
        }
    }

    /// Cancels what has not ended.
    pub(crate) fn reset(self) {
        match self {
            Self::H2(exchange) => exchange.reset(),
            Self::H1(exchange) => exchange.reset(),
            // Who does not ask any more gives the call up.
            Self::Lambda(_) => {}
        }
    }
}
