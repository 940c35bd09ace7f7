//! Time and randomness: the only way by which they enter the engine. The simulator has its own.

use crate::text::TimestampMs;

/// Gives the time and random numbers to proposers. Never used by `apply`.
pub trait Env: Send + Sync {
    /// Wall-clock time.
    fn now(&self) -> TimestampMs;
    /// 64 random bits.
    fn random(&self) -> u64;

    /// 128 random bits, never 0: the unique part of an invocation id.
    fn random_unique(&self) -> u128 {
        ((u128::from(self.random()) << 64) | u128::from(self.random())).max(1)
    }
}
