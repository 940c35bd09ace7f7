//! Journal entries as frames (`spec/service-protocol.md` sections 4.2 and 4.3).
//!
//! Commands go out with the bytes that came in. Input and notifications are the server's own; each is written
//! straight into the stream's buffer, one copy of its value. A notification has exactly one id and one result on the
//! wire, also where proto3 would leave an empty one out.

use bytes::{BufMut, BytesMut};
use millrace_model::{
    Text,
    journal::{Entry, Failure, Header, Notification, NotificationId, NotificationResult},
};
use prost::DecodeError;

use crate::{
    frame,
    ty::{self, INPUT},
    wire::{Fields, len_field_len, plain_len, put_bytes_field, put_len, put_plain, put_varint_field, varint_len},
};

/// Length of an invocation id's text.
const INVOCATION_ID_LEN: usize = 38;

/// The entry's frame type.
pub fn ty(entry: &Entry) -> u16 {
    match entry {
        Entry::Input { .. } => INPUT,
        Entry::Command { ty, .. } => *ty,
        Entry::Notification(notification) => notification.ty,
    }
}

/// Appends the entry's frame.
pub fn encode(entry: &Entry, out: &mut BytesMut) {
    match entry {
        Entry::Input { headers, value } => input(headers, value, out),
        Entry::Command { ty, raw } => frame::encode(*ty, false, raw, out),
        Entry::Notification(notification) => self::notification(notification, out),
    }
}

/// The name that the handler gave a command, mostly empty. `raw` is its stored payload.
pub fn command_name(raw: &[u8]) -> Result<&str, DecodeError> {
    let mut name = "";
    let mut fields = Fields::new(raw);
    while let Some((number, field)) = fields.next()? {
        if number == 12 {
            name = field.str()?;
        }
    }
    Ok(name)
}

/// The value is there also when it is empty.
fn input(headers: &[Header], value: &[u8], out: &mut BytesMut) {
    let header_len = |header: &Header| pair_len(&header.name, &header.value);
    let headers_len: usize = headers.iter().map(|header| len_field_len(1, header_len(header))).sum();
    let length = headers_len + len_field_len(14, plain_len(1, value.len()));
    let end = begin(INPUT, length, out);
    for header in headers {
        put_len(1, header_len(header), out);
        put_pair(&header.name, &header.value, out);
    }
    put_value(14, value, out);
    debug_assert_eq!(out.len(), end);
}

fn notification(notification: &Notification, out: &mut BytesMut) {
    let Notification { ty, id, result } = notification;
    debug_assert!(ty::is_notification(*ty));
    let end = begin(*ty, id_len(id) + result_len(result), out);
    match id {
        NotificationId::Completion(id) => {
            debug_assert!(*id != 0, "proto3 readers take completion id 0 for none");
            put_varint_field(1, u64::from(*id), out);
        }
        NotificationId::Signal(index) => put_varint_field(2, u64::from(*index), out),
        NotificationId::Named(name) => put_bytes_field(3, name.as_bytes(), out),
    }
    match result {
        NotificationResult::Void => put_len(4, 0, out),
        NotificationResult::Value(value) => put_value(5, value, out),
        NotificationResult::Failure(failure) => put_failure(6, failure, out),
        NotificationResult::InvocationId(id) => put_bytes_field(16, id.to_string().as_bytes(), out),
        NotificationResult::StateKeys(keys) => {
            put_len(17, keys.iter().map(|key| len_field_len(1, key.len())).sum(), out);
            for key in keys {
                put_bytes_field(1, key, out);
            }
        }
    }
    debug_assert_eq!(out.len(), end);
}

/// Header and room; returns where the frame will end.
fn begin(ty: u16, length: usize, out: &mut BytesMut) -> usize {
    out.reserve(frame::HEADER_LEN + length);
    out.put_slice(&frame::header(ty, false, length));
    out.len() + length
}

fn id_len(id: &NotificationId) -> usize {
    match id {
        NotificationId::Completion(n) | NotificationId::Signal(n) => 1 + varint_len(u64::from(*n)),
        NotificationId::Named(name) => len_field_len(3, name.len()),
    }
}

fn result_len(result: &NotificationResult) -> usize {
    match result {
        NotificationResult::Void => len_field_len(4, 0),
        NotificationResult::Value(value) => len_field_len(5, plain_len(1, value.len())),
        NotificationResult::Failure(failure) => len_field_len(6, failure_len(failure)),
        NotificationResult::InvocationId(_) => len_field_len(16, INVOCATION_ID_LEN),
        NotificationResult::StateKeys(keys) => {
            len_field_len(17, keys.iter().map(|key| len_field_len(1, key.len())).sum())
        }
    }
}

fn put_value(number: u32, value: &[u8], out: &mut BytesMut) {
    put_len(number, plain_len(1, value.len()), out);
    put_plain(1, value, out);
}

fn failure_len(failure: &Failure) -> usize {
    let code = if failure.code == 0 { 0 } else { 1 + varint_len(u64::from(failure.code)) };
    let metadata: usize = failure.metadata.iter().map(|(key, value)| len_field_len(3, pair_len(key, value))).sum();
    code + plain_len(2, failure.message.len()) + metadata
}

fn put_failure(number: u32, failure: &Failure, out: &mut BytesMut) {
    put_len(number, failure_len(failure), out);
    if failure.code != 0 {
        put_varint_field(1, u64::from(failure.code), out);
    }
    put_plain(2, failure.message.as_bytes(), out);
    for (key, value) in &failure.metadata {
        put_len(3, pair_len(key, value), out);
        put_pair(key, value, out);
    }
}

fn pair_len(key: &Text, value: &Text) -> usize {
    plain_len(1, key.len()) + plain_len(2, value.len())
}

fn put_pair(key: &Text, value: &Text, out: &mut BytesMut) {
    put_plain(1, key.as_bytes(), out);
    put_plain(2, value.as_bytes(), out);
}

#[cfg(test)]
mod tests;
