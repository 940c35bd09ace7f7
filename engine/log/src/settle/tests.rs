//! Two leaders on one log, with everything that can happen to their appends: whatever one of them takes as committed is
//! what any reader counts.

use std::sync::Arc;

use bytes::Bytes;
use millrace_model::PartitionId;

use super::*;
use crate::counting::CountingReader;
use crate::local::sim_disk::Dice;
use crate::loglet::{Append, Loglet};
use crate::memory::{MemoryLog, MemoryWriter, Report, Step};
use crate::suite::{CLUSTER, Collector};

const P: PartitionId = PartitionId(0);

/// What a leader does with its reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// As it should.
    Settles,
    /// Broken on purpose: whatever is reported counts.
    Blindly,
    /// Broken on purpose: what is read is another leader's, also its own.
    SkipsOwn,
}

struct Node {
    trust: Trust,
    writer: MemoryWriter,
    reports: Arc<Collector>,
    settle: Option<Settle>,
    stale: usize,
    epoch: Option<LeaderEpoch>,
    next: u64,
    id: u8,
    announcements: u8,
    history: Vec<Applied>,
}

impl Node {
    fn new(log: &MemoryLog, id: u8, trust: Trust) -> Self {
        let reports = Collector::new();
        let writer = log.writer(reports.clone());
        Self {
            trust,
            writer,
            reports,
            settle: None,
            stale: 0,
            epoch: None,
            next: 1,
            id,
            announcements: 0,
            history: Vec::new(),
        }
    }

    fn applied(&self) -> Applied {
        self.history.last().copied().unwrap_or_default()
    }

    fn append(&self, kind: Kind, payload: &[u8]) -> u16 {
        self.writer.append(Append { partition: P, cluster: CLUSTER, kind, payload }).expect("accepted")
    }

    fn lead(&mut self) {
        self.announcements += 1;
        let payload = [self.id, self.announcements];
        let mut settle = Settle::new(self.applied(), self.stale);
        self.append(Kind::Announce, &payload);
        settle.announced(Bytes::copy_from_slice(&payload));
        self.settle = Some(settle);
    }

    fn command(&mut self, size: usize) {
        let (Some(epoch), Some(_)) = (self.epoch, &self.settle) else { return };
        let kind = Kind::Commands { epoch, number: self.next };
        self.next += u64::from(self.append(kind, &vec![1; size]));
        self.settle.as_mut().expect("leading").appended(kind);
    }

    /// Looks at the reports. Returns `Err` if what it takes as committed cannot be.
    fn pump(&mut self) -> Result<(), String> {
        for mut report in self.reports.take() {
            let Some(settle) = &mut self.settle else {
                self.stale -= 1;
                continue;
            };
            if let (Trust::Blindly, Outcome::Placed { after, .. }) = (self.trust, &mut report.outcome) {
                *after = settle.position;
            }
            settle.on_delivery(&report);
            while let Some(decision) = self.settle.as_mut().and_then(Settle::poll) {
                self.act(decision)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, decision: Decision) -> Result<(), String> {
        match decision {
            Decision::Announced(at) => {
                if self.applied() != at {
                    self.history.push(at);
                }
                (self.epoch, self.next) = (Some(at.epoch), 1);
            }
            Decision::Committed(at) => self.history.push(at),
            Decision::Over(_) => self.step_down(),
            Decision::Read { behind, upto } => {
                if behind != self.applied() {
                    return Err(format!("asked to read behind {behind:?}, applied is {:?}", self.applied()));
                }
                self.read(upto);
            }
        }
        Ok(())
    }

    fn read(&mut self, upto: Upto) {
        let end = match upto {
            Upto::At(lsn) => lsn,
            Upto::Tail => Lsn(self.writer.tail(P).expect("readable").0 - 1),
        };
        let mut counting = CountingReader::resume(Some(CLUSTER), self.applied());
        let mut reader = self.writer.read(P, self.applied().lsn.next()).expect("readable");
        while counting.position() < end {
            let Some(record) = reader.next().expect("readable") else { break };
            let Some(batch) = counting.push(record).expect("ours") else { continue };
            let settle = self.settle.as_mut().expect("leading");
            let whose = settle.on_counted(&batch);
            if self.trust != Trust::SkipsOwn || whose == Ok(Whose::Other) {
                self.history.push(batch.applied());
            }
            if whose.is_err() {
                return self.step_down();
            }
        }
        self.settle.as_mut().expect("leading").on_read(counting.position());
    }

    fn step_down(&mut self) {
        self.stale = self.settle.take().map_or(0, |settle| settle.unreported());
        self.epoch = None;
    }

    fn follow(&mut self) {
        if self.settle.is_some() {
            return;
        }
        let mut counting = CountingReader::resume(Some(CLUSTER), self.applied());
        let mut reader = self.writer.read(P, self.applied().lsn.next()).expect("readable");
        while let Some(record) = reader.next().expect("readable") {
            self.history.extend(counting.push(record).expect("ours").map(|batch| batch.applied()));
        }
    }
}

/// One run; `Err` says which promise broke.
fn run(seed: u64, trust: Trust) -> Result<u64, String> {
    let mut dice = Dice::new(seed);
    let log = MemoryLog::new(4);
    let mut nodes = [Node::new(&log, 0, trust), Node::new(&log, 1, trust)];
    let faults = dice.below(12);
    for _ in 0..200 {
        let node = &mut nodes[dice.below(2) as usize];
        match dice.below(12) {
            0 if node.settle.is_none() => node.lead(),
            1 => node.follow(),
            2..=4 => node.command(dice.below(10) as usize),
            5 | 6 => node.pump()?,
            // Mostly as a good broker does: the oldest lands, and is reported truly.
            _ if dice.below(12) >= faults => {
                log.steps().into_iter().find(is_good(&log)).into_iter().for_each(|s| log.step(s))
            }
            _ => {
                let steps = log.steps();
                if !steps.is_empty() {
                    log.step(steps[dice.below(steps.len() as u64) as usize]);
                }
            }
        }
        if dice.below(60) == 0 {
            log.skip(P, 1);
        }
        check(&log, &nodes)?;
    }
    // Faults stop; everybody ends up with the same.
    log.run();
    let mut committed = 0;
    for node in &mut nodes {
        node.pump()?;
        committed += node.history.len() as u64;
        if node.settle.as_ref().is_some_and(|settle| settle.unreported() > 0) {
            return Err("a report is missing".to_owned());
        }
        node.step_down();
        node.follow();
    }
    check(&log, &nodes)?;
    if nodes[0].history != nodes[1].history {
        return Err("the nodes differ in the end".to_owned());
    }
    Ok(committed)
}

fn is_good(log: &MemoryLog) -> impl FnMut(&Step) -> bool + use<> {
    let log = log.clone();
    move |step| match *step {
        Step::Land(id, part) => !log.has_landed(id, part),
        Step::Report(_, report) => report == Report::Placed,
        Step::Forget(_) => false,
    }
}

/// What every node applied is a prefix of what any reader counts.
fn check(log: &MemoryLog, nodes: &[Node]) -> Result<(), String> {
    let mut counting = CountingReader::resume(Some(CLUSTER), Applied::NONE);
    let counted = log.records(P).into_iter().filter_map(|record| counting.push(record).expect("ours"));
    let counted: Vec<_> = counted.map(|batch| batch.applied()).collect();
    for node in nodes {
        let length = node.history.len();
        if length > counted.len() || counted[..length] != node.history {
            let at = node.history.iter().zip(&counted).take_while(|(ours, theirs)| ours == theirs).count();
            return Err(format!("batch {at}: {:?} is taken, {:?} counts", node.history.get(at), counted.get(at)));
        }
    }
    Ok(())
}

#[test]
fn what_a_leader_takes_as_committed_is_what_counts() {
    let mut committed = 0;
    for seed in 0..3000 {
        committed += run(seed, Trust::Settles).unwrap_or_else(|error| panic!("seed={seed}: {error}"));
    }
    assert!(committed > 10_000, "{committed}");
}

#[test]
fn leaders_that_do_not_settle_are_caught() {
    for trust in [Trust::Blindly, Trust::SkipsOwn] {
        assert!((0..3000).any(|seed| run(seed, trust).is_err()), "{trust:?} is not caught");
    }
}

fn placed(kind: Kind, after: u64, lsn: u64) -> Delivery {
    Delivery { partition: P, kind, parts: 1, outcome: Outcome::Placed { after: Lsn(after), lsn: Lsn(lsn), crc: 0 } }
}

#[test]
fn contiguous_reports_need_no_reading() {
    let mut settle = Settle::new(Applied { lsn: Lsn(7), ..Applied::NONE }, 0);
    settle.announced(Bytes::from_static(b"me"));
    settle.on_delivery(&placed(Kind::Announce, 7, 9));
    let epoch = LeaderEpoch(Lsn(9));
    assert_eq!(settle.poll(), Some(Decision::Announced(Applied { lsn: Lsn(9), epoch, number: 0, crc: 0 })));
    for number in 1..4 {
        settle.appended(Kind::Commands { epoch, number });
    }
    for (number, after, lsn) in [(1, 9, 20), (2, 20, 21), (3, 21, 30)] {
        settle.on_delivery(&placed(Kind::Commands { epoch, number }, after, lsn));
        let at = Applied { lsn: Lsn(lsn), epoch, number, crc: 0 };
        assert_eq!((settle.poll(), settle.poll()), (Some(Decision::Committed(at)), None));
    }
    assert_eq!((settle.waiting(), settle.unreported()), (0, 0));
}

#[test]
fn a_lost_delivery_ends_the_leadership_at_once() {
    let mut settle = Settle::new(Applied::NONE, 0);
    settle.announced(Bytes::from_static(b"me"));
    settle.on_delivery(&placed(Kind::Announce, 0, 1));
    settle.poll();
    let epoch = LeaderEpoch(Lsn(1));
    (1..4).for_each(|number| settle.appended(Kind::Commands { epoch, number }));
    // Also while a gap is being read.
    settle.on_delivery(&placed(Kind::Commands { epoch, number: 1 }, 2, 3));
    let behind = Applied { lsn: Lsn(1), epoch, number: 0, crc: 0 };
    assert_eq!(settle.poll(), Some(Decision::Read { behind, upto: Upto::At(Lsn(3)) }));
    let error = crate::DeliveryError::Failed("timed out".to_owned());
    let kind = Kind::Commands { epoch, number: 2 };
    settle.on_delivery(&Delivery { partition: P, kind, parts: 1, outcome: Outcome::Failed(error) });
    assert_eq!(settle.poll(), Some(Decision::Over(Over::Lost)));
    settle.on_delivery(&placed(Kind::Commands { epoch, number: 3 }, 3, 4));
    assert_eq!((settle.poll(), settle.unreported()), (None, 0));
}

#[test]
fn a_report_that_goes_backwards_or_is_trimmed_ends_the_leadership() {
    let begin = || {
        let mut settle = Settle::new(Applied { lsn: Lsn(5), ..Applied::NONE }, 0);
        settle.announced(Bytes::from_static(b"me"));
        settle
    };
    let mut settle = begin();
    settle.on_delivery(&placed(Kind::Announce, 3, 4));
    assert_eq!(settle.poll(), Some(Decision::Over(Over::NotCounted)));
    let mut settle = begin();
    settle.on_delivery(&placed(Kind::Announce, 7, 8));
    assert!(matches!(settle.poll(), Some(Decision::Read { .. })));
    settle.on_trimmed();
    assert_eq!(settle.poll(), Some(Decision::Over(Over::Trimmed)));
}

#[test]
fn reports_of_the_leadership_before_are_passed_over() {
    let mut settle = Settle::new(Applied::NONE, 2);
    settle.announced(Bytes::from_static(b"me"));
    assert_eq!(settle.unreported(), 3);
    settle.on_delivery(&placed(Kind::Announce, 0, 1));
    settle.on_delivery(&placed(Kind::Commands { epoch: LeaderEpoch(Lsn(1)), number: 1 }, 1, 2));
    assert_eq!(settle.poll(), None);
    settle.on_delivery(&placed(Kind::Announce, 0, 3));
    assert!(matches!(settle.poll(), Some(Decision::Announced(_))));
}
