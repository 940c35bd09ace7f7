//! Memory of running attempts, node-wide.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The budget is counted in these.
const UNIT: usize = 1 << 10;

/// What every attempt has without asking, which is enough for ordinary ones: their number has a limit, too.
pub(crate) const FREE: usize = 64 << 10;

/// What all attempts together may hold of journals, state and messages that are not whole yet.
pub(crate) struct Budget {
    units: u32,
    free: Semaphore,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT as u64).unwrap_or(u32::MAX).max(1);
        Self { units, free: Semaphore::new(units as usize) }
    }

    /// One attempt's part, nothing yet.
    pub(crate) fn share(&self) -> Share<'_> {
        Share { budget: self, held: None, units: 0 }
    }
}

/// Given back when it is dropped.
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    held: Option<SemaphorePermit<'a>>,
    /// For messages.
    units: usize,
}

impl<'a> Share<'a> {
    /// Waits until there is room for `bytes` of journal and state. A job larger than the budget waits for all of it.
    pub(crate) async fn wait(&mut self, bytes: usize) {
        if bytes > FREE {
            let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.budget.units);
            let permit = self.budget.free.acquire_many(units).await;
            self.hold(permit.expect("it is never closed"));
        }
    }

    /// Room for a message of which `bytes` are there, and as many again; at once or not at all: who waited for more
    /// while it holds a part could wait for another who does the same.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let needed = bytes.saturating_mul(2).div_ceil(UNIT);
        let more = u32::try_from(needed.saturating_sub(self.units)).unwrap_or(u32::MAX);
        match self.budget.free.try_acquire_many(more) {
            Ok(permit) => {
                self.units += more as usize;
                self.hold(permit);
                true
            }
            Err(_) => false,
        }
    }

    fn hold(&mut self, permit: SemaphorePermit<'a>) {
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_is_given_back() {
        let budget = Budget::new(1 << 20);
        let mut large = budget.share();
        large.wait(usize::MAX).await;
        assert_eq!(budget.free.available_permits(), 0);
        let mut small = budget.share();
        small.wait(FREE).await;
        assert!(!small.grow(FREE));
        drop(large);
        assert!(small.grow(256 << 10));
        assert!(small.grow(300 << 10));
        assert!(!small.grow(600 << 10));
        drop(small);
        assert_eq!(budget.free.available_permits(), 1 << 10);
    }
}
