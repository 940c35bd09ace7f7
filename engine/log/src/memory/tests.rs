use super::*;
use crate::counting::CountingReader;
use crate::suite::{CLUSTER, Collector, Subject};

const P: PartitionId = PartitionId(0);

struct Rig {
    log: MemoryLog,
    writer: MemoryWriter,
    reports: Arc<Collector>,
}

impl Rig {
    fn new(record_max: usize) -> Self {
        let (log, reports) = (MemoryLog::new(record_max), Collector::new());
        let writer = log.writer(reports.clone());
        Self { log, writer, reports }
    }

    fn announce(&self) -> AppendId {
        let batch = Append { partition: P, cluster: CLUSTER, kind: Kind::Announce, payload: b"" };
        self.writer.append(batch).unwrap();
        AppendId(self.log.lock().next - 1)
    }
}

impl Subject for Rig {
    fn log(&self) -> &dyn Loglet {
        &self.writer
    }

    fn reports(&self) -> &Collector {
        &self.reports
    }

    fn drive(&self) {
        self.log.run();
    }
}

#[test]
fn contract() {
    for record_max in [1 << 20, 100 << 10] {
        crate::suite::run(&|| Box::new(Rig::new(record_max)));
    }
}

#[test]
fn nothing_happens_by_itself() {
    let rig = Rig::new(10);
    let id = rig.announce();
    assert!(rig.log.records(P).is_empty() && rig.reports.take().is_empty());
    assert_eq!(rig.log.steps(), [Step::Land(id, 1), Step::Forget(id), Step::Report(id, Report::Failed)]);
    rig.log.step(Step::Land(id, 1));
    assert!(rig.log.steps().contains(&Step::Report(id, Report::Somewhere)));
    rig.log.step(Step::Report(id, Report::Placed));
    assert_eq!(rig.reports.take().len(), 1);
    // It may still be repeated until it is forgotten.
    rig.log.step(Step::Land(id, 1));
    rig.log.step(Step::Forget(id));
    assert!(rig.log.steps().is_empty());
    assert_eq!(rig.log.records(P).len(), 2);
}

#[test]
fn a_failed_append_may_land_later() {
    let rig = Rig::new(10);
    let id = rig.announce();
    rig.log.step(Step::Report(id, Report::Failed));
    assert!(matches!(rig.reports.take()[0].outcome, Outcome::Failed(_)));
    rig.log.step(Step::Land(id, 1));
    assert_eq!(rig.log.records(P).len(), 1);
}

#[test]
fn a_purge_ends_what_is_in_flight() {
    let rig = Rig::new(10);
    rig.announce();
    rig.announce();
    rig.writer.purge(P);
    assert_eq!(rig.reports.take().len(), 2);
    assert!(rig.log.steps().is_empty() && rig.log.records(P).is_empty());
}

#[test]
fn a_crashed_writer_hears_nothing_but_its_records_may_land() {
    let rig = Rig::new(10);
    let id = rig.announce();
    rig.log.crash(rig.writer.id());
    rig.log.step(Step::Land(id, 1));
    rig.log.run();
    assert!(rig.reports.take().is_empty());
    assert_eq!(rig.log.records(P).len(), 1);
}

#[test]
fn parts_that_do_not_stand_together_have_no_place() {
    let rig = Rig::new(2);
    let first = rig.announce();
    let kind = Kind::Commands { epoch: millrace_model::LeaderEpoch(Lsn(1)), number: 1 };
    rig.writer.append(Append { partition: P, cluster: CLUSTER, kind, payload: b"abc" }).unwrap();
    let second = AppendId(first.0 + 1);
    for step in [
        Step::Land(first, 1),
        Step::Report(first, Report::Placed),
        Step::Land(second, 1),
        Step::Land(first, 1),
        Step::Land(second, 2),
        Step::Report(second, Report::Placed),
    ] {
        rig.log.step(step);
    }
    let reports = rig.reports.take();
    assert!(matches!(reports[1].outcome, Outcome::Somewhere), "{reports:?}");
    let mut reader = CountingReader::resume(Some(CLUSTER), Applied::NONE);
    let counted = rig.log.records(P).into_iter().filter_map(|record| reader.push(record).unwrap()).count();
    assert_eq!(counted, 2, "the repeated announcement deposed the leader");
}
