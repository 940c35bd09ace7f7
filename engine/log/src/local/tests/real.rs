//! Threads and a real folder.

use std::sync::Arc;

use millrace_model::ByteSize;

use super::*;

struct Real {
    log: LocalLog,
    reports: Arc<Collector>,
    _folder: tempfile::TempDir,
}

impl Subject for Real {
    fn log(&self) -> &dyn Loglet {
        &self.log
    }

    fn reports(&self) -> &Collector {
        &self.reports
    }
}

fn config() -> LocalLogConfig {
    LocalLogConfig { segment_size: ByteSize::mib(16), ..LocalLogConfig::default() }
}

#[test]
fn contract() {
    crate::suite::run(&|| {
        let folder = tempfile::tempdir().unwrap();
        let reports = Collector::new();
        let log = LocalLog::open(folder.path().join("log"), &config(), reports.clone()).unwrap();
        Box::new(Real { log, reports, _folder: folder })
    });
}

#[test]
fn many_threads_share_syncs_and_all_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let reports = Collector::new();
    let log = LocalLog::open(folder.path(), &config(), reports.clone()).unwrap();
    let mut epochs = Vec::new();
    for p in 0..4 {
        let batch = Append { partition: PartitionId(p), cluster: CLUSTER, kind: Kind::Announce, payload: b"" };
        log.append(batch).unwrap();
        epochs.push(applied(&reports.wait()).epoch);
    }
    let before = log.stats();
    const EACH: u64 = 500;
    std::thread::scope(|scope| {
        for (p, &epoch) in (0..).zip(&epochs) {
            let log = &log;
            scope.spawn(move || {
                for number in 1..=EACH {
                    let kind = Kind::Commands { epoch, number };
                    let payload = number.to_le_bytes();
                    let batch = Append { partition: PartitionId(p), cluster: CLUSTER, kind, payload: &payload };
                    log.append(batch).unwrap();
                }
            });
        }
    });
    let mut numbers = [1; 4];
    for _ in 0..4 * EACH {
        let report = reports.wait();
        let next: &mut u64 = &mut numbers[usize::from(report.partition.0)];
        assert_eq!(report.kind, Kind::Commands { epoch: epochs[usize::from(report.partition.0)], number: *next });
        *next += 1;
    }
    let syncs = log.stats().syncs - before.syncs;
    assert!(syncs < 4 * EACH / 2, "{syncs} syncs for {} batches", 4 * EACH);
    drop(log);
    let log = LocalLog::open(folder.path(), &config(), reports).unwrap();
    let mut counted = vec![0; 4];
    log.replay_all(Some(CLUSTER), &|_| Applied::NONE, &mut |partition, _| {
        counted[usize::from(partition.0)] += 1;
        Ok::<_, ReadError>(())
    })
    .unwrap();
    assert_eq!(counted, vec![EACH + 1; 4]);
}

#[test]
fn a_real_folder_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let open = || LocalLog::open(folder.path(), &config(), Collector::new());
    let log = open().unwrap();
    assert!(matches!(open(), Err(OpenError::Locked { .. })));
    drop(log);
    open().unwrap();
}

#[test]
fn torn_and_flipped_on_a_real_file() {
    let folder = tempfile::tempdir().unwrap();
    let reports = Collector::new();
    let log = LocalLog::open(folder.path(), &config(), reports.clone()).unwrap();
    log.append(Append { partition: P, cluster: CLUSTER, kind: Kind::Announce, payload: b"one" }).unwrap();
    let first = applied(&reports.wait());
    drop(log);
    let path = folder.path().join(segment::name(0));
    let whole = std::fs::read(&path).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    // Remains of a group behind the end are cleared.
    let mut bytes = whole.clone();
    bytes[end + 100..end + 9000].fill(0xaa);
    std::fs::write(&path, bytes).unwrap();
    let log = LocalLog::open(folder.path(), &config(), reports.clone()).unwrap();
    assert_eq!(log.fetch(P, first.lsn).unwrap(), Some(first));
    drop(log);
    assert!(std::fs::read(&path).unwrap()[end + 300..].iter().all(|byte| *byte == 0));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[first.lsn.0 as usize + 50] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let error = LocalLog::open(folder.path(), &config(), reports).err().unwrap();
    assert!(matches!(error, OpenError::Read(ReadError::Corrupt { .. })), "{error}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = LocalLogConfig { segment_size: ByteSize(1), ..LocalLogConfig::default() };
    let opened = LocalLog::open(folder.path(), &config, Collector::new());
    assert!(matches!(opened, Err(OpenError::Config(_))));
}
