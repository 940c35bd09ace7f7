//! The little of protobuf's wire format that is read or written without message structs: entries are inspected
//! without decoding all of them, notifications are written with one copy, await trees are read without recursion.

use bytes::{BufMut, BytesMut};
use prost::DecodeError;

/// A field's content; fixed-width ones are skipped, no message of the protocol has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Field<'a> {
    /// A `u32` as the protocol uses it; a larger number is malformed, not cut off.
    pub(crate) fn u32(self) -> Result<u32, DecodeError> {
        match self {
            Field::Varint(n) => u32::try_from(n).map_err(|_| malformed("number above 32 bits")),
            _ => Err(malformed("not a number")),
        }
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], DecodeError> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err(malformed("not length-delimited")),
        }
    }

    pub(crate) fn str(self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed("not UTF-8"))
    }
}

#[allow(deprecated, reason = "the only way to make one; its text is for people")]
pub(crate) fn malformed(what: &'static str) -> DecodeError {
    DecodeError::new(what)
}

/// Walks the fields of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Number and content of the next field.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| malformed("field number above 32 bits"))?;
        if number == 0 {
            return Err(malformed("field number 0"));
        }
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(usize::try_from(length).map_err(|_| malformed("length above memory"))?)?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return Err(malformed("wire type")),
        };
        Ok(Some((number, field)))
    }

    /// A bare varint, for packed lists.
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if i == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(malformed("varint"))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or_else(|| malformed("cut off"))?;
        self.rest = rest;
        Ok(taken)
    }
}

pub(crate) fn varint_len(value: u64) -> usize {
    // 7 bits a byte; `| 1` makes 0 one byte long.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

pub(crate) fn put_varint(mut value: u64, out: &mut BytesMut) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

pub(crate) fn put_varint_field(number: u32, value: u64, out: &mut BytesMut) {
    put_varint(u64::from(number << 3), out);
    put_varint(value, out);
}

/// Key and length of a field whose `len` bytes the caller writes next.
pub(crate) fn put_len(number: u32, len: usize, out: &mut BytesMut) {
    put_varint(u64::from(number << 3 | 2), out);
    put_varint(len as u64, out);
}

pub(crate) fn put_bytes_field(number: u32, bytes: &[u8], out: &mut BytesMut) {
    put_len(number, bytes.len(), out);
    out.put_slice(bytes);
}

/// Size of a length-delimited field with its key.
pub(crate) fn len_field_len(number: u32, len: usize) -> usize {
    varint_len(u64::from(number << 3)) + varint_len(len as u64) + len
}

/// Size of a length-delimited field that proto3 leaves out when it is empty.
pub(crate) fn plain_len(number: u32, len: usize) -> usize {
    if len == 0 { 0 } else { len_field_len(number, len) }
}

pub(crate) fn put_plain(number: u32, bytes: &[u8], out: &mut BytesMut) {
    if !bytes.is_empty() {
        put_bytes_field(number, bytes, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip() {
        for value in (0..64).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1]).chain([u64::MAX]) {
            let mut out = BytesMut::new();
            put_varint(value, &mut out);
            assert_eq!(out.len(), varint_len(value), "{value}");
            let mut fields = Fields::new(&out);
            assert_eq!(fields.varint(), Ok(value));
            assert!(fields.is_empty());
        }
    }

    #[test]
    fn malformed_fields_are_errors() {
        for bytes in [
            &[0x00u8, 0][..],
            &[0x08],
            &[0x0a, 2, 1],
            &[0x0b],
            &[0x0c],
            &[0x0e],
            &[0x09, 0, 0, 0],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert!(Fields::new(bytes).next().is_err(), "{bytes:02x?}");
        }
    }
}
