//! Invariant 2: replaying the log from zero, from any snapshot, or live gives the same store content, byte for byte.
//!
//! Every commit of every store carries a hash over all changes so far; a snapshot keeps it. It must be the reference's
//! at that position. Whole contents are compared at the end.

use std::collections::BTreeMap;

use millrace_machine::MemoryView;
use millrace_model::{Lsn, PartitionId};

use super::{Invariant, Violation};
use crate::store::Commit;

/// The chains of the reference.
#[derive(Default)]
pub struct Replay(BTreeMap<(PartitionId, Lsn), u64>);

impl Replay {
    pub(super) fn reference(&mut self, partition: PartitionId, commit: Commit) {
        self.0.insert((partition, commit.applied.lsn), commit.chain);
    }

    pub(super) fn committed(&self, node: usize, partition: PartitionId, commit: &Commit) -> Result<(), Violation> {
        let lsn = commit.applied.lsn;
        if self.0.get(&(partition, lsn)) == Some(&commit.chain) {
            return Ok(());
        }
        let what = format!("node {node} has other content of partition {partition} at {lsn} than a replay from zero");
        Err(Violation::new(Invariant::Replay, what))
    }

    /// Two stores at the same position.
    pub fn compare(&self, what: &str, ours: &MemoryView, reference: &MemoryView) -> Result<(), Violation> {
        if ours.content_hash() == reference.content_hash() && ours == reference {
            return Ok(());
        }
        Err(Violation::new(Invariant::Replay, format!("the content of {what} differs from a replay from zero")))
    }
}
