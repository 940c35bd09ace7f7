//! What follows from a failed attempt. Pure.

use std::time::Duration;

use millrace_model::{TimestampMs, command::Decision, journal::Failure};

use crate::{
    registry::{OnMaxAttempts, RetryPolicy},
    trouble::{Trouble, Wish},
};

/// Delays are up to this much longer than computed, so that what failed together does not come back together.
const JITTER: f64 = 0.3;

/// Decides from the policy of the moment.
///
/// * `failed`: attempts that failed since the last start or resume, this one not counted.
/// * `random`: any 64 bits.
pub fn decide(policy: &RetryPolicy, failed: u32, trouble: &Trouble, now: TimestampMs, random: u64) -> Decision {
    let attempt = failed.saturating_add(1);
    let used_up = policy.max_attempts.is_some_and(|max| attempt >= max);
    // The conversion ends at the end of time.
    let at = |delay: Duration, stretch: f64| {
        Decision::RetryAt(now.after((delay.as_secs_f64() * 1000.0 * stretch).round() as u64))
    };
    match (trouble.wish, used_up) {
        (Wish::Pause, _) => Decision::Pause,
        (Wish::Fail, _) => Decision::Fail(failure(trouble)),
        (Wish::Delay(delay), _) => at(delay, 1.0),
        (Wish::None | Wish::SlowDown(_), true) => match policy.on_max_attempts {
            OnMaxAttempts::Pause => Decision::Pause,
            OnMaxAttempts::Kill => Decision::Fail(failure(trouble)),
        },
        (Wish::SlowDown(delay), false) => at(delay, 1.0),
        (Wish::None, false) => at(interval(policy, attempt), 1.0 + JITTER * fraction(random)),
    }
}

/// The delay behind failed attempt `attempt`, counted from 1, without jitter.
fn interval(policy: &RetryPolicy, attempt: u32) -> Duration {
    let steps = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = policy.initial_interval.as_secs_f64() * policy.factor.max(1.0).powi(steps);
    // An overflow is infinite, and 0 times infinity is no number: both end at the longest.
    let max = policy.max_interval.as_secs_f64();
    Duration::try_from_secs_f64(if seconds < max { seconds } else { max }).unwrap_or(policy.max_interval)
}

fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

fn failure(trouble: &Trouble) -> Failure {
    Failure { code: trouble.status, message: trouble.details.message.as_str().into(), metadata: Vec::new() }
}

#[cfg(test)]
mod tests {
    use millrace_model::codes;

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000_000);

    fn policy(max_attempts: Option<u32>, on_max_attempts: OnMaxAttempts) -> RetryPolicy {
        RetryPolicy { max_attempts, on_max_attempts, ..RetryPolicy::default() }
    }

    fn trouble(wish: Wish) -> Trouble {
        Trouble { wish, status: 477, ..Trouble::new(codes::RT0007, "boom") }
    }

    fn delay(policy: &RetryPolicy, failed: u32, wish: Wish, random: u64) -> u64 {
        match decide(policy, failed, &trouble(wish), NOW, random) {
            Decision::RetryAt(at) => at.since(NOW),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn delays_grow_up_to_the_longest() {
        let forever = policy(None, OnMaxAttempts::Pause);
        for (failed, expected) in
            [(0, 500), (1, 1000), (2, 2000), (6, 32_000), (7, 60_000), (8, 60_000), (5000, 60_000), (u32::MAX, 60_000)]
        {
            assert_eq!(delay(&forever, failed, Wish::None, 0), expected, "{failed}");
            let jittered = delay(&forever, failed, Wish::None, u64::MAX);
            assert!(jittered > expected && jittered <= expected * 13 / 10, "{failed}: {jittered}");
        }
    }

    #[test]
    fn odd_policies_have_delays_all_the_same() {
        let zero = RetryPolicy { initial_interval: Duration::ZERO, ..policy(None, OnMaxAttempts::Pause) };
        assert_eq!(delay(&zero, u32::MAX, Wish::None, 0), 60_000); // 0 * infinity
        assert_eq!(delay(&zero, 3, Wish::None, 0), 0);
        let shrinking = RetryPolicy { factor: 0.1, ..policy(None, OnMaxAttempts::Pause) };
        assert_eq!(delay(&shrinking, 9, Wish::None, 0), 500);
        let nan = RetryPolicy { factor: f64::NAN, ..policy(None, OnMaxAttempts::Pause) };
        assert_eq!(delay(&nan, 9, Wish::None, 0), 500);
        let endless = RetryPolicy { max_interval: Duration::MAX, ..policy(None, OnMaxAttempts::Pause) };
        assert!(matches!(decide(&endless, 4000, &trouble(Wish::None), NOW, 0), Decision::RetryAt(_)));
    }

    #[test]
    fn the_first_attempt_counts() {
        let kill = |max| policy(Some(max), OnMaxAttempts::Kill);
        let failed = Decision::Fail(Failure { code: 477, message: "boom".into(), metadata: Vec::new() });
        assert_eq!(decide(&kill(0), 0, &trouble(Wish::None), NOW, 0), failed);
        assert_eq!(decide(&kill(1), 0, &trouble(Wish::None), NOW, 0), failed);
        assert_eq!(delay(&kill(3), 1, Wish::None, 0), 1000);
        assert_eq!(decide(&kill(3), 2, &trouble(Wish::None), NOW, 0), failed);
        let pause = policy(Some(3), OnMaxAttempts::Pause);
        assert_eq!(decide(&pause, 2, &trouble(Wish::None), NOW, 0), Decision::Pause);
    }

    #[test]
    fn wishes_are_granted() {
        let one = policy(Some(1), OnMaxAttempts::Kill);
        let two_seconds = Duration::from_secs(2);
        assert_eq!(decide(&one, 0, &trouble(Wish::Pause), NOW, 0), Decision::Pause);
        assert_eq!(delay(&one, 7, Wish::Delay(two_seconds), u64::MAX), 2000);
        assert!(matches!(decide(&one, 0, &trouble(Wish::SlowDown(two_seconds)), NOW, 0), Decision::Fail(_)));
        let more = policy(Some(9), OnMaxAttempts::Kill);
        assert_eq!(delay(&more, 0, Wish::SlowDown(two_seconds), u64::MAX), 2000);
        assert!(matches!(decide(&more, 0, &trouble(Wish::Fail), NOW, 0), Decision::Fail(_)));
    }
}
