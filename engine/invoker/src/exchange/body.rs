//! The request body of an HTTP/1.1 exchange, which the connection's task pulls.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;

/// Bytes that wait for the connection.
const QUEUED_MAX: usize = 64 * 1024;

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    queued: usize,
    ended: bool,
    /// One of the two sides is gone.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What the connection reads.
pub(crate) struct RequestBody(Arc<Mutex<State>>);

/// Where it is written. Dropped before its end: the request is cut off.
pub(super) struct BodyWriter(Arc<Mutex<State>>);

pub(super) fn body(ended: bool) -> (BodyWriter, RequestBody) {
    let state = Arc::new(Mutex::new(State { ended, ..State::default() }));
    (BodyWriter(state.clone()), RequestBody(state))
}

impl BodyWriter {
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let mut state = self.0.lock();
        if state.broken || state.ended {
            return Poll::Ready(None);
        }
        if state.queued < QUEUED_MAX {
            return Poll::Ready(Some(QUEUED_MAX - state.queued));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn send(&self, data: Bytes, end: bool) {
        let mut state = self.0.lock();
        if state.broken || state.ended {
            return;
        }
        if !data.is_empty() {
            state.queued += data.len();
            state.chunks.push_back(data);
        }
        state.ended = end;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    pub(super) fn is_ended(&self) -> bool {
        let state = self.0.lock();
        state.ended && state.chunks.is_empty()
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.broken |= !state.ended;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.0.lock();
        if let Some(data) = state.chunks.pop_front() {
            state.queued -= data.len();
            let writer = state.writer.take();
            drop(state);
            wake(writer);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if state.broken {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.lock();
        state.ended && state.chunks.is_empty()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.broken |= !state.ended;
        state.chunks.clear();
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }
}
