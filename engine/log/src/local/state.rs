//! What appenders, the writer, the keeper and readers of one local log share, and how much room they may promise.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use millrace_model::{Lsn, PartitionId};

use super::format::{ALIGN, GROUP_HEADER, RECORD_HEADER, SEGMENT_HEADER};
use super::segment::Segment;
use super::table::{PARTITIONS_MAX, ROW};
use crate::config::LocalLogConfig;
use crate::loglet::{Kind, Sealed};
use crate::record::{Applied, BATCH_BYTES_MAX};

/// Largest group: one write, and what a reader has in memory at once.
const GROUP_MAX: u64 = 4 << 20;
/// Most bytes that may wait for the writer: two largest batches, so that one more is taken while one is written.
pub(super) const WAITING_MAX: usize = 2 * BATCH_BYTES_MAX + (1 << 20);
/// Files are multiples of a page.
const PAGE: u64 = 4096;

/// Everything that follows from the configured sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub segment: u64,
    pub group_max: u64,
    /// Payload bytes of one record.
    pub record_max: usize,
    /// Most bytes of a table group.
    pub table_max: u64,
    /// Bytes that the spare segments must have room for.
    pub reserve: u64,
    pub flush_behind: u64,
}

impl Sizes {
    pub fn new(config: &LocalLogConfig) -> Self {
        // One largest batch of in-flight work fits when admission closes; 1 MiB covers its headers.
        Self::of(config.segment_size.0, PARTITIONS_MAX, BATCH_BYTES_MAX as u64 + (1 << 20), config.flush_behind.0)
    }

    pub fn of(segment: u64, partitions_max: u16, reserve: u64, flush_behind: u64) -> Self {
        let segment = segment / PAGE * PAGE;
        let group_max = (segment / 4).min(GROUP_MAX) / ALIGN * ALIGN;
        let rows = u64::from(partitions_max) + 1;
        let table_max = GROUP_HEADER + (rows * ROW as u64).next_multiple_of(ALIGN);
        assert!(table_max <= group_max, "a table is one group");
        let record_max = (group_max - GROUP_HEADER - RECORD_HEADER) as usize;
        Self { segment, group_max, record_max, table_max, reserve, flush_behind }
    }

    /// Most bytes that a record takes, if it has a group of its own.
    pub fn cost(&self, payload: usize) -> u64 {
        GROUP_HEADER + RECORD_HEADER + payload as u64 + ALIGN
    }

    /// Room that is certain in a segment with `left` bytes: its end is left unused when the next record does not fit.
    pub fn usable(&self, left: u64) -> u64 {
        left.saturating_sub(self.cost(self.record_max))
    }

    /// Room that is certain in a spare segment.
    pub fn usable_spare(&self, size: u64) -> u64 {
        self.usable(size - SEGMENT_HEADER).saturating_sub(self.table_max)
    }

    /// Whether these spares are enough.
    pub fn is_reserved(&self, spares: &VecDeque<Arc<Segment>>) -> bool {
        spares.iter().map(|spare| self.usable_spare(spare.size)).sum::<u64>() >= self.reserve
    }
}

/// One record that waits or is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where it ends in the buffer; it begins where the one before ends.
    pub end: usize,
    pub partition: PartitionId,
    pub crc: u32,
    pub is_first: bool,
    /// Set for the last record of a batch: what to report.
    pub last_of: Option<(Kind, u16)>,
}

/// Encoded records in the order of appending.
#[derive(Default)]
pub(super) struct Waiting {
    pub bytes: Vec<u8>,
    pub entries: Vec<Entry>,
    /// Sum of [`Sizes::cost`].
    pub cost: u64,
    /// When the oldest was appended.
    pub since: Option<Instant>,
}

impl Waiting {
    /// Empties it, and gives back what one large batch made it grow to.
    pub fn reset(&mut self) {
        const KEEP: usize = 8 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.entries.clear();
        self.cost = 0;
        self.since = None;
    }
}

/// Whether the log takes appends.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Open,
    /// Its owner closes it; what waits is still written.
    Closing,
    /// Closed; with the failed file and error, unless by its owner.
    Closed(Option<(PathBuf, Arc<io::Error>)>),
}

impl Phase {
    pub fn cause(&self) -> Option<Arc<io::Error>> {
        match self {
            Phase::Closed(Some((_, error))) => Some(error.clone()),
            _ => None,
        }
    }
}

/// Under one lock, held for no longer than it takes to copy a payload.
pub(super) struct State {
    pub phase: Phase,
    pub waiting: Waiting,
    /// Costs of what is being written.
    pub in_flight: u64,
    /// Certain room in the active segment.
    pub active_usable: u64,
    pub spares: VecDeque<Arc<Segment>>,
    /// Where the next spare begins.
    pub next_start: u64,
    /// Oldest to active.
    pub segments: VecDeque<Arc<Segment>>,
    /// No longer part of the log; to be removed by the keeper.
    pub removable: VecDeque<Arc<Segment>>,
    /// Everything before is durable.
    pub committed: u64,
    pub trims: BTreeMap<PartitionId, Applied>,
    /// `None` until the seal is durable.
    pub sealed: BTreeMap<PartitionId, Option<Sealed>>,
    /// A trim or seal is to be made durable.
    pub table_wanted: bool,
    /// Why no further segment could be reserved.
    pub disk_full: Option<Arc<io::Error>>,
    pub writer_sleeps: bool,
    pub keeper_sleeps: bool,
}

impl State {
    /// Bytes that may still be promised to appends.
    pub fn room(&self, sizes: &Sizes) -> u64 {
        let spares: u64 = self.spares.iter().map(|spare| sizes.usable_spare(spare.size)).sum();
        (self.active_usable + spares).saturating_sub(self.in_flight + self.waiting.cost)
    }

    pub fn trim_point(&self, partition: PartitionId) -> Lsn {
        self.trims.get(&partition).map_or(Lsn::NONE, |trim| trim.lsn)
    }

    /// How many of the oldest segments nobody needs if `trims` are what is trimmed. Never the active one.
    pub fn unneeded(&self, trims: &BTreeMap<PartitionId, Applied>) -> usize {
        let closed = self.segments.len() - 1;
        let is_free = |segment: &&Arc<Segment>| {
            segment.holders.get().is_some_and(|holders| {
                holders.iter().all(|(partition, last)| trims.get(partition).is_some_and(|trim| trim.lsn >= *last))
            })
        };
        self.segments.iter().take(closed).take_while(is_free).count()
    }

    /// Moves segments that nobody needs to the removable ones; `trims` must be durable.
    pub fn release(&mut self, trims: &BTreeMap<PartitionId, Applied>) {
        let count = self.unneeded(trims);
        self.removable.extend(self.segments.drain(..count));
    }
}
