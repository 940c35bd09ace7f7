//! One run: faults for a while, then none; then all must drain, and what is retained must go.

use std::panic::{AssertUnwindSafe, catch_unwind};

use millrace_log::{Applied, CountingReader};
use millrace_machine::MemoryView;
use millrace_model::{
    Command, PartitionId, TimestampMs,
    invocation::{Invocation, Promise, Status},
    journal::Completion,
    source::Budget,
    table::{
        Budgets, DeadLetters, Ended, Expiries, Inbox, Invocations, Journal, Locks, Outbox, ParkedRecords, Promises,
        State, Table, Timers,
    },
};
use millrace_partition::{Store, follow};

use crate::{
    checker::{CLUSTER, Invariant, Violation},
    program::WORKFLOW,
    reader::{SUBSCRIPTION, source_id},
    store::{SimStore, rows},
    tuning::Mutation,
    world::World,
};

/// Time in which everything must have ended once the faults have.
const DRAIN_MS: u64 = 120_000;
/// Beyond every retention.
const RETENTION_MS: u64 = 3 * 86_400_000;

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// Over everything that happened.
    pub trace_hash: u64,
    /// Things that happened, attempts, records taken in, leaderships.
    pub events: u64,
    pub records: u64,
    pub leaderships: u64,
    /// What was broken.
    pub violation: Option<Violation>,
}

/// Runs one seed. `print`: the trace goes to stdout.
pub fn run(seed: u64, mutation: Mutation, print: bool) -> Report {
    let mut report = Report { seed, trace_hash: 0, events: 0, records: 0, leaderships: 0, violation: None };
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, mutation, print)?;
        let result = world.live();
        world.content();
        report.trace_hash = world.trace.hash();
        report.events = world.trace.lines();
        report.records = world.check.sources.taken();
        report.leaderships = world.leaderships;
        result
    }));
    report.violation = match result {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(Violation::new(Invariant::Engine, format!("panic: {}", text.unwrap_or_default())))
        }
    };
    report
}

impl World {
    fn live(&mut self) -> Result<(), Violation> {
        self.run_until(self.now + self.tuning.faulty_ms)?;
        self.faulty = false;
        let end = self.now + DRAIN_MS;
        loop {
            self.run_until(self.now + 500)?;
            match self.busy() {
                None => break,
                Some(what) if self.now >= end => return Err(Violation::new(Invariant::Drain, what)),
                Some(_) => self.nudge(),
            }
        }
        self.finished()?;
        self.skip_to(self.now + RETENTION_MS);
        for _ in 0..8 {
            // Expiry is not urgent and goes with the next batch, which it has to be given.
            self.run_until(self.now + 60_500)?;
            self.nudge();
            self.run_until(self.now + 1_000)?;
        }
        self.empty()
    }

    /// Makes every leader append what waits for company.
    fn nudge(&mut self) {
        let now = TimestampMs(self.now);
        for partition in self.partitions() {
            self.order(partition, Command::Expire { now, rows: Vec::new() });
        }
    }

    /// What has not ended.
    fn busy(&self) -> Option<String> {
        if self.records_left > 0 {
            return Some("records are still produced".to_owned());
        }
        for partition in self.partitions() {
            let view = self.check.view(partition);
            // Who waits for its key is not to blame.
            let holder =
                self.active(partition).into_iter().min_by_key(|(_, row)| matches!(row.status, Status::Inboxed { .. }));
            if let Some((id, row)) = holder {
                let live = self.attempts.values().filter(|attempt| attempt.id == id).count();
                let Invocation { status, attempt, refused, pending, awaiting, journal_len, .. } = row;
                return Some(format!(
                    "{id} in {partition} has not ended, {live} attempts: {status:?} attempt {attempt} refused {refused} \
                     {pending:?} {awaiting:?} journal {journal_len}"
                ));
            }
            let left = [
                left::<Timers>(view),
                left::<Inbox>(view),
                left::<Locks>(view),
                left::<Outbox>(view),
                left::<Budgets>(view),
                left::<DeadLetters>(view),
                left::<ParkedRecords>(view),
            ];
            if let Some(what) = left.into_iter().flatten().next() {
                return Some(format!("partition {partition} still has {what}"));
            }
        }
        if let Some(client) = self.clients.iter().find(|client| !client.is_answered()) {
            return Some(format!("the call {} was never answered", client.invocation.id));
        }
        for (source, end) in self.ends() {
            let partition = PartitionId((source.source_partition % u32::from(self.tuning.partitions)) as u16);
            let rows = rows::<millrace_model::table::Sources>(self.check.view(partition));
            if rows.iter().find(|(id, _)| *id == source).is_none_or(|(_, row)| row.position != end) {
                return Some(format!("{source:?} is not read up to {end}"));
            }
        }
        None
    }

    fn ends(&self) -> Vec<(millrace_model::SourceId, i64)> {
        (0..self.broker.partitions())
            .filter_map(|q| Some((source_id(self.broker.topic_id, q), self.broker.range(q)?.1)))
            .collect()
    }

    fn finished(&mut self) -> Result<(), Violation> {
        self.check.all_delivered()?;
        let topic = self.broker.topic_id;
        let alive: Vec<_> =
            self.broker.alive().into_iter().map(|(q, number, at)| (source_id(topic, q), number, at)).collect();
        let views = self.partitions().map(|partition| self.check.view(partition));
        self.check.sources.finished(views, &alive, &self.ends())?;
        self.check.failures.finished(self.partitions().map(|partition| self.check.view(partition)))?;
        for client in &self.clients {
            let id = client.invocation.id;
            let ended = rows::<Ended>(self.check.view(id.key.partition(self.tuning.partitions)));
            match ended.iter().find(|(of, _)| *of == id).map(|(_, row)| &row.result) {
                // Killed before it had started: nothing is kept, and another call may have come in its place.
                _ if matches!(&client.result, Some(Completion::Failure(failure)) if failure.code == 409) => {}
                _ if client.is_run() || self.purged.contains(&id) => {}
                None if self.tuning.operators > 0 => {}
                None => return Err(Violation::new(Invariant::Durable, format!("the accepted call {id} is gone"))),
                Some(kept) => {
                    if client.result.as_ref().is_some_and(|told| told != kept) {
                        let what = format!("{id} was answered {:?}, kept is {kept:?}", client.result);
                        return Err(Violation::new(Invariant::Durable, what));
                    }
                }
            }
        }
        for node in 0..self.nodes.len() {
            for partition in self.partitions() {
                let budget = self.nodes[node].board.budget(partition, SUBSCRIPTION);
                let applied = self.check.applied(partition);
                let leading = self.nodes[node].leading(partition);
                if leading.is_some_and(|leading| Store::applied(leading.leader.store()) == applied)
                    && budget != Budget::ZERO
                {
                    return Err(Violation::new(Invariant::Drain, format!("{partition} shows {budget:?}")));
                }
            }
        }
        self.replay()
    }

    /// Replays from zero and from every snapshot, as far as the log is there, and compares whole contents.
    fn replay(&mut self) -> Result<(), Violation> {
        for partition in self.partitions() {
            let snapshots = self.nodes.iter().map(|node| node.durable[usize::from(partition.0)].clone());
            for mut store in snapshots.chain([SimStore::default()]).collect::<Vec<_>>() {
                self.replay_one(partition, &mut store)?;
            }
            for node in 0..self.nodes.len() {
                self.nodes[node].follow(partition)?;
                self.commits(node, partition)?;
                let Some(store) = self.nodes[node].store(partition) else { continue };
                if Store::applied(store) == self.check.applied(partition) {
                    self.check.replay.compare(&format!("node {node}"), store.view(), self.check.view(partition))?;
                }
            }
        }
        Ok(())
    }

    fn replay_one(&self, partition: PartitionId, store: &mut SimStore) -> Result<(), Violation> {
        let engine = |what: String| Violation::new(Invariant::Engine, what);
        let behind = Store::applied(store);
        let log = self.network.connect();
        let Ok(mut reader) = millrace_log::Loglet::read(&log, partition, behind.lsn.next()) else {
            assert!(self.tuning.trims && behind == Applied::NONE, "only the beginning may be gone");
            return Ok(());
        };
        let mut counting = CountingReader::resume(Some(CLUSTER), behind);
        while let Some(record) = reader.next().map_err(|e| engine(e.to_string()))? {
            if let Some(counted) = counting.push(record).map_err(|e| engine(e.to_string()))? {
                follow(store, partition, &counted).map_err(|e| engine(e.to_string()))?;
            }
        }
        self.check.replay.compare(&format!("a replay from {}", behind.lsn), store.view(), self.check.view(partition))
    }

    /// Nothing is kept beyond its retention.
    fn empty(&self) -> Result<(), Violation> {
        for partition in self.partitions() {
            let view = self.check.view(partition);
            let left = [left::<Invocations>(view), left::<Ended>(view), left::<Journal>(view), left::<Expiries>(view)];
            let waited_for = |(_, row): &(_, Promise)| matches!(row, Promise::Awaited(_));
            if let Some((key, row)) = rows::<Promises>(view).into_iter().find(waited_for) {
                let what = format!("the promise {key:?} still has {row:?}");
                return Err(Violation::new(Invariant::Drain, what));
            }
            if let Some(((object, _), _)) =
                rows::<State>(view).into_iter().find(|((object, _), _)| *object.service == *WORKFLOW)
            {
                let what = format!("the workflow {object:?} keeps state beyond retention");
                return Err(Violation::new(Invariant::Drain, what));
            }
            if let Some(what) = left.into_iter().flatten().next() {
                let what = format!("partition {partition} keeps {what} beyond retention");
                return Err(Violation::new(Invariant::Drain, what));
            }
        }
        Ok(())
    }
}

fn left<T: Table<Key: std::fmt::Debug>>(view: &MemoryView) -> Option<String> {
    let rows = rows::<T>(view);
    rows.first().map(|(key, _)| format!("{} rows of {}: {key:?}", rows.len(), T::NAME))
}
