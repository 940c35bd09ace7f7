//! Rows about sources and their budgets.

mod failure;

pub use failure::{DeadLetter, FailurePolicy, Outcomes, Parked, origin};

use crate::{
    codec::{wire_enum, wire_struct},
    text::{Text, TimestampMs},
};

/// How many examples of rejected records a source remembers.
pub const REJECTED_EXAMPLES_MAX: usize = 5;

/// Why a record cannot become an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectReason {
    /// A keyed sink, and the record has no key.
    NullKey,
    /// A keyed sink, and the key is not UTF-8.
    KeyNotUtf8,
    /// Larger than an invocation's input may be.
    TooLarge,
}
wire_enum!(RejectReason { 1 => NullKey, 2 => KeyNotUtf8, 3 => TooLarge, });

/// A rejected record, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its offset.
    pub offset: i64,
    /// Why.
    pub reason: RejectReason,
    /// When.
    pub at: TimestampMs,
}
wire_struct! { Rejected { offset, reason, at } }

/// A source partition as far as it has been taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    /// Topic name, for people and for the reader.
    pub topic: Text,
    /// Rises with every seek.
    pub generation: u32,
    /// Next offset expected.
    pub position: i64,
    /// Records that became invocations.
    pub records: u64,
    /// Records that were settled as rejected.
    pub rejected: u64,
    /// The last of them.
    pub examples: Vec<Rejected>,
    /// Offsets that were gone before they could be read.
    pub missing: u64,
    /// When it was opened.
    pub opened_at: TimestampMs,
    /// Timestamp of the last record taken in.
    pub record_at: Option<TimestampMs>,
}
wire_struct! { SourceRow { topic, generation, position, records, rejected, examples, missing, opened_at, record_at } }

impl SourceRow {
    /// Counts a rejected record and remembers it among the last ones.
    pub fn reject(&mut self, rejected: Rejected) {
        self.rejected += 1;
        self.examples.push(rejected);
        if self.examples.len() > REJECTED_EXAMPLES_MAX {
            self.examples.remove(0);
        }
    }
}

/// Unsettled records of one subscription at the partition that read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Of keys that can run.
    pub ready_records: i64,
    /// Their bytes.
    pub ready_bytes: i64,
    /// Behind a blocked head, or beyond their key's share.
    pub held_records: i64,
    /// Their bytes.
    pub held_bytes: i64,
}
wire_struct! { Budget { ready_records, ready_bytes, held_records, held_bytes } }

impl Budget {
    /// Nothing is unsettled.
    pub const ZERO: Budget = Budget { ready_records: 0, ready_bytes: 0, held_records: 0, held_bytes: 0 };

    /// One record of `bytes`, ready.
    pub fn ready(bytes: u32) -> Self {
        Budget { ready_records: 1, ready_bytes: i64::from(bytes), ..Self::ZERO }
    }

    /// One record of `bytes`, held.
    pub fn held(bytes: u32) -> Self {
        Budget { held_records: 1, held_bytes: i64::from(bytes), ..Self::ZERO }
    }
}

impl std::ops::Add for Budget {
    type Output = Budget;
    fn add(self, other: Budget) -> Budget {
        Budget {
            ready_records: self.ready_records + other.ready_records,
            ready_bytes: self.ready_bytes + other.ready_bytes,
            held_records: self.held_records + other.held_records,
            held_bytes: self.held_bytes + other.held_bytes,
        }
    }
}

impl std::ops::Sub for Budget {
    type Output = Budget;
    fn sub(self, other: Budget) -> Budget {
        Budget {
            ready_records: self.ready_records - other.ready_records,
            ready_bytes: self.ready_bytes - other.ready_bytes,
            held_records: self.held_records - other.held_records,
            held_bytes: self.held_bytes - other.held_bytes,
        }
    }
}
