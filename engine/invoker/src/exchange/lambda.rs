//! A request to an AWS Lambda function, which is one function call (`spec/service-protocol.md` section 10).
//!
//! ```text
//!   send, send, end ──> body ──> Functions::call: envelope ──sign──> Invoke API ──> envelope ──> head, body
//! ```
//!
//! A call takes the whole request and gives the whole answer, so nothing moves before the request has ended: deployments
//! of this kind are in request-response mode.

mod access;
mod client;
mod failure;
mod fetch;
mod smithy;

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, response::Parts};

pub(crate) use self::client::Functions;
pub use self::{client::LambdaFunction, failure::LambdaError};
use crate::transport::TransportError;

/// A longer request is not sent: the API takes far less, and compression has its limits.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Answers are handed out in parts of this size.
const PART_BYTES: usize = 64 << 10;

type Call = Pin<Box<dyn Future<Output = Result<Response<Bytes>, TransportError>> + Send>>;

pub(crate) struct LambdaExchange {
    functions: Arc<Functions>,
    function: Arc<LambdaFunction>,
    /// Until the call.
    head: Option<Request<()>>,
    body: BytesMut,
    too_large: bool,
    call: Option<Call>,
    /// Who asked for the head before the call was made.
    waiting: Option<Waker>,
    answer: Bytes,
}

impl LambdaExchange {
    pub(crate) fn start(
        functions: Arc<Functions>,
        function: Arc<LambdaFunction>,
        head: Request<()>,
        end: bool,
    ) -> Self {
        let mut exchange = Self {
            functions,
            function,
            head: Some(head),
            body: BytesMut::new(),
            too_large: false,
            call: None,
            waiting: None,
            answer: Bytes::new(),
        };
        if end {
            exchange.send(Bytes::new(), true);
        }
        exchange
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, TransportError>> {
        if self.too_large {
            return Poll::Ready(Err(LambdaError::RequestTooLarge { limit: REQUEST_BYTES_MAX }.into()));
        }
        let Some(call) = &mut self.call else {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let answer = ready!(call.as_mut().poll(cx));
        self.call = None;
        let (head, body) = answer?.into_parts();
        self.answer = body;
        Poll::Ready(Ok(head))
    }

    pub(super) fn poll_data(&mut self) -> Poll<Option<Result<Bytes, TransportError>>> {
        if self.answer.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.answer.len().min(PART_BYTES);
        Poll::Ready(Some(Ok(self.answer.split_to(length))))
    }

    pub(super) fn poll_room(&mut self) -> Poll<Result<usize, TransportError>> {
        let left = REQUEST_BYTES_MAX - self.body.len().min(REQUEST_BYTES_MAX);
        self.too_large |= left == 0;
        Poll::Ready(if left > 0 { Ok(left) } else { Err(TransportError::Closed) })
    }

    pub(super) fn send(&mut self, data: Bytes, end: bool) {
        self.body.extend_from_slice(&data);
        if end && let Some(head) = self.head.take() {
            let (functions, function) = (Arc::clone(&self.functions), Arc::clone(&self.function));
            let request = head.map(|()| std::mem::take(&mut self.body).freeze());
            self.call = Some(Box::pin(async move { functions.call(&function, request).await }));
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
    }
}
