//! What happens to appends on their way: landing, late, twice, out of order, in part, never; reports true and false.
//!
//! Every append gets its fate when it is made. Reports to one leadership come in the order of its appends, as the
//! contract of the log says; what lands does not care whether anybody still waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use millrace_log::{
    Append, AppendError, Applied, Delivery, DeliverySink, LogReader, Loglet, MemoryLog, MemoryWriter, ReadError,
    SealError, Sealed,
    memory::{AppendId, Report, Step, WriterId},
};
use millrace_model::{Lsn, PartitionId};

use crate::{rng::Rng, tuning::Tuning};

/// How long a writer waits before it gives a batch up.
const REPORT_TIMEOUT_MS: u64 = 400;

/// Keeps what it is told until the world asks.
#[derive(Default)]
struct Reports(Mutex<Vec<Delivery>>);

impl DeliverySink for Reports {
    fn delivered(&self, reports: &[Delivery]) {
        self.0.lock().expect("nobody panics with it").extend(reports.iter().cloned());
    }
}

#[derive(Clone, Copy)]
struct NewAppend {
    id: u64,
    partition: PartitionId,
    parts: u16,
}

#[derive(Default)]
struct Accepted {
    count: u64,
    new: Vec<NewAppend>,
}

/// The log as one process sees it.
pub struct NodeLog {
    writer: MemoryWriter,
    accepted: Arc<Mutex<Accepted>>,
    reports: Arc<Reports>,
    full: AtomicBool,
}

impl NodeLog {
    /// Whether there is no room for appends.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }
}

impl Loglet for NodeLog {
    fn append(&self, batch: Append<'_>) -> Result<u16, AppendError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(AppendError::Backlog { waiting: 0, max: 0 });
        }
        let numbers = self.writer.append(batch)?;
        let mut accepted = self.accepted.lock().expect("nobody panics with it");
        accepted.count += 1;
        let new = NewAppend { id: accepted.count, partition: batch.partition, parts: numbers.max(1) };
        accepted.new.push(new);
        Ok(numbers)
    }

    fn read(&self, partition: PartitionId, from: Lsn) -> Result<Box<dyn LogReader>, ReadError> {
        self.writer.read(partition, from)
    }

    fn fetch(&self, partition: PartitionId, lsn: Lsn) -> Result<Option<Applied>, ReadError> {
        self.writer.fetch(partition, lsn)
    }

    fn trim(&self, partition: PartitionId, upto: Applied) {
        self.writer.trim(partition, upto);
    }

    fn trim_point(&self, partition: PartitionId) -> Lsn {
        self.writer.trim_point(partition)
    }

    fn tail(&self, partition: PartitionId) -> Result<Lsn, ReadError> {
        self.writer.tail(partition)
    }

    fn seal(&self, partition: PartitionId) -> Result<Sealed, SealError> {
        self.writer.seal(partition)
    }
}

/// A leader of one partition in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leadership {
    /// Which node.
    pub node: usize,
    /// Which of all there ever were.
    pub number: u64,
}

struct Flight {
    partition: PartitionId,
    leadership: Leadership,
    writer: WriterId,
    landed: Vec<bool>,
    /// Landings that are to come.
    outstanding: usize,
    report: Report,
    report_at: u64,
    reported: bool,
}

/// What is to happen at a time.
#[derive(Clone, Copy, Debug)]
pub enum NetworkEvent {
    /// A record becomes durable.
    Land {
        /// Of which append.
        append: u64,
        /// Part, from 1.
        part: u16,
    },
    /// The oldest append of a leadership that was not reported may be.
    Report(Leadership),
}

/// Everything under way to the log.
pub struct Network {
    log: MemoryLog,
    accepted: Arc<Mutex<Accepted>>,
    flights: BTreeMap<u64, Flight>,
    lanes: BTreeMap<Leadership, VecDeque<u64>>,
    /// Where the last append of a leadership lands.
    last_landing: BTreeMap<Leadership, u64>,
}

impl Network {
    /// With an empty log.
    pub fn new(record_bytes_max: usize) -> Self {
        Self {
            log: MemoryLog::new(record_bytes_max),
            accepted: Arc::default(),
            flights: BTreeMap::new(),
            lanes: BTreeMap::new(),
            last_landing: BTreeMap::new(),
        }
    }

    /// Access for a process that starts.
    pub fn connect(&self) -> NodeLog {
        let reports = Arc::<Reports>::default();
        let writer = self.log.writer(Arc::clone(&reports) as _);
        NodeLog { writer, accepted: Arc::clone(&self.accepted), reports, full: AtomicBool::new(false) }
    }

    /// The process is gone; what it appended goes its way.
    pub fn disconnect(&mut self, log: &NodeLog) {
        let writer = log.writer.id();
        self.log.crash(writer);
        let mine: Vec<_> = self.flights.iter().filter(|(_, f)| f.writer == writer).map(|(&id, _)| id).collect();
        for id in mine {
            let flight = self.flights.get_mut(&id).expect("listed");
            flight.reported = true;
            self.lanes.remove(&flight.leadership);
            self.tidy(id);
        }
    }

    /// Decides about what `leadership` has appended since the last call. Returns what happens when.
    pub fn plan(
        &mut self,
        leadership: Leadership,
        log: &NodeLog,
        rng: &mut Rng,
        faults: Option<&Tuning>,
        usual: u64,
        now: u64,
    ) -> Vec<(u64, NetworkEvent)> {
        let new = std::mem::take(&mut self.accepted.lock().expect("nobody panics with it").new);
        let mut events = Vec::new();
        for append in new {
            self.plan_one(append, leadership, log, rng, faults, usual, now, &mut events);
        }
        events
    }

    #[expect(clippy::too_many_arguments, reason = "one caller")]
    fn plan_one(
        &mut self,
        append: NewAppend,
        leadership: Leadership,
        log: &NodeLog,
        rng: &mut Rng,
        faults: Option<&Tuning>,
        usual: u64,
        now: u64,
        events: &mut Vec<(u64, NetworkEvent)>,
    ) {
        let NewAppend { id, partition, parts } = append;
        let mut fate = |chance: fn(&Tuning) -> u64| faults.is_some_and(|tuning| rng.chance(chance(tuning)));
        let lost = fate(|t| t.append_lost);
        let failed = fate(|t| t.append_failed);
        let nameless = fate(|t| t.append_nameless);
        let twice = fate(|t| t.append_twice);
        let reordered = fate(|t| t.append_reordered);
        let slow = fate(|t| t.append_slow);
        let previous = self.last_landing.get(&leadership).copied().unwrap_or(0);
        let mut at = if faults.is_some() { now + rng.delay(usual) } else { now + rng.between(0, usual) };
        if slow {
            at += rng.between(100, 1500);
        }
        if reordered {
            at += rng.between(0, 10 * usual);
        } else {
            at = at.max(previous);
        }
        if failed && rng.chance(500) {
            // Behind the report, and behind what comes next: a zombie.
            at += rng.between(0, 2 * REPORT_TIMEOUT_MS);
        }
        let landing = if lost { rng.below(u64::from(parts)) as u16 } else { parts };
        let mut landings = 0;
        for part in 1..=landing {
            events.push((at, NetworkEvent::Land { append: id, part }));
            landings += 1;
            if faults.is_some() && rng.chance(30) {
                at += 1;
            }
        }
        if landing > 0 && !reordered && !failed {
            self.last_landing.insert(leadership, at);
        }
        if twice && landing > 0 {
            let again = at + rng.between(0, 40 * usual);
            let part = rng.between(1, u64::from(landing)) as u16;
            events.push((again, NetworkEvent::Land { append: id, part }));
            landings += 1;
        }
        let (report, report_at) = match (lost || failed, nameless) {
            (true, _) => (Report::Failed, now + rng.between(1, REPORT_TIMEOUT_MS)),
            (false, true) => (Report::Somewhere, at + rng.between(0, usual)),
            (false, false) => (Report::Placed, at + rng.between(0, usual)),
        };
        let lane = self.lanes.entry(leadership).or_default();
        lane.push_back(id);
        events.push((report_at, NetworkEvent::Report(leadership)));
        let flight = Flight {
            partition,
            leadership,
            writer: log.writer.id(),
            landed: vec![false; usize::from(parts)],
            outstanding: landings,
            report,
            report_at,
            reported: false,
        };
        self.flights.insert(id, flight);
    }

    /// A record lands. Returns whose log it is.
    pub fn land(&mut self, append: u64, part: u16) -> PartitionId {
        self.log.step(Step::Land(AppendId(append), part));
        let flight = self.flights.get_mut(&append).expect("a planned landing keeps it");
        flight.landed[usize::from(part) - 1] = true;
        flight.outstanding -= 1;
        let partition = flight.partition;
        self.tidy(append);
        partition
    }

    /// Reports to a leadership what is due, in order. Also returns when to look again.
    pub fn report(&mut self, leadership: Leadership, log: &NodeLog, now: u64) -> (Vec<Delivery>, Option<u64>) {
        let mut reports = Vec::new();
        while let Some(&id) = self.lanes.get(&leadership).and_then(VecDeque::front) {
            let flight = self.flights.get_mut(&id).expect("it was not reported");
            if flight.report_at > now {
                return (reports, Some(flight.report_at));
            }
            if flight.report != Report::Failed && flight.landed.contains(&false) {
                return (reports, Some(now + 3));
            }
            flight.reported = true;
            self.log.step(Step::Report(AppendId(id), flight.report));
            reports.append(&mut log.reports.0.lock().expect("nobody panics with it"));
            self.lanes.get_mut(&leadership).expect("it has a front").pop_front();
            self.tidy(id);
        }
        (reports, None)
    }

    /// Nobody listens to the reports of a leadership any more.
    pub fn end(&mut self, leadership: Leadership, log: &NodeLog) {
        for id in self.lanes.remove(&leadership).unwrap_or_default() {
            self.flights.get_mut(&id).expect("it was not reported").reported = true;
            self.log.step(Step::Report(AppendId(id), Report::Failed));
            self.tidy(id);
        }
        log.reports.0.lock().expect("nobody panics with it").clear();
    }

    fn tidy(&mut self, id: u64) {
        let flight = &self.flights[&id];
        if flight.reported && flight.outstanding == 0 {
            self.flights.remove(&id);
            self.log.step(Step::Forget(AppendId(id)));
        }
    }
}
