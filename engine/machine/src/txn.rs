//! One batch in the making: the committed state with the changes so far on top.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use millrace_model::{
    InvocationId, LeaderEpoch, Lsn, PartitionId, SubscriptionId, Text, TimestampMs,
    command::{Lane, Message},
    invocation::ObjectKey,
    source::Budget,
    table::{Budgets, Changes, Outbox, OutboxEnds, OutboxLanes, Partition, PartitionRow, Promises, State, Table},
};

use crate::{Effect, StateView};

/// Version of the rules by which commands are applied. A partition's state names the one it was made with.
pub const MACHINE_VERSION: u16 = 1;

/// What a batch did.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Committed atomically with the batch's position.
    pub changes: Changes,
    /// Done after that, by the leader.
    pub effects: Vec<Effect>,
}

/// Applies the commands of one batch.
pub struct Txn<'v, V> {
    view: &'v V,
    /// The partition.
    pub(crate) me: PartitionId,
    /// Position of the batch.
    pub(crate) lsn: Lsn,
    changes: Changes,
    effects: Vec<Effect>,
    settled: BTreeMap<(PartitionId, SubscriptionId), Budget>,
    /// Invocations that die with their callers: a queue, because a call tree can be deep.
    kills: VecDeque<(InvocationId, TimestampMs)>,
}

impl<'v, V: StateView> Txn<'v, V> {
    /// For the batch at `lsn` of partition `me`.
    pub fn new(view: &'v V, me: PartitionId, lsn: Lsn) -> Self {
        Self {
            view,
            me,
            lsn,
            changes: Changes::default(),
            effects: Vec::new(),
            settled: BTreeMap::new(),
            kills: VecDeque::new(),
        }
    }

    /// What the batch did.
    pub fn finish(mut self) -> Result<Outcome, V::Error> {
        for ((reader, subscription), change) in std::mem::take(&mut self.settled) {
            if change == Budget::ZERO {
                continue;
            }
            if reader == self.me {
                self.change_budget(subscription, change)?;
            } else {
                self.send(reader, Lane::Control, Message::Settle { subscription, change })?;
            }
        }
        Ok(Outcome { changes: self.changes, effects: self.effects })
    }

    /// The row as this batch sees it.
    pub(crate) fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, V::Error> {
        match T::changes(&self.changes).get(key) {
            Some(row) => Ok(row.clone()),
            None => self.view.get::<T>(key),
        }
    }

    pub(crate) fn put<T: Table>(&mut self, key: T::Key, row: T::Row) {
        T::changes_mut(&mut self.changes).insert(key, Some(row));
    }

    pub(crate) fn delete<T: Table>(&mut self, key: T::Key) {
        T::changes_mut(&mut self.changes).insert(key, None);
    }

    /// Deletes a row whose key is used once in the life of a partition: if this batch wrote it, nothing is written.
    pub(crate) fn delete_once<T: Table>(&mut self, key: T::Key) {
        let changes = T::changes_mut(&mut self.changes);
        if changes.remove(&key).flatten().is_none() {
            changes.insert(key, None);
        }
    }

    /// State of an object as this batch sees it, sorted bytewise.
    pub(crate) fn state(&self, object: &ObjectKey) -> Result<BTreeMap<Bytes, Bytes>, V::Error> {
        let mut state: BTreeMap<_, _> = self.view.state(object)?.into_iter().collect();
        let first = (object.clone(), Bytes::new());
        for ((of, key), value) in State::changes(&self.changes).range(first..) {
            if of != object {
                break;
            }
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
        Ok(state)
    }

    /// Names of the promises of a workflow as this batch sees them.
    pub(crate) fn promises(&self, object: &ObjectKey) -> Result<BTreeSet<Text>, V::Error> {
        let mut names: BTreeSet<_> = self.view.promises(object)?.into_iter().collect();
        let first = (object.clone(), Text::default());
        for ((of, name), row) in Promises::changes(&self.changes).range(first..) {
            if of != object {
                break;
            }
            match row {
                Some(_) => names.insert(name.clone()),
                None => names.remove(name),
            };
        }
        Ok(names)
    }

    /// Ends an invocation of this partition, at the end of this command.
    pub(crate) fn kill_later(&mut self, id: InvocationId, now: TimestampMs) {
        self.kills.push_back((id, now));
    }

    /// The next one to be killed.
    pub(crate) fn next_kill(&mut self) -> Option<(InvocationId, TimestampMs)> {
        self.kills.pop_front()
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The partition's own row; before the first announcement that of an empty partition of one.
    pub(crate) fn partition(&self) -> Result<PartitionRow, V::Error> {
        let empty = PartitionRow { machine_version: MACHINE_VERSION, epoch: LeaderEpoch::ANNOUNCE, partitions: 1 };
        Ok(self.get::<Partition>(&())?.unwrap_or(empty))
    }

    /// Who owns an invocation.
    pub(crate) fn owner(&self, id: InvocationId) -> Result<PartitionId, V::Error> {
        Ok(id.key.partition(self.partition()?.partitions))
    }

    /// Puts a message for another partition into the outbox.
    pub(crate) fn send(&mut self, to: PartitionId, lane: Lane, message: Message) -> Result<(), V::Error> {
        assert!(to != self.me, "a message to the own partition is applied in the batch that made it");
        let mut ends = self.get::<OutboxLanes>(&(to, lane))?.unwrap_or(OutboxEnds { first: 1, next: 1 });
        let seq = ends.next;
        ends.next += 1;
        self.put::<OutboxLanes>((to, lane), ends);
        self.put::<Outbox>((to, lane, seq), message.clone());
        self.effect(Effect::Send { to, lane, seq, message });
        Ok(())
    }

    /// Adds to what the batch changes in the budgets of `reader`; told to it at the end of the batch, once.
    pub(crate) fn settle(&mut self, reader: PartitionId, subscription: SubscriptionId, change: Budget) {
        let sum = self.settled.entry((reader, subscription)).or_default();
        *sum = *sum + change;
    }

    /// Changes a budget that this partition keeps.
    pub(crate) fn change_budget(&mut self, subscription: SubscriptionId, change: Budget) -> Result<(), V::Error> {
        let budget = self.get::<Budgets>(&subscription)?.unwrap_or_default() + change;
        if budget == Budget::ZERO {
            self.delete::<Budgets>(subscription);
        } else {
            self.put::<Budgets>(subscription, budget);
        }
        self.effect(Effect::Budget { subscription });
        Ok(())
    }
}
