//! What follows from a failed attempt. Pure.

use std::time::Duration;

use millrace_model::{TimestampMs, codes, command::Decision, journal::Failure};

use crate::{
    registry::{OnFailure, OnMaxAttempts, RetryPolicy},
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

/// The same for a record whose subscription has a policy of its own.
///
/// * The number of attempts counts only for failures that are the record's: while a deployment is down, or not there,
///   nothing is given up.
/// * What the handler itself wants (another attempt after a delay, an operator) is done as ever.
pub fn decide_for_record(
    policy: &RetryPolicy,
    wanted: OnFailure,
    failed: u32,
    trouble: &Trouble,
    now: TimestampMs,
    random: u64,
) -> Decision {
    let endless = RetryPolicy { max_attempts: None, ..*policy };
    let counted = match wanted {
        OnFailure::Retry => &endless,
        OnFailure::Settle(_) if is_outside(trouble) => &endless,
        OnFailure::Settle(_) => policy,
    };
    let used_up = counted.max_attempts.is_some_and(|max| failed.saturating_add(1) >= max);
    match (wanted, decide(counted, failed, trouble, now, random)) {
        (OnFailure::Settle(policy), Decision::Fail(failure)) => Decision::Settle { failure, policy },
        (OnFailure::Settle(policy), Decision::Pause) if used_up && trouble.wish != Wish::Pause => {
            Decision::Settle { failure: failure(trouble), policy }
        }
        (_, decision) => decision,
    }
}

/// The fault is not the record's: nobody was there to handle it.
fn is_outside(trouble: &Trouble) -> bool {
    let outside =
        [codes::RT0010, codes::RT0011, codes::RT0013, codes::RT0014, codes::RT0015, codes::RT0023, codes::ENG0001];
    outside.iter().any(|code| code.id == trouble.code.id)
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
    use millrace_model::source::FailurePolicy;

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

    #[test]
    fn a_record_is_given_up_only_for_what_is_its_own_fault() {
        let one = policy(Some(1), OnMaxAttempts::Pause);
        let park = || OnFailure::Settle(FailurePolicy::Park);
        let check = |wanted, trouble: Trouble| decide_for_record(&one, wanted, 0, &trouble, NOW, 0);
        let own = |wish| Trouble { wish, status: 477, ..Trouble::new(codes::RT0007, "boom") };
        let failure = Failure { code: 477, message: "boom".into(), metadata: Vec::new() };
        let settled = Decision::Settle { failure: failure.clone(), policy: FailurePolicy::Park };
        assert_eq!(check(park(), own(Wish::None)), settled);
        assert_eq!(check(park(), own(Wish::Fail)), settled);
        assert_eq!(check(park(), own(Wish::Pause)), Decision::Pause);
        for code in [codes::RT0010, codes::RT0011] {
            assert!(matches!(check(park(), Trouble::new(code, "down")), Decision::RetryAt(_)));
        }
        assert!(matches!(check(OnFailure::Retry, own(Wish::None)), Decision::RetryAt(_)));
        assert_eq!(check(OnFailure::Retry, own(Wish::Fail)), Decision::Fail(failure));
    }
}
