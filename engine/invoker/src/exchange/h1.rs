//! A request on an HTTP/1.1 connection, which it has for itself.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header, response::Parts};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::SendRequest,
};

use super::body::{BodyWriter, RequestBody, body};
use crate::{pool::Upstream, transport::TransportError};

/// A connection. Dropping it before the exchange has ended closes the connection.
pub(crate) struct H1Lease {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) sender: SendRequest<RequestBody>,
    /// Behind it, it is not used again.
    pub(crate) expires: Instant,
}

impl std::fmt::Debug for H1Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H1Lease").finish_non_exhaustive()
    }
}

type ResponseFuture = Pin<Box<dyn Future<Output = hyper::Result<http::Response<Incoming>>> + Send>>;

pub(crate) struct H1Exchange {
    writer: BodyWriter,
    head: Option<ResponseFuture>,
    body: Option<Incoming>,
    /// Given back when both sides have ended.
    lease: Option<H1Lease>,
}

impl H1Exchange {
    pub(super) fn start(mut lease: H1Lease, head: Request<()>, end: bool) -> Result<Self, TransportError> {
        let (writer, body) = body(end);
        let head = for_http1(head, lease.upstream.is_proxied())?;
        let response = lease.sender.send_request(head.map(|()| body));
        Ok(Self { writer, head: Some(Box::pin(response)), body: None, lease: Some(lease) })
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, TransportError>> {
        let head = self.head.as_mut().expect("asked for once");
        let response = ready!(head.as_mut().poll(cx))?;
        self.head = None;
        let (parts, body) = response.into_parts();
        self.body = Some(body);
        Poll::Ready(Ok(parts))
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_trailers) => {}
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => {
                    self.body = None;
                    if self.writer.is_ended()
                        && let Some(lease) = self.lease.take()
                    {
                        Upstream::keep(lease);
                    }
                }
            }
        }
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, TransportError>> {
        self.writer.poll_room(cx).map(|room| room.ok_or(TransportError::Closed))
    }

    pub(super) fn send(&mut self, data: Bytes, end: bool) {
        self.writer.send(data, end);
    }

    pub(super) fn reset(self) {}
}

/// HTTP/1.1 has the authority in a header of its own. A proxy has to be told it with the path as well (RFC 9112,
/// section 3.2.2).
fn for_http1(mut head: Request<()>, proxied: bool) -> Result<Request<()>, TransportError> {
    let bad = |what: &str| TransportError::Request(what.to_owned());
    let authority = head.uri().authority().ok_or_else(|| bad("no authority"))?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| bad("authority"))?;
    if !proxied {
        let path = head.uri().path_and_query().cloned().ok_or_else(|| bad("no path"))?;
        *head.uri_mut() = Uri::from(path);
    }
    *head.version_mut() = http::Version::HTTP_11;
    head.headers_mut().entry(header::HOST).or_insert(host);
    Ok(head)
}
