//! What seeds have found in leaders, each as small as it gets: one leader over a log that lands when it is told to.

use std::sync::{Arc, Mutex};

use millrace_log::{Delivery, DeliverySink, MemoryLog, MemoryWriter};
use millrace_model::{
    Command, InvocationId, PartitionId, PartitionKey, SourceId, SubscriptionId, TimestampMs,
    command::{Action, AnnounceLeader, Attempt, CommandEffect, Known, Slice},
    invocation::{HandlerKind, NewInvocation, Source, Target},
    table::{Ended, Invocations},
};
use millrace_partition::{AttemptJob, Board, Input, Invoker, Leader, LeaderConfig, Surroundings};
use millrace_sim::{SimStore, checker::CLUSTER, rows};

const P: PartitionId = PartitionId(0);
const MINUTE: u64 = 60_000;

#[derive(Default)]
struct Reports(Mutex<Vec<Delivery>>);

impl DeliverySink for Reports {
    fn delivered(&self, reports: &[Delivery]) {
        self.0.lock().unwrap().extend(reports.iter().cloned());
    }
}

/// Never has a slot.
struct NoInvoker;

impl Invoker for NoInvoker {
    fn try_reserve(&self) -> bool {
        false
    }
    fn release(&self) {}
    fn start(&self, _: AttemptJob) {}
}

struct Bench {
    log: MemoryLog,
    writer: MemoryWriter,
    reports: Arc<Reports>,
    leader: Leader<SimStore>,
    board: Board,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        let announce = AnnounceLeader {
            cluster: CLUSTER,
            node: "n".into(),
            address: "a".into(),
            partitions: 1,
            now: TimestampMs(0),
            nonce: 0,
        };
        let config =
            LeaderConfig { announce, timers_in_memory: 10, cleanup_interval_ms: MINUTE, eager_state_bytes_max: 1000 };
        let log = MemoryLog::new(10_000);
        let reports = Arc::<Reports>::default();
        let writer = log.writer(Arc::clone(&reports) as _);
        let mut leader = Leader::new(P, Arc::new(config), SimStore::default());
        leader.announce(TimestampMs(1), 1, &writer).unwrap();
        let mut bench = Self { log, writer, reports, leader, board: Board::new(1), now: 1 };
        bench.land();
        assert!(bench.leader.leads());
        bench
    }

    /// All that was appended lands and is reported.
    fn land(&mut self) {
        self.log.run();
        let around = Surroundings { log: &self.writer, invoker: &NoInvoker, board: &self.board };
        for delivery in std::mem::take(&mut *self.reports.0.lock().unwrap()) {
            assert_eq!(self.leader.on_delivery(&delivery, &around).unwrap(), None);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.leader.on_time(TimestampMs(self.now)).unwrap();
        self.leader.flush(&self.writer).unwrap();
    }

    fn propose(&mut self, command: Command) {
        self.leader.on_input(Input::Propose { command, reply: None }).unwrap();
        self.leader.flush(&self.writer).unwrap();
    }

    fn invoke(&mut self, unique: u128, completion_retention: u64) -> InvocationId {
        let id = InvocationId { key: PartitionKey(0), unique };
        let target = Target { service: "S".into(), handler: "h".into(), key: "".into(), kind: HandlerKind::Plain };
        let invocation = NewInvocation {
            id,
            target,
            source: Source::Ingress,
            created_at: TimestampMs(self.now),
            execute_at: None,
            idempotency_key: None,
            completion_retention,
            journal_retention: 0,
            random_seed: 0,
            traceparent: None,
            headers: Vec::new(),
            value: "".into(),
        };
        self.propose(Command::Invoke { invocation: Box::new(invocation), known: Known::Fresh });
        self.land();
        id
    }

    fn end(&mut self, id: InvocationId) {
        let row = rows::<Invocations>(self.leader.store().view()).into_iter().find(|(of, _)| *of == id).unwrap().1;
        let effect = CommandEffect::Output { value: Some(Slice { at: 0, len: 0 }), failure: None };
        let output = Action::Command { index: 1, ty: 0x0401, raw: "".into(), effect };
        self.propose(Command::Attempt(Box::new(Attempt {
            id,
            created_lsn: row.created_lsn,
            attempt: 1,
            now: TimestampMs(self.now),
            pin: None,
            actions: vec![output, Action::End],
        })));
    }
}

/// Its end was proposed before the clean-up and is applied behind it, so that it has expired where the clean-up has
/// been already.
#[test]
fn what_ends_late_expires_too() {
    let mut bench = Bench::new();
    let long = bench.invoke(1, 30 * MINUTE);
    let short = bench.invoke(2, 0);
    bench.end(long);
    bench.land();
    bench.end(short);
    bench.pass(60 * MINUTE);
    bench.land();
    for _ in 0..2 {
        bench.pass(2 * MINUTE);
        // Clean-up waits for company, for a while.
        bench.pass(1000);
        bench.land();
    }
    let kept = rows::<Ended>(bench.leader.store().view());
    assert!(kept.is_empty(), "{kept:?}");
}

/// While two batches are under way nothing can be appended, however old what waits is.
#[test]
fn a_leader_behind_a_slow_log_does_not_want_to_be_woken_in_the_past() {
    let mut bench = Bench::new();
    let source =
        |q| SourceId { subscription: SubscriptionId(1), cluster: "c".into(), topic_id: 1, source_partition: q };
    for q in 0..3 {
        bench.propose(Command::CloseSource { source: source(q) });
    }
    bench.pass(10_000);
    assert!(bench.leader.next_time().0 > bench.now, "{:?} at {}", bench.leader.next_time(), bench.now);
}
