//! How a run is: drawn from its seed, so that seeds differ in kind and not only in luck.

use millrace_log::Rule;
use millrace_model::source::FailurePolicy;

use crate::rng::Rng;

/// A rule broken on purpose, to see that the checkers see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing is broken.
    #[default]
    None,
    /// Readers of the log let records of deposed leaders count.
    OlderEpoch,
    /// A delivery that begins behind the next sequence number is taken as if it began there.
    AcceptGap,
    /// A step result is acknowledged as soon as it is proposed.
    AckBeforeCommit,
    /// A result for a step that has one is acknowledged.
    AckStale,
    /// Records are appended without asking whose topic they are of.
    SkipTopicCheck,
    /// Dead letters are noted as written whatever became of them.
    NoteUnwritten,
    /// A leader's clock is an hour ahead when it cleans up.
    ExpireEarly,
}

impl Mutation {
    /// By which the readers of the log count.
    pub fn rule(self) -> Rule {
        if self == Self::OlderEpoch { Rule::OLDER_EPOCH } else { Rule::EXACT }
    }
}

/// Per-mille chances and sizes of one run.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Engine partitions.
    pub partitions: u16,
    /// Nodes, each with a store of every partition.
    pub nodes: usize,
    /// Payload bytes of one log record.
    pub record_bytes_max: usize,
    /// Attempts that run on one node at the same time.
    pub slots: usize,
    /// Timers that a leader keeps in memory.
    pub timers_in_memory: usize,
    /// Milliseconds with faults.
    pub faulty_ms: u64,
    /// Usual time for a record to land.
    pub landing_ms: u64,
    /// Of an append: it never lands, its first records perhaps do.
    pub append_lost: u64,
    /// Of an append: reported as failed, and it lands.
    pub append_failed: u64,
    /// Of an append: reported without its place.
    pub append_nameless: u64,
    /// Of an append: a record of it lands again.
    pub append_twice: u64,
    /// Of an append: it lands out of order.
    pub append_reordered: u64,
    /// Of an append: it takes long.
    pub append_slow: u64,
    /// Of a turn of a driver: the log has no room.
    pub log_full: u64,
    /// Mean time between crashes of nodes, between nominations of a second leader.
    pub crash_every_ms: u64,
    /// See above.
    pub depose_every_ms: u64,
    /// Of a step of an attempt: the handler is gone, it fails, it hangs.
    pub handler_crash: u64,
    /// See above.
    pub handler_fail: u64,
    /// See above.
    pub handler_hang: u64,
    /// Of an attempt behind a step: it sends another result for it.
    pub handler_stale: u64,
    /// Of a failed attempt: it was the last one.
    pub handler_gives_up: u64,
    /// What follows for a record: 0 it is parked, 1 a letter, 2 it is skipped, 3 any of these, anew each time.
    pub failure_policy: u64,
    /// Of a letter: lost, or written without anybody hearing of it, or noted twice.
    pub letter_faults: u64,
    /// Of a message between partitions: lost, or in two pieces of which the second comes first.
    pub message_lost: u64,
    /// See above.
    pub message_split: u64,
    /// Keys of objects.
    pub keys: u64,
    /// Records that are produced while there are faults.
    pub records: u64,
    /// Calls over HTTP.
    pub clients: usize,
    /// Of a call over HTTP: it is to a workflow.
    pub workflows: u64,
    /// Source partitions of each topic.
    pub source_partitions: u32,
    /// Unsettled records of keys that can run above which a source pauses.
    pub ready_max: i64,
    /// The broker deletes topics, cuts them at either end, compacts them, adds partitions.
    pub broker_faults: u64,
    /// Operators kill, cancel, pause.
    pub operators: u64,
    /// The log is trimmed behind what is durable.
    pub trims: bool,
}

impl Tuning {
    /// The subscription's policy of this moment.
    pub fn policy(&self, rng: &mut Rng) -> FailurePolicy {
        let kind = if self.failure_policy < 3 { self.failure_policy } else { rng.below(3) };
        match kind {
            0 => FailurePolicy::Park,
            1 => FailurePolicy::DeadLetter { cluster: "main".into(), topic: "letters".into() },
            _ => FailurePolicy::Skip,
        }
    }

    /// A calm log in one of four runs, so that the rest is looked at too.
    pub fn draw(rng: &mut Rng) -> Self {
        let rough = rng.below(4);
        let log = |rng: &mut Rng| if rough == 0 { 0 } else { rng.below(15 * rough + 1) };
        Self {
            partitions: rng.between(2, 3) as u16,
            nodes: rng.between(2, 3) as usize,
            record_bytes_max: [200, 700, 4000][rng.index(3)],
            slots: [2, 8, 50][rng.index(3)],
            timers_in_memory: [1, 3, 100][rng.index(3)],
            faulty_ms: rng.between(2_000, 8_000),
            landing_ms: rng.between(1, 12),
            append_lost: log(rng),
            append_failed: log(rng),
            append_nameless: log(rng),
            append_twice: log(rng),
            append_reordered: log(rng),
            append_slow: log(rng),
            log_full: log(rng),
            crash_every_ms: rng.between(800, 6_000),
            depose_every_ms: rng.between(500, 5_000),
            handler_crash: rng.below(25),
            handler_fail: rng.below(40),
            handler_hang: rng.below(25),
            handler_stale: rng.below(80),
            handler_gives_up: rng.below(400),
            failure_policy: rng.below(4),
            letter_faults: rng.below(250),
            message_lost: rng.below(60),
            message_split: rng.below(120),
            keys: rng.between(2, 8),
            records: rng.between(20, 90),
            clients: rng.between(3, 15) as usize,
            workflows: rng.below(3) * 250,
            source_partitions: rng.between(1, 4) as u32,
            ready_max: rng.between(3, 40) as i64,
            broker_faults: rng.below(4) * 150,
            operators: rng.below(3) * 300,
            trims: rng.chance(400),
        }
    }
}
