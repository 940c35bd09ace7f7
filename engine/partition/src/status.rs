//! What a leader shows of itself.

use std::collections::BTreeMap;

use millrace_model::{InvocationId, LeaderEpoch, Lsn, PartitionId, SubscriptionId, source::Budget};
use parking_lot::RwLock;
use tokio::sync::watch;

/// A leader between two batches.
#[derive(Clone, Debug, Default)]
pub struct LeaderStatus {
    /// Which partition.
    pub partition: PartitionId,
    /// Its epoch; `LeaderEpoch::ANNOUNCE` while it does not lead.
    pub epoch: LeaderEpoch,
    /// Last batch in the store.
    pub applied: Lsn,
    /// Attempts that run here now.
    pub running: BTreeMap<InvocationId, u32>,
    /// Invocations that wait for a slot.
    pub starting: usize,
}

/// Budgets and positions, for those who read sources: updated after every batch that changes them.
pub struct Board {
    budgets: RwLock<BTreeMap<(PartitionId, SubscriptionId), Budget>>,
    changed: Vec<watch::Sender<u64>>,
    letters: watch::Sender<u64>,
}

impl Board {
    /// Everything is settled.
    pub fn new(partitions: u16) -> Self {
        let changed = (0..partitions).map(|_| watch::Sender::new(0)).collect();
        Self { budgets: RwLock::default(), changed, letters: watch::Sender::new(0) }
    }

    /// Unsettled records of a subscription that `partition` has read.
    pub fn budget(&self, partition: PartitionId, subscription: SubscriptionId) -> Budget {
        self.budgets.read().get(&(partition, subscription)).copied().unwrap_or_default()
    }

    /// Resolves when a budget of `partition` changes after the receiver last looked.
    pub fn changed(&self, partition: PartitionId) -> watch::Receiver<u64> {
        self.changed[usize::from(partition.0)].subscribe()
    }

    /// Resolves when a partition of this node may have got dead letters after the receiver last looked.
    pub fn letters(&self) -> watch::Receiver<u64> {
        self.letters.subscribe()
    }

    pub(crate) fn letters_are_there(&self) {
        self.letters.send_modify(|n| *n += 1);
    }

    /// Forgets what a leader before knew: what has settled since has no budget any more.
    pub(crate) fn reset(&self, partition: PartitionId, budgets: impl IntoIterator<Item = (SubscriptionId, Budget)>) {
        self.budgets.write().retain(|(of, _), _| *of != partition);
        self.set(partition, budgets);
    }

    pub(crate) fn set(&self, partition: PartitionId, budgets: impl IntoIterator<Item = (SubscriptionId, Budget)>) {
        let mut all = self.budgets.write();
        for (subscription, budget) in budgets {
            if budget == Budget::ZERO {
                all.remove(&(partition, subscription));
            } else {
                all.insert((partition, subscription), budget);
            }
        }
        drop(all);
        self.changed[usize::from(partition.0)].send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_forgets_budgets_that_have_settled_meanwhile() {
        let (ours, other, subscription) = (PartitionId(0), PartitionId(1), SubscriptionId(1));
        let board = Board::new(2);
        board.set(ours, [(subscription, Budget::ready(10))]);
        board.set(other, [(subscription, Budget::ready(20))]);
        board.reset(ours, []);
        assert_eq!(board.budget(ours, subscription), Budget::ZERO);
        assert_eq!(board.budget(other, subscription), Budget::ready(20));
    }
}
