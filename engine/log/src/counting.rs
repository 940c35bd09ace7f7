//! The counting rule: which records of a log count (DESIGN.md section 3). Pure; the same for every provider.
//!
//! A record counts only if its epoch is that of the last announcement before it, its number is one more than that of
//! the last record counted in this epoch, and it continues its batch. So whether it counts depends only on what is
//! before it; the first hole ends an epoch for everybody; zombies, repeats and reorderings count once or not at all.
//! A batch whose last part never counts is nothing.

use bytes::{Bytes, BytesMut};
use millrace_model::{ClusterId, LeaderEpoch, Lsn};

use crate::error::ReadError;
use crate::loglet::Kind;
use crate::record::{Applied, BATCH_BYTES_MAX, Record, RecordHeader};

/// The rule. Only [`Rule::EXACT`] is right; the others exist so that tests and the simulation can show that each of
/// its conditions is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    epoch: EpochRule,
    number: NumberRule,
    batch: BatchRule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EpochRule {
    Last,
    LastOrOlder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberRule {
    Next,
    Above,
    NextOrRepeat,
    NextAfterHighestSeen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchRule {
    Whole,
    AcrossAnnouncements,
}

impl Rule {
    /// The counting rule.
    pub const EXACT: Rule = Rule { epoch: EpochRule::Last, number: NumberRule::Next, batch: BatchRule::Whole };
    /// Broken on purpose: records of deposed leaders count.
    #[doc(hidden)]
    pub const OLDER_EPOCH: Rule = Rule { epoch: EpochRule::LastOrOlder, ..Rule::EXACT };
    /// Broken on purpose: a hole does not end the epoch.
    #[doc(hidden)]
    pub const GAP: Rule = Rule { number: NumberRule::Above, ..Rule::EXACT };
    /// Broken on purpose: repeats count again.
    #[doc(hidden)]
    pub const REPEAT: Rule = Rule { number: NumberRule::NextOrRepeat, ..Rule::EXACT };
    /// Broken on purpose: the next number follows the highest seen, counted or not.
    #[doc(hidden)]
    pub const HIGHEST_SEEN: Rule = Rule { number: NumberRule::NextAfterHighestSeen, ..Rule::EXACT };
    /// Broken on purpose: parts from before an announcement are completed by parts behind it.
    #[doc(hidden)]
    pub const ACROSS: Rule = Rule { batch: BatchRule::AcrossAnnouncements, ..Rule::EXACT };
    /// All that are broken on purpose.
    #[doc(hidden)]
    pub const BROKEN: [Rule; 5] = [Rule::OLDER_EPOCH, Rule::GAP, Rule::REPEAT, Rule::HIGHEST_SEEN, Rule::ACROSS];

    fn epoch_counts(self, header: &RecordHeader, epoch: LeaderEpoch) -> bool {
        match self.epoch {
            EpochRule::Last => header.epoch == epoch,
            EpochRule::LastOrOlder => header.epoch <= epoch,
        }
    }

    fn number_counts(self, header: &RecordHeader, epoch: LeaderEpoch, last: u64, seen: u64) -> bool {
        if header.epoch != epoch {
            return true; // Only a broken epoch rule comes here.
        }
        match self.number {
            NumberRule::Next => Some(header.number) == last.checked_add(1),
            NumberRule::Above => header.number > last,
            NumberRule::NextOrRepeat => header.number <= last.saturating_add(1),
            NumberRule::NextAfterHighestSeen => Some(header.number) == seen.checked_add(1),
        }
    }
}

/// A batch that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedBatch {
    /// Its LSN: that of its last record.
    pub lsn: Lsn,
    /// Epoch in force from here on; for an announcement its own.
    pub epoch: LeaderEpoch,
    /// Number of its last record; 0 for an announcement.
    pub number: u64,
    /// How many records it was split into.
    pub parts: u16,
    /// Checksum of its last record.
    pub crc: u32,
    /// All parts in one piece.
    pub payload: Bytes,
}

impl CountedBatch {
    /// Whether it is an announcement: the payload is one, and `epoch` begins here.
    pub fn is_announcement(&self) -> bool {
        self.epoch.0 == self.lsn
    }

    /// As it was appended.
    pub fn kind(&self) -> Kind {
        if self.is_announcement() {
            Kind::Announce
        } else {
            Kind::Commands { epoch: self.epoch, number: self.number + 1 - u64::from(self.parts) }
        }
    }

    /// What a store keeps when it has applied this batch.
    pub fn applied(&self) -> Applied {
        Applied { lsn: self.lsn, epoch: self.epoch, number: self.number, crc: self.crc }
    }
}

/// Applies the rule to the records of one partition, in the order of the log.
///
/// A reader that starts at the beginning and one that resumes behind any counted batch agree on all that follows.
#[derive(Clone, Debug)]
pub struct CountingReader {
    rule: Rule,
    cluster: Option<ClusterId>,
    applied: Applied,
    /// Place of the last record looked at.
    position: Lsn,
    /// Last number counted in the epoch, which is beyond `applied.number` within a batch.
    number: u64,
    /// Highest number seen in the epoch; only a broken rule looks at it.
    seen: u64,
    pending: Pending,
}

/// The counted parts of a batch that is not complete.
#[derive(Clone, Debug, Default)]
struct Pending {
    parts: Vec<Bytes>,
    bytes: usize,
    of: u16,
}

impl Pending {
    fn clear(&mut self) {
        self.parts.clear();
        self.bytes = 0;
        self.of = 0;
    }

    /// Whether the record is the next one of this batch, or the first of one when none is begun.
    fn continues(&self, header: &RecordHeader) -> bool {
        usize::from(header.part) == self.parts.len() + 1 && (self.parts.is_empty() || header.parts == self.of)
    }

    fn join(&mut self) -> Bytes {
        let payload = if self.parts.len() == 1 {
            self.parts.pop().expect("one part")
        } else {
            let mut joined = BytesMut::with_capacity(self.bytes);
            self.parts.iter().for_each(|part| joined.extend_from_slice(part));
            joined.freeze()
        };
        self.clear();
        payload
    }
}

impl CountingReader {
    /// Resumes behind `applied` ([`Applied::NONE`]: from the beginning of the log). The first record must be from
    /// behind it. `cluster` is whose log it must be; `None` takes the one of the first record, which only a node may
    /// do that does not know its cluster yet.
    pub fn resume(cluster: Option<ClusterId>, applied: Applied) -> Self {
        Self::with_rule(Rule::EXACT, cluster, applied)
    }

    /// The same under another rule, for tests.
    #[doc(hidden)]
    pub fn with_rule(rule: Rule, cluster: Option<ClusterId>, applied: Applied) -> Self {
        let Applied { lsn: position, number, .. } = applied;
        Self { rule, cluster, applied, position, number, seen: number, pending: Pending::default() }
    }

    /// The last counted batch, or where reading was resumed.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Place of the last record looked at, counted or not.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Whose log it is, once known.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// Looks at the next record. Returns the batch that it completes, if any.
    ///
    /// Panics if the record is not behind the one before: a provider that goes backwards would corrupt every state.
    pub fn push(&mut self, record: Record) -> Result<Option<CountedBatch>, ReadError> {
        let header = record.header;
        let ours = *self.cluster.get_or_insert(header.cluster);
        if header.cluster != ours {
            return Err(ReadError::ForeignCluster { lsn: record.lsn, theirs: header.cluster, ours });
        }
        assert!(record.lsn > self.position, "a log is read forwards: {} after {}", record.lsn, self.position);
        self.position = record.lsn;
        if !header.is_well_formed() {
            return Ok(None);
        }
        if header.is_announcement() {
            return Ok(Some(self.announce(record)));
        }
        let epoch = self.applied.epoch;
        // Before the first announcement there is no epoch in which anything could count.
        let counts = epoch != LeaderEpoch::ANNOUNCE
            && self.rule.epoch_counts(&header, epoch)
            && self.rule.number_counts(&header, epoch, self.number, self.seen)
            && self.pending.continues(&header)
            && self.pending.bytes + record.payload.len() <= BATCH_BYTES_MAX;
        if header.epoch == epoch {
            self.seen = self.seen.max(header.number);
        }
        Ok(if counts { self.count(record) } else { None })
    }

    fn announce(&mut self, record: Record) -> CountedBatch {
        if self.rule.batch == BatchRule::Whole {
            self.pending.clear();
        }
        self.applied = record.identity();
        (self.number, self.seen) = (0, 0);
        let Applied { lsn, epoch, number, crc } = self.applied;
        CountedBatch { lsn, epoch, number, parts: 1, crc, payload: record.payload }
    }

    fn count(&mut self, record: Record) -> Option<CountedBatch> {
        let Record { lsn, header, crc, payload } = record;
        self.number = header.number;
        self.pending.of = header.parts;
        self.pending.bytes += payload.len();
        self.pending.parts.push(payload);
        if header.part < header.parts {
            return None;
        }
        self.applied = Applied { lsn, epoch: self.applied.epoch, number: header.number, crc };
        let Applied { epoch, number, .. } = self.applied;
        Some(CountedBatch { lsn, epoch, number, parts: header.parts, crc, payload: self.pending.join() })
    }
}

#[cfg(test)]
mod tests;
