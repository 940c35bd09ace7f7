//! Invariant 7: two leaders of one partition may exist for a while; two *effective* ones never.
//!
//! The counting rule once more, as plainly as possible and over the raw records: what a store took must have been
//! appended by the leader of the last announcement, as its next record, and nothing between may be left out.

use std::collections::BTreeMap;

use millrace_log::{Applied, Record};
use millrace_model::{Lsn, PartitionId};

use super::{Invariant, Violation};
use crate::store::Commit;

#[derive(Default)]
struct Log {
    /// Place of the last announcement.
    epoch: u64,
    number: u64,
    /// Parts of the batch that is begun: counted ones and how many there are.
    parts: (u16, u16),
    /// Places of effective batches, and what was before each.
    effective: BTreeMap<Lsn, Lsn>,
    last: Lsn,
    /// Who wrote what stands at a place.
    writers: BTreeMap<Lsn, u64>,
}

/// The logs of all partitions.
#[derive(Default)]
pub struct Leaders(BTreeMap<PartitionId, Log>);

impl Leaders {
    pub(super) fn landed(&mut self, partition: PartitionId, record: &Record) {
        let log = self.0.entry(partition).or_default();
        let header = &record.header;
        if header.is_announcement() {
            (log.epoch, log.number, log.parts) = (record.lsn.0, 0, (0, 0));
        } else {
            log.writers.insert(record.lsn, header.epoch.0.0);
            let (have, of) = log.parts;
            let continues = header.part == have + 1 && (have == 0 || header.parts == of);
            if log.epoch == 0 || header.epoch.0.0 != log.epoch || header.number != log.number + 1 || !continues {
                return;
            }
            log.number += 1;
            log.parts = (header.part, header.parts);
            if header.part < header.parts {
                return;
            }
            log.parts = (0, 0);
        }
        log.effective.insert(record.lsn, log.last);
        log.last = record.lsn;
    }

    /// The reader of the log says that a batch counts.
    pub(super) fn counted(&self, partition: PartitionId, applied: Applied) -> Result<(), Violation> {
        if self.0[&partition].effective.contains_key(&applied.lsn) {
            return Ok(());
        }
        let what = format!("the reader counts the batch at {} of partition {partition}", applied.lsn);
        Err(Violation::new(Invariant::Leaders, what))
    }

    pub(super) fn committed(&self, node: usize, partition: PartitionId, commit: &Commit) -> Result<(), Violation> {
        let (lsn, before) = (commit.applied.lsn, commit.before.lsn);
        let log = &self.0[&partition];
        let violation = |what: String| Err(Violation::new(Invariant::Leaders, format!("node {node}: {what}")));
        match log.effective.get(&lsn) {
            None => {
                let writer = log.writers.get(&lsn);
                violation(format!("took the batch at {lsn} of leader {writer:?}, which was not the effective one"))
            }
            Some(&expected) if expected != before => {
                violation(format!("went from {before} to {lsn} of partition {partition}, past {expected}"))
            }
            Some(_) => Ok(()),
        }
    }
}
