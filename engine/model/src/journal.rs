//! The journal of an invocation: one append-only list of commands and notifications
//! (`spec/service-protocol.md` section 5).

use bytes::Bytes;

pub use crate::awaiting::{ArrivedLeaf, AwaitNode, Awaiting, Combinator};
use crate::{
    codec::{wire_enum, wire_struct},
    ids::InvocationId,
    text::{Text, TimestampMs},
};

/// Frame types of the service protocol that the state machine itself makes or looks at.
pub mod ty {
    /// Entry 0.
    pub const INPUT: u16 = 0x0400;
    /// The result.
    pub const OUTPUT: u16 = 0x0401;
    /// Answers GetLazyState.
    pub const LAZY_STATE: u16 = 0x8002;
    /// Answers GetLazyStateKeys.
    pub const LAZY_STATE_KEYS: u16 = 0x8006;
    /// Answers GetPromise.
    pub const PROMISE: u16 = 0x8009;
    /// Answers PeekPromise.
    pub const PEEK_PROMISE: u16 = 0x800A;
    /// Answers CompletePromise.
    pub const COMPLETE_PROMISE: u16 = 0x800B;
    /// Answers Sleep.
    pub const SLEEP: u16 = 0x800C;
    /// Answers Call with its result.
    pub const CALL: u16 = 0x800D;
    /// Answers Call and OneWayCall with the id.
    pub const CALL_ID: u16 = 0x800E;
    /// Answers Run.
    pub const RUN: u16 = 0x8011;
    /// Answers AttachInvocation.
    pub const ATTACH: u16 = 0x8012;
    /// Answers GetInvocationOutput.
    pub const INVOCATION_OUTPUT: u16 = 0x8013;
    /// A signal.
    pub const SIGNAL: u16 = 0xFBFF;
}

/// The signal index that cancels.
pub const SIGNAL_CANCEL: u32 = 1;

/// The first signal index of awakeables: these and later ones are completed once, others may come again.
pub const SIGNAL_AWAKEABLE_FIRST: u32 = 17;

/// Name and value as a handler sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As given, case kept.
    pub name: Text,
    /// As given.
    pub value: Text,
}
wire_struct! { Header { name, value } }

/// A terminal failure: what a handler threw, or what the server decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// HTTP-like.
    pub code: u32,
    /// For people.
    pub message: Text,
    /// Attached by the handler.
    pub metadata: Vec<(Text, Text)>,
}
wire_struct! { Failure { code, message, metadata } }

impl Failure {
    /// A failure that the server makes.
    pub fn new(code: u32, message: &'static str) -> Self {
        Self { code, message: Text::constant(message), metadata: Vec::new() }
    }
}

/// How an invocation, a call or a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The output bytes.
    Success(Bytes),
    /// The terminal failure.
    Failure(Failure),
}
wire_enum!(Completion { 1 => Success(value), 2 => Failure(failure), });

/// What a notification answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotificationId {
    /// An id that the SDK chose for a result.
    Completion(u32),
    /// A signal by number; awakeables start at 17.
    Signal(u32),
    /// A signal by name.
    Named(Text),
}
wire_enum!(NotificationId { 1 => Completion(id), 2 => Signal(index), 3 => Named(name), });

/// The result in a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotificationResult {
    /// Done, or not there.
    Void,
    /// Bytes, possibly none.
    Value(Bytes),
    /// A terminal failure.
    Failure(Failure),
    /// The id of a callee.
    InvocationId(InvocationId),
    /// State keys, sorted bytewise.
    StateKeys(Vec<Bytes>),
}
wire_enum!(NotificationResult {
    1 => Void,
    2 => Value(value),
    3 => Failure(failure),
    4 => InvocationId(id),
    5 => StateKeys(keys),
});

impl From<Completion> for NotificationResult {
    fn from(completion: Completion) -> Self {
        match completion {
            Completion::Success(value) => Self::Value(value),
            Completion::Failure(failure) => Self::Failure(failure),
        }
    }
}

/// An answer to a command, or a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Frame type.
    pub ty: u16,
    /// What it answers.
    pub id: NotificationId,
    /// The answer.
    pub result: NotificationResult,
}
wire_struct! { Notification { ty, id, result } }

/// One entry. Index 0 is always [`Entry::Input`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// What the invocation was called with.
    Input {
        /// In the order in which the handler sees them.
        headers: Vec<Header>,
        /// The request body, the call's parameter or the record's value.
        value: Bytes,
    },
    /// A command of the handler: replayed with exactly these bytes.
    Command {
        /// Frame type.
        ty: u16,
        /// Its payload as it was received.
        raw: Bytes,
    },
    /// An answer, encoded for the protocol version when it is sent.
    Notification(Notification),
}
wire_enum!(Entry { 1 => Input { headers, value }, 2 => Command { ty, raw }, 3 => Notification(notification), });

/// The stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// When it was proposed.
    pub appended_at: TimestampMs,
    /// Of a notification: the index of the one before it, so that they can be walked backwards without the commands
    /// between them. 0 for the first one, and for entries that are none.
    pub previous: u32,
    /// What it is.
    pub entry: Entry,
}
wire_struct! { JournalRow { appended_at, previous, entry } }

/// Frame types from here on have payloads that only handlers understand.
const CUSTOM_FIRST: u16 = 0xFC00;

/// The completion ids that a stored command will be answered by. Stops at what is not a protobuf message.
///
/// In all commands of the service protocol these are the integers in fields 10 and 11, and no other fields have these
/// numbers (`spec/service-protocol.md` section 4.2).
pub fn completion_ids(ty: u16, raw: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = if ty < CUSTOM_FIRST { raw } else { &[] };
    while let Some(tag) = take_varint(&mut rest) {
        let skip = match tag & 7 {
            0 => match take_varint(&mut rest) {
                Some(value) if matches!(tag >> 3, 10 | 11) => {
                    ids.extend(u32::try_from(value).ok());
                    Some(0)
                }
                value => value.map(|_| 0),
            },
            1 => Some(8),
            2 => take_varint(&mut rest),
            5 => Some(4),
            _ => None,
        };
        match skip.and_then(|skip| rest.get(usize::try_from(skip).ok()?..)) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    ids
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_say_what_answers_them() {
        let check = |raw: &[u8], ids: &[u32]| assert_eq!(completion_ids(0x040D, raw), ids, "{raw:?}");
        // A service name, a fixed number, the id's completion, and the result's in two bytes.
        check(b"\x0a\x01S\x15\x00\x00\x00\x00\x50\x07\x58\xac\x02\x62\x02nm", &[7, 300]);
        check(b"", &[]);
        for garbage in [&b"\x58"[..], b"\x58\xff", b"\x0a\x7f\x58\x01", b"\x0b\x58\x01", b"\x09\x58\x01"] {
            check(garbage, &[]);
        }
        assert_eq!(completion_ids(0xFC01, b"\x58\x01"), []);
    }
}
