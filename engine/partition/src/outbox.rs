//! Sending the outbox: per destination and lane one delivery at a time, as large as what waits. Pure.

use std::collections::{BTreeMap, VecDeque};

use millrace_model::{
    PartitionId, Wire,
    command::{Lane, Message},
    table::OutboxEnds,
};

/// Messages of a lane that are kept in memory; the others are read from the store again.
pub const LANE_MESSAGES_MAX: usize = 4096;
/// Messages in one delivery.
pub const DELIVERY_MESSAGES_MAX: usize = 1024;
/// Bytes after which a delivery takes no further message.
pub const DELIVERY_BYTES_MAX: usize = 4 << 20;

/// One lane to one partition.
#[derive(Debug)]
struct LaneState {
    /// The next message to be sent if no delivery is under way.
    next: u64,
    /// Behind the last message of the outbox.
    tail: u64,
    /// A delivery is under way.
    sent: bool,
    /// Consecutive messages from `kept_from` on.
    kept: VecDeque<Message>,
    kept_from: u64,
}

/// What a leader has to send to the others.
#[derive(Debug, Default)]
pub struct OutboxQueue {
    lanes: BTreeMap<(PartitionId, Lane), LaneState>,
}

/// A delivery to be made.
#[derive(Debug, PartialEq)]
pub struct Delivery {
    /// Where to.
    pub to: PartitionId,
    /// Which lane.
    pub lane: Lane,
    /// Sequence number of the first.
    pub first: u64,
    /// In order.
    pub messages: Vec<Message>,
}

impl OutboxQueue {
    /// What the outbox held when the leadership began.
    pub fn restore(&mut self, to: PartitionId, lane: Lane, ends: OutboxEnds) {
        let state =
            LaneState { next: ends.first, tail: ends.next, sent: false, kept: VecDeque::new(), kept_from: ends.next };
        self.lanes.insert((to, lane), state);
    }

    /// A message was put into the outbox.
    pub fn added(&mut self, to: PartitionId, lane: Lane, seq: u64, message: Message) {
        let state = self.lanes.entry((to, lane)).or_insert_with(|| LaneState {
            next: seq,
            tail: seq,
            sent: false,
            kept: VecDeque::new(),
            kept_from: seq,
        });
        state.tail = seq + 1;
        if state.kept.is_empty() {
            state.kept_from = seq;
        }
        let follows = state.kept_from + state.kept.len() as u64 == seq;
        if follows && state.kept.len() < LANE_MESSAGES_MAX {
            state.kept.push_back(message);
        }
    }

    /// Messages that are not known to have arrived.
    #[cfg(test)]
    fn waiting(&self) -> u64 {
        self.lanes.values().map(|lane| lane.tail - lane.next).sum()
    }

    /// Deliveries that can be made now. `load` reads messages that are not in memory.
    pub fn deliveries<E>(
        &mut self,
        mut load: impl FnMut(PartitionId, Lane, u64) -> Result<Option<Message>, E>,
    ) -> Result<Vec<Delivery>, E> {
        let mut deliveries = Vec::new();
        for ((to, lane), state) in &mut self.lanes {
            if state.sent || state.next == state.tail {
                continue;
            }
            let mut messages = Vec::new();
            let mut bytes = 0;
            let mut seq = state.next;
            while seq < state.tail && messages.len() < DELIVERY_MESSAGES_MAX && bytes < DELIVERY_BYTES_MAX {
                let kept = seq.checked_sub(state.kept_from).and_then(|at| state.kept.get(at as usize));
                let message = match kept {
                    Some(message) => message.clone(),
                    None => match load(*to, *lane, seq)? {
                        Some(message) => message,
                        None => break,
                    },
                };
                bytes += size(&message);
                messages.push(message);
                seq += 1;
            }
            if !messages.is_empty() {
                state.sent = true;
                deliveries.push(Delivery { to: *to, lane: *lane, first: state.next, messages });
            }
        }
        Ok(deliveries)
    }

    /// The destination answers what it takes next. Returns up to where the outbox can be truncated.
    pub fn answered(&mut self, to: PartitionId, lane: Lane, next: u64) -> Option<u64> {
        let state = self.lanes.get_mut(&(to, lane))?;
        state.sent = false;
        // An answer that was overtaken by a later one, or is to an earlier leader, moves nothing back.
        let next = next.clamp(state.next, state.tail);
        let arrived = next > state.next;
        state.next = next;
        while state.kept_from < state.next && state.kept.pop_front().is_some() {
            state.kept_from += 1;
        }
        arrived.then_some(state.next - 1)
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::Invoke(new) => 256 + new.value.len(),
        other => {
            let mut bytes = Vec::new();
            other.put(&mut bytes);
            bytes.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::{SubscriptionId, source::Budget};

    use super::*;

    fn message(n: i64) -> Message {
        let change = Budget { ready_records: n, ..Budget::ZERO };
        Message::Settle { subscription: SubscriptionId(1), change }
    }

    fn none(_: PartitionId, _: Lane, _: u64) -> Result<Option<Message>, ()> {
        panic!("everything is in memory")
    }

    #[test]
    fn one_delivery_at_a_time_takes_all_that_waits() {
        let to = PartitionId(3);
        let mut outbox = OutboxQueue::default();
        outbox.added(to, Lane::Control, 1, message(1));
        let first = outbox.deliveries(none).unwrap();
        assert_eq!(first, [Delivery { to, lane: Lane::Control, first: 1, messages: vec![message(1)] }]);
        outbox.added(to, Lane::Control, 2, message(2));
        outbox.added(to, Lane::Control, 3, message(3));
        assert_eq!(outbox.deliveries(none).unwrap(), []);
        assert_eq!(outbox.answered(to, Lane::Control, 2), Some(1));
        let second = outbox.deliveries(none).unwrap();
        assert_eq!(second[0].messages, [message(2), message(3)]);
        assert_eq!(outbox.answered(to, Lane::Control, 4), Some(3));
        assert_eq!(outbox.waiting(), 0);
    }

    #[test]
    fn a_receiver_that_is_behind_gets_it_again() {
        let to = PartitionId(3);
        let mut outbox = OutboxQueue::default();
        outbox.restore(to, Lane::Events, OutboxEnds { first: 5, next: 8 });
        let load = |_, _, seq: u64| Ok::<_, ()>(Some(message(seq as i64)));
        assert_eq!(outbox.deliveries(load).unwrap()[0].messages.len(), 3);
        assert_eq!(outbox.answered(to, Lane::Events, 5), None);
        assert_eq!(outbox.deliveries(load).unwrap()[0].first, 5);
        // It had all but the last already.
        assert_eq!(outbox.answered(to, Lane::Events, 7), Some(6));
        assert_eq!(outbox.deliveries(load).unwrap()[0].messages, [message(7)]);
    }

    #[test]
    fn an_answer_that_comes_late_moves_nothing_back() {
        let to = PartitionId(3);
        let mut outbox = OutboxQueue::default();
        outbox.restore(to, Lane::Events, OutboxEnds { first: 5, next: 8 });
        let load = |_, _, seq: u64| Ok::<_, ()>((seq >= 7).then(|| message(seq as i64)));
        assert_eq!(outbox.answered(to, Lane::Events, 7), Some(6));
        // What is below 7 is truncated by now.
        assert_eq!(outbox.answered(to, Lane::Events, 6), None);
        assert_eq!(outbox.deliveries(load).unwrap()[0].messages, [message(7)]);
    }
}
