//! The thread that leads several partitions: owns the waiting, the clock and the order of work.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use millrace_log::{CountingReader, Delivery, DeliverySink, LogReader, Loglet, Over, same_history};
use millrace_model::{Env, PartitionId, TimestampMs, codes::Coded};
use millrace_store::PartitionStore;
use parking_lot::Mutex;
use tracing::{error, info};

use crate::{
    census::Census,
    error::LeaderError,
    handle::Handle,
    invoker::Invoker,
    leader::{Leader, LeaderConfig, Surroundings, follow},
    mailbox::{Input, Mailbox},
    metrics::DriverMetrics,
    store::Store,
};

/// How often stores are asked what is durable, so that the log can be trimmed behind it.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(5);

/// Names the partitions whose unflushed state holds back the oldest part of the log.
pub type HeldBack = Arc<dyn Fn() -> Vec<PartitionId> + Send + Sync>;

/// The mailboxes of a node's drivers before they run: what the log reports to, and the handle for everybody else.
pub struct Drivers {
    handle: Handle,
    reports: Arc<Reports>,
    stop: Arc<AtomicBool>,
}

/// Delivery reports on their way to the drivers.
struct Reports {
    drivers: Vec<(Mutex<Vec<Delivery>>, Arc<Mailbox>)>,
}

impl DeliverySink for Reports {
    fn delivered(&self, reports: &[Delivery]) {
        for (index, (waiting, mailbox)) in self.drivers.iter().enumerate() {
            let mine = |report: &&Delivery| {
                report.partition != PartitionId::META && usize::from(report.partition.0) % self.drivers.len() == index
            };
            let mut any = false;
            let mut waiting = waiting.lock();
            for report in reports.iter().filter(mine) {
                waiting.push(report.clone());
                any = true;
            }
            drop(waiting);
            if any {
                mailbox.wake();
            }
        }
    }
}

/// Everything a node's drivers work with.
pub struct Equipment {
    /// The log of all partitions.
    pub log: Arc<dyn Loglet>,
    /// Runs attempts.
    pub invoker: Arc<dyn Invoker>,
    /// Time and randomness.
    pub env: Arc<dyn Env>,
    /// For every leader.
    pub config: Arc<LeaderConfig>,
    /// See there; `None` where the log does not tell.
    pub held_back: Option<HeldBack>,
}

/// Why a driver ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A leader cannot go on.
    #[error("partition {partition} stopped")]
    Leader {
        /// Which.
        partition: PartitionId,
        /// Why.
        source: LeaderError,
    },
    /// A leadership ended, which on one node means that the log failed or has another writer.
    #[error("partition {partition} lost its leadership: {over:?}")]
    Over {
        /// Which.
        partition: PartitionId,
        /// Why.
        over: Over,
    },
    /// The thread panicked.
    #[error("a partition driver panicked")]
    Panic,
}

impl Drivers {
    /// For `partitions` partitions on `drivers` threads, both at least 1. `env`: what operators' commands are stamped by.
    pub fn new(partitions: u16, drivers: usize, env: Arc<dyn Env>) -> Self {
        let mailboxes: Vec<_> = (0..drivers.clamp(1, usize::from(partitions))).map(|_| Arc::default()).collect();
        let reports = Arc::new(Reports {
            drivers: mailboxes.iter().map(|mailbox| (Mutex::default(), Arc::clone(mailbox))).collect(),
        });
        Self { handle: Handle::new(partitions, mailboxes, env), reports, stop: Arc::default() }
    }

    /// The way to the leaders; what it is given waits until they run.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What the log reports to. Reports about `PartitionId::META` are somebody else's.
    pub fn sink(&self) -> Arc<dyn DeliverySink> {
        Arc::clone(&self.reports) as _
    }

    /// Starts the threads. `stores` holds every partition's store. `ended` is called from a driver's thread when it
    /// ends, with the reason if nobody asked for it.
    pub fn start(
        self,
        equipment: Equipment,
        stores: BTreeMap<PartitionId, PartitionStore>,
        ended: impl Fn(Result<(), DriverError>) + Send + Clone + 'static,
    ) -> std::io::Result<Running> {
        let equipment = Arc::new(equipment);
        let drivers = self.reports.drivers.len();
        let mut shares: Vec<BTreeMap<_, _>> = (0..drivers).map(|_| BTreeMap::new()).collect();
        for (partition, store) in stores {
            shares[usize::from(partition.0) % drivers].insert(partition, store);
        }
        let mut threads = Vec::new();
        for (index, stores) in shares.into_iter().enumerate() {
            let driver = Driver {
                index,
                mailbox: Arc::clone(&self.reports.drivers[index].1),
                reports: Arc::clone(&self.reports),
                handle: self.handle.clone(),
                equipment: Arc::clone(&equipment),
                stop: Arc::clone(&self.stop),
                metrics: DriverMetrics::new(index),
                leaders: BTreeMap::new(),
                maintenance_at: Instant::now() + MAINTENANCE_INTERVAL,
            };
            let ended = ended.clone();
            threads.push(std::thread::Builder::new().name(format!("partitions-{index}")).spawn(move || {
                let mailbox = Arc::clone(&driver.mailbox);
                let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver.run(stores)));
                // Whoever waits for an answer learns that none will come.
                mailbox.close();
                ended(run.unwrap_or(Err(DriverError::Panic)));
            })?);
        }
        Ok(Running { threads, stop: self.stop, handle: self.handle })
    }
}

/// The running drivers of a node.
pub struct Running {
    threads: Vec<std::thread::JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    handle: Handle,
}

impl Running {
    /// Ends the leaderships: attempts are reset, what was appended is applied, stores are flushed. Blocks until done.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for mailbox in &self.handle.0.mailboxes {
            mailbox.wake();
        }
        for thread in self.threads {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

struct Driver {
    index: usize,
    mailbox: Arc<Mailbox>,
    reports: Arc<Reports>,
    handle: Handle,
    equipment: Arc<Equipment>,
    stop: Arc<AtomicBool>,
    metrics: DriverMetrics,
    leaders: BTreeMap<PartitionId, Leader<PartitionStore>>,
    maintenance_at: Instant,
}

impl Driver {
    fn run(mut self, stores: BTreeMap<PartitionId, PartitionStore>) -> Result<(), DriverError> {
        let equipment = Arc::clone(&self.equipment);
        for (partition, mut store) in stores {
            let wrap = |source| DriverError::Leader { partition, source };
            catch_up(&mut store, partition, &equipment).map_err(wrap)?;
            let mut leader = Leader::new(partition, Arc::clone(&equipment.config), store);
            leader.announce(equipment.env.now(), equipment.env.random(), &*equipment.log).map_err(wrap)?;
            self.leaders.insert(partition, leader);
        }
        let mut inputs = Vec::new();
        let mut deliveries = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let deadline = self.deadline();
            self.mailbox.take(&mut inputs, Some(deadline));
            std::mem::swap(&mut *self.reports.drivers[self.index].0.lock(), &mut deliveries);
            self.turn(&mut inputs, &mut deliveries)?;
            if Instant::now() >= self.maintenance_at {
                self.maintain()?;
            }
        }
        self.end()
    }

    /// One wake-up: reports, inputs, time, then everything that can be sent, for all partitions.
    fn turn(
        &mut self,
        inputs: &mut Vec<(PartitionId, Input)>,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<(), DriverError> {
        let equipment = Arc::clone(&self.equipment);
        let around = Surroundings { log: &*equipment.log, invoker: &*equipment.invoker, board: &self.handle.0.board };
        let now = equipment.env.now();
        let started = Instant::now();
        let batches = deliveries.len();
        for delivery in deliveries.drain(..) {
            let partition = delivery.partition;
            let Some(leader) = self.leaders.get_mut(&partition) else { continue };
            let led = leader.leads();
            match leader.on_delivery(&delivery, &around) {
                Ok(None) => {}
                Ok(Some(over)) => return Err(DriverError::Over { partition, over }),
                Err(source) => return Err(DriverError::Leader { partition, source }),
            }
            if !led && leader.leads() {
                info!(partition = partition.0, lsn = Store::applied(leader.store()).lsn.0, "became leader");
            }
        }
        if batches > 0 {
            self.metrics.applied(batches, started.elapsed());
        }
        for (partition, input) in inputs.drain(..) {
            let Some(leader) = self.leaders.get_mut(&partition) else { continue };
            match input {
                Input::Read(look) => look(leader.store(), &leader.status()),
                input => leader.on_input(input).map_err(|source| DriverError::Leader { partition, source })?,
            }
        }
        for (&partition, leader) in &mut self.leaders {
            let mut step = || {
                leader.on_time(now)?;
                leader.flush(around.log)?;
                leader.start_attempts(around.invoker)
            };
            step().map_err(|source| DriverError::Leader { partition, source })?;
            for (to, input) in leader.take_outgoing() {
                // Refused only by a driver that has stopped; the outbox is sent again by the next leader.
                let _ = self.handle.mailbox(to).force(to, input, 0);
            }
        }
        // What was taken out of the mailbox and is not in the log yet still takes up memory.
        self.mailbox.hold(self.leaders.values().map(Leader::backlog_bytes).sum());
        Ok(())
    }

    /// Until when nothing happens by itself.
    fn deadline(&self) -> Instant {
        let next = self.leaders.values().map(Leader::next_time).min().unwrap_or(TimestampMs(u64::MAX));
        let wait = Duration::from_millis(next.since(self.equipment.env.now()));
        let at = Instant::now().checked_add(wait);
        at.map_or(self.maintenance_at, |at| at.min(self.maintenance_at))
    }

    fn maintain(&mut self) -> Result<(), DriverError> {
        self.maintenance_at = Instant::now() + MAINTENANCE_INTERVAL;
        let held_back = self.equipment.held_back.as_ref().map(|held| held()).unwrap_or_default();
        for (&partition, leader) in &mut self.leaders {
            let step = || {
                if held_back.contains(&partition) {
                    leader.store().flush(false).map_err(LeaderError::store)?;
                }
                if let Some(durable) = leader.store().durable().map_err(LeaderError::store)? {
                    self.equipment.log.trim(partition, durable);
                }
                leader.store().reclaim().map_err(LeaderError::store)?;
                leader.store().observe();
                Ok(())
            };
            step().map_err(|source| DriverError::Leader { partition, source })?;
        }
        self.observe();
        Ok(())
    }

    fn observe(&self) {
        let (mut all, mut starting) = (Census::default(), 0);
        for leader in self.leaders.values() {
            let census = leader.census();
            for (sum, count) in all.active.iter_mut().zip(census.active) {
                *sum += count;
            }
            all.succeeded += census.succeeded;
            all.failed += census.failed;
            starting += leader.starting();
        }
        self.metrics.observe(all, starting);
    }

    fn end(&mut self) -> Result<(), DriverError> {
        for (&partition, leader) in &mut self.leaders {
            leader.stop();
            if let Err(source) = leader.store().flush(true) {
                error!(partition = partition.0, error_code = source.code().id, error = %source, "could not flush");
            }
        }
        Ok(())
    }
}

/// Applies what the log has behind the store, without effects. Refuses another history than the store's.
fn catch_up(store: &mut PartitionStore, partition: PartitionId, equipment: &Equipment) -> Result<(), LeaderError> {
    let applied = Store::applied(store);
    let log = &*equipment.log;
    same_history(log, partition, applied)?;
    let mut counting = CountingReader::resume(Some(equipment.config.announce.cluster), applied);
    let mut reader = log.read(partition, applied.lsn.next())?;
    let mut batches = 0u64;
    while let Some(record) = LogReader::next(&mut *reader)? {
        if let Some(counted) = counting.push(record)? {
            follow(store, partition, &counted)?;
            batches += 1;
            if batches.is_multiple_of(10_000) {
                info!(partition = partition.0, lsn = counted.lsn.0, batches, "replaying");
            }
        }
    }
    tracing::debug!(partition = partition.0, lsn = counting.applied().lsn.0, batches, "caught up");
    Ok(())
}
