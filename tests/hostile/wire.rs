//! Frames of the service protocol, made by hand: nothing here can be encoded by mistake.
#![allow(dead_code)] // Each test binary uses a part.

use bytes::{BufMut, Bytes, BytesMut};

pub const START: u16 = 0x0000;
pub const SUSPENSION: u16 = 0x0001;
pub const ERROR: u16 = 0x0002;
pub const END: u16 = 0x0003;
pub const PROPOSE: u16 = 0x0005;
pub const AWAITING: u16 = 0x0006;
pub const INPUT: u16 = 0x0400;
pub const OUTPUT: u16 = 0x0401;
pub const GET_STATE: u16 = 0x0402;
pub const SET_STATE: u16 = 0x0403;
pub const GET_PROMISE: u16 = 0x0409;
pub const SLEEP: u16 = 0x040C;
pub const CALL: u16 = 0x040D;
pub const SEND: u16 = 0x040E;
pub const SIGNAL: u16 = 0x0410;
pub const RUN: u16 = 0x0411;
pub const ATTACH: u16 = 0x0412;
pub const AWAKEABLE: u16 = 0x0414;

/// A protobuf message.
#[derive(Clone, Default)]
pub struct Message(BytesMut);

impl Message {
    pub fn new() -> Self {
        Self::default()
    }

    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
    }

    /// A number.
    pub fn number(mut self, field: u64, value: u64) -> Self {
        self.raw(field << 3);
        self.raw(value);
        self
    }

    /// Bytes, text, or a packed list.
    pub fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.raw(field << 3 | 2);
        self.raw(value.as_ref().len() as u64);
        self.0.put_slice(value.as_ref());
        self
    }

    /// A nested message.
    pub fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, value.0)
    }

    /// As a frame.
    pub fn frame(self, ty: u16) -> Bytes {
        frame(ty, 0, self.0.len() as u32, &self.0)
    }

    /// As a frame that asks for an acknowledgement.
    pub fn asking(self, ty: u16) -> Bytes {
        frame(ty, 0x8000, self.0.len() as u32, &self.0)
    }
}

/// A frame with any header.
pub fn frame(ty: u16, flags: u16, length: u32, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u16(ty);
    out.put_u16(flags);
    out.put_u32(length);
    out.put_slice(payload);
    out.freeze()
}

/// A frame without fields.
pub fn empty(ty: u16) -> Bytes {
    frame(ty, 0, 0, &[])
}

/// The result `text`.
pub fn output(text: &str) -> Bytes {
    Message::new().message(14, Message::new().bytes(1, text)).frame(OUTPUT)
}

/// Frames one behind the other.
pub fn join(frames: &[Bytes]) -> Bytes {
    frames.concat().into()
}

/// A well-behaved end.
pub fn done() -> Bytes {
    join(&[output("done"), empty(END)])
}
