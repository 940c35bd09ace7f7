//! The contract of [`Loglet`], checked the same way for every provider: a new one adds a line to its tests.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use millrace_model::{ClusterId, LeaderEpoch, Lsn, PartitionId};

use crate::counting::{CountedBatch, CountingReader};
use crate::error::{AppendError, ReadError};
use crate::loglet::{Append, Delivery, DeliverySink, Kind, Loglet, Outcome, same_history};
use crate::record::{Applied, BATCH_BYTES_MAX, Record};

/// A sink that keeps what it is given.
#[derive(Default)]
pub struct Collector {
    reports: Mutex<VecDeque<Delivery>>,
    more: Condvar,
}

impl Collector {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes what is there.
    pub fn take(&self) -> Vec<Delivery> {
        self.reports.lock().expect("no holder of this lock panics").drain(..).collect()
    }

    /// Waits for the next report.
    pub fn wait(&self) -> Delivery {
        let mut reports = self.reports.lock().expect("no holder of this lock panics");
        loop {
            if let Some(report) = reports.pop_front() {
                return report;
            }
            reports = self.more.wait(reports).expect("no holder of this lock panics");
        }
    }
}

impl DeliverySink for Collector {
    fn delivered(&self, reports: &[Delivery]) {
        self.reports.lock().expect("no holder of this lock panics").extend(reports.iter().cloned());
        self.more.notify_all();
    }
}

/// A provider under test.
pub trait Subject {
    /// The provider, with an empty log.
    fn log(&self) -> &dyn Loglet;
    /// Where it reports to.
    fn reports(&self) -> &Collector;
    /// Makes a provider that does nothing by itself work off what was appended.
    fn drive(&self) {}
}

/// The cluster that the suite appends as.
pub const CLUSTER: ClusterId = ClusterId(0xc1);
const P: PartitionId = PartitionId(0);
const Q: PartitionId = PartitionId(3);

/// Checks every clause of the contract, each with a subject of its own.
pub fn run(subject: &dyn Fn() -> Box<dyn Subject>) {
    for (name, clause) in CLAUSES {
        let subject = subject();
        println!("{name}");
        clause(&Leader::new(&*subject));
    }
}

type Clause = (&'static str, fn(&Leader<'_>));

const CLAUSES: [Clause; 10] = [
    ("an empty log has nothing", empty),
    ("what is appended is read back, in order", round_trip),
    ("large batches are split and joined", large),
    ("too large is refused and leaves no trace", too_large),
    ("reading begins anywhere and goes on", resume),
    ("partitions are apart", partitions),
    ("records are known by their identity", identity),
    ("trimmed is trimmed", trimming),
    ("histories are told apart", histories),
    ("sealed is sealed", sealing),
];

/// Appends as a leader does, one batch at a time.
struct Leader<'a> {
    subject: &'a dyn Subject,
}

impl<'a> Leader<'a> {
    fn new(subject: &'a dyn Subject) -> Self {
        Self { subject }
    }

    fn log(&self) -> &dyn Loglet {
        self.subject.log()
    }

    fn append(&self, partition: PartitionId, kind: Kind, payload: &[u8]) -> Result<(u16, Applied), AppendError> {
        let used = self.log().append(Append { partition, cluster: CLUSTER, kind, payload })?;
        self.subject.drive();
        let report = self.subject.reports().wait();
        assert_eq!((report.partition, report.kind), (partition, kind));
        let Outcome::Placed { after, lsn, crc } = report.outcome else { panic!("{report:?}") };
        assert!(after < lsn, "{after} < {lsn}");
        let (epoch, number) = match kind {
            Kind::Announce => (LeaderEpoch(lsn), 0),
            Kind::Commands { epoch, number } => (epoch, number + u64::from(report.parts) - 1),
        };
        assert_eq!(used, if kind == Kind::Announce { 0 } else { report.parts });
        Ok((used, Applied { lsn, epoch, number, crc }))
    }

    fn announce(&self, partition: PartitionId) -> Applied {
        self.append(partition, Kind::Announce, b"leader").expect("an announcement is small").1
    }

    /// Announces and appends `payloads`; returns what a reader must find.
    fn lead(&self, partition: PartitionId, payloads: &[&[u8]]) -> Vec<Applied> {
        let mut applied = vec![self.announce(partition)];
        let epoch = applied[0].epoch;
        let mut number = 1;
        for payload in payloads {
            let (used, at) = self.append(partition, Kind::Commands { epoch, number }, payload).expect("accepted");
            number += u64::from(used);
            applied.push(at);
        }
        applied
    }

    fn records(&self, partition: PartitionId, from: Lsn) -> Vec<Record> {
        let mut reader = self.log().read(partition, from).expect("readable");
        std::iter::from_fn(|| reader.next().expect("readable")).collect()
    }

    fn counted(&self, partition: PartitionId, behind: Applied) -> Vec<CountedBatch> {
        let mut reader = CountingReader::resume(Some(CLUSTER), behind);
        let records = self.records(partition, behind.lsn.next());
        records.into_iter().filter_map(|record| reader.push(record).expect("one cluster")).collect()
    }
}

fn positions(batches: &[CountedBatch]) -> Vec<Applied> {
    batches.iter().map(CountedBatch::applied).collect()
}

fn empty(leader: &Leader<'_>) {
    let log = leader.log();
    assert_eq!(leader.records(P, Lsn::NONE), []);
    assert_eq!(log.fetch(P, Lsn(1)).expect("readable"), None);
    assert_eq!(log.trim_point(P), Lsn::NONE);
    assert!(log.tail(P).expect("readable") > Lsn::NONE);
    assert!(log.admission().is_ok());
    same_history(log, P, Applied::NONE).expect("nothing applied, nothing there");
}

fn round_trip(leader: &Leader<'_>) {
    let applied = leader.lead(P, &[b"one", b"", b"three"]);
    let counted = leader.counted(P, Applied::NONE);
    assert_eq!(positions(&counted), applied);
    let payloads: Vec<_> = counted.iter().map(|batch| &batch.payload[..]).collect();
    assert_eq!(payloads, [&b"leader"[..], b"one", b"", b"three"]);
    assert!(applied.windows(2).all(|pair| pair[0].lsn < pair[1].lsn), "{applied:?}");
    assert!(leader.log().tail(P).expect("readable") > applied[3].lsn);
    for record in leader.records(P, Lsn::NONE) {
        assert_eq!(record.crc, record.header.crc(&record.payload));
    }
    // A report names the record before: nobody else wrote in between.
    let epoch = applied[0].epoch;
    for number in 4..6 {
        let kind = Kind::Commands { epoch, number };
        leader.log().append(Append { partition: P, cluster: CLUSTER, kind, payload: b"x" }).expect("accepted");
    }
    leader.subject.drive();
    let mut last = applied[3].lsn;
    for _ in 4..6 {
        let Outcome::Placed { after, lsn, .. } = leader.subject.reports().wait().outcome else { panic!("placed") };
        assert_eq!(after, last);
        last = lsn;
    }
}

fn large(leader: &Leader<'_>) {
    let payload: Vec<u8> = (0..BATCH_BYTES_MAX).map(|i| (i / 7) as u8).collect();
    let applied = leader.lead(P, &[b"small", &payload, b"small"]);
    let counted = leader.counted(P, Applied::NONE);
    assert_eq!(positions(&counted), applied);
    assert!(counted[2].payload == payload, "the payload differs");
    assert_eq!(counted[2].kind(), Kind::Commands { epoch: applied[0].epoch, number: 2 });
}

fn too_large(leader: &Leader<'_>) {
    let epoch = leader.announce(P).epoch;
    let payload = vec![0; BATCH_BYTES_MAX + 1];
    let kind = Kind::Commands { epoch, number: 1 };
    for kind in [kind, Kind::Announce] {
        let refused = leader.append(P, kind, &payload);
        assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    }
    leader.append(P, kind, b"fits").expect("its number is free");
    assert_eq!(leader.counted(P, Applied::NONE).len(), 2);
}

fn resume(leader: &Leader<'_>) {
    let mut applied = leader.lead(P, &[b"one", b"two"]);
    let mut reader = leader.log().read(P, applied[1].lsn).expect("readable");
    let mut next = || reader.next().expect("readable").map(|record| record.identity());
    assert_eq!(next(), Some(applied[1]));
    assert_eq!(next(), Some(applied[2]));
    assert_eq!(next(), None);
    applied.extend(leader.lead(P, &[b"three"]));
    assert_eq!(next(), Some(applied[3]));
    assert_eq!(next(), Some(applied[4]));
    assert_eq!(next(), None);
    for (i, at) in applied.iter().enumerate() {
        assert_eq!(positions(&leader.counted(P, *at)), applied[i + 1..]);
        let inclusive = leader.records(P, at.lsn);
        assert_eq!(inclusive[0].identity(), *at);
    }
}

fn partitions(leader: &Leader<'_>) {
    let mut applied = [Vec::new(), Vec::new(), Vec::new()];
    let ids = [P, Q, PartitionId::META];
    for _ in 0..3 {
        for (partition, applied) in ids.iter().zip(&mut applied) {
            applied.extend(leader.lead(*partition, &[format!("of {partition}").as_bytes()]));
        }
    }
    for (partition, applied) in ids.iter().zip(&applied) {
        let counted = leader.counted(*partition, Applied::NONE);
        assert_eq!(&positions(&counted), applied);
        let expected = format!("of {partition}");
        assert!(counted.iter().all(|batch| batch.is_announcement() || batch.payload == expected));
    }
    assert_eq!(leader.records(PartitionId(1), Lsn::NONE), []);
}

fn identity(leader: &Leader<'_>) {
    let applied = leader.lead(P, &[b"one", b"two"]);
    let others = leader.lead(Q, &[b"other"]);
    let log = leader.log();
    for at in &applied {
        assert_eq!(log.fetch(P, at.lsn).expect("readable"), Some(*at));
    }
    assert_eq!(log.fetch(Q, others[1].lsn).expect("readable"), Some(others[1]));
    assert_eq!(log.fetch(P, log.tail(P).expect("readable")).expect("readable"), None);
    assert_eq!(log.fetch(P, Lsn(u64::MAX)).expect("readable"), None);
}

fn trimming(leader: &Leader<'_>) {
    let applied = leader.lead(P, &[b"one", b"two", b"three"]);
    let others = leader.lead(Q, &[b"other"]);
    let log = leader.log();
    log.trim(P, applied[2]);
    log.trim(P, applied[1]); // Never back.
    assert_eq!(log.trim_point(P), applied[2].lsn);
    assert_eq!(log.trim_point(Q), Lsn::NONE);
    assert!(matches!(log.read(P, applied[2].lsn), Err(ReadError::Trimmed { .. })));
    assert_eq!(positions(&leader.counted(P, applied[2])), applied[3..]);
    assert_eq!(positions(&leader.counted(Q, Applied::NONE)), others);
    assert_eq!(log.fetch(P, applied[2].lsn).expect("the identity stays"), Some(applied[2]));
    assert!(matches!(log.fetch(P, applied[1].lsn), Err(ReadError::Trimmed { .. })));
    // A reader that falls behind the trim point is told.
    let mut reader = log.read(P, applied[3].lsn).expect("readable");
    log.trim(P, applied[3]);
    assert!(matches!(reader.next(), Err(ReadError::Trimmed { .. })));
}

fn histories(leader: &Leader<'_>) {
    let applied = leader.lead(P, &[b"one", b"two", b"three"]);
    let log = leader.log();
    let check = |applied| same_history(log, P, applied);
    applied.iter().for_each(|at| check(*at).expect("the same history"));
    let diverged = |applied| assert!(matches!(check(applied), Err(ReadError::Diverged { .. })), "{applied:?}");
    diverged(Applied { crc: !applied[1].crc, ..applied[1] });
    diverged(Applied { number: 7, ..applied[1] });
    diverged(Applied { epoch: LeaderEpoch(Lsn(u64::MAX)), ..applied[1] });
    diverged(Applied { lsn: Lsn(u64::MAX), ..applied[1] });
    log.trim(P, applied[2]);
    check(applied[2]).expect("known although it is trimmed");
    diverged(Applied { crc: !applied[2].crc, ..applied[2] });
    assert!(matches!(check(applied[1]), Err(ReadError::Trimmed { .. })));
    assert!(matches!(check(Applied::NONE), Err(ReadError::Trimmed { .. })));
}

fn sealing(leader: &Leader<'_>) {
    let applied = leader.lead(P, &[b"one"]);
    let log = leader.log();
    let sealed = log.seal(P).expect("sealed");
    assert_eq!(sealed.last, applied[1].lsn);
    assert!(sealed.tail > sealed.last);
    assert_eq!(log.seal(P).expect("sealed before"), sealed);
    let refused = leader.append(P, Kind::Announce, b"late");
    assert!(matches!(refused, Err(AppendError::Sealed { partition: P })), "{refused:?}");
    assert_eq!(positions(&leader.counted(P, Applied::NONE)), applied);
    leader.lead(Q, &[b"another partition"]);
    assert_eq!(log.seal(PartitionId(9)).expect("sealed while empty").last, Lsn::NONE);
}
