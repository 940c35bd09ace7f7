//! How often something may happen, node-wide: a token bucket without a task of its own.
//!
//! A token is taken ahead: who asks is told from when on it counts as there, and waits that long. So those who ask get
//! their turns in the order in which they asked, and nothing has to be woken but the one whose turn it is.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::ThrottlingConfig;

/// A bucket, full at first.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// In which one token comes.
    interval: Duration,
    /// In which the bucket fills.
    fill: Duration,
    /// When the bucket will be full again. That it holds `n` tokens less than full is `n` intervals from now.
    full_at: Mutex<Instant>,
}

impl Throttle {
    /// `None`: there is no limit.
    pub(crate) fn new(config: &ThrottlingConfig) -> Option<Self> {
        let rate = config.rate?;
        let interval = rate.interval();
        let capacity = config.capacity.unwrap_or(rate.tokens.get()).max(1);
        Some(Self { interval, fill: interval.saturating_mul(capacity), full_at: Mutex::new(Instant::now()) })
    }

    /// Takes `tokens`; returns when they are there.
    pub(crate) fn take(&self, tokens: u32, now: Instant) -> Instant {
        let mut full_at = self.full_at.lock();
        // Tokens that no bucket has room for are lost.
        let before = (*full_at).max(now);
        *full_at = before + self.interval.saturating_mul(tokens).min(LONGEST);
        full_at.checked_sub(self.fill).map_or(now, |at| at.max(now))
    }
}

/// A slow rate times many tokens is still a time that a clock can show.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(rate: &str, capacity: Option<u32>) -> Throttle {
        Throttle::new(&ThrottlingConfig { rate: Some(rate.parse().unwrap()), capacity }).unwrap()
    }

    #[test]
    fn a_full_bucket_is_a_burst_and_then_comes_the_rate() {
        let bucket = throttle("10/s", Some(3));
        let start = Instant::now() + Duration::from_secs(1);
        let wait = |bucket: &Throttle, now: Instant| bucket.take(1, now).duration_since(now).as_millis();
        let waits: Vec<u128> = (0..6).map(|_| wait(&bucket, start)).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        // What was taken ahead is paid back; then it fills, and no further than it can.
        let later = start + Duration::from_millis(350);
        assert_eq!(wait(&bucket, later), 50);
        let much_later = start + Duration::from_secs(3600);
        let waits: Vec<u128> = (0..4).map(|_| wait(&bucket, much_later)).collect();
        assert_eq!(waits, [0, 0, 0, 100]);
    }

    #[test]
    fn the_capacity_is_that_of_the_rate_and_never_nothing() {
        let now = Instant::now() + Duration::from_secs(1);
        let burst = |bucket: Throttle| (0..100).take_while(|_| bucket.take(1, now) == now).count();
        assert_eq!(burst(throttle("5/s", None)), 5);
        assert_eq!(burst(throttle("5/s", Some(0))), 1);
        assert_eq!(burst(throttle("60/m", Some(2))), 2);
    }

    #[test]
    fn no_rate_is_too_slow_for_a_clock() {
        let now = Instant::now() + Duration::from_secs(1);
        let slow = throttle("1/h", Some(u32::MAX));
        for _ in 0..5 {
            let _ = slow.take(u32::MAX, now);
        }
    }
}
