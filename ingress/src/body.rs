//! Reading request bodies within limits.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::Error;

/// How much of a refused request's body is read and thrown away, so that its sender gets to see the answer instead of
/// a reset connection.
const LINGER_BYTES_MAX: usize = 64 << 20;
const LINGER_MAX: Duration = Duration::from_secs(5);

/// Bytes of all bodies that are being read.
pub struct Pool {
    used: AtomicUsize,
    limit: usize,
}

impl Pool {
    pub fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Bytes held now.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// A share of the pool, given back when dropped.
pub struct Share<'a> {
    pool: &'a Pool,
    bytes: usize,
}

impl<'a> Share<'a> {
    fn new(pool: &'a Pool) -> Self {
        Self { pool, bytes: 0 }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let before = self.pool.used.fetch_add(bytes, Ordering::Relaxed);
        let alone = before == self.bytes;
        self.bytes += bytes;
        // One body always fits, however small the pool.
        if alone || before + bytes <= self.pool.limit { Ok(()) } else { Err(Error::Overloaded) }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.pool.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// What a request may send, and how slowly.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: usize,
    pub idle: Duration,
}

/// Reads all of a body. The share is to be held until the bytes are somebody else's.
pub async fn read<'a>(body: &mut Incoming, limits: Limits, pool: &'a Pool) -> Result<(Bytes, Share<'a>), Error> {
    let mut share = Share::new(pool);
    if body.is_end_stream() {
        return Ok((Bytes::new(), share));
    }
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > limits.bytes as u64) {
        return Err(Error::BodyTooLong(limits.bytes));
    }
    let Some(first) = next(body, limits, 0, &mut share).await? else { return Ok((Bytes::new(), share)) };
    let Some(second) = next(body, limits, first.len(), &mut share).await? else { return Ok((first, share)) };
    // Grows with what arrives: what is announced need not come.
    let mut all = BytesMut::with_capacity(2 * (first.len() + second.len()));
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(more) = next(body, limits, all.len(), &mut share).await? {
        all.extend_from_slice(&more);
    }
    Ok((all.freeze(), share))
}

async fn next(
    body: &mut Incoming,
    limits: Limits,
    so_far: usize,
    share: &mut Share<'_>,
) -> Result<Option<Bytes>, Error> {
    while !body.is_end_stream() {
        let frame = match timeout(limits.idle, body.frame()).await {
            Err(_) => return Err(Error::BodyTimeout(limits.idle.as_secs())),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(Error::Body(error.to_string())),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers are not part of the input.
        let Ok(data) = frame.into_data() else { continue };
        if data.is_empty() {
            continue;
        }
        if data.len() > limits.bytes - so_far {
            return Err(Error::BodyTooLong(limits.bytes));
        }
        share.grow(data.len())?;
        return Ok(Some(data));
    }
    Ok(None)
}

/// Throws away what is left of a refused request's body, behind the answer.
pub fn linger(mut body: Incoming) {
    tokio::spawn(async move {
        let deadline = Instant::now() + LINGER_MAX;
        let mut bytes = 0;
        while bytes < LINGER_BYTES_MAX {
            match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
                _ => return,
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back() {
        let pool = Pool::new(100);
        let mut a = Share::new(&pool);
        assert!(a.grow(100).is_ok() && a.grow(50).is_ok(), "one body always fits");
        let mut b = Share::new(&pool);
        assert!(matches!(b.grow(1), Err(Error::Overloaded)));
        drop(b);
        assert_eq!(pool.used(), 150);
        drop(a);
        assert_eq!(pool.used(), 0);
    }
}
