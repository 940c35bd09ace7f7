//! When a source pauses. Pure.

use millrace_cluster::meta::options::SubscriptionOptions;
use millrace_model::source::Budget;

/// What may wait of one subscription in one partition.
///
/// A source is paused when a limit is reached, and what it had taken by then is still taken in: so each source partition
/// goes beyond a limit by at most one batch ([`BATCH_RECORDS_MAX`](millrace_connector_kafka::BATCH_RECORDS_MAX) records,
/// [`BATCH_BYTES_MAX`](millrace_connector_kafka::BATCH_BYTES_MAX) bytes or one larger record), and held records by what
/// turns from ready to held when a key's head fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records of keys that can run.
    pub ready_records: u64,
    /// Their bytes.
    pub ready_bytes: u64,
    /// Records behind a blocked key or beyond its share: on disk only.
    pub held_records: u64,
    /// Their bytes.
    pub held_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ready_records: 4000, ready_bytes: 32 << 20, held_records: 1_000_000, held_bytes: 4 << 30 }
    }
}

impl Limits {
    /// The subscription's own, else the defaults.
    pub fn of(options: &SubscriptionOptions) -> Self {
        let default = Self::default();
        Self {
            ready_records: options.ready_records.unwrap_or(default.ready_records),
            ready_bytes: options.ready_bytes.unwrap_or(default.ready_bytes),
            held_records: options.held_records.unwrap_or(default.held_records),
            held_bytes: options.held_bytes.unwrap_or(default.held_bytes),
        }
    }

    /// A key's share of the ready budget: a quarter, at least one.
    pub fn key_share(&self) -> u32 {
        u32::try_from(self.ready_records / 4).unwrap_or(u32::MAX).max(1)
    }

    /// Why no more is read now.
    pub fn exhausted(&self, used: Budget) -> Option<Exhausted> {
        let over = |used: i64, limit: u64| used >= 0 && used as u64 >= limit;
        if over(used.held_records, self.held_records) || over(used.held_bytes, self.held_bytes) {
            Some(Exhausted::Held)
        } else if over(used.ready_records, self.ready_records) || over(used.ready_bytes, self.ready_bytes) {
            Some(Exhausted::Ready)
        } else {
            None
        }
    }
}

/// Which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Handlers are slower than the topic.
    Ready,
    /// Blocked keys hold too much.
    Held,
}

impl Exhausted {
    /// For people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ready => "the ready budget is used up: handlers are slower than the topic",
            Self::Held => "the held budget is used up: records wait behind blocked keys",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_budget_pauses_by_itself() {
        let limits = Limits { ready_records: 10, ready_bytes: 100, held_records: 20, held_bytes: 200 };
        let budget = |ready_records, ready_bytes, held_records, held_bytes| Budget {
            ready_records,
            ready_bytes,
            held_records,
            held_bytes,
        };
        for (used, expected) in [
            (budget(9, 99, 19, 199), None),
            (budget(10, 0, 0, 0), Some(Exhausted::Ready)),
            (budget(0, 100, 0, 0), Some(Exhausted::Ready)),
            (budget(0, 0, 20, 0), Some(Exhausted::Held)),
            (budget(10, 0, 0, 200), Some(Exhausted::Held)),
        ] {
            assert_eq!(limits.exhausted(used), expected, "{used:?}");
        }
        assert_eq!(limits.key_share(), 2);
        assert_eq!(Limits { ready_records: 1, ..limits }.key_share(), 1);
    }
}
