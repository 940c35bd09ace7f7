//! How much of its journal a handler has been handed, and how much of that it has certainly looked at. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// What a handler was sent so long ago it has looked at.
const SETTLED: Duration = Duration::from_millis(100);

/// ```text
///  0 ── settled ─────── mark ─────── fed          entry index
///       looked at       at mark_at   at fed_at    when the last entry before it was handed over
/// ```
///
/// What is settled is at most twice [`SETTLED`] behind, also while entries never cease to come.
pub(super) struct Fed {
    /// Behind the last entry that was handed over.
    fed: u32,
    fed_at: Instant,
    mark: u32,
    mark_at: Instant,
    settled: u32,
}

impl Fed {
    /// Everything before `snapshot` is replayed.
    pub(super) fn new(snapshot: u32, now: Instant) -> Self {
        Self { fed: snapshot, fed_at: now, mark: snapshot, mark_at: now, settled: snapshot }
    }

    /// Behind the last entry that was handed over.
    pub(super) fn end(&self) -> u32 {
        self.fed
    }

    /// Behind the last entry that was certainly looked at, as of the last call of another method.
    pub(super) fn settled(&self) -> u32 {
        self.settled
    }

    /// The entry at `index` is handed over.
    pub(super) fn hand_over(&mut self, index: u32, now: Instant) {
        self.settle(now);
        self.fed = index.saturating_add(1);
        self.fed_at = now;
        if self.mark == self.settled {
            (self.mark, self.mark_at) = (self.fed, now);
        }
    }

    /// Time has passed.
    pub(super) fn settle(&mut self, now: Instant) {
        if now.saturating_duration_since(self.fed_at) >= SETTLED {
            self.settled = self.fed;
        } else if now.saturating_duration_since(self.mark_at) >= SETTLED {
            self.settled = self.mark;
        } else {
            return;
        }
        (self.mark, self.mark_at) = (self.fed, self.fed_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_young_is_settled_and_nothing_old_is_not() {
        let start = Instant::now();
        for gap_ms in [1u64, 7, 33, 99, 100, 101, 250] {
            let mut fed = Fed::new(3, start);
            for n in 0..500u32 {
                let now = start + Duration::from_millis(gap_ms * u64::from(n));
                fed.hand_over(3 + n, now);
                // Entries that were handed over at least so long ago, the snapshot among them.
                let older = |ms: u64| 3 + u32::try_from((gap_ms * u64::from(n)).saturating_sub(ms) / gap_ms).unwrap();
                let aged = |ms: u64| if gap_ms * u64::from(n) >= ms { older(ms) + 1 } else { 3 };
                assert!(fed.settled() <= aged(100), "{gap_ms} ms, entry {n}: {}", fed.settled());
                assert!(fed.settled() >= aged(200 + gap_ms), "{gap_ms} ms, entry {n}: {}", fed.settled());
            }
            fed.settle(start + Duration::from_millis(gap_ms * 499 + 100));
            assert_eq!(fed.settled(), fed.end());
        }
    }
}
