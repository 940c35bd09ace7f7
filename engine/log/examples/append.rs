//! How much one local log takes: `cargo run --example append -- FOLDER [threads] [batches each] [bytes]`.
//!
//! Each thread keeps a few batches in flight, as a partition does, and waits for its reports.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use millrace_log::{Append, Delivery, DeliverySink, Kind, LocalLog, LocalLogConfig, Loglet, Outcome, ReadError};
use millrace_model::{ClusterId, LeaderEpoch, Lsn, PartitionId};

/// Batches that a thread has under way.
const WINDOW: u64 = 16;
const CLUSTER: ClusterId = ClusterId(1);

struct Router(Mutex<Vec<Sender<Lsn>>>);

impl DeliverySink for Router {
    fn delivered(&self, reports: &[Delivery]) {
        let senders = self.0.lock().expect("no holder panics");
        for report in reports {
            let Outcome::Placed { lsn, .. } = report.outcome else { panic!("{report:?}") };
            let _ = senders[usize::from(report.partition.0)].send(lsn);
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().expect("a folder");
    let mut number = |default: u64| args.next().map_or(default, |arg| arg.parse().expect("a number"));
    let (threads, batches, bytes) = (number(4), number(20_000), number(300));
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| channel()).unzip();
    let log =
        LocalLog::open(&folder, &LocalLogConfig::default(), Arc::new(Router(Mutex::new(senders)))).expect("opened");
    let started = Instant::now();
    std::thread::scope(|scope| {
        for (p, reports) in (0..).zip(receivers) {
            let log = &log;
            scope.spawn(move || {
                let payload = vec![7; bytes as usize];
                let partition = PartitionId(p);
                let append = |kind| log.append(Append { partition, cluster: CLUSTER, kind, payload: &payload });
                append(Kind::Announce).expect("accepted");
                let epoch = LeaderEpoch(reports.recv().expect("reported"));
                for number in 1..=batches {
                    append(Kind::Commands { epoch, number }).expect("accepted");
                    if number > WINDOW {
                        reports.recv().expect("reported");
                    }
                }
                (0..WINDOW.min(batches)).for_each(|_| {
                    reports.recv().expect("reported");
                });
            });
        }
    });
    let (took, stats) = (started.elapsed(), log.stats());
    println!("{:.0} batches/s, {stats:?}", stats.batches as f64 / took.as_secs_f64());
    drop(log);
    let started = Instant::now();
    let log = LocalLog::open(&folder, &LocalLogConfig::default(), Arc::new(Router(Mutex::default()))).expect("opened");
    let opened = started.elapsed();
    let replayed = log.replay_all(None, &|_| Default::default(), &mut |_, _| Ok::<_, ReadError>(()));
    println!("opened in {opened:?}, replayed in {:?}: {:?}", started.elapsed() - opened, replayed.expect("readable"));
}
