//! One node: a process that comes and goes, the stores that stay, and per partition a follower or a leader.

use std::{collections::VecDeque, sync::Arc};

use millrace_log::{Applied, CountingReader, Delivery, LogReader, Loglet, ReadError, same_history};
use millrace_model::{PartitionId, TimestampMs, command::AnnounceLeader};
use millrace_partition::{Board, Input, Leader, LeaderConfig, LeaderError, Store, follow};

use crate::{
    checker::{CLUSTER, Invariant, Violation},
    invoker::FakeInvoker,
    network::{Leadership, Network, NodeLog},
    store::SimStore,
    tuning::{Mutation, Tuning},
};

/// Applies what counts.
pub struct Follower {
    store: SimStore,
    counting: CountingReader,
    reader: Box<dyn LogReader>,
}

impl Follower {
    fn new(log: &NodeLog, partition: PartitionId, store: SimStore, mutation: Mutation) -> Result<Self, Violation> {
        let applied = Store::applied(&store);
        same_history(log, partition, applied).map_err(read_error)?;
        let counting = CountingReader::with_rule(mutation.rule(), Some(CLUSTER), applied);
        let reader = log.read(partition, applied.lsn.next()).map_err(read_error)?;
        Ok(Self { store, counting, reader })
    }

    fn catch_up(&mut self, partition: PartitionId) -> Result<(), Violation> {
        while let Some(record) = self.reader.next().map_err(read_error)? {
            if let Some(counted) = self.counting.push(record).map_err(read_error)? {
                follow(&mut self.store, partition, &counted).map_err(leader_error)?;
            }
        }
        Ok(())
    }
}

/// A leader and what waits for its next turn.
pub struct Leading {
    pub leadership: Leadership,
    pub leader: Leader<SimStore>,
    pub inputs: VecDeque<Input>,
    pub deliveries: VecDeque<Delivery>,
}

/// What a node does for one partition.
pub enum Replica {
    /// The process is gone, or cannot read this log.
    Down,
    /// Applies.
    Following(Box<Follower>),
    /// Leads, or has announced that it wants to.
    Leading(Box<Leading>),
}

/// See the module.
pub struct Node {
    pub id: usize,
    pub log: Option<NodeLog>,
    pub replicas: Vec<Replica>,
    /// What a crash leaves of the stores.
    pub durable: Vec<SimStore>,
    pub invoker: Arc<FakeInvoker>,
    pub board: Arc<Board>,
    config: Arc<LeaderConfig>,
}

pub fn leader_error(error: LeaderError) -> Violation {
    let source = std::error::Error::source(&error).map(|source| source.to_string());
    Violation::new(Invariant::Engine, format!("{error} ({source:?})"))
}

fn read_error(error: ReadError) -> Violation {
    Violation::new(Invariant::Engine, error.to_string())
}

impl Node {
    /// Not started.
    pub fn new(id: usize, tuning: &Tuning) -> Self {
        let announce = AnnounceLeader {
            cluster: CLUSTER,
            node: format!("node-{id}").into(),
            address: "".into(),
            partitions: tuning.partitions,
            now: TimestampMs(0),
            nonce: 0,
        };
        let config = LeaderConfig {
            announce,
            timers_in_memory: tuning.timers_in_memory,
            cleanup_interval_ms: 60_000,
            eager_state_bytes_max: 1 << 20,
        };
        let partitions = usize::from(tuning.partitions);
        Self {
            id,
            log: None,
            replicas: (0..partitions).map(|_| Replica::Down).collect(),
            durable: vec![SimStore::default(); partitions],
            invoker: Arc::new(FakeInvoker::new(tuning.slots)),
            board: Arc::new(Board::new(tuning.partitions)),
            config: Arc::new(config),
        }
    }

    /// The process starts from what is durable.
    pub fn start(&mut self, network: &Network, tuning: &Tuning, mutation: Mutation) -> Result<(), Violation> {
        let log = network.connect();
        for (p, durable) in self.durable.iter().enumerate() {
            let follower = Follower::new(&log, PartitionId(p as u16), durable.clone(), mutation)?;
            self.replicas[p] = Replica::Following(Box::new(follower));
        }
        self.log = Some(log);
        self.invoker = Arc::new(FakeInvoker::new(tuning.slots));
        self.board = Arc::new(Board::new(tuning.partitions));
        Ok(())
    }

    /// The process is gone at once.
    pub fn crash(&mut self, network: &mut Network) {
        if let Some(log) = self.log.take() {
            network.disconnect(&log);
        }
        self.replicas.iter_mut().for_each(|replica| *replica = Replica::Down);
    }

    /// A partition's store.
    pub fn store(&self, partition: PartitionId) -> Option<&SimStore> {
        match &self.replicas[usize::from(partition.0)] {
            Replica::Down => None,
            Replica::Following(follower) => Some(&follower.store),
            Replica::Leading(leading) => Some(leading.leader.store()),
        }
    }

    /// A partition's store.
    pub fn store_mut(&mut self, partition: PartitionId) -> Option<&mut SimStore> {
        match &mut self.replicas[usize::from(partition.0)] {
            Replica::Down => None,
            Replica::Following(follower) => Some(&mut follower.store),
            Replica::Leading(leading) => Some(leading.leader.store_mut()),
        }
    }

    /// What is in a store now survives a crash.
    pub fn flush(&mut self, partition: PartitionId) -> Option<Applied> {
        let mut snapshot = self.store(partition)?.clone();
        snapshot.take_commits();
        let applied = Store::applied(&snapshot);
        self.durable[usize::from(partition.0)] = snapshot;
        Some(applied)
    }

    /// The leader of a partition.
    pub fn leading(&mut self, partition: PartitionId) -> Option<&mut Leading> {
        match &mut self.replicas[usize::from(partition.0)] {
            Replica::Leading(leading) => Some(leading),
            _ => None,
        }
    }

    /// A follower applies what has landed.
    pub fn follow(&mut self, partition: PartitionId) -> Result<(), Violation> {
        match &mut self.replicas[usize::from(partition.0)] {
            Replica::Following(follower) => follower.catch_up(partition),
            _ => Ok(()),
        }
    }

    /// A follower announces itself as leader `number`.
    pub fn announce(&mut self, partition: PartitionId, number: u64, now: u64) -> Result<Option<Leadership>, Violation> {
        self.follow(partition)?;
        let replica = &mut self.replicas[usize::from(partition.0)];
        let (Some(log), Replica::Following(follower)) = (&self.log, &mut *replica) else { return Ok(None) };
        let leadership = Leadership { node: self.id, number };
        let store = std::mem::take(&mut follower.store);
        let mut leader = Leader::new(partition, Arc::clone(&self.config), store);
        leader.announce(TimestampMs(now), number, log).map_err(leader_error)?;
        let (inputs, deliveries) = (VecDeque::new(), VecDeque::new());
        *replica = Replica::Leading(Box::new(Leading { leadership, leader, inputs, deliveries }));
        Ok(Some(leadership))
    }

    /// The leadership is over: reads on as a follower.
    pub fn retire(
        &mut self,
        partition: PartitionId,
        network: &mut Network,
        mutation: Mutation,
    ) -> Result<Option<Leadership>, Violation> {
        let replica = &mut self.replicas[usize::from(partition.0)];
        let Replica::Leading(leading) = std::mem::replace(replica, Replica::Down) else { return Ok(None) };
        let mut leading = *leading;
        leading.leader.stop();
        let log = self.log.as_ref().expect("a leader's process runs");
        network.end(leading.leadership, log);
        let follower = Follower::new(log, partition, leading.leader.into_store(), mutation)?;
        *replica = Replica::Following(Box::new(follower));
        Ok(Some(leading.leadership))
    }
}
