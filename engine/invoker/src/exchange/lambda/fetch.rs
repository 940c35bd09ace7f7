//! One request with a whole body, one whole answer.

use std::{future::poll_fn, task::Poll};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri, header, uri::Scheme};

use super::failure::LambdaError;
use crate::{
    address::{Origin, Wire},
    exchange::Exchange,
    pool::{Group, Pool},
    transport::TransportError,
};

/// Other connections that are tried when one does not take the request.
const RESTARTS_MAX: usize = 5;

fn origin(uri: &Uri) -> Result<Origin, TransportError> {
    let bad = || TransportError::Request(format!("'{uri}' is not absolute"));
    let tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(bad()),
    };
    let authority = uri.authority().cloned().ok_or_else(bad)?;
    // What is not encrypted is a stand-in or a machine's own metadata: nothing that is known to speak HTTP/2.
    Ok(Origin { tls, authority, wire: if tls { Wire::Negotiate } else { Wire::Http1 } })
}

/// * `limit`: an answer's body beyond it is an error.
pub(super) async fn fetch(
    pool: &Pool,
    request: Request<Bytes>,
    limit: usize,
) -> Result<Response<Bytes>, TransportError> {
    let origin = origin(request.uri())?;
    let (mut head, body) = request.into_parts();
    head.version = http::Version::HTTP_2;
    // With a length, HTTP/1.1 needs no chunks, which not every API takes.
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    let mut tries = 0;
    loop {
        let lease = pool.acquire(&origin, Group::NONE).await?;
        let answer = match Exchange::start(lease, Request::from_parts(head.clone(), ()), body.is_empty()) {
            Ok(exchange) => run(exchange, body.clone(), limit).await,
            Err(error) => Err(error),
        };
        match answer {
            Err(error) if error.is_stale_connection() && tries < RESTARTS_MAX => tries += 1,
            answer => return answer,
        }
    }
}

async fn run(mut exchange: Exchange, mut body: Bytes, limit: usize) -> Result<Response<Bytes>, TransportError> {
    let mut sending = !body.is_empty();
    let head = poll_fn(|cx| {
        loop {
            // An answer that comes early says why the rest of the request is not wanted.
            if let Poll::Ready(head) = exchange.poll_head(cx) {
                return Poll::Ready(head);
            }
            if !sending {
                return Poll::Pending;
            }
            match exchange.poll_room(cx, body.len()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => sending = false,
                Poll::Ready(Ok(room)) => {
                    let part = body.split_to(room.min(body.len()));
                    sending = !body.is_empty();
                    exchange.send(part, !sending);
                }
            }
        }
    })
    .await?;
    let mut answer = BytesMut::new();
    while let Some(data) = poll_fn(|cx| exchange.poll_data(cx)).await {
        let data = data?;
        if answer.len() + data.len() > limit {
            exchange.reset();
            return Err(LambdaError::AnswerTooLarge { limit }.into());
        }
        answer.extend_from_slice(&data);
        exchange.consumed(data.len());
    }
    Ok(Response::from_parts(head, answer.freeze()))
}
