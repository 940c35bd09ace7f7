//! What comes from outside: crashes, rival leaders, new work, operators, a broker that forgets.

use std::collections::btree_map::Entry;

use millrace_log::Loglet;
use millrace_machine::StateView;
use millrace_model::{
    Command, InvocationId, PartitionId, PartitionKey, TimestampMs,
    command::{RestartAsNew, SeekReason, SeekSource, TerminateMode},
    invocation::{HandlerKind, Invocation, NewInvocation, Source, Status, Target},
    journal::{NotificationId, NotificationResult, SIGNAL_AWAKEABLE_FIRST},
    key::{idempotent_invocation, workflow_invocation},
    state::{StateEdit, StateVersion},
    table::{Ended, Expiries, Invocations, Sources, State},
};
use millrace_partition::Input;

use crate::{
    attempt::invocation,
    checker::Violation,
    client::Client,
    node::Replica,
    program::{Program, WORKFLOW},
    reader::Reader,
    store::rows,
    tuning::Mutation,
    world::{Chaos, Event, World},
};

impl World {
    /// What there is at the beginning.
    pub fn begin(&mut self) {
        for chaos in [
            Chaos::Crash,
            Chaos::Depose,
            Chaos::Assign,
            Chaos::Flush,
            Chaos::Follow,
            Chaos::Lookout,
            Chaos::Produce,
            Chaos::Broker,
            Chaos::Readers,
            Chaos::Operator,
            Chaos::Resume,
            Chaos::Letters,
        ] {
            self.again(chaos);
        }
        for at in 0..self.tuning.clients {
            let client = self.new_client(at);
            self.clients.push(client);
            let after = self.rng.below(self.tuning.faulty_ms);
            self.plan(after, Event::Client(at));
        }
    }

    fn new_client(&mut self, at: usize) -> Client {
        let key = self.rng.chance(700).then(|| self.rng.below(self.tuning.keys));
        let number = crate::rng::mix(0xc11e47, at as u64);
        let program = Program { number, seed: self.rng.next(), depth: 0, keyed: key.is_some() };
        let mut new = invocation(&program, key, Source::Ingress, self.now, &mut self.rng);
        if self.rng.chance(200) {
            new.execute_at = Some(TimestampMs(self.now + self.rng.below(4000)));
        }
        if self.rng.chance(self.tuning.workflows) {
            return self.workflow_client(new);
        }
        // Two in a row share an idempotency key.
        if at.is_multiple_of(4)
            && let Some(before) = at.checked_sub(1)
            && let Some(first) = self.clients.get_mut(before)
            && first.invocation.execute_at.is_none()
            && matches!(first.invocation.target.kind, HandlerKind::Plain | HandlerKind::Exclusive)
        {
            let target = &first.invocation.target;
            let keyed = (!target.key.is_empty()).then_some(&*target.key);
            first.invocation.idempotency_key = Some("same".into());
            first.invocation.completion_retention = 3_600_000;
            let of = format!("{before}");
            first.invocation.id = idempotent_invocation(&target.service, keyed, &target.handler, &of, "");
            return Client::new(first.invocation.clone());
        }
        debug_assert!(new.id.key != PartitionKey(0), "a key was drawn");
        Client::new(new)
    }

    /// Runs a workflow, which others do, too, or calls a shared handler of one.
    fn workflow_client(&mut self, new: NewInvocation) -> Client {
        let key = format!("w{}", self.rng.below(2));
        let run = workflow_invocation(WORKFLOW, &key, "");
        let (kind, id) = match self.rng.chance(600) {
            true => (HandlerKind::Workflow, run),
            false => (HandlerKind::Shared, InvocationId { key: run.key, unique: new.id.unique }),
        };
        let keyed = kind == HandlerKind::Workflow;
        let program = Program { number: self.rng.next(), seed: self.rng.next(), depth: 0, keyed };
        Client::new(NewInvocation {
            id,
            target: Target { service: WORKFLOW.into(), handler: "h".into(), key: key.into(), kind },
            completion_retention: self.rng.between(1, 3000),
            execute_at: new.execute_at.filter(|_| !keyed),
            value: program.encode(),
            ..new
        })
    }

    /// Plans the next time.
    fn again(&mut self, chaos: Chaos) {
        let tuning = &self.tuning;
        let usual = match chaos {
            Chaos::Crash => tuning.crash_every_ms,
            Chaos::Depose => tuning.depose_every_ms,
            Chaos::Assign => 100,
            Chaos::Flush => 400,
            Chaos::Follow => 60,
            Chaos::Lookout => 300,
            Chaos::Produce => tuning.faulty_ms / tuning.records.max(1),
            Chaos::Broker => 700,
            Chaos::Readers => 40,
            Chaos::Operator => 300,
            Chaos::Resume => 500,
            Chaos::Letters => 100,
            Chaos::Start(_) => return,
        };
        let after = self.rng.between(1, 2 * usual);
        self.plan(after, Event::Chaos(chaos));
    }

    pub fn chaos(&mut self, chaos: Chaos) -> Result<(), Violation> {
        self.again(chaos);
        match chaos {
            Chaos::Crash if self.faulty => {
                let node = self.rng.index(self.nodes.len());
                self.crash(node);
                Ok(())
            }
            Chaos::Depose if self.faulty => {
                let at = self.rng.below(u64::from(self.tuning.partitions)) as u16;
                self.nominate(PartitionId(at))
            }
            Chaos::Crash | Chaos::Depose => Ok(()),
            Chaos::Start(node) => self.start(node),
            Chaos::Assign => self.assign(),
            Chaos::Flush => {
                self.flush();
                Ok(())
            }
            Chaos::Follow => self.follow(),
            Chaos::Lookout => self.look_out(),
            Chaos::Produce => {
                self.produce();
                Ok(())
            }
            Chaos::Broker => {
                self.broker_fault();
                Ok(())
            }
            Chaos::Readers => {
                self.start_readers();
                Ok(())
            }
            Chaos::Operator => {
                self.operate();
                Ok(())
            }
            Chaos::Resume => {
                self.resume();
                Ok(())
            }
            Chaos::Letters => self.write_letters(),
        }
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].log.is_none() {
            return;
        }
        self.trace.add(self.now, format_args!("node {node} crashes"));
        self.nodes[node].crash(&mut self.network);
        self.attempts.retain(|_, attempt| attempt.leadership.node != node);
        self.readers.retain(|(leadership, _), _| leadership.node != node);
        let after = self.rng.delay(300);
        self.plan(after, Event::Chaos(Chaos::Start(node)));
    }

    fn start(&mut self, node: usize) -> Result<(), Violation> {
        self.trace.add(self.now, format_args!("node {node} starts"));
        self.nodes[node].start(&self.network, &self.tuning, self.mutation)
    }

    /// A node that follows announces itself, whoever leads.
    fn nominate(&mut self, partition: PartitionId) -> Result<(), Violation> {
        let at = usize::from(partition.0);
        let ready: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| matches!(node.replicas[at], Replica::Following(_)))
            .map(|node| node.id)
            .collect();
        if ready.is_empty() {
            return Ok(());
        }
        let id = ready[self.rng.index(ready.len())];
        self.leaderships += 1;
        let leadership = self.nodes[id].announce(partition, self.leaderships, self.now)?;
        self.commits(id, partition)?;
        let Some(leadership) = leadership else { return Ok(()) };
        self.plan_appends(leadership);
        self.trace.add(self.now, format_args!("{leadership:?} announces itself for {partition}"));
        self.wake(id, 0);
        Ok(())
    }

    /// No partition stays without a leader.
    fn assign(&mut self) -> Result<(), Violation> {
        for partition in self.partitions() {
            if self.nodes.iter_mut().all(|node| node.leading(partition).is_none()) {
                self.nominate(partition)?;
            }
        }
        Ok(())
    }

    /// Snapshots; the log is trimmed behind the oldest one.
    fn flush(&mut self) {
        let node = self.rng.index(self.nodes.len());
        for partition in self.partitions() {
            if self.rng.chance(500) {
                self.nodes[node].flush(partition);
            }
            let oldest = self
                .nodes
                .iter()
                .map(|node| millrace_partition::Store::applied(&node.durable[usize::from(partition.0)]));
            let oldest = oldest.min_by_key(|applied| applied.lsn).expect("there is a node");
            if self.tuning.trims
                && let Some(log) = &self.nodes[node].log
            {
                log.trim(partition, oldest);
            }
        }
    }

    fn follow(&mut self) -> Result<(), Violation> {
        let node = self.rng.index(self.nodes.len());
        for partition in self.partitions() {
            self.nodes[node].follow(partition)?;
            self.commits(node, partition)?;
        }
        Ok(())
    }

    /// A leader that sees a later announcement gives up.
    pub fn look_out(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            for partition in self.partitions() {
                let last = self.check.applied(partition).epoch;
                let Some(leading) = self.nodes[node].leading(partition) else { continue };
                let status = leading.leader.status();
                let deposed = leading.leader.leads() && status.epoch < last;
                if deposed && (!self.faulty || self.rng.chance(300)) {
                    self.trace.add(self.now, format_args!("node {node} sees that it is deposed in {partition}"));
                    self.retire(node, partition)?;
                }
            }
        }
        Ok(())
    }

    fn produce(&mut self) {
        if self.records_left == 0 {
            return;
        }
        let count = self.rng.between(1, 4).min(self.records_left);
        self.records_left -= count;
        for _ in 0..count {
            let key = (!self.rng.chance(40)).then(|| self.rng.below(self.tuning.keys));
            let (number, place) = self.broker.produce(key, &mut self.rng);
            self.trace.add(self.now, format_args!("record {number} at {place:?}"));
            self.check.sources.produced(number, place);
        }
    }

    fn broker_fault(&mut self) {
        if !self.faulty || !self.rng.chance(self.tuning.broker_faults) {
            return;
        }
        let what = match self.rng.below(5) {
            0 => {
                let partitions = self.rng.between(1, u64::from(self.tuning.source_partitions)) as u32;
                self.broker.recreate(partitions);
                // It is soon as long as the one before was.
                self.records_left += self.rng.between(5, 30);
                for _ in 0..5 {
                    self.produce();
                }
                "is another one now"
            }
            1 if self.broker.partitions() < 6 => {
                self.broker.grow();
                "has one more partition"
            }
            _ => self.broker.damage(&mut self.rng),
        };
        self.trace.add(self.now, format_args!("the topic {what}"));
    }

    /// Every leader reads its source partitions.
    fn start_readers(&mut self) {
        let n = u32::from(self.tuning.partitions);
        for node in 0..self.nodes.len() {
            for partition in self.partitions() {
                let Some(leading) = self.nodes[node].leading(partition) else { continue };
                if !leading.leader.leads() {
                    continue;
                }
                let leadership = leading.leadership;
                let mine = (0..self.broker.partitions()).filter(|q| q % n == u32::from(partition.0));
                for q in mine.collect::<Vec<_>>() {
                    if let Entry::Vacant(vacant) = self.readers.entry((leadership, q)) {
                        vacant.insert(Reader::new(partition, q, self.mutation));
                        self.plan(1, Event::Reader(leadership, q));
                    }
                }
            }
        }
    }

    /// Active invocations of a partition.
    pub fn active(&self, partition: PartitionId) -> Vec<(InvocationId, Invocation)> {
        rows::<Invocations>(self.check.view(partition))
    }

    fn operate(&mut self) {
        if self.mutation == Mutation::ExpireEarly {
            for partition in self.partitions() {
                let rows = rows::<Expiries>(self.check.view(partition)).into_iter().map(|(key, ())| key).collect();
                self.order(partition, Command::Expire { now: TimestampMs(self.now + 3_600_000), rows });
            }
        }
        if !self.faulty || !self.rng.chance(self.tuning.operators) {
            return;
        }
        let partition = PartitionId(self.rng.below(u64::from(self.tuning.partitions)) as u16);
        let now = TimestampMs(self.now);
        let kind = self.rng.below(10);
        let view = self.check.view(partition);
        let command = if kind < 4 {
            let active = self.active(partition);
            let Some((id, _)) = self.rng.pick(&active).cloned() else { return };
            match kind {
                0 => Command::Terminate { id, mode: TerminateMode::Kill, now },
                1 => Command::Terminate { id, mode: TerminateMode::Cancel, now },
                2 => Command::Pause { id, now },
                _ => Command::Resume { id, deployment: None, now },
            }
        } else if kind < 6 {
            let Some((id, _)) = self.rng.pick(&rows::<Ended>(view)).cloned() else { return };
            self.purged.insert(id);
            if kind == 4 { Command::Purge { id, now } } else { Command::PurgeJournal { id, now } }
        } else if kind == 7 {
            let Some((target, _)) = self.rng.pick(&self.active(partition)).cloned() else { return };
            let signal = NotificationId::Signal(SIGNAL_AWAKEABLE_FIRST);
            Command::Signal { target, signal, result: NotificationResult::Void, now }
        } else if kind == 9 {
            let Some((id, _)) = self.rng.pick(&rows::<Ended>(view)).cloned() else { return };
            let new = InvocationId { key: id.key, unique: u128::from(self.rng.next()).max(1) };
            let random_seed = self.rng.next();
            let restart = RestartAsNew { id, new, from: 0, deployment: None, random_seed, now };
            // It races with clean-up, and is sent once more.
            let racing = match self.rng.below(4) {
                0 => Some(Command::Purge { id, now }),
                1 => Some(Command::PurgeJournal { id, now }),
                2 => Some(Command::RestartAsNew(restart.clone())),
                _ => None,
            };
            if let Some(racing) = racing {
                self.purged.insert(id);
                self.order(partition, racing);
            }
            Command::RestartAsNew(restart)
        } else if kind == 8 {
            // All state as it is; by the time of its turn it may be another, and then nothing happens.
            let Some(((object, _), _)) = self.rng.pick(&rows::<State>(view)).cloned() else { return };
            let entries = view.state(&object).expect("the machine wrote it");
            let expected = Some(StateVersion::of(entries.iter().map(|(key, value)| (&key[..], &value[..]))));
            Command::MutateState { object, edit: StateEdit { expected, entries }, now }
        } else {
            let Some((source, row)) = self.rng.pick(&rows::<Sources>(view)).cloned() else { return };
            let position = (row.position + 2 - self.rng.below(8) as i64).max(0);
            let reason = SeekReason::Operator;
            Command::SeekSource(SeekSource { source, generation: row.generation, position, missing: 0, reason })
        };
        self.order(partition, command);
    }

    /// What is paused goes on, some time.
    fn resume(&mut self) {
        let now = TimestampMs(self.now);
        for partition in self.partitions() {
            for (id, row) in self.active(partition) {
                if row.status != Status::Paused || (self.faulty && !self.rng.chance(400)) {
                    continue;
                }
                // What was parked may fail again, for ever.
                if matches!(row.source, Source::Record(_)) && self.rng.chance(if self.faulty { 100 } else { 500 }) {
                    let mode = if self.rng.chance(500) { TerminateMode::Kill } else { TerminateMode::Cancel };
                    self.order(partition, Command::Terminate { id, mode, now });
                } else {
                    self.order(partition, Command::Resume { id, deployment: None, now });
                }
            }
        }
    }

    /// Proposes without waiting for the answer.
    pub fn order(&mut self, partition: PartitionId, command: Command) {
        self.trace.add(self.now, format_args!("order to {partition}: {command:?}"));
        if let Some(leadership) = self.route(partition) {
            self.input(partition, leadership, Input::Propose { command, reply: None });
        }
    }
}
