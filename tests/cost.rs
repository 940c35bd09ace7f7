//! The cost of one invocation, in counts: log batches, syncs, reads of RocksDB (DESIGN.md section 11). No clock decides.

#[path = "support/mod.rs"]
mod support;

use std::{str::FromStr, sync::Arc, time::Duration};

use millrace_model::{InvocationId, PartitionId};
use serde_json::{Value, json};
use support::{PATIENCE, Server, ServerOptions, Service, eventually, pause, tier};

const BATCHES: &str = "millrace_log_append_batches_total";
const SYNCS: &str = "millrace_log_syncs_total";
const COMMITS: &str = "millrace_store_commits_total";
const GETS: &str = "millrace_store_rocksdb_gets_total";
const SEEKS: &str = "millrace_store_rocksdb_seeks_total";
const BYTES: &str = "millrace_log_append_bytes_total";

/// What needs no batch of its own rides along with the next one; without one it goes by itself after half a second.
const LAZY: Duration = Duration::from_millis(700);
/// Truncations and the like, over a whole measurement.
const STRAGGLERS: f64 = 2.0;

struct Stage {
    server: Server,
    _service: Service,
}

/// Log batches and syncs.
#[derive(Clone, Copy, Debug)]
struct Log {
    batches: f64,
    syncs: f64,
}

impl Stage {
    async fn start(partitions: u16) -> Arc<Self> {
        let service = Service::start("rust");
        let server = Server::start(ServerOptions::default().partitions(partitions)).await;
        server.register(&service).await;
        let stage = Self { server, _service: service };
        // Connections, and what the first of everything costs.
        for n in 0..8 {
            stage.call("Caller/callCounter", json!({"key": format!("warm-{n}"), "n": 1})).await;
        }
        Arc::new(stage)
    }

    async fn call(&self, path: &str, input: Value) {
        self.server.call(path, input).await.expect("an answer");
    }

    async fn metric(&self, name: &str) -> f64 {
        self.server.metric(name, "").await.expect("metrics")
    }

    /// Once nothing is under way.
    async fn log(&self) -> Log {
        pause(LAZY).await;
        Log { batches: self.metric(BATCHES).await, syncs: self.metric(SYNCS).await }
    }

    /// What `n` runs of `work`, one after the other, cost together.
    async fn cost(&self, n: u32, work: impl AsyncFn(u32)) -> Log {
        let before = self.log().await;
        for i in 0..n {
            work(i).await;
        }
        let after = self.log().await;
        Log { batches: after.batches - before.batches, syncs: after.syncs - before.syncs }
    }

    /// Each run costs exactly `batches`, and never more syncs than batches.
    async fn costs(&self, what: &str, batches: u32, runs: u32, work: impl AsyncFn(u32)) {
        let cost = self.cost(runs, work).await;
        let expected = f64::from(runs * batches);
        println!("{what}: {cost:?} for {runs}, {expected} batches expected");
        assert!((expected..=expected + STRAGGLERS).contains(&cost.batches), "{what}: {cost:?}, not {expected} batches");
        assert!(cost.syncs <= cost.batches, "{what}: {cost:?}");
    }

    /// Rows and ranges that the state machine had to ask RocksDB for. Shown every few seconds.
    async fn reads(&self) -> f64 {
        let batches = self.metric(BATCHES).await;
        // The metadata's batches are in no store.
        let of_partitions = batches - 8.0;
        eventually(PATIENCE, "the stores have shown what they did", async || {
            let commits = self.metric(COMMITS).await;
            anyhow::ensure!(commits >= of_partitions, "{commits} of {of_partitions} batches");
            Ok(())
        })
        .await;
        self.metric(GETS).await + self.metric(SEEKS).await
    }
}

/// One caller: nobody shares a batch with it.
#[tokio::test]
async fn batches_are_those_of_the_table() {
    let stage = Stage::start(1).await;
    let s = &*stage;
    let add = |n: i64| json!({"key": "k", "n": n});
    s.costs("nothing to do", 2, 50, async |_| s.call("Greeter/greet", json!("x")).await).await;
    s.costs("an object", 2, 50, async |_| s.call("Counter/k/add", json!(1)).await).await;
    s.costs("objects", 2, 50, async |n| s.call(&format!("Counter/k{n}/add"), json!(1)).await).await;
    s.costs("10 durable steps", 2 + 10, 20, async |_| s.call("Steps/run", json!(10)).await).await;
    s.costs("a call within the partition", 4, 50, async |_| s.call("Caller/callCounter", add(1)).await).await;
    // Arrival; the command with its suspension; the timer; the end.
    s.costs("a sleep", 4, 10, async |_| s.call("Sleeper/sleep", json!(250)).await).await;
    // Arrival; the failure; the timer; the end.
    let fail = |n: u32| json!({"key": format!("cost-{n}"), "times": 1});
    s.costs("a failed attempt", 4, 4, async |n| s.call("Steps/failTimes", fail(n)).await).await;
    // The caller's two, and the end of the other, which arrives with the caller's command.
    let cost = s.cost(50, async |_| s.call("Caller/sendCounter", add(1)).await).await;
    println!("one way: {cost:?}");
    assert!(cost.batches <= 150.0 + STRAGGLERS, "one way: {cost:?}");
}

#[tokio::test]
async fn a_call_to_another_partition_takes_six() {
    let stage = Stage::start(4).await;
    let (mut within, mut across) = (0, 0);
    let mut stragglers = 0.0;
    let object = look_up_partition(&stage, "k").await;
    while within < 3 || across < 5 {
        let before = stage.log().await;
        let input = json!({"key": "k", "n": 1});
        let answer = stage.server.ingress.post("/Caller/callCounter", &input).await.expect("an answer");
        let caller = partition(answer.headers["x-restate-id"].to_str().expect("an id"));
        let batches = stage.log().await.batches - before.batches;
        let expected = if caller == object { 4.0 } else { 6.0 };
        println!("{caller:?} to {object:?}: {batches}");
        // The truncation of an outbox may find nothing to ride along with.
        assert!(batches >= expected && batches <= expected + 2.0, "{batches} batches, not {expected}");
        stragglers += batches - expected;
        *if caller == object { &mut within } else { &mut across } += 1;
    }
    assert!(stragglers <= f64::from(2 * across), "{stragglers} batches more than the table says for {across} calls");
}

fn partition(id: &str) -> PartitionId {
    InvocationId::from_str(id).expect("an id").key.partition(4)
}

/// Where an object lives.
async fn look_up_partition(stage: &Stage, key: &str) -> PartitionId {
    let answer = stage.server.ingress.post_empty(&format!("/Counter/{key}/get")).await.expect("an answer");
    partition(answer.headers["x-restate-id"].to_str().expect("an id"))
}

/// Active rows, journals and state are in memory.
#[tokio::test]
async fn nothing_is_read_from_rocksdb() {
    let stage = Stage::start(2).await;
    stage.call("Counter/k/add", json!(1)).await;
    let before = stage.reads().await;
    let runs = 60;
    for _ in 0..runs {
        stage.call("Greeter/greet", json!("x")).await;
        stage.call("Counter/k/add", json!(1)).await;
        stage.call("Steps/run", json!(3)).await;
        stage.call("Caller/callCounter", json!({"key": "k", "n": 1})).await;
    }
    let reads = stage.reads().await - before;
    println!("{reads} reads for {} invocations", 5 * runs);
    // Where an outbox begins is asked now and then.
    assert!(reads <= f64::from(runs) * 0.1, "{reads} reads");
}

/// What a step costs does not depend on how many there were before it.
#[tokio::test]
async fn a_step_costs_the_same_in_a_long_journal() {
    let stage = Stage::start(1).await;
    let (short, long) = (tier(250, 2_000), tier(1_000, 10_000));
    let measure = async |steps: u32| {
        let before = (stage.log().await, stage.reads().await, stage.metric(BYTES).await, stage.server.cpu());
        stage.call("Steps/run", json!(steps)).await;
        let cpu = (stage.server.cpu() - before.3).as_secs_f64();
        let bytes = stage.metric(BYTES).await - before.2;
        let (log, reads) = (stage.log().await, stage.reads().await);
        let each = |sum: f64| sum / f64::from(steps);
        let found = (log.batches - before.0.batches, reads - before.1, each(bytes), each(cpu));
        println!("{steps} steps: {found:?} batches, reads, bytes a step, CPU seconds a step");
        found
    };
    // The first long journal also pays for memory that is taken once.
    measure(short).await;
    let (_, _, short_bytes, short_cpu) = measure(short).await;
    let (batches, reads, bytes, cpu) = measure(long).await;
    assert!(batches <= f64::from(long) + 2.0 + STRAGGLERS, "{batches} batches for {long} steps");
    assert!(reads <= f64::from(long) * 0.01, "{reads} reads for {long} steps");
    assert!(bytes < short_bytes * 1.2, "{bytes} bytes a step, {short_bytes} in a short journal");
    // Four or five times as many would cost as many times as much each, if each looked at all before it.
    assert!(cpu < short_cpu * 2.0, "{cpu} CPU seconds a step, {short_cpu} in a short journal");
}

/// Callers at the same time share batches and syncs.
#[tokio::test]
async fn concurrent_callers_share_syncs() {
    let stage = Stage::start(4).await;
    let (callers, each) = (64, tier(40, 400));
    let before = stage.log().await;
    let calls: Vec<_> = (0..callers)
        .map(|caller| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move {
                for n in 0..each {
                    match n % 2 {
                        0 => stage.call("Greeter/greet", json!("x")).await,
                        _ => stage.call(&format!("Counter/c{caller}/add"), json!(1)).await,
                    }
                }
            })
        })
        .collect();
    for call in calls {
        call.await.expect("an answer");
    }
    let after = stage.log().await;
    let invocations = f64::from(callers * each);
    let (batches, syncs) = ((after.batches - before.batches) / invocations, (after.syncs - before.syncs) / invocations);
    println!("{batches:.3} batches and {syncs:.3} syncs an invocation");
    assert!(batches < 1.0, "{batches} batches an invocation");
    assert!(syncs < 0.4, "{syncs} syncs an invocation");
}
