//! Every log up to a bound, made of the records of two leaders in any order: zombies, repeats, reorderings, holes.

use bytes::Bytes;
use millrace_model::{ClusterId, LeaderEpoch, Lsn};

use super::*;

const OURS: ClusterId = ClusterId(7);

fn record(lsn: u64, epoch: u64, number: u64, part: u16, parts: u16) -> Record {
    let header = RecordHeader { part, parts, epoch: LeaderEpoch(Lsn(epoch)), number, cluster: OURS };
    // The payload names the record's origin, so that a wrong join shows.
    let payload = Bytes::from(format!("{epoch}.{number}.{part};"));
    Record { lsn: Lsn(lsn), header, crc: header.crc(&payload), payload }
}

fn announcement(lsn: u64) -> Record {
    let header = RecordHeader::announcement(OURS);
    Record { lsn: Lsn(lsn), header, crc: header.crc(b""), payload: Bytes::new() }
}

fn run(rule: Rule, from: Applied, log: &[Record]) -> Vec<CountedBatch> {
    let mut reader = CountingReader::with_rule(rule, Some(OURS), from);
    let behind = log.iter().filter(|record| record.lsn > from.lsn);
    behind.filter_map(|record| reader.push(record.clone()).expect("one cluster")).collect()
}

/// What must hold of the counted batches of any log; says what does not.
fn check(rule: Rule, log: &[Record]) -> Result<(), String> {
    let counted = run(rule, Applied::NONE, log);
    // Two readers agree, wherever the second one resumes.
    for (i, batch) in counted.iter().enumerate() {
        let resumed = run(rule, batch.applied(), log);
        if resumed != counted[i + 1..] {
            return Err(format!("a reader resumed at {} disagrees: {resumed:?}", batch.lsn));
        }
    }
    // One effective epoch: between two announcements only records of the first one, numbered 1, 2, 3 …
    let (mut epoch, mut number) = (LeaderEpoch::ANNOUNCE, 0);
    for batch in &counted {
        if batch.is_announcement() {
            (epoch, number) = (LeaderEpoch(batch.lsn), 0);
            continue;
        }
        let last = log.iter().find(|record| record.lsn == batch.lsn).expect("a counted batch is in the log");
        if last.header.epoch != epoch {
            return Err(format!("{} of epoch {} counts in epoch {epoch}", batch.lsn, last.header.epoch));
        }
        let first = number + 1;
        number += u64::from(batch.parts);
        if batch.number != number {
            return Err(format!("{} has number {}, the next is {number}", batch.lsn, batch.number));
        }
        let expected: String =
            (0..batch.parts).map(|i| format!("{epoch}.{}.{};", first + u64::from(i), i + 1)).collect();
        if batch.payload != expected {
            return Err(format!("{} is {:?}, was written as {expected}", batch.lsn, batch.payload));
        }
    }
    Ok(())
}

/// Extends `log` in every way up to `left` more records, checking each; the next record is any of `next(log)`.
fn explore(
    rule: Rule,
    log: &mut Vec<Record>,
    left: usize,
    next: &dyn Fn(&[Record]) -> Vec<Record>,
) -> Result<u64, String> {
    check(rule, log).map_err(|what| format!("{what} in {:?}", log.iter().map(|r| r.header).collect::<Vec<_>>()))?;
    if left == 0 {
        return Ok(1);
    }
    let mut logs = 1;
    for record in next(log) {
        log.push(record);
        let found = explore(rule, log, left - 1, next);
        log.pop();
        logs += found?;
    }
    Ok(logs)
}

fn epochs(log: &[Record]) -> Vec<u64> {
    log.iter().filter(|record| record.header.is_announcement()).map(|record| record.lsn.0).collect()
}

/// Single records numbered 1 to 3 of any epoch so far; at most two announcements.
fn singles(log: &[Record]) -> Vec<Record> {
    let lsn = log.len() as u64 + 1;
    let epochs = epochs(log);
    let mut next: Vec<_> =
        epochs.iter().flat_map(|&epoch| (1..=3).map(move |number| record(lsn, epoch, number, 1, 1))).collect();
    next.extend((epochs.len() < 2).then(|| announcement(lsn)));
    next
}

/// A batch of two parts (numbers 1 and 2), one of one part (3), of any epoch so far; at most three announcements.
fn batches(log: &[Record]) -> Vec<Record> {
    let lsn = log.len() as u64 + 1;
    let epochs = epochs(log);
    let shapes = [(1, 1, 2), (2, 2, 2), (3, 1, 1)];
    let of_epoch = |&epoch: &u64| shapes.map(move |(number, part, parts)| record(lsn, epoch, number, part, parts));
    let mut next: Vec<_> = epochs.iter().flat_map(of_epoch).collect();
    next.extend((epochs.len() < 3).then(|| announcement(lsn)));
    next
}

#[test]
fn all_readers_agree_and_one_epoch_is_effective() {
    for next in [&singles as &dyn Fn(&[Record]) -> Vec<Record>, &batches] {
        let logs = explore(Rule::EXACT, &mut Vec::new(), 8, next).unwrap();
        assert!(logs > 100_000, "{logs}");
    }
}

#[test]
fn every_condition_of_the_rule_is_needed() {
    for rule in Rule::BROKEN {
        let found =
            explore(rule, &mut Vec::new(), 6, &singles).and_then(|_| explore(rule, &mut Vec::new(), 6, &batches));
        assert!(found.is_err(), "{rule:?} is not caught");
    }
}

#[test]
fn nothing_counts_before_the_first_announcement() {
    let log = [record(1, 9, 1, 1, 1), announcement(2), record(3, 2, 1, 1, 1)];
    let counted = run(Rule::EXACT, Applied::NONE, &log);
    assert_eq!(counted.iter().map(|batch| batch.lsn.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn an_incomplete_batch_is_nothing() {
    let log = [announcement(1), record(2, 1, 1, 1, 2), announcement(3), record(4, 1, 2, 2, 2), record(5, 3, 1, 1, 1)];
    let counted = run(Rule::EXACT, Applied::NONE, &log);
    assert_eq!(counted.iter().map(|batch| batch.lsn.0).collect::<Vec<_>>(), [1, 3, 5]);
}

#[test]
fn a_part_that_does_not_fit_its_batch_ends_the_epoch() {
    for odd in [record(3, 1, 2, 1, 1), record(3, 1, 2, 2, 3), record(3, 1, 2, 3, 3)] {
        let log = [announcement(1), record(2, 1, 1, 1, 2), odd, record(4, 1, 3, 1, 1)];
        assert_eq!(run(Rule::EXACT, Applied::NONE, &log).len(), 1);
    }
}

#[test]
fn a_foreign_cluster_stops_the_reader() {
    let mut foreign = announcement(2);
    foreign.header.cluster = ClusterId(8);
    for cluster in [Some(OURS), None] {
        let mut reader = CountingReader::resume(cluster, Applied::NONE);
        reader.push(announcement(1)).unwrap();
        assert_eq!(reader.cluster(), Some(OURS));
        assert!(matches!(reader.push(foreign.clone()), Err(ReadError::ForeignCluster { .. })));
    }
}

#[test]
fn kind_is_as_appended() {
    let log = [announcement(1), record(2, 1, 1, 1, 1), record(3, 1, 2, 1, 2), record(4, 1, 3, 2, 2)];
    let kinds: Vec<_> = run(Rule::EXACT, Applied::NONE, &log).iter().map(CountedBatch::kind).collect();
    let epoch = LeaderEpoch(Lsn(1));
    assert_eq!(kinds, [Kind::Announce, Kind::Commands { epoch, number: 1 }, Kind::Commands { epoch, number: 2 }]);
}
