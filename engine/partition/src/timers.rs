//! The soonest timers, in memory; the others stay in the store until their turn comes. Pure.

use std::collections::BTreeSet;

use millrace_model::{TimestampMs, table::TimerKey};

/// Timers that one command fires.
pub const FIRE_MAX: usize = 1000;

/// A window over the timer table: holds every timer up to its horizon.
#[derive(Debug)]
pub struct TimerQueue {
    soonest: BTreeSet<TimerKey>,
    /// Last key that the window covers; `None`: it covers all there are.
    horizon: Option<TimerKey>,
    limit: usize,
}

impl TimerQueue {
    /// Covers nothing yet: call [`TimerQueue::load`] first. `limit` timers in memory, at least 1.
    pub fn new(limit: usize) -> Self {
        Self { soonest: BTreeSet::new(), horizon: None, limit: limit.max(1) }
    }

    /// A timer was set.
    pub fn set(&mut self, key: TimerKey) {
        if self.horizon.as_ref().is_some_and(|horizon| key > *horizon) {
            return;
        }
        self.soonest.insert(key);
        if self.soonest.len() > self.limit {
            self.soonest.pop_last();
            self.horizon = self.soonest.last().cloned();
        }
    }

    /// When the next one is due, as far as the window knows.
    pub fn next(&self) -> Option<TimestampMs> {
        self.soonest.first().map(|key| key.at)
    }

    /// Takes what is due, soonest first, at most [`FIRE_MAX`].
    pub fn due(&mut self, now: TimestampMs) -> Vec<TimerKey> {
        let mut due = Vec::new();
        while due.len() < FIRE_MAX && self.soonest.first().is_some_and(|key| key.at <= now) {
            due.extend(self.soonest.pop_first());
        }
        due
    }

    /// The window is used up and there are more in the store: from where to load, exclusive.
    pub fn wants(&self) -> Option<&TimerKey> {
        if self.soonest.is_empty() { self.horizon.as_ref() } else { None }
    }

    /// Takes the next timers of the table, in order, from the horizon on.
    pub fn load(&mut self, next: impl IntoIterator<Item = TimerKey>) {
        let mut next = next.into_iter();
        self.horizon = None;
        for key in next.by_ref().take(self.limit) {
            self.soonest.insert(key);
        }
        if next.next().is_some() {
            self.horizon = self.soonest.last().cloned();
        }
    }

    /// How many [`TimerQueue::load`] looks at.
    pub fn load_max(&self) -> usize {
        self.limit + 1
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::{InvocationId, PartitionKey, table::TimerKind};

    use super::*;

    fn key(at: u64) -> TimerKey {
        let id = InvocationId { key: PartitionKey(0), unique: 1 };
        TimerKey { at: TimestampMs(at), id, kind: TimerKind::Start }
    }

    /// A store and a window over it, with every operation.
    #[test]
    fn no_timer_is_lost_or_early_whatever_the_window() {
        for limit in 1..6 {
            for seed in 0..200u64 {
                let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                let mut next = |n: u64| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random % n
                };
                let mut table = BTreeSet::new();
                let mut queue = TimerQueue::new(limit);
                let (mut now, mut fired) = (0, 0);
                for step in 0..100 {
                    if step < 50 && next(2) == 0 {
                        let timer = key(now + 1 + next(30));
                        if table.insert(timer.clone()) {
                            queue.set(timer);
                        }
                    }
                    now += next(3);
                    if step >= 50 {
                        now += 1;
                    }
                    loop {
                        for timer in queue.due(TimestampMs(now)) {
                            assert!(timer.at.0 <= now);
                            assert!(table.remove(&timer), "fired once");
                            fired += 1;
                        }
                        let Some(from) = queue.wants().cloned() else { break };
                        let more: Vec<_> = table.range(from..).take(queue.load_max()).cloned().collect();
                        queue.load(more);
                    }
                    assert!(table.iter().all(|timer| timer.at.0 > now), "none is late: {table:?} at {now}");
                }
                assert!(fired > 0 && table.is_empty());
            }
        }
    }
}
