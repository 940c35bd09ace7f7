//! Time, and what happens next. Every event is in one queue, ordered by time and then by when it was planned.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::{InvocationId, PartitionId, TimestampMs, command::Lane};
use millrace_partition::{Input, Store, Surroundings};

use crate::{
    attempt::Attempt,
    broker::Broker,
    checker::{Checker, Invariant, Violation},
    client::Client,
    network::{Leadership, Network, NetworkEvent},
    node::{Node, Replica, leader_error},
    reader::Reader,
    rng::Rng,
    trace::Trace,
    tuning::{Mutation, Tuning},
};

/// How long a sender waits for the answer to a delivery.
const DELIVERY_TIMEOUT_MS: u64 = 700;

/// One thing that will happen.
pub enum Event {
    Network(NetworkEvent),
    /// A node's driver looks at what came.
    Turn(usize),
    Attempt(u64),
    Reader(Leadership, u32),
    Client(usize),
    /// Something for the leader of a partition arrives.
    Message(PartitionId, Input),
    /// Nobody answered this delivery.
    Unanswered {
        sender: Leadership,
        from: PartitionId,
        to: PartitionId,
        lane: Lane,
        first: u64,
    },
    Chaos(Chaos),
}

/// What comes again and again; see `chaos.rs`.
#[derive(Clone, Copy, Debug)]
pub enum Chaos {
    Crash,
    Start(usize),
    Depose,
    Assign,
    Flush,
    Follow,
    Lookout,
    Produce,
    Broker,
    Readers,
    Operator,
    Resume,
    Letters,
}

/// See the module.
pub struct World {
    pub now: u64,
    pub rng: Rng,
    pub tuning: Tuning,
    pub mutation: Mutation,
    /// Faults happen.
    pub faulty: bool,
    pub trace: Trace,
    queue: BTreeMap<(u64, u64), Event>,
    planned: u64,
    turns: BTreeSet<(usize, u64)>,
    pub network: Network,
    pub nodes: Vec<Node>,
    pub attempts: BTreeMap<u64, Attempt>,
    pub readers: BTreeMap<(Leadership, u32), Reader>,
    pub leaderships: u64,
    next_attempt: u64,
    pub broker: Broker,
    pub records_left: u64,
    pub clients: Vec<Client>,
    /// What operators removed.
    pub purged: BTreeSet<InvocationId>,
    unanswered: BTreeSet<(Leadership, PartitionId, Lane, u64)>,
    pub check: Checker,
}

impl World {
    /// Before anything has happened.
    pub fn new(seed: u64, mutation: Mutation, print: bool) -> Result<Self, Violation> {
        let mut rng = Rng::new(seed);
        let tuning = Tuning::draw(&mut rng);
        let network = Network::new(tuning.record_bytes_max);
        let check = Checker::new(tuning.partitions, &network.connect());
        let mut nodes: Vec<_> = (0..tuning.nodes).map(|id| Node::new(id, &tuning)).collect();
        for node in &mut nodes {
            node.start(&network, &tuning, mutation)?;
        }
        let mut world = Self {
            now: 1_000,
            rng,
            mutation,
            faulty: true,
            trace: Trace::new(print),
            queue: BTreeMap::new(),
            planned: 0,
            turns: BTreeSet::new(),
            network,
            nodes,
            attempts: BTreeMap::new(),
            readers: BTreeMap::new(),
            leaderships: 0,
            next_attempt: 1,
            broker: Broker::new(tuning.source_partitions),
            records_left: tuning.records,
            clients: Vec::new(),
            purged: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            check,
            tuning,
        };
        world.trace.add(0, format_args!("{:?}", world.tuning));
        world.begin();
        Ok(world)
    }

    /// Plans an event `after` milliseconds.
    pub fn plan(&mut self, after: u64, event: Event) {
        self.plan_at(self.now + after, event);
    }

    fn plan_at(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.queue.insert((at, self.planned), event);
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.tuning.partitions).map(PartitionId)
    }

    /// Events until `end`.
    pub fn run_until(&mut self, end: u64) -> Result<(), Violation> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    /// All time until then passes without anything happening in it.
    pub fn skip_to(&mut self, later: u64) {
        let shift = later.saturating_sub(self.now);
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue.into_iter().map(|((at, planned), event)| ((at + shift, planned), event)).collect();
        self.turns = self.turns.iter().map(|(node, at)| (*node, at + shift)).collect();
        self.now += shift;
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Network(NetworkEvent::Land { append, part }) => {
                let partition = self.network.land(append, part);
                self.trace.add(self.now, format_args!("append {append} part {part} lands in {partition}"));
                self.check.landed(partition, self.now)
            }
            Event::Network(NetworkEvent::Report(leadership)) => {
                self.report(leadership);
                Ok(())
            }
            Event::Turn(node) => {
                self.turns.remove(&(node, self.now));
                self.turn(node)
            }
            Event::Attempt(uid) => self.attempt(uid),
            Event::Reader(leadership, source_partition) => {
                self.reader(leadership, source_partition);
                Ok(())
            }
            Event::Client(at) => {
                self.client(at);
                Ok(())
            }
            Event::Message(partition, input) => {
                self.message(partition, input);
                Ok(())
            }
            Event::Unanswered { sender, from, to, lane, first } => {
                if self.unanswered.remove(&(sender, to, lane, first)) {
                    self.input(from, sender, Input::Delivered { by: to, lane, next: first });
                }
                Ok(())
            }
            Event::Chaos(chaos) => self.chaos(chaos),
        }
    }

    /// A node's driver will look around.
    pub fn wake(&mut self, node: usize, after: u64) {
        let at = self.now + after;
        let sooner = self.turns.range((node, 0)..=(node, at)).next().is_some();
        if !sooner && self.turns.insert((node, at)) {
            self.plan_at(at, Event::Turn(node));
        }
    }

    fn report(&mut self, leadership: Leadership) {
        let Some(log) = &self.nodes[leadership.node].log else { return };
        let (reports, again) = self.network.report(leadership, log, self.now);
        if let Some(at) = again {
            self.plan_at(at, Event::Network(NetworkEvent::Report(leadership)));
        }
        for report in reports {
            self.trace.add(self.now, format_args!("{leadership:?} {:?} {:?}", report.kind, report.outcome));
            let node = &mut self.nodes[leadership.node];
            if let Some(leading) = node.leading(report.partition).filter(|l| l.leadership == leadership) {
                leading.deliveries.push_back(report);
                self.wake(leadership.node, 0);
            }
        }
    }

    /// The node on which a leadership lasts leads this partition.
    pub fn leads(&mut self, partition: PartitionId, leadership: Leadership) -> bool {
        self.nodes[leadership.node].leading(partition).is_some_and(|leading| leading.leadership == leadership)
    }

    /// Something for one leadership; lost if it is over.
    pub fn input(&mut self, partition: PartitionId, leadership: Leadership, input: Input) -> bool {
        let node = &mut self.nodes[leadership.node];
        let Some(leading) = node.leading(partition).filter(|l| l.leadership == leadership) else { return false };
        leading.inputs.push_back(input);
        let after = self.rng.below(3);
        self.wake(leadership.node, after);
        true
    }

    /// Whom others take for the leader: mostly the last one that announced.
    pub fn route(&mut self, partition: PartitionId) -> Option<Leadership> {
        let mut leaders: Vec<_> =
            self.nodes.iter_mut().filter_map(|node| node.leading(partition).map(|l| l.leadership)).collect();
        leaders.sort_by_key(|leadership| leadership.number);
        if leaders.len() > 1 && self.rng.chance(150) {
            let at = self.rng.index(leaders.len());
            return Some(leaders[at]);
        }
        leaders.pop()
    }

    /// One wake-up of a driver: reports, inputs, time, then what can be sent, for all its partitions.
    fn turn(&mut self, id: usize) -> Result<(), Violation> {
        let mut next_time = u64::MAX;
        for partition in self.partitions() {
            let node = &mut self.nodes[id];
            let (Some(log), Replica::Leading(leading)) = (&node.log, &mut node.replicas[usize::from(partition.0)])
            else {
                continue;
            };
            let leadership = leading.leadership;
            log.set_full(self.faulty && leading.leader.leads() && self.rng.chance(self.tuning.log_full));
            let around = Surroundings { log, invoker: &*node.invoker, board: &node.board };
            let mut over = None;
            while let (None, Some(delivery)) = (over, leading.deliveries.pop_front()) {
                over = leading.leader.on_delivery(&delivery, &around).map_err(leader_error)?;
            }
            if let Some(over) = over {
                log.set_full(false);
                self.trace.add(self.now, format_args!("{leadership:?} of {partition} is over: {over:?}"));
                self.commits(id, partition)?;
                self.retire(id, partition)?;
                continue;
            }
            while let Some(input) = leading.inputs.pop_front() {
                leading.leader.on_input(input).map_err(leader_error)?;
            }
            let now = TimestampMs(self.now);
            leading.leader.on_time(now).map_err(leader_error)?;
            leading.leader.flush(around.log).map_err(leader_error)?;
            leading.leader.start_attempts(around.invoker).map_err(leader_error)?;
            log.set_full(false);
            let wants = leading.leader.next_time().0;
            if wants <= self.now {
                let what = format!("{leadership:?} of {partition} wants to be woken at {wants}, which is over");
                return Err(Violation::new(Invariant::Engine, what));
            }
            // The driver looks around every five seconds, whatever the leader wants.
            next_time = next_time.min(wants).min(self.now + 5_000);
            let outgoing = leading.leader.take_outgoing();
            self.plan_appends(leadership);
            for (to, input) in outgoing {
                self.send(leadership, partition, to, input);
            }
            self.commits(id, partition)?;
            self.start_attempts(id, partition, leadership)?;
        }
        if next_time < u64::MAX {
            let after = next_time.saturating_sub(self.now).clamp(1, 60_000);
            self.wake(id, after);
        }
        Ok(())
    }

    /// Decides about what a leadership has just appended.
    pub fn plan_appends(&mut self, leadership: Leadership) {
        let Some(log) = &self.nodes[leadership.node].log else { return };
        let faults = self.faulty.then_some(&self.tuning);
        let usual = self.tuning.landing_ms;
        for (at, event) in self.network.plan(leadership, log, &mut self.rng, faults, usual, self.now) {
            self.plan_at(at, Event::Network(event));
        }
    }

    /// Shows the checkers what got into a store.
    pub fn commits(&mut self, node: usize, partition: PartitionId) -> Result<(), Violation> {
        let Some(store) = self.nodes[node].store_mut(partition) else { return Ok(()) };
        let commits = store.take_commits();
        for commit in &commits {
            self.trace
                .add(self.now, format_args!("node {node} has {partition} at {:?} {:x}", commit.applied, commit.chain));
        }
        self.check.committed(node, partition, commits)
    }

    /// Ends a leadership and what belongs to it.
    pub fn retire(&mut self, node: usize, partition: PartitionId) -> Result<(), Violation> {
        let Some(leadership) = self.nodes[node].retire(partition, &mut self.network, self.mutation)? else {
            return Ok(());
        };
        self.readers.retain(|(of, _), _| *of != leadership);
        Ok(())
    }

    fn start_attempts(&mut self, node: usize, partition: PartitionId, leadership: Leadership) -> Result<(), Violation> {
        let applied = self.nodes[node].store(partition).map(Store::applied).unwrap_or_default().lsn;
        for job in self.nodes[node].invoker.take_jobs() {
            let uid = self.next_attempt;
            self.next_attempt += 1;
            self.trace.add(self.now, format_args!("attempt {uid}: number {} of {} on {node}", job.attempt, job.id));
            assert_eq!(job.partition, partition, "jobs are taken behind every partition");
            let attempt = Attempt::start(uid, leadership, job, applied, self.tuning.keys, &mut self.check)?;
            self.attempts.insert(uid, attempt);
            let after = self.rng.between(0, 10);
            self.plan(after, Event::Attempt(uid));
        }
        Ok(())
    }

    fn attempt(&mut self, uid: u64) -> Result<(), Violation> {
        let Some(mut attempt) = self.attempts.remove(&uid) else { return Ok(()) };
        let (leadership, partition) = (attempt.leadership, attempt.partition);
        let step = attempt.step(&mut crate::attempt::Around {
            now: self.now,
            rng: &mut self.rng,
            tuning: &self.tuning,
            faults: self.faulty,
            check: &mut self.check,
        })?;
        for (proposal, lazy) in step.proposals {
            self.trace.add(self.now, format_args!("attempt {uid} proposes {:?}", proposal.actions));
            let mutation = self.mutation;
            attempt.break_rules(&proposal.actions, mutation, &mut self.check);
            self.input(partition, leadership, Input::Attempt { attempt: Box::new(proposal), lazy });
        }
        if step.closed {
            self.trace.add(self.now, format_args!("attempt {uid} of {} is closed", attempt.id));
            // Slots are the process's: one of a leadership that is over takes one, too.
            self.nodes[leadership.node].invoker.free();
            self.input(partition, leadership, Input::AttemptClosed { id: attempt.id, attempt: attempt.number });
            self.wake(leadership.node, 0);
        } else {
            self.attempts.insert(uid, attempt);
            self.plan(step.again.max(1), Event::Attempt(uid));
        }
        Ok(())
    }

    fn reader(&mut self, leadership: Leadership, source_partition: u32) {
        let Some(mut reader) = self.readers.remove(&(leadership, source_partition)) else { return };
        let partition = reader.partition;
        if !self.leads(partition, leadership) {
            return;
        }
        let node = &self.nodes[leadership.node];
        let store = node.store(partition).expect("it leads");
        let budget = node.board.budget(partition, crate::reader::SUBSCRIPTION);
        let paused = budget.ready_records >= self.tuning.ready_max || budget.held_records >= 4 * self.tuning.ready_max;
        let command = reader.step(&self.broker, store, paused, self.now, &mut self.rng, &self.tuning);
        self.readers.insert((leadership, source_partition), reader);
        if let Some((command, reply)) = command {
            self.trace.add(self.now, format_args!("source {source_partition}: {command:?}"));
            self.input(partition, leadership, Input::Propose { command, reply: Some(reply) });
        }
        let after = 1 + self.rng.delay(20);
        self.plan(after, Event::Reader(leadership, source_partition));
    }

    fn client(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at) else { return };
        if let Some(input) = client.step(self.now, &mut self.rng) {
            let id = client.invocation.id;
            let partition = id.key.partition(self.tuning.partitions);
            self.trace.add(self.now, format_args!("client {at} calls {id}"));
            self.message(partition, input);
        }
        if !self.clients[at].is_answered() {
            let after = 10 + self.rng.delay(60);
            self.plan(after, Event::Client(at));
        }
    }

    /// On its way to another partition's leader.
    fn send(&mut self, sender: Leadership, from: PartitionId, to: PartitionId, input: Input) {
        if let Input::Deliver { lane, first, .. } = &input {
            let (lane, first) = (*lane, *first);
            self.unanswered.insert((sender, to, lane, first));
            self.plan(DELIVERY_TIMEOUT_MS, Event::Unanswered { sender, from, to, lane, first });
        }
        if self.faulty && self.rng.chance(self.tuning.message_lost) {
            return;
        }
        let after = self.rng.delay(6);
        match input {
            Input::Deliver { from, lane, first, mut messages }
                if self.faulty && messages.len() > 1 && self.rng.chance(self.tuning.message_split) =>
            {
                let at = 1 + self.rng.index(messages.len() - 1);
                let rest = messages.split_off(at);
                let second = Input::Deliver { from, lane, first: first + at as u64, messages: rest };
                self.plan(after, Event::Message(to, second));
                let later = after + self.rng.delay(20);
                self.plan(later, Event::Message(to, Input::Deliver { from, lane, first, messages }));
            }
            input => self.plan(after, Event::Message(to, input)),
        }
    }

    /// It arrives at whoever is taken for the leader, or nowhere.
    fn message(&mut self, partition: PartitionId, mut input: Input) {
        let Some(leadership) = self.route(partition) else { return };
        match &mut input {
            Input::Delivered { by, lane, .. } => {
                self.unanswered.retain(|(to, of, l, _)| (*to, *of, *l) != (leadership, *by, *lane));
            }
            Input::Deliver { from, lane, first, .. } if self.mutation == Mutation::AcceptGap => {
                let store = self.nodes[leadership.node].store(partition).expect("it leads");
                let received =
                    millrace_machine::StateView::get::<millrace_model::table::Received>(store, &(*from, *lane));
                let next = received.expect("the machine wrote it").unwrap_or(0) + 1;
                *first = next.min(*first);
            }
            _ => {}
        }
        self.input(partition, leadership, input);
    }

    /// The content of everything, for two runs to be compared.
    pub fn content(&mut self) {
        for partition in self.partitions() {
            let hash = self.check.view(partition).content_hash();
            self.trace.add(self.now, format_args!("{partition} ends at {:?} {hash:x}", self.check.applied(partition)));
        }
        for node in &self.nodes {
            for partition in self.partitions() {
                let applied = node.store(partition).map(Store::applied);
                self.trace.add(self.now, format_args!("node {} has {partition} at {applied:?}", node.id));
            }
        }
    }
}
