//! The tables of a partition: keys that sort as they should be scanned, rows, and the changes of one batch.
//!
//! A stored key is the table's tag and then the key, order-preserving: integers big-endian, text with `00` escaped as
//! `00 ff` and ended by `00 01`. Rows are [`Wire`] forms. Layout: `engine/store/FORMAT.md`.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    codec::{DecodeError, Wire, wire_enum, wire_struct},
    command::{Lane, Message},
    ids::{InvocationId, PartitionId, SubscriptionId},
    invocation::{Completed, Invocation, Lock, ObjectKey, Promise, Waiting},
    journal::JournalRow,
    key::{PartitionKey, SourceId},
    lsn::LeaderEpoch,
    source::{Budget, DeadLetter, Outcomes, Parked, SourceRow},
    text::{Text, TimestampMs},
};

/// Sorts as bytes like the value.
pub trait OrderedKey: Ord + Clone + Sized {
    /// Appends the order-preserving form.
    fn put_key(&self, out: &mut Vec<u8>);
    /// Reads it back, advancing `input`. `None` if it is malformed.
    fn get_key(input: &mut &[u8]) -> Option<Self>;
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*first)
}

macro_rules! fixed_key {
    ($($type:ty => $int:ty, |$value:ident| $to:expr, |$raw:ident| $from:expr;)*) => {$(
        impl OrderedKey for $type {
            fn put_key(&self, out: &mut Vec<u8>) {
                let $value = self;
                let int: $int = $to;
                out.extend_from_slice(&int.to_be_bytes());
            }
            fn get_key(input: &mut &[u8]) -> Option<Self> {
                let $raw = <$int>::from_be_bytes(take(input)?);
                $from
            }
        }
    )*};
}
fixed_key! {
    u32 => u32, |v| *v, |r| Some(r);
    u64 => u64, |v| *v, |r| Some(r);
    u128 => u128, |v| *v, |r| Some(r);
    PartitionId => u16, |v| v.0, |r| Some(PartitionId(r));
    PartitionKey => u64, |v| v.0, |r| Some(PartitionKey(r));
    SubscriptionId => u128, |v| v.0, |r| Some(SubscriptionId(r));
    TimestampMs => u64, |v| v.0, |r| Some(TimestampMs(r));
    Lane => u8, |v| match v { Lane::Events => 1, Lane::Control => 2 },
        |r| match r { 1 => Some(Lane::Events), 2 => Some(Lane::Control), _ => None };
}

impl OrderedKey for () {
    fn put_key(&self, _: &mut Vec<u8>) {}
    fn get_key(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 1]);
}

fn get_escaped(input: &mut &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let [byte] = take(input)?;
        if byte != 0 {
            bytes.push(byte);
            continue;
        }
        match take(input)? {
            [0xff] => bytes.push(0),
            [1] => return Some(bytes),
            _ => return None,
        }
    }
}

impl OrderedKey for Bytes {
    fn put_key(&self, out: &mut Vec<u8>) {
        put_escaped(self, out);
    }
    fn get_key(input: &mut &[u8]) -> Option<Self> {
        get_escaped(input).map(Bytes::from)
    }
}

impl OrderedKey for Text {
    fn put_key(&self, out: &mut Vec<u8>) {
        put_escaped(self.bytes(), out);
    }
    fn get_key(input: &mut &[u8]) -> Option<Self> {
        Text::from_utf8(get_escaped(input)?.into())
    }
}

impl OrderedKey for String {
    fn put_key(&self, out: &mut Vec<u8>) {
        put_escaped(self.as_bytes(), out);
    }
    fn get_key(input: &mut &[u8]) -> Option<Self> {
        String::from_utf8(get_escaped(input)?).ok()
    }
}

macro_rules! struct_key {
    ($($type:ident { $($field:ident),* })*) => {$(
        impl OrderedKey for $type {
            fn put_key(&self, out: &mut Vec<u8>) {
                $(self.$field.put_key(out);)*
            }
            fn get_key(input: &mut &[u8]) -> Option<Self> {
                $(let $field = OrderedKey::get_key(input)?;)*
                Some(Self { $($field),* })
            }
        }
    )*};
}
struct_key! {
    InvocationId { key, unique }
    ObjectKey { service, key }
    SourceId { subscription, cluster, topic_id, source_partition }
    TimerKey { at, id, kind }
    ExpiryKey { at, id, kind }
}

impl<A: OrderedKey, B: OrderedKey> OrderedKey for (A, B) {
    fn put_key(&self, out: &mut Vec<u8>) {
        self.0.put_key(out);
        self.1.put_key(out);
    }
    fn get_key(input: &mut &[u8]) -> Option<Self> {
        Some((A::get_key(input)?, B::get_key(input)?))
    }
}

impl<A: OrderedKey, B: OrderedKey, C: OrderedKey> OrderedKey for (A, B, C) {
    fn put_key(&self, out: &mut Vec<u8>) {
        self.0.put_key(out);
        self.1.put_key(out);
        self.2.put_key(out);
    }
    fn get_key(input: &mut &[u8]) -> Option<Self> {
        Some((A::get_key(input)?, B::get_key(input)?, C::get_key(input)?))
    }
}

/// What a timer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// Starts a scheduled invocation.
    Start,
    /// Starts the next attempt.
    Retry,
    /// Completes a sleep.
    Sleep(u32),
}
wire_enum!(TimerKind { 1 => Start, 2 => Retry, 3 => Sleep(completion), });

impl OrderedKey for TimerKind {
    fn put_key(&self, out: &mut Vec<u8>) {
        match self {
            TimerKind::Start => out.push(1),
            TimerKind::Retry => out.push(2),
            TimerKind::Sleep(completion) => {
                out.push(3);
                completion.put_key(out);
            }
        }
    }
    fn get_key(input: &mut &[u8]) -> Option<Self> {
        match take(input)? {
            [1] => Some(TimerKind::Start),
            [2] => Some(TimerKind::Retry),
            [3] => Some(TimerKind::Sleep(OrderedKey::get_key(input)?)),
            _ => None,
        }
    }
}

/// A timer: sorts by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    /// When it is due.
    pub at: TimestampMs,
    /// Whose.
    pub id: InvocationId,
    /// What it does.
    pub kind: TimerKind,
}
wire_struct! { TimerKey { at, id, kind } }

/// What expires of an ended invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpiryKind {
    /// Its journal.
    Journal,
    /// All of it.
    Invocation,
    /// Of a workflow's run: state and promises of its key.
    Workflow,
}
wire_enum!(ExpiryKind { 1 => Journal, 2 => Invocation, 3 => Workflow, });

impl OrderedKey for ExpiryKind {
    fn put_key(&self, out: &mut Vec<u8>) {
        out.push(match self {
            ExpiryKind::Journal => 1,
            ExpiryKind::Invocation => 2,
            ExpiryKind::Workflow => 3,
        });
    }
    fn get_key(input: &mut &[u8]) -> Option<Self> {
        match take(input)? {
            [1] => Some(ExpiryKind::Journal),
            [2] => Some(ExpiryKind::Invocation),
            [3] => Some(ExpiryKind::Workflow),
            _ => None,
        }
    }
}

/// A retention: sorts by its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpiryKey {
    /// When it is over.
    pub at: TimestampMs,
    /// Whose.
    pub id: InvocationId,
    /// What goes.
    pub kind: ExpiryKind,
}
wire_struct! { ExpiryKey { at, id, kind } }

/// What a partition knows of its own history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRow {
    /// Version of the rules by which commands are applied.
    pub machine_version: u16,
    /// The last announcement.
    pub epoch: LeaderEpoch,
    /// Number of engine partitions.
    pub partitions: u16,
}
wire_struct! { PartitionRow { machine_version, epoch, partitions } }

/// Ends of one outbox lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxEnds {
    /// First message not known to have arrived.
    pub first: u64,
    /// The next sequence number; numbers start at 1.
    pub next: u64,
}
wire_struct! { OutboxEnds { first, next } }

/// A table.
pub trait Table: 'static {
    /// First byte of its keys. Given out once.
    const TAG: u8;
    /// For people.
    const NAME: &'static str;
    /// Its key.
    type Key: OrderedKey;
    /// Its row.
    type Row: Wire + Clone;
    /// Its changes.
    fn changes(changes: &Changes) -> &BTreeMap<Self::Key, Option<Self::Row>>;
    /// Its changes.
    fn changes_mut(changes: &mut Changes) -> &mut BTreeMap<Self::Key, Option<Self::Row>>;
}

/// The stored key of a row.
pub fn stored_key<T: Table>(key: &T::Key) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    out.push(T::TAG);
    key.put_key(&mut out);
    out
}

/// Inverse of [`stored_key`].
pub fn key_of_stored<T: Table>(mut stored: &[u8]) -> Option<T::Key> {
    let [tag] = take(&mut stored)?;
    let key = T::Key::get_key(&mut stored)?;
    (tag == T::TAG && stored.is_empty()).then_some(key)
}

/// A row of any table, from its stored form.
pub fn row_of_stored<T: Table>(bytes: Bytes) -> Result<T::Row, DecodeError> {
    T::Row::decode(bytes)
}

macro_rules! tables {
    ($($(#[$doc:meta])* $tag:literal $name:ident ($field:ident): $key:ty => $row:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl Table for $name {
                const TAG: u8 = $tag;
                const NAME: &'static str = stringify!($name);
                type Key = $key;
                type Row = $row;
                fn changes(changes: &Changes) -> &BTreeMap<$key, Option<$row>> {
                    &changes.$field
                }
                fn changes_mut(changes: &mut Changes) -> &mut BTreeMap<$key, Option<$row>> {
                    &mut changes.$field
                }
            }
        )*

        /// What one batch changes: the last value of each row that it touched, `None` where it is gone.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Changes {
            $($field: BTreeMap<$key, Option<$row>>,)*
        }

        impl Changes {
            /// Calls `f` with tag, stored key and stored row of every change, in key order.
            /// The buffers are reused between calls.
            pub fn for_each(&self, mut f: impl FnMut(u8, &[u8], Option<&[u8]>)) {
                let (mut stored, mut bytes) = (Vec::with_capacity(64), Vec::with_capacity(256));
                $(for (key, row) in &self.$field {
                    stored.clear();
                    stored.push($tag);
                    key.put_key(&mut stored);
                    match row {
                        Some(row) => {
                            bytes.clear();
                            row.put(&mut bytes);
                            f($tag, &stored, Some(&bytes));
                        }
                        None => f($tag, &stored, None),
                    }
                })*
            }

            /// Nothing was touched.
            pub fn is_empty(&self) -> bool {
                $(self.$field.is_empty())&&*
            }

            /// Forgets everything, keeps nothing.
            pub fn clear(&mut self) {
                $(self.$field.clear();)*
            }
        }

        /// Tags and names of all tables.
        pub const TABLES: &[(u8, &str)] = &[$(($tag, stringify!($name)),)*];
    };
}

tables! {
    // 0x00 belongs to the store: the applied position and its identity.
    /// One row: the partition's own history.
    0x01 Partition(partition): () => PartitionRow;
    /// Invocations that have not ended: also the index of what is active.
    0x10 Invocations(invocations): InvocationId => Invocation;
    /// Invocations that have ended.
    0x11 Ended(ended): InvocationId => Completed;
    /// Journals, by entry index.
    0x12 Journal(journal): (InvocationId, u32) => JournalRow;
    /// Locks and the ends of inboxes.
    0x20 Locks(locks): ObjectKey => Lock;
    /// Who waits for a key, by place.
    0x21 Inbox(inbox): (ObjectKey, u64) => Waiting;
    /// Key/value state.
    0x30 State(state): (ObjectKey, Bytes) => Bytes;
    /// Durable promises of workflows, by name.
    0x31 Promises(promises): (ObjectKey, Text) => Promise;
    /// Timers, by time.
    0x40 Timers(timers): TimerKey => ();
    /// Retentions, by their end.
    0x41 Expiries(expiries): ExpiryKey => ();
    /// Messages to other partitions.
    0x50 Outbox(outbox): (PartitionId, Lane, u64) => Message;
    /// Ends of the outbox lanes.
    0x51 OutboxLanes(outbox_lanes): (PartitionId, Lane) => OutboxEnds;
    /// Last sequence number received, by sender and lane.
    0x52 Received(received): (PartitionId, Lane) => u64;
    /// Source positions.
    0x60 Sources(sources): SourceId => SourceRow;
    /// Unsettled records, by subscription.
    0x61 Budgets(budgets): SubscriptionId => Budget;
    /// How records ended here, by subscription.
    0x62 OutcomeCounts(outcome_counts): SubscriptionId => Outcomes;
    /// Records that wait for an operator, by their invocations.
    0x63 ParkedRecords(parked_records): (SubscriptionId, InvocationId) => Parked;
    /// Records on their way to a dead-letter topic.
    0x64 DeadLetters(dead_letters): (SubscriptionId, InvocationId) => DeadLetter;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keys_sort_like_text() {
        let mut texts = ["", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "aa", "b"].map(Text::from).to_vec();
        texts.sort();
        let stored: Vec<_> =
            texts.iter().map(|t| stored_key::<Locks>(&ObjectKey { service: t.clone(), key: t.clone() })).collect();
        assert!(stored.is_sorted());
        for (text, stored) in texts.iter().zip(&stored) {
            let key = ObjectKey { service: text.clone(), key: text.clone() };
            assert_eq!(key_of_stored::<Locks>(stored), Some(key));
        }
    }

    #[test]
    fn no_key_is_a_prefix_of_another_object() {
        let of = |key: &str, at: u64| stored_key::<Inbox>(&(ObjectKey { service: "S".into(), key: key.into() }, at));
        let prefix = {
            let mut out = vec![Inbox::TAG];
            ObjectKey { service: "S".into(), key: "k".into() }.put_key(&mut out);
            out
        };
        assert!(of("k", 7).starts_with(&prefix));
        assert!(!of("kk", 7).starts_with(&prefix));
        assert!(!of("k\0", 7).starts_with(&prefix));
    }

    #[test]
    fn tags_are_unique() {
        let mut tags: Vec<_> = TABLES.iter().map(|(tag, _)| tag).collect();
        tags.dedup();
        assert_eq!(tags.len(), TABLES.len());
    }
}
