//! The contract between the log's users and its providers. `suite.rs` checks it.

use millrace_model::{ClusterId, LeaderEpoch, Lsn, PartitionId};

use crate::error::{AdmissionError, AppendError, DeliveryError, ReadError, SealError};
use crate::record::{Applied, Record};

/// What a batch is. The payload is opaque to the log; this is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `AnnounceLeader`: its LSN becomes the epoch. Must fit into one record.
    Announce,
    /// Commands of the leader of `epoch`.
    Commands {
        /// The leader's own.
        epoch: LeaderEpoch,
        /// Number of the batch's first record: 1, then always the next free one.
        number: u64,
    },
}

/// One batch to append.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// Whose log.
    pub partition: PartitionId,
    /// The appending cluster.
    pub cluster: ClusterId,
    /// Announcement or commands.
    pub kind: Kind,
    /// At most [`BATCH_BYTES_MAX`](crate::BATCH_BYTES_MAX) bytes; may be empty. Copied before `append` returns.
    pub payload: &'a [u8],
}

/// What became of one accepted batch.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Whose log.
    pub partition: PartitionId,
    /// As appended: tells which batch this is.
    pub kind: Kind,
    /// Records it was split into; the next batch's number is `number + parts`.
    pub parts: u16,
    /// What became of it.
    pub outcome: Outcome,
}

/// Where an accepted batch is.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Durable at a known place.
    Placed {
        /// The record before the batch's first one in this partition's log; [`Lsn::NONE`] if there is none. Equal to
        /// the place of one's own last batch when nobody else wrote in between.
        after: Lsn,
        /// The batch's LSN: that of its last record.
        lsn: Lsn,
        /// Checksum of its last record.
        crc: u32,
    },
    /// Durable somewhere before the present tail (a broker's answer to a repeat names no offset), or its records do
    /// not stand next to each other.
    Somewhere,
    /// It may be in the log, may come later, or never.
    Failed(DeliveryError),
}

/// Takes what became of appends.
pub trait DeliverySink: Send + Sync {
    /// Called by the provider's own thread, once per sync or poll, with everything it settled: one wake-up for all
    /// partitions. In append order per partition, every accepted batch exactly once. Must not block and must not
    /// panic: the log stands still meanwhile.
    fn delivered(&self, reports: &[Delivery]);
}

/// Where a sealed log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its last record, [`Lsn::NONE`] if it never had one.
    pub last: Lsn,
    /// Above every record.
    pub tail: Lsn,
}

/// Holds one piece of the logs of some partitions: all of a node (`local`), or a topic partition each (`kafka`).
///
/// LSNs are the provider's own, start above 0 and only grow within a partition.
pub trait Loglet: Send + Sync {
    /// Takes one batch; never waits for I/O.
    ///
    /// * Returns how many numbers it uses up: its records; 0 for an announcement.
    /// * Once accepted, it is reported through the sink exactly once, in append order within its partition.
    /// * Errors: nothing was taken, and nothing is reported.
    fn append(&self, batch: Append<'_>) -> Result<u16, AppendError>;

    /// Whether new work may be admitted. Appends of work that is in flight go on either way.
    fn admission(&self) -> Result<(), AdmissionError> {
        Ok(())
    }

    /// Raw records from `from` (inclusive) on, durable ones only. Apply [`CountingReader`](crate::CountingReader).
    /// `Trimmed` if a record at or behind `from` may be gone.
    fn read(&self, partition: PartitionId, from: Lsn) -> Result<Box<dyn LogReader>, ReadError>;

    /// The record exactly at `lsn`: `None` if there is none; its identity is known up to and including the trim
    /// point, `Trimmed` is below it.
    fn fetch(&self, partition: PartitionId, lsn: Lsn) -> Result<Option<Applied>, ReadError>;

    /// Nothing up to and including `upto` is needed any more. A hint that never moves back; the provider removes when
    /// it likes, but `read` refuses at once. The identity stays known for [`Loglet::fetch`].
    fn trim(&self, partition: PartitionId, upto: Applied);

    /// Last position removed; [`Lsn::NONE`] if none.
    fn trim_point(&self, partition: PartitionId) -> Lsn;

    /// Above every durable record at the time of the call.
    fn tail(&self, partition: PartitionId) -> Result<Lsn, ReadError>;

    /// Ends the partition's log here for good: what was accepted is settled and reported first (this waits for I/O),
    /// later appends are refused, also after a restart. Repeating it gives the same answer.
    fn seal(&self, partition: PartitionId) -> Result<Sealed, SealError>;
}

/// A cursor over one partition's raw records.
pub trait LogReader: Send {
    /// The next record; `None` at the durable tail, where a later call may find more.
    fn next(&mut self) -> Result<Option<Record>, ReadError>;
}

/// "Same history or none": nobody continues a log from `applied` before this is `Ok`.
///
/// * `Diverged`: the record there is missing or another one.
/// * `Trimmed`: it cannot be told; a snapshot from behind the trim point is needed.
pub fn same_history(log: &dyn Loglet, partition: PartitionId, applied: Applied) -> Result<(), ReadError> {
    if applied.lsn == Lsn::NONE {
        return match log.trim_point(partition) {
            Lsn::NONE => Ok(()),
            trim_point => Err(ReadError::Trimmed { partition, from: Lsn::NONE.next(), trim_point }),
        };
    }
    match log.fetch(partition, applied.lsn)? {
        Some(found) if found == applied => Ok(()),
        _ => Err(ReadError::Diverged { partition, lsn: applied.lsn }),
    }
}
