//! The local log on a folder in memory that tears, flips, fills and loses power; and once on a real one.

mod damage;
mod faults;
mod power;
mod real;
mod trim;

use std::sync::Arc;

use millrace_model::{LeaderEpoch, PartitionId};

use super::sim_disk::SimDisk;
use super::*;
use crate::loglet::{Delivery, Kind, Outcome};
use crate::suite::{CLUSTER, Collector, Subject};

const P: PartitionId = PartitionId(0);
const Q: PartitionId = PartitionId(1);

/// Small enough for many segments in a test: 16 KiB files, 4 KiB groups, 8 partitions.
fn tiny() -> Sizes {
    Sizes::of(16 << 10, 8, 16 << 10, 64 << 10)
}

/// A log without threads, and what it reported.
struct Rig {
    log: LocalLog,
    reports: Arc<Collector>,
}

impl Rig {
    fn open(disk: &SimDisk) -> Result<Self, OpenError> {
        Self::open_sized(disk, tiny())
    }

    fn open_sized(disk: &SimDisk, sizes: Sizes) -> Result<Self, OpenError> {
        let reports = Collector::new();
        let log = LocalLog::open_on(Arc::new(disk.clone()), sizes, reports.clone(), Threads::None)?;
        Ok(Self { log, reports })
    }

    fn append(&self, partition: PartitionId, kind: Kind, payload: &[u8]) -> Result<u16, AppendError> {
        self.log.append(Append { partition, cluster: CLUSTER, kind, payload })
    }

    /// One round, and what it reported.
    fn settle(&self) -> Vec<Delivery> {
        self.log.step();
        self.reports.take()
    }

    /// Appends one batch in a round of its own.
    fn put(&self, partition: PartitionId, kind: Kind, payload: &[u8]) -> Applied {
        self.append(partition, kind, payload).expect("accepted");
        applied(&self.settle()[0])
    }

    /// An announcement and `count` batches of `size` bytes, each in a group of its own.
    fn lead(&self, partition: PartitionId, count: u64, size: usize) -> Vec<Applied> {
        let mut all = vec![self.put(partition, Kind::Announce, b"leader")];
        let epoch = all[0].epoch;
        let payload = |number| vec![number as u8; size];
        all.extend((1..=count).map(|number| self.put(partition, Kind::Commands { epoch, number }, &payload(number))));
        all
    }

    fn counted(&self, partition: PartitionId) -> Vec<Applied> {
        self.replay(&|_| Applied::NONE)
            .expect("readable")
            .into_iter()
            .filter(|(p, _)| *p == partition)
            .map(|(_, at)| at)
            .collect()
    }

    fn replay(&self, from: &dyn Fn(PartitionId) -> Applied) -> Result<Vec<(PartitionId, Applied)>, ReadError> {
        let mut all = Vec::new();
        self.log.replay_all(Some(CLUSTER), from, &mut |partition, batch| {
            all.push((partition, batch.applied()));
            Ok::<_, ReadError>(())
        })?;
        Ok(all)
    }

    /// As `kill -9` leaves it: nothing is written at the end.
    fn kill(self) {
        self.log.core.lock().phase = Phase::Closed(None);
    }
}

fn applied(delivery: &Delivery) -> Applied {
    let Outcome::Placed { lsn, crc, .. } = delivery.outcome else { panic!("{delivery:?}") };
    match delivery.kind {
        Kind::Announce => Applied { lsn, epoch: LeaderEpoch(lsn), number: 0, crc },
        Kind::Commands { epoch, number } => Applied { lsn, epoch, number: number + u64::from(delivery.parts) - 1, crc },
    }
}

impl Subject for Rig {
    fn log(&self) -> &dyn Loglet {
        &self.log
    }

    fn reports(&self) -> &Collector {
        &self.reports
    }

    fn drive(&self) {
        self.log.step();
    }
}

#[test]
fn contract() {
    let config = Sizes::new(&LocalLogConfig::default());
    crate::suite::run(&|| Box::new(Rig::open_sized(&SimDisk::new(), config).unwrap()));
}

#[test]
fn contract_with_the_smallest_segments() {
    let config = LocalLogConfig { segment_size: millrace_model::ByteSize::mib(1), ..LocalLogConfig::default() };
    crate::suite::run(&|| Box::new(Rig::open_sized(&SimDisk::new(), Sizes::new(&config)).unwrap()));
}

#[test]
fn what_waits_shares_one_sync_and_one_call() {
    let rig = Rig::open(&SimDisk::new()).unwrap();
    let epoch = [P, Q].map(|partition| rig.put(partition, Kind::Announce, b"").epoch);
    let before = rig.log.stats();
    for number in 1..=10 {
        for (partition, epoch) in [P, Q].into_iter().zip(epoch) {
            rig.append(partition, Kind::Commands { epoch, number }, b"payload").unwrap();
        }
    }
    assert_eq!(rig.settle().len(), 20);
    let after = rig.log.stats();
    assert_eq!(after.batches - before.batches, 20);
    assert_eq!(after.bytes - before.bytes, 140);
    assert_eq!((after.groups - before.groups, after.syncs - before.syncs), (1, 1));
    rig.log.step();
    assert_eq!(rig.log.stats(), after, "nothing to do, nothing done");
}

#[test]
fn reopening_gives_the_same_log() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let mut expected = rig.lead(P, 100, 700);
    assert!(rig.log.core.lock().segments.len() > 4);
    drop(rig);
    let rig = Rig::open(&disk).unwrap();
    assert_eq!(rig.counted(P), expected);
    expected.extend(rig.lead(P, 3, 5));
    rig.kill();
    let rig = Rig::open(&disk).unwrap();
    assert_eq!(rig.counted(P), expected);
}

#[test]
fn reports_name_the_record_before_also_after_a_restart() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let last = *rig.lead(P, 3, 10).last().unwrap();
    rig.lead(Q, 1, 10);
    drop(rig);
    let rig = Rig::open(&disk).unwrap();
    rig.append(P, Kind::Announce, b"").unwrap();
    let Outcome::Placed { after, .. } = rig.settle()[0].outcome else { panic!("placed") };
    assert_eq!(after, last.lsn);
}

#[test]
fn replay_gives_each_partition_what_it_has_not_applied() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let (of_p, of_q) = (rig.lead(P, 60, 500), rig.lead(Q, 60, 500));
    drop(rig);
    let rig = Rig::open(&disk).unwrap();
    for (i, j) in [(0, 0), (60, 10), (30, 60), (60, 60)] {
        let from = |partition| if partition == P { of_p[i] } else { of_q[j] };
        let mut found = rig.replay(&from).unwrap();
        found.sort_by_key(|(partition, at)| (*partition, at.lsn));
        let rest = |partition, all: &[Applied]| all.iter().map(|at| (partition, *at)).collect::<Vec<_>>();
        assert_eq!(found, [rest(P, &of_p[i + 1..]), rest(Q, &of_q[j + 1..])].concat());
    }
}

#[test]
fn replay_reads_only_segments_that_hold_something_new() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let of_p = rig.lead(P, 200, 500);
    let from = of_p[198];
    let mut last = Vec::new();
    let replayed = rig.log.replay_all(None, &|_| from, &mut |_, batch| {
        last.push(batch.applied());
        Ok::<_, ReadError>(())
    });
    assert!(replayed.unwrap().bytes <= 16 << 10);
    assert_eq!(last, of_p[199..]);
}

#[test]
fn a_foreign_cluster_stops_the_replay() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    rig.lead(P, 1, 1);
    let foreign = ClusterId(CLUSTER.0 + 1);
    let replayed = rig.log.replay_all(Some(foreign), &|_| Applied::NONE, &mut |_, _| Ok::<_, ReadError>(()));
    assert!(matches!(replayed, Err(ReadError::ForeignCluster { .. })));
}

#[test]
fn a_seal_survives() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    rig.lead(P, 2, 10);
    let sealed = rig.log.seal(P).unwrap();
    rig.kill();
    let rig = Rig::open(&disk).unwrap();
    assert!(matches!(rig.append(P, Kind::Announce, b""), Err(AppendError::Sealed { .. })));
    assert_eq!(rig.log.seal(P).unwrap(), sealed);
    rig.lead(Q, 1, 1);
}

#[test]
fn a_second_open_is_refused() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    assert!(matches!(Rig::open(&disk), Err(OpenError::Locked { .. })));
    drop(rig);
    Rig::open(&disk).unwrap();
}

#[test]
fn partitions_have_a_limit() {
    let rig = Rig::open(&SimDisk::new()).unwrap();
    let refused = rig.append(PartitionId(5000), Kind::Announce, b"");
    assert!(matches!(refused, Err(AppendError::Partition { .. })));
    rig.lead(PartitionId::META, 1, 1);
}
