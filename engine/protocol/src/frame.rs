//! Frames: an 8-byte header, then a protobuf message (`spec/service-protocol.md` section 3).
//!
//! ```text
//!  0        2        4                 8
//!  | type   | flags  | payload length  | payload …        all big-endian; flags: 0x8000 = ACK, the rest reserved
//! ```
//!
//! A frame that lies within one received chunk is a slice of it. One that spans chunks is put together once, in a
//! buffer that grows with what arrives and never beyond the frame, so a header alone reserves nothing.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{error::ProtocolError, ty};

/// Length of a frame's header.
pub const HEADER_LEN: usize = 8;

/// Limit on a message unless configured otherwise; a message must be *below* it.
pub const MESSAGE_BYTES_MAX_DEFAULT: u32 = 32 * 1024 * 1024;

/// First room for a frame that spans chunks: one HTTP/2 frame of default size.
const JOIN_BYTES_MIN: usize = 16 * 1024;

const FLAG_ACK: u16 = 0x8000;

/// One message as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`ty`].
    pub ty: u16,
    /// The sender asks for an acknowledgement. Means something on commands and run proposals only.
    pub ack: bool,
    /// Without the header.
    pub payload: Bytes,
}

/// The header's bytes, for drivers that write header and payload as separate chunks.
pub fn header(ty: u16, ack: bool, payload_len: usize) -> [u8; HEADER_LEN] {
    let length = u32::try_from(payload_len).expect("payloads are bounded by the message limit, which is a u32");
    let [t0, t1] = ty.to_be_bytes();
    let [f0, f1] = if ack { FLAG_ACK } else { 0 }.to_be_bytes();
    let [l0, l1, l2, l3] = length.to_be_bytes();
    [t0, t1, f0, f1, l0, l1, l2, l3]
}

/// Appends one frame.
pub fn encode(ty: u16, ack: bool, payload: &[u8], out: &mut BytesMut) {
    out.reserve(HEADER_LEN + payload.len());
    out.put_slice(&header(ty, ack, payload.len()));
    out.put_slice(payload);
}

#[derive(Clone, Copy, Debug)]
struct Header {
    ty: u16,
    ack: bool,
    length: u32,
}

impl Header {
    fn parse(mut bytes: &[u8]) -> Self {
        Self { ty: bytes.get_u16(), ack: bytes.get_u16() & FLAG_ACK != 0, length: bytes.get_u32() }
    }

    /// Everything that can be refused without the payload.
    fn check(self, limit: u32) -> Result<Self, ProtocolError> {
        let Header { ty, length, .. } = self;
        if ty >= ty::CUSTOM_FIRST {
            return Err(ProtocolError::Custom { ty });
        }
        if ty::name(ty).is_none() {
            return Err(ProtocolError::UnknownType { ty });
        }
        if length >= limit {
            return Err(ProtocolError::TooLarge { ty, length, limit });
        }
        Ok(self)
    }
}

/// Cuts received bytes into frames, however they were split.
#[derive(Debug)]
pub struct Decoder {
    limit: u32,
    /// Received and not yet looked at; no empty ones.
    chunks: VecDeque<Bytes>,
    /// Of the frame being received.
    head: Option<Header>,
    /// Parts of a header or payload that spans chunks.
    partial: Vec<u8>,
}

impl Decoder {
    /// A message of `limit` bytes or more is refused.
    pub fn new(limit: u32) -> Self {
        Self { limit, chunks: VecDeque::new(), head: None, partial: Vec::new() }
    }

    /// Takes what was received. Call [`Decoder::next`] until it gives `None` before the next chunk, else they pile up.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// The next whole frame. After an error the stream has no meaning any more.
    #[allow(clippy::should_implement_trait, reason = "a decoder that can fail is not an iterator")]
    pub fn next(&mut self) -> Result<Option<Frame>, ProtocolError> {
        let head = match self.head {
            Some(head) => head,
            None => {
                let Some(bytes) = self.take(HEADER_LEN) else { return Ok(None) };
                *self.head.insert(Header::parse(&bytes).check(self.limit)?)
            }
        };
        let Some(payload) = self.take(head.length as usize) else { return Ok(None) };
        self.head = None;
        Ok(Some(Frame { ty: head.ty, ack: head.ack, payload }))
    }

    /// Bytes received that belong to no frame given out yet.
    pub fn buffered(&self) -> usize {
        let head = if self.head.is_some() { HEADER_LEN } else { 0 };
        head + self.partial.len() + self.chunks.iter().map(Bytes::len).sum::<usize>()
    }

    /// Exactly `n` bytes, or `None` with what there is kept for the next time.
    fn take(&mut self, n: usize) -> Option<Bytes> {
        if n == 0 {
            return Some(Bytes::new());
        }
        if self.partial.is_empty() {
            let front = self.chunks.front_mut()?;
            if front.len() >= n {
                let taken = front.split_to(n);
                if front.is_empty() {
                    self.chunks.pop_front();
                }
                return Some(taken);
            }
        }
        while self.partial.len() < n {
            let front = self.chunks.front_mut()?;
            let part = front.len().min(n - self.partial.len());
            grow(&mut self.partial, part, n);
            self.partial.extend_from_slice(&front[..part]);
            front.advance(part);
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
        Some(Bytes::from(std::mem::take(&mut self.partial)))
    }
}

/// Room for `part` more bytes: doubled, so that small chunks cost little, but never more than the `whole` in sum.
fn grow(partial: &mut Vec<u8>, part: usize, whole: usize) {
    let needed = partial.len() + part;
    if needed > partial.capacity() {
        let capacity = needed.max(partial.capacity() * 2).max(JOIN_BYTES_MIN).min(whole);
        partial.reserve_exact(capacity - partial.len());
    }
}

#[cfg(test)]
mod tests;
