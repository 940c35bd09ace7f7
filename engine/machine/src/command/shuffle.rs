//! Between partitions (DESIGN.md section 7).

use millrace_model::{
    PartitionId, TimestampMs,
    command::{Lane, Message},
    table::{Outbox, OutboxLanes, Received},
};

use crate::{Answer, StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    /// Takes what it has not seen, rejects a gap whole, and says what it takes next.
    pub(super) fn deliver(
        &mut self,
        from: PartitionId,
        lane: Lane,
        first: u64,
        messages: Vec<Message>,
        now: TimestampMs,
    ) -> Result<Answer, V::Error> {
        let seen = self.get::<Received>(&(from, lane))?.unwrap_or(0);
        if first > seen + 1 {
            return Ok(Answer::Delivered { next: seen + 1 });
        }
        let skip = seen + 1 - first;
        let last = (first - 1).saturating_add(messages.len() as u64).max(seen);
        for message in messages.into_iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            self.receive(message, now)?;
        }
        if last > seen {
            self.put::<Received>((from, lane), last);
        }
        Ok(Answer::Delivered { next: last + 1 })
    }

    pub(super) fn truncate_outbox(&mut self, to: PartitionId, lane: Lane, upto: u64) -> Result<Answer, V::Error> {
        if let Some(mut ends) = self.get::<OutboxLanes>(&(to, lane))? {
            let upto = upto.min(ends.next - 1);
            for seq in ends.first..=upto {
                self.delete_once::<Outbox>((to, lane, seq));
            }
            if upto >= ends.first {
                ends.first = upto + 1;
                self.put::<OutboxLanes>((to, lane), ends);
            }
        }
        Ok(Answer::Done)
    }
}
