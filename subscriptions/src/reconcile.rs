//! Which sources a subscription should have, given the topic and those that are open. Pure.

use std::collections::BTreeMap;

use millrace_model::{PartitionId, SourceId, SubscriptionId};

/// A source as the partitions' state has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSource {
    /// Its topic, by name.
    pub topic: String,
    /// Rises with every seek.
    pub generation: u32,
    /// Next offset expected.
    pub position: i64,
}

/// Where a source that is not open yet starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As the subscription says: committed offset, earliest or latest.
    Configured,
    /// At the first offset that is there: it appeared while the subscription existed.
    Beginning,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sources of a topic that is no more.
    pub close: Vec<SourceId>,
    /// Sources to be opened, in this order: source partition 0 last, because it is the mark that the first opening was
    /// complete.
    pub open: Vec<(SourceId, Start)>,
}

/// Compares what is with what should be.
pub fn reconcile(
    subscription: SubscriptionId,
    cluster: &str,
    topic_id: u128,
    source_partitions: u32,
    open: &BTreeMap<SourceId, OpenSource>,
) -> Plan {
    let mut plan = Plan::default();
    let mut recreated = false;
    for id in open.keys() {
        if id.topic_id != topic_id || id.cluster != cluster {
            plan.close.push(id.clone());
            recreated |= id.cluster == cluster;
        }
    }
    let id = |source_partition| SourceId { subscription, cluster: cluster.to_owned(), topic_id, source_partition };
    let opened_before = open.contains_key(&id(0));
    let start = if recreated || opened_before { Start::Beginning } else { Start::Configured };
    for source_partition in (0..source_partitions).rev() {
        let id = id(source_partition);
        if !open.contains_key(&id) {
            plan.open.push((id, start));
        }
    }
    plan
}

/// Who reads a source partition: `q mod N`.
pub fn reader(source_partition: u32, partitions: u16) -> PartitionId {
    PartitionId((source_partition % u32::from(partitions)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: SubscriptionId = SubscriptionId(1);

    fn id(topic_id: u128, source_partition: u32) -> SourceId {
        SourceId { subscription: SUBSCRIPTION, cluster: "c".into(), topic_id, source_partition }
    }

    fn check(open: &[SourceId], topic_id: u128, n: u32, close: &[SourceId], opens: &[(u32, Start)]) {
        let row = OpenSource { topic: "t".into(), generation: 0, position: 5 };
        let open = open.iter().map(|id| (id.clone(), row.clone())).collect();
        let plan = reconcile(SUBSCRIPTION, "c", topic_id, n, &open);
        let opens: Vec<_> = opens.iter().map(|(q, start)| (id(topic_id, *q), *start)).collect();
        assert_eq!(plan, Plan { close: close.to_vec(), open: opens });
    }

    #[test]
    fn sources_follow_the_topic() {
        use Start::{Beginning, Configured};
        check(&[], 1, 3, &[], &[(2, Configured), (1, Configured), (0, Configured)]);
        // Interrupted in the middle of the first opening: it goes on as it began.
        check(&[id(1, 2)], 1, 3, &[], &[(1, Configured), (0, Configured)]);
        let three = [id(1, 0), id(1, 1), id(1, 2)];
        check(&three, 1, 3, &[], &[]);
        check(&three, 1, 5, &[], &[(4, Beginning), (3, Beginning)]);
        // Deleted and created again: from its new beginning.
        check(&three, 2, 2, &three, &[(1, Beginning), (0, Beginning)]);
    }
}
