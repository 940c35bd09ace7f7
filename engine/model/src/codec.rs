//! The byte form of everything that is stored or logged: commands, messages, rows.
//!
//! Integers are LEB128 varints (`u128` and LSNs that must be found by position are fixed), byte strings are
//! length-prefixed, an enum starts with its tag. Fields are written in the order of their declaration and never
//! change: another meaning is another tag (GUIDE section 9). Golden bytes stand in `tests/golden.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Stored bytes that are not what this release or an older one writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("unexpected end of input")]
    End,
    /// A varint is longer than its type, a length is longer than the input, or a text is not UTF-8.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A tag that this release does not know.
    #[error("unknown tag {tag} of {of}")]
    UnknownTag {
        /// The type.
        of: &'static str,
        /// What stands in its place.
        tag: u8,
    },
    /// Bytes behind the value.
    #[error("{0} bytes behind the value")]
    Trailing(usize),
}

/// A read position in shared bytes; byte strings are slices of them, not copies.
pub struct Input {
    bytes: Bytes,
    at: usize,
}

impl Input {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.remaining() {
            return Err(DecodeError::End);
        }
        let slice = self.bytes.slice(self.at..self.at + len);
        self.at += len;
        Ok(slice)
    }

    /// One byte: a tag.
    pub fn tag(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::End)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..).step_by(7) {
            let byte = self.tag()?;
            let part = u64::from(byte & 0x7f);
            if shift >= bits || (shift + 7 > bits && part >> (bits - shift) != 0) {
                return Err(DecodeError::Malformed("integer"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        let len = self.varint(64)?;
        if len > self.remaining() as u64 { Err(DecodeError::Malformed("length")) } else { Ok(len as usize) }
    }
}

/// Has a byte form.
pub trait Wire: Sized {
    /// Appends it to `out`.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads it.
    fn get(input: &mut Input) -> Result<Self, DecodeError>;

    /// All of it, alone.
    fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.put(&mut out);
        out.into()
    }

    /// Inverse of [`Wire::encode`]; bytes behind it are an error.
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let value = Self::get(&mut input)?;
        match input.remaining() {
            0 => Ok(value),
            rest => Err(DecodeError::Trailing(rest)),
        }
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

macro_rules! varint {
    ($($type:ty, $bits:literal;)*) => {$(
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                put_varint(u64::from(*self), out);
            }
            fn get(input: &mut Input) -> Result<Self, DecodeError> {
                Ok(input.varint($bits)? as $type)
            }
        }
    )*};
}
varint! { u16, 16; u32, 32; u64, 64; }

impl Wire for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(((self << 1) ^ (self >> 63)) as u64, out);
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        let value = input.varint(64)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

impl Wire for u128 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        let bytes = input.take(16)?;
        Ok(u128::from_be_bytes(bytes[..].try_into().expect("16 bytes were taken")))
    }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        match input.tag()? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(DecodeError::UnknownTag { of: "bool", tag }),
        }
    }
}

impl Wire for () {
    fn put(&self, _: &mut Vec<u8>) {}
    fn get(_: &mut Input) -> Result<Self, DecodeError> {
        Ok(())
    }
}

impl Wire for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self);
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        let len = input.length()?;
        input.take(len)
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self.as_bytes());
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        let bytes = Bytes::get(input)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| DecodeError::Malformed("text"))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        if bool::get(input)? { T::get(input).map(Some) } else { Ok(None) }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        for item in self {
            item.put(out);
        }
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        // Every item takes at least a byte, so a length beyond the input is malformed and reserves nothing.
        let len = input.length()?;
        let mut items = Vec::with_capacity(len.min(1024));
        for _ in 0..len {
            items.push(T::get(input)?);
        }
        Ok(items)
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        T::get(input).map(Box::new)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        Ok((A::get(input)?, B::get(input)?))
    }
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        let pairs = Vec::<(K, V)>::get(input)?;
        Ok(pairs.into_iter().collect())
    }
}

/// Implements [`Wire`] for structs: their fields in the order given.
macro_rules! wire_struct {
    ($($name:ident { $($field:tt),* $(,)? })*) => {$(
        impl $crate::codec::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::codec::Wire::put(&self.$field, out);)*
                let _ = out;
            }
            fn get(input: &mut $crate::codec::Input) -> Result<Self, $crate::codec::DecodeError> {
                $(let $field = $crate::codec::Wire::get(input)?;)*
                let _ = input;
                Ok(Self { $($field),* })
            }
        }
    )*};
}

/// Implements [`Wire`] for newtypes.
macro_rules! wire_newtype {
    ($($name:path),* $(,)?) => {$(
        impl $crate::codec::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $crate::codec::Wire::put(&self.0, out);
            }
            fn get(input: &mut $crate::codec::Input) -> Result<Self, $crate::codec::DecodeError> {
                $crate::codec::Wire::get(input).map(Self)
            }
        }
    )*};
}

/// Implements [`Wire`] for an enum. Every tag is given out once; a retired one keeps its line as a comment.
macro_rules! wire_enum {
    ($name:ident { $($tag:literal => $variant:ident $({ $($field:ident),* $(,)? })? $(( $($tuple:ident),* ))?,)* }) => {
        impl $crate::codec::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $($tuple),* ))? => {
                        out.push($tag);
                        $($($crate::codec::Wire::put($field, out);)*)?
                        $($($crate::codec::Wire::put($tuple, out);)*)?
                    })*
                }
            }
            fn get(input: &mut $crate::codec::Input) -> Result<Self, $crate::codec::DecodeError> {
                match input.tag()? {
                    $($tag => {
                        $($(let $field = $crate::codec::Wire::get(input)?;)*)?
                        $($(let $tuple = $crate::codec::Wire::get(input)?;)*)?
                        Ok(Self::$variant $({ $($field),* })? $(( $($tuple),* ))?)
                    })*
                    tag => Err($crate::codec::DecodeError::UnknownTag { of: stringify!($name), tag }),
                }
            }
        }
    };
}

pub(crate) use {wire_enum, wire_newtype, wire_struct};

wire_newtype!(
    crate::ids::PartitionId,
    crate::ids::ClusterId,
    crate::ids::DeploymentId,
    crate::ids::SubscriptionId,
    crate::key::PartitionKey,
    crate::lsn::Lsn,
    crate::lsn::LeaderEpoch,
);

use crate::{ids::InvocationId, key::SourceId};

impl Wire for InvocationId {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        let bytes = input.take(InvocationId::LEN)?;
        Ok(InvocationId::from_bytes(&bytes).expect("24 bytes were taken"))
    }
}

wire_struct! {
    SourceId { subscription, cluster, topic_id, source_partition }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round<T: Wire + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(T::decode(value.encode()), Ok(value));
    }

    #[test]
    fn values_come_back() {
        for n in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX] {
            round(n);
            round(n as u32);
            round(n as u16);
        }
        for n in [0, -1, 1, i64::MIN, i64::MAX] {
            round(n);
        }
        round(vec![Some(Bytes::from_static(b"ab")), None]);
        round(u128::MAX - 5);
        round(BTreeMap::from([("k".to_string(), 1u32)]));
    }

    #[test]
    fn malformed_input_is_an_error() {
        assert_eq!(u16::decode(Bytes::from_static(&[0xff, 0xff, 0x04])), Err(DecodeError::Malformed("integer")));
        assert_eq!(u64::decode(Bytes::from_static(&[0x80])), Err(DecodeError::End));
        assert_eq!(Bytes::decode(Bytes::from_static(&[5, 1])), Err(DecodeError::Malformed("length")));
        assert_eq!(String::decode(Bytes::from_static(&[1, 0xff])), Err(DecodeError::Malformed("text")));
        assert_eq!(u32::decode(Bytes::from_static(&[1, 2])), Err(DecodeError::Trailing(1)));
        assert_eq!(bool::decode(Bytes::from_static(&[2])), Err(DecodeError::UnknownTag { of: "bool", tag: 2 }));
    }
}
