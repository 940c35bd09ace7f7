//! The real clock and the real dice.

use std::time::{SystemTime, UNIX_EPOCH};

use millrace_model::{Env, TimestampMs};

/// Wall-clock time and the thread's random number generator.
#[derive(Clone, Copy, Debug)]
pub struct SystemEnv;

impl Env for SystemEnv {
    fn now(&self) -> TimestampMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(since.as_millis() as u64)
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}
