//! A fake Kafka: one topic by name, with everything that makes reading it hard.

use std::collections::BTreeMap;

use crate::{checker::sources::Place, rng::Rng};

/// A record. The key is the index of an object; `None`: no key, which a keyed sink cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub number: u64,
    pub seed: u64,
    pub key: Option<u64>,
}

#[derive(Clone, Default)]
struct SourcePartition {
    /// First offset that is kept.
    start: i64,
    /// The next offset.
    end: i64,
    /// Highest end there ever was: below it, what is written now replaces what a truncation took away.
    highest: i64,
    records: BTreeMap<i64, (Record, bool)>,
}

/// Why records cannot be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The topic has fewer partitions.
    Unknown,
    /// The offset is not between start and end.
    OutOfRange {
        /// See there.
        start: i64,
        /// See there.
        end: i64,
    },
}

/// The topic with the one name.
pub struct Broker {
    pub topic_id: u128,
    partitions: Vec<SourcePartition>,
    next_number: u64,
}

/// Records that one fetch returns.
const FETCH_RECORDS_MAX: usize = 7;

impl Broker {
    /// An empty topic.
    pub fn new(partitions: u32) -> Self {
        let mut broker = Self { topic_id: 0, partitions: Vec::new(), next_number: 1 };
        broker.recreate(partitions);
        broker
    }

    /// The topic is deleted, and there is another one with its name.
    pub fn recreate(&mut self, partitions: u32) {
        self.topic_id += 1;
        self.partitions = vec![SourcePartition::default(); partitions as usize];
    }

    /// One more source partition.
    pub fn grow(&mut self) {
        self.partitions.push(SourcePartition::default());
    }

    /// How many source partitions there are.
    pub fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    /// Somebody writes a record for `key`; a key has its source partition.
    pub fn produce(&mut self, key: Option<u64>, rng: &mut Rng) -> (u64, Place) {
        let number = self.next_number;
        self.next_number += 1;
        let source_partition = key.unwrap_or(number) % u64::from(self.partitions());
        let partition = &mut self.partitions[source_partition as usize];
        let offset = partition.end;
        let replaces = offset < partition.highest;
        partition.records.insert(offset, (Record { number, seed: rng.next(), key }, replaces));
        partition.end += 1;
        if rng.chance(50) {
            partition.end += 1; // A transaction marker.
        }
        partition.highest = partition.highest.max(partition.end);
        (number, Place { topic_id: self.topic_id, source_partition: source_partition as u32, offset })
    }

    /// Retention, or an unclean election, or compaction.
    pub fn damage(&mut self, rng: &mut Rng) -> &'static str {
        let at = rng.index(self.partitions.len());
        let partition = &mut self.partitions[at];
        let span = (partition.end - partition.start) as u64;
        match rng.below(3) {
            0 => {
                partition.start += rng.between(0, span) as i64;
                let start = partition.start;
                partition.records.retain(|offset, _| *offset >= start);
                "trims"
            }
            1 => {
                partition.end -= rng.between(0, span.min(6)) as i64;
                let end = partition.end;
                partition.records.retain(|offset, _| *offset < end);
                "truncates"
            }
            _ => {
                partition.records.retain(|_, _| !rng.chance(100));
                "compacts"
            }
        }
    }

    /// First and next offset.
    pub fn range(&self, partition: u32) -> Option<(i64, i64)> {
        self.partitions.get(partition as usize).map(|p| (p.start, p.end))
    }

    /// Records from `offset` on, and the offset to go on from. By name: it does not notice another topic.
    pub fn fetch(&self, partition: u32, offset: i64) -> Result<(Vec<(i64, Record)>, i64), FetchError> {
        let partition = self.partitions.get(partition as usize).ok_or(FetchError::Unknown)?;
        if offset < partition.start || offset > partition.end {
            return Err(FetchError::OutOfRange { start: partition.start, end: partition.end });
        }
        let mut records: Vec<_> = partition.records.range(offset..).map(|(at, (record, _))| (*at, *record)).collect();
        let to = match records.get(FETCH_RECORDS_MAX) {
            Some((at, _)) => *at,
            None => partition.end,
        };
        records.truncate(FETCH_RECORDS_MAX);
        Ok((records, to))
    }

    /// What is there now: partition, number, offset. Without what a truncation may hide from every reader.
    pub fn alive(&self) -> Vec<(u32, u64, i64)> {
        let mut alive = Vec::new();
        for (partition, of) in self.partitions.iter().enumerate() {
            let visible = of.records.iter().filter(|(_, (_, replaces))| !replaces);
            alive.extend(visible.map(|(offset, (record, _))| (partition as u32, record.number, *offset)));
        }
        alive
    }
}
