//! What must always hold (DESIGN.md section 13), one file per invariant.
//!
//! The checkers look at a *reference*: a replica of every partition that reads the log from its beginning with the
//! exact counting rule, one record behind the other as they land, so that it is never behind anybody. What the nodes do
//! is compared with it.

pub mod exclusive;
pub mod failures;
pub mod journal;
pub mod leaders;
pub mod once;
pub mod replay;
mod restarts;
pub mod sources;
mod workflows;

use std::fmt;

use millrace_log::{Applied, CountingReader, LogReader, Loglet};
use millrace_machine::{MemoryView, Outcome, StateView, Txn};
use millrace_model::{
    ClusterId, Command, InvocationId, Lsn, PartitionId,
    command::decode_batch,
    table::{Invocations, ParkedRecords},
};
use millrace_partition::Store;

use crate::store::{Commit, SimStore};

/// The cluster that is simulated.
pub const CLUSTER: ClusterId = ClusterId(0x51);

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// 1: what was acknowledged is there.
    Durable = 1,
    /// 2: replay from zero, from a snapshot and live are the same, byte for byte.
    Replay = 2,
    /// 3: one effective attempt, one holder of a key, arrival order.
    Exclusive = 3,
    /// 4: every offset settled once, in order.
    Sources = 4,
    /// 5: what a handler was told is there on every later attempt.
    Journal = 5,
    /// 6: timers, completions, messages.
    Once = 6,
    /// 7: one effective leader.
    Leaders = 7,
    /// When the faults stop, all work ends.
    Drain = 100,
    /// A component gave an error or panicked.
    Engine = 101,
}

/// A broken invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// How.
    pub what: String,
}

impl Violation {
    /// Says what is broken.
    pub fn new(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// A batch that the reference applies.
pub struct Seen<'a> {
    pub partition: PartitionId,
    pub partitions: u16,
    pub applied: Applied,
    /// Deliveries hold what is taken of them only.
    pub commands: &'a [Command],
    /// The state without it.
    pub before: &'a MemoryView,
    pub outcome: &'a Outcome,
    pub now: u64,
}

impl Seen<'_> {
    /// The active invocation as it is behind the batch.
    pub fn active(&self, id: InvocationId) -> Option<millrace_model::invocation::Invocation> {
        use millrace_model::table::Table;
        match Invocations::changes(&self.outcome.changes).get(&id) {
            Some(row) => row.clone(),
            None => self.before.get::<Invocations>(&id).expect("the machine wrote it"),
        }
    }

    /// Parked records that start anew with this batch, with their creation: what their failed run did is gone.
    pub fn rewound(&self) -> Vec<(InvocationId, Lsn)> {
        use millrace_model::table::Table;
        let mut rewound = Vec::new();
        for ((_, id), row) in ParkedRecords::changes(&self.outcome.changes) {
            let before = self.before.get::<Invocations>(id).expect("the machine wrote it");
            let (None, Some(before), Some(after)) = (row, before, self.active(*id)) else { continue };
            let ran = before.commands > 1
                || self.commands.iter().any(|command| matches!(command, Command::Attempt(a) if a.id == *id));
            if ran && after.commands == 1 {
                rewound.push((*id, after.created_lsn));
            }
        }
        rewound
    }
}

/// One partition's reference.
pub struct Reference {
    partition: PartitionId,
    pub store: SimStore,
    counting: CountingReader,
    reader: Box<dyn LogReader>,
}

/// All checkers and what they look at.
pub struct Checker {
    pub references: Vec<Reference>,
    pub replay: replay::Replay,
    pub exclusive: exclusive::Exclusive,
    pub sources: sources::Sources,
    pub failures: failures::Failures,
    pub journal: journal::Journal,
    pub once: once::Once,
    pub leaders: leaders::Leaders,
}

impl Checker {
    /// Over an empty log.
    pub fn new(partitions: u16, log: &dyn Loglet) -> Self {
        let reference = |p| Reference {
            partition: PartitionId(p),
            store: SimStore::default(),
            counting: CountingReader::resume(Some(CLUSTER), Applied::NONE),
            reader: log.read(PartitionId(p), Lsn(1)).expect("an empty log is readable"),
        };
        Self {
            references: (0..partitions).map(reference).collect(),
            replay: replay::Replay::default(),
            exclusive: exclusive::Exclusive::default(),
            sources: sources::Sources::default(),
            failures: failures::Failures::default(),
            journal: journal::Journal::default(),
            once: once::Once::default(),
            leaders: leaders::Leaders::default(),
        }
    }

    /// The state that every replica will have.
    pub fn view(&self, partition: PartitionId) -> &MemoryView {
        self.references[usize::from(partition.0)].store.view()
    }

    /// The last batch that counts.
    pub fn applied(&self, partition: PartitionId) -> Applied {
        Store::applied(&self.references[usize::from(partition.0)].store)
    }

    /// Reads what has landed.
    pub fn landed(&mut self, partition: PartitionId, now: u64) -> Result<(), Violation> {
        let broken = |error: &dyn fmt::Display| Violation::new(Invariant::Engine, error.to_string());
        let partitions = self.references.len() as u16;
        loop {
            let reference = &mut self.references[usize::from(partition.0)];
            let Some(record) = reference.reader.next().map_err(|e| broken(&e))? else { return Ok(()) };
            self.leaders.landed(partition, &record);
            let Some(counted) = reference.counting.push(record).map_err(|e| broken(&e))? else { continue };
            self.leaders.counted(partition, counted.applied())?;
            let mut commands = decode_batch(counted.payload.clone()).map_err(|e| broken(&e))?;
            let applied = counted.applied();
            let mut txn = Txn::new(reference.store.view(), reference.partition, applied.lsn);
            for command in &commands {
                txn.apply(command.clone()).map_err(|e| broken(&e))?;
            }
            let outcome = txn.finish().map_err(|e| broken(&e))?;
            commands.iter_mut().for_each(|command| self.once.accept(partition, command));
            let before = reference.store.view();
            let seen = Seen { partition, partitions, applied, commands: &commands, before, outcome: &outcome, now };
            self.journal.batch(&seen)?;
            self.exclusive.batch(&seen)?;
            self.sources.batch(&seen)?;
            self.failures.batch(&seen)?;
            workflows::batch(&seen)?;
            restarts::batch(&seen)?;
            self.once.batch(&seen)?;
            reference.store.commit(&outcome.changes, applied).map_err(|e| broken(&e))?;
            for commit in reference.store.take_commits() {
                self.replay.reference(partition, commit);
            }
        }
    }

    /// A node's store took batches.
    pub fn committed(&mut self, node: usize, partition: PartitionId, commits: Vec<Commit>) -> Result<(), Violation> {
        for commit in commits {
            self.leaders.committed(node, partition, &commit)?;
            self.replay.committed(node, partition, &commit)?;
        }
        Ok(())
    }
}
