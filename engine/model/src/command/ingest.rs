//! Commands about sources (DESIGN.md section 6).

use crate::{
    codec::{wire_enum, wire_struct},
    ids::InvocationId,
    invocation::NewInvocation,
    key::SourceId,
    source::{DeadLetter, RejectReason},
    text::{Text, TimestampMs},
};

/// Fixes the start of a source once, as a number. Void if it is open already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSource {
    /// Which.
    pub source: SourceId,
    /// Name of the topic now.
    pub topic: Text,
    /// First offset to be read.
    pub position: i64,
    /// The leader's clock.
    pub now: TimestampMs,
}
wire_struct! { OpenSource { source, topic, position, now } }

/// Records, consecutive in their source. Void unless the source is open in `generation` at position `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// Which.
    pub source: SourceId,
    /// Of the source.
    pub generation: u32,
    /// The position it must have.
    pub from: i64,
    /// The position it gets; offsets without a record may lie between.
    pub to: i64,
    /// In offset order.
    pub records: Vec<IngestRecord>,
    /// Timestamp of the last record, if it has one.
    pub record_at: Option<TimestampMs>,
    /// The leader's clock.
    pub now: TimestampMs,
}
wire_struct! { Ingest { source, generation, from, to, records, record_at, now } }

/// How one record is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngestRecord {
    /// It becomes this invocation.
    Invoke(Box<NewInvocation>),
    /// It cannot become one.
    Reject {
        /// Its offset.
        offset: i64,
        /// Why.
        reason: RejectReason,
    },
    /// It cannot become one, and goes to a dead-letter topic.
    Letter {
        /// Its offset.
        offset: i64,
        /// Why.
        reason: RejectReason,
        /// Names the letter; no invocation has this id.
        id: InvocationId,
        /// What is written.
        letter: Box<DeadLetter>,
    },
}
wire_enum!(IngestRecord {
    1 => Invoke(invocation),
    2 => Reject { offset, reason },
    3 => Letter { offset, reason, id, letter },
});

/// Why a position moved otherwise than by reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekReason {
    /// An operator asked.
    Operator,
    /// The topic was trimmed past the position.
    Trimmed,
    /// The topic ends before the position.
    Truncated,
}
wire_enum!(SeekReason { 1 => Operator, 2 => Trimmed, 3 => Truncated, });

/// Opens the next generation. Void unless the source is open in `generation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeekSource {
    /// Which.
    pub source: SourceId,
    /// The generation that ends.
    pub generation: u32,
    /// First offset to be read.
    pub position: i64,
    /// Offsets that are gone, to be counted.
    pub missing: u64,
    /// Why.
    pub reason: SeekReason,
}
wire_struct! { SeekSource { source, generation, position, missing, reason } }
