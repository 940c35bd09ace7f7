//! What moves the bytes of a connection: one task each.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Weak,
    task::Poll,
};

use h2::Ping;
use tokio::time::{Instant, sleep};

use super::{Upstream, spread};
use crate::{
    config::KeepAlive,
    connect::{H1Connection, H2Connection},
};

/// Drives an HTTP/2 connection until it ends, or does not answer a ping.
pub(super) async fn h2(mut connection: H2Connection, id: u64, upstream: Weak<Upstream>, keep_alive: KeepAlive) {
    let mut pings = connection.ping_pong().expect("taken once");
    // Spread, so that connections opened together do not ping together.
    let interval = keep_alive.interval.mul_f64(1.0 + 0.2 * spread(id));
    let mut timer = pin!(sleep(interval));
    let mut waiting = false;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(result) = std::pin::Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(result.map_err(|error| error.to_string()));
        }
        if waiting && let Poll::Ready(Ok(_)) = pings.poll_pong(cx) {
            waiting = false;
            timer.as_mut().reset(Instant::now() + interval);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if waiting {
                return Poll::Ready(Err("a ping was not answered".to_owned()));
            }
            let used = upstream.upgrade().is_some_and(|upstream| upstream.streams(id) > 0);
            if used && pings.send_ping(Ping::opaque()).is_ok() {
                waiting = true;
                timer.as_mut().reset(Instant::now() + keep_alive.timeout);
                // Registers for the answer, and the connection for the sending.
                cx.waker().wake_by_ref();
            } else {
                timer.as_mut().reset(Instant::now() + interval);
            }
        }
        Poll::Pending
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
    if let Some(upstream) = upstream.upgrade() {
        upstream.h2_closed(id);
    }
    // Behind that: its streams end with it, and may ask for another connection at once.
    drop(connection);
}

/// Drives an HTTP/1.1 connection until it ends.
pub(super) async fn h1(connection: H1Connection, upstream: Weak<Upstream>) {
    if let Err(error) = connection.await {
        tracing::debug!(error = %error, "connection ended");
    }
    if let Some(upstream) = upstream.upgrade() {
        upstream.h1_closed();
    }
}
