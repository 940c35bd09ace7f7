//! How many attempts run at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::{Counter, counter, gauge};

/// The slots of a node.
pub(crate) struct Slots {
    limit: usize,
    used: AtomicUsize,
    acquired: Counter,
    released: Counter,
}

impl Slots {
    pub(crate) fn new(limit: usize) -> Self {
        gauge!(crate::metrics::LIMIT).set(limit as f64);
        Self {
            limit,
            used: AtomicUsize::new(0),
            acquired: counter!(crate::metrics::SLOTS_ACQUIRED),
            released: counter!(crate::metrics::SLOTS_RELEASED),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes one, if one is free.
    pub(crate) fn try_reserve(&self) -> bool {
        let more = |used| (used < self.limit).then_some(used + 1);
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok();
        if taken {
            self.acquired.increment(1);
        }
        taken
    }

    /// Gives one back.
    pub(crate) fn release(&self) {
        let used = self.used.fetch_sub(1, Ordering::AcqRel);
        assert!(used > 0, "a slot was given back that nobody held");
        self.released.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_there_are() {
        let slots = Slots::new(2);
        assert!(slots.try_reserve() && slots.try_reserve() && !slots.try_reserve());
        slots.release();
        assert!(slots.try_reserve() && !slots.try_reserve());
    }
}
