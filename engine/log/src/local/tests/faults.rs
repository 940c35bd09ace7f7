//! A full disk, failing writes and syncs, and stops between any two steps.

use millrace_model::codes::{self, Coded};

use super::*;
use crate::local::segment;
use crate::local::sim_disk::Fault;

#[test]
fn a_failed_write_or_sync_closes_the_log_for_good() {
    for op in 0..2 {
        let disk = SimDisk::new();
        let rig = Rig::open(&disk).unwrap();
        let all = rig.lead(P, 2, 10);
        let kind = |number| Kind::Commands { epoch: all[0].epoch, number };
        disk.plan(op, Fault::Error);
        rig.append(P, kind(3), b"lost").unwrap();
        rig.append(Q, Kind::Announce, b"lost").unwrap();
        let reports = rig.settle();
        assert_eq!(reports.len(), 2, "each once");
        for report in &reports {
            let Outcome::Failed(error) = &report.outcome else { panic!("{report:?}") };
            assert_eq!((error.code(), error.code().applied), (codes::LOG0002, codes::Applied::Unknown));
        }
        assert!(matches!(rig.append(P, kind(4), b""), Err(AppendError::Closed { source: Some(_) })));
        assert!(rig.log.admission().is_err() && rig.log.seal(P).is_err());
        assert!(rig.settle().is_empty());
        drop(rig);
        // The next start decides from the bytes; what was acknowledged is there.
        let rig = Rig::open(&disk).unwrap();
        let counted = rig.counted(P);
        assert_eq!(counted[..3], all);
        assert_eq!(counted.len(), if op == 0 { 3 } else { 4 });
    }
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_again() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let all = rig.lead(P, 2, 10);
    disk.plan(1, Fault::Error);
    rig.append(P, Kind::Commands { epoch: all[0].epoch, number: 3 }, b"unknown").unwrap();
    rig.settle();
    drop(rig);
    let rig = Rig::open(&disk).unwrap();
    let counted = rig.counted(P);
    assert_eq!(counted.len(), 4, "found in the cache, so it is part of the log now");
    rig.kill();
    for seed in 0..20 {
        let disk = disk.clone();
        disk.power_loss(&mut sim_disk::Dice::new(seed));
        let rig = Rig::open(&disk).unwrap();
        assert_eq!(rig.counted(P), counted);
        rig.kill();
    }
}

#[test]
fn short_writes_are_completed() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let epoch = rig.put(P, Kind::Announce, b"").epoch;
    disk.plan(0, Fault::ShortWrite);
    disk.plan(1, Fault::ShortWrite);
    rig.put(P, Kind::Commands { epoch, number: 1 }, &[1; 1000]);
    let all = rig.counted(P);
    rig.kill();
    assert_eq!(Rig::open(&disk).unwrap().counted(P), all);
}

#[test]
fn a_full_disk_stops_admission_not_appends() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let epoch = rig.put(P, Kind::Announce, b"").epoch;
    rig.log.admission().unwrap();
    disk.set_capacity(disk.used());
    let mut number = 0;
    let mut append = |rig: &Rig| {
        let kind = Kind::Commands { epoch, number: number + 1 };
        rig.append(P, kind, &[9; 1000]).inspect(|_| number += 1)
    };
    while rig.log.admission().is_ok() {
        append(&rig).unwrap();
        rig.settle();
    }
    assert_eq!(rig.log.admission().unwrap_err().code(), codes::LOG0004);
    // What is in flight still fits: at least the reserve less one segment, which was just begun.
    let mut in_flight = 0;
    while append(&rig).is_ok() {
        in_flight += 1;
        if in_flight % 3 == 0 {
            rig.settle();
        }
    }
    assert!(in_flight >= 16, "{in_flight}");
    assert!(matches!(append(&rig), Err(AppendError::Full { .. })));
    let reports = rig.settle();
    assert!(reports.iter().all(|report| matches!(report.outcome, Outcome::Placed { .. })));
    assert_eq!(rig.counted(P).len() as u64, number_of(&rig));
    // A restart on the full disk works; so does going on when there is room again.
    let before = rig.counted(P);
    drop(rig);
    let rig = Rig::open(&disk).unwrap();
    assert_eq!(rig.counted(P), before);
    assert!(rig.log.admission().is_err());
    disk.set_capacity(u64::MAX);
    rig.log.step();
    rig.log.admission().unwrap();
    rig.lead(P, 50, 1000);
}

fn number_of(rig: &Rig) -> u64 {
    rig.log.stats().batches
}

#[test]
fn trimming_makes_room_on_a_full_disk() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let mut last = rig.put(P, Kind::Announce, b"");
    disk.set_capacity(disk.used());
    let mut admitted = 0;
    for number in 1..=500 {
        last = rig.put(P, Kind::Commands { epoch: last.epoch, number }, &[9; 500]);
        if rig.log.admission().is_err() {
            rig.log.trim(P, last);
            // The table with the trim point, then the removal, then the reservation.
            (0..3).for_each(|_| rig.log.step());
            rig.log.admission().unwrap();
            admitted += 1;
        }
    }
    assert!(admitted > 5);
}

#[test]
fn remains_of_an_unfinished_segment_are_removed() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let all = rig.lead(P, 2, 10);
    drop(rig);
    disk.put(&format!("{}.tmp", segment::name(1 << 20)), vec![1; 100]);
    disk.put("notes.txt", vec![1; 100]);
    let rig = Rig::open(&disk).unwrap();
    assert_eq!(rig.counted(P), all);
    assert!(disk.names().iter().all(|name| !name.ends_with(".tmp")));
    assert!(disk.names().contains(&"notes.txt".to_owned()));
}

/// Stops at every single write or sync of a run that opens, rolls, trims and removes; whatever the power loss leaves,
/// the next open has everything that was acknowledged and not trimmed.
#[test]
fn a_stop_between_any_two_steps_loses_nothing() {
    let mut stopped = 0;
    for op in 0.. {
        let disk = SimDisk::new();
        disk.plan(op, Fault::PowerOff);
        let (acknowledged, trimmed) = run_trimmed(&disk);
        disk.power_loss(&mut sim_disk::Dice::new(op + 1));
        let rig = Rig::open(&disk).unwrap_or_else(|error| panic!("stopped at {op}: {error}"));
        let mut reader = rig.log.read(P, trimmed.lsn.next()).unwrap();
        let mut found = std::iter::from_fn(|| reader.next().unwrap()).map(|record| record.identity());
        for at in acknowledged.iter().filter(|at| at.lsn > trimmed.lsn) {
            assert_eq!(found.next(), Some(*at), "stopped at {op}");
        }
        if acknowledged.len() == 60 {
            break;
        }
        stopped += 1;
    }
    assert!(stopped > 150, "{stopped}");
}

/// Sixty batches with a trim in the middle, as far as it gets.
fn run_trimmed(disk: &SimDisk) -> (Vec<Applied>, Applied) {
    let (mut acknowledged, mut trimmed) = (Vec::new(), Applied::NONE);
    let Ok(rig) = Rig::open(disk) else { return (acknowledged, trimmed) };
    let mut kind = Kind::Announce;
    for number in 1..=60 {
        if rig.append(P, kind, &[number as u8; 900]).is_err() {
            break;
        }
        let reports = rig.settle();
        if !matches!(reports[0].outcome, Outcome::Placed { .. }) {
            break;
        }
        let at = applied(&reports[0]);
        acknowledged.push(at);
        kind = Kind::Commands { epoch: at.epoch, number };
        if number == 40 {
            trimmed = acknowledged[30];
            rig.log.trim(P, trimmed);
        }
    }
    rig.kill();
    (acknowledged, trimmed)
}
