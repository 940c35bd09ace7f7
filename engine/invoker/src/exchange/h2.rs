//! A stream of an HTTP/2 connection.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Request, response::Parts};

use crate::{pool::Upstream, transport::TransportError};

/// One of a connection's streams. Dropping it gives it to the next who waits.
pub(crate) struct H2Lease {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) connection: u64,
    pub(crate) sender: SendRequest<Bytes>,
    /// False once it was given back.
    pub(crate) armed: bool,
}

impl Drop for H2Lease {
    fn drop(&mut self) {
        if self.armed {
            Upstream::give_back(&self.upstream, self.connection);
        }
    }
}

impl std::fmt::Debug for H2Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2Lease").field("connection", &self.connection).finish()
    }
}

pub(crate) struct H2Exchange {
    send: SendStream<Bytes>,
    head: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// Nothing more can be sent.
    sent: bool,
    /// Behind the streams: the connection has room again when they are gone.
    _lease: H2Lease,
}

impl H2Exchange {
    pub(super) fn start(mut lease: H2Lease, head: Request<()>, end: bool) -> Result<Self, TransportError> {
        match lease.sender.send_request(head, end) {
            Ok((head, send)) => Ok(Self { send, head: Some(head), body: None, sent: end, _lease: lease }),
            Err(error) => {
                lease.upstream.retire(lease.connection);
                // What the connection died of has been told to those it happened to.
                tracing::debug!(error = %error, "connection does not take another request");
                Err(TransportError::Closed)
            }
        }
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, TransportError>> {
        let head = self.head.as_mut().expect("asked for once");
        let response = ready!(Pin::new(head).poll(cx))?;
        self.head = None;
        let (parts, body) = response.into_parts();
        self.body = Some(body);
        Poll::Ready(Ok(parts))
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => Poll::Ready(Some(Ok(data))),
            // The answer was whole, and the endpoint did not wait for the rest of the request.
            Some(Err(error)) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => Poll::Ready(None),
        }
    }

    pub(super) fn consumed(&mut self, bytes: usize) {
        if let Some(body) = &mut self.body {
            // Fails only for more than was received.
            let _ = body.flow_control().release_capacity(bytes);
        }
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, TransportError>> {
        self.send.reserve_capacity(wanted);
        loop {
            let room = self.send.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Err(TransportError::Closed)),
            }
        }
    }

    pub(super) fn send(&mut self, data: Bytes, end: bool) {
        if !self.sent {
            let taken = self.send.send_data(data, end).is_ok();
            self.sent = end || !taken;
        }
    }

    pub(super) fn reset(mut self) {
        self.send.send_reset(Reason::CANCEL);
    }
}
