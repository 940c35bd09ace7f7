//! The chain over memory and local providers.

use super::*;
use crate::counting::{CountedBatch, CountingReader};
use crate::loglet::{Kind, same_history};
use crate::memory::{MemoryLog, MemoryWriter};
use crate::suite::{CLUSTER, Collector, Subject};
use crate::{LocalLog, LocalLogConfig};

const P: PartitionId = PartitionId(0);
const Q: PartitionId = PartitionId(3);
const OLD: ProviderId = ProviderId(0);
const NEW: ProviderId = ProviderId(1);

/// A chain whose first provider is in memory; the second one too, or local.
struct Rig {
    chain: Chain,
    reports: Arc<Collector>,
    memory: Vec<MemoryLog>,
    writers: Vec<Arc<MemoryWriter>>,
    _folder: Option<tempfile::TempDir>,
}

impl Rig {
    fn new(local: bool) -> Self {
        let reports = Collector::new();
        let chain = Chain::new(reports.clone());
        let mut rig = Self { chain, reports, memory: Vec::new(), writers: Vec::new(), _folder: None };
        rig.add_memory(OLD);
        if local {
            let folder = tempfile::tempdir().unwrap();
            let config = LocalLogConfig { segment_size: millrace_model::ByteSize::mib(1), ..LocalLogConfig::default() };
            let log = LocalLog::open(folder.path(), &config, rig.chain.sink(NEW)).unwrap();
            rig.chain.add_provider(NEW, Arc::new(log));
            rig._folder = Some(folder);
        } else {
            rig.add_memory(NEW);
        }
        rig
    }

    fn add_memory(&mut self, id: ProviderId) {
        let log = MemoryLog::new(1 << 20);
        let writer = Arc::new(log.writer(self.chain.sink(id)));
        self.chain.add_provider(id, writer.clone());
        self.memory.push(log);
        self.writers.push(writer);
    }

    fn put(&self, kind: Kind, payload: &[u8]) -> (Lsn, Applied) {
        self.chain.append(Append { partition: P, cluster: CLUSTER, kind, payload }).expect("accepted");
        self.drive();
        let report = self.reports.wait();
        let Outcome::Placed { after, lsn, crc } = report.outcome else { panic!("{report:?}") };
        let (epoch, number) = match kind {
            Kind::Announce => (LeaderEpoch(lsn), 0),
            Kind::Commands { epoch, number } => (epoch, number),
        };
        (after, Applied { lsn, epoch, number, crc })
    }

    fn counted(&self, behind: Applied) -> Vec<Applied> {
        let mut counting = CountingReader::resume(Some(CLUSTER), behind);
        let mut reader = self.chain.read(P, behind.lsn.next()).expect("readable");
        let records = std::iter::from_fn(|| reader.next().expect("readable"));
        records
            .filter_map(|record| counting.push(record).expect("ours"))
            .map(|batch: CountedBatch| batch.applied())
            .collect()
    }
}

impl Subject for Rig {
    fn log(&self) -> &dyn Loglet {
        &self.chain
    }

    fn reports(&self) -> &Collector {
        &self.reports
    }

    fn drive(&self) {
        self.memory.iter().for_each(MemoryLog::run);
    }
}

const SUITE_PARTITIONS: [PartitionId; 5] = [P, Q, PartitionId(1), PartitionId(9), PartitionId::META];

#[test]
fn contract_with_one_segment() {
    crate::suite::run(&|| {
        let rig = Rig::new(false);
        SUITE_PARTITIONS.into_iter().for_each(|partition| rig.chain.set(partition, vec![ChainSegment::first(OLD)]));
        Box::new(rig)
    });
}

#[test]
fn contract_behind_a_sealed_segment() {
    crate::suite::run(&|| {
        let rig = Rig::new(true);
        for partition in SUITE_PARTITIONS {
            rig.chain.set(partition, vec![ChainSegment::first(OLD)]);
            rig.chain.extend(partition, NEW).expect("extended");
        }
        Box::new(rig)
    });
}

#[test]
fn a_move_keeps_everything() {
    for local in [false, true] {
        let rig = Rig::new(local);
        rig.chain.set(P, vec![ChainSegment::first(OLD)]);
        rig.memory[0].skip(P, 1_000_000);
        let (_, announced) = rig.put(Kind::Announce, b"a");
        let mut all = vec![announced];
        let kind = |number| Kind::Commands { epoch: announced.epoch, number };
        all.push(rig.put(kind(1), b"one").1);

        let segments = rig.chain.extend(P, NEW).unwrap();
        assert_eq!(segments[0].sealed, Some(all[1].lsn));

        // The leadership goes on: its epoch is an LSN of the chain, and reports connect.
        let (after, at) = rig.put(kind(2), b"two");
        assert_eq!(after, all[1].lsn);
        all.push(at);
        let (after, at) = rig.put(kind(3), b"three");
        assert_eq!(after, all[2].lsn);
        all.push(at);
        all.push(rig.put(Kind::Announce, b"b").1);
        assert!(all.windows(2).all(|pair| pair[0].lsn < pair[1].lsn), "{all:?}");
        assert!(rig.chain.tail(P).unwrap() > all[4].lsn);
        assert_eq!(rig.counted(Applied::NONE), all);
        for (i, at) in all.iter().enumerate() {
            assert_eq!(rig.counted(*at), all[i + 1..]);
            same_history(&rig.chain, P, *at).unwrap();
        }

        // Metadata as stored gives the same chain.
        rig.chain.set(P, segments);
        assert_eq!(rig.counted(Applied::NONE), all);

        // Trimming goes through both.
        rig.chain.trim(P, all[0]);
        assert_eq!(rig.chain.trim_point(P), all[0].lsn);
        rig.chain.trim(P, all[2]);
        assert_eq!(rig.chain.trim_point(P), all[2].lsn);
        assert!(matches!(rig.chain.read(P, all[1].lsn), Err(ReadError::Trimmed { .. })));
        assert!(matches!(rig.chain.fetch(P, all[1].lsn), Err(ReadError::Trimmed { .. })));
        same_history(&rig.chain, P, all[2]).unwrap();
        assert_eq!(rig.counted(all[2]), all[3..]);
        assert!(rig.memory[0].records(P).is_empty());
    }
}

#[test]
fn a_reader_at_the_tail_follows_the_move() {
    let rig = Rig::new(false);
    rig.chain.set(P, vec![ChainSegment::first(OLD)]);
    let (_, first) = rig.put(Kind::Announce, b"a");
    let mut reader = rig.chain.read(P, Lsn::NONE).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().identity(), first);
    assert!(reader.next().unwrap().is_none());
    rig.chain.extend(P, NEW).unwrap();
    assert!(reader.next().unwrap().is_none());
    let (_, second) = rig.put(Kind::Announce, b"b");
    assert_eq!(reader.next().unwrap().unwrap().identity(), second);
}

#[test]
fn what_is_in_flight_at_a_move_is_settled_where_it_was_sent() {
    let rig = Rig::new(false);
    rig.chain.set(P, vec![ChainSegment::first(OLD)]);
    let (_, announced) = rig.put(Kind::Announce, b"a");
    let kind = Kind::Commands { epoch: announced.epoch, number: 1 };
    rig.chain.append(Append { partition: P, cluster: CLUSTER, kind, payload: b"" }).unwrap();
    rig.chain.extend(P, NEW).unwrap();
    assert!(matches!(rig.reports.wait().outcome, Outcome::Failed(_)));
    assert!(rig.writers[0].append(Append { partition: P, cluster: CLUSTER, kind, payload: b"" }).is_err());
    assert_eq!(rig.counted(Applied::NONE), [announced]);
}

#[test]
fn a_partition_without_segments_takes_nothing() {
    let rig = Rig::new(false);
    let refused = rig.chain.append(Append { partition: Q, cluster: CLUSTER, kind: Kind::Announce, payload: b"" });
    assert!(matches!(refused, Err(AppendError::Sealed { .. })));
    assert!(rig.chain.read(Q, Lsn::NONE).unwrap().next().unwrap().is_none());
}
