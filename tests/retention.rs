//! What has ended goes when its retention is over: beside the load, and the disk gets its room back (F249, F251).

#[path = "support/mod.rs"]
mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::json;
use support::{Attempt, Endpoint, Http, PATIENCE, Server, ServerOptions, eventually, manifest, pause, tier};

#[path = "hostile/wire.rs"]
mod wire;

/// Callers that make the load.
const CALLERS: usize = 16;
/// What each invocation keeps.
const INPUT_BYTES: usize = 2_000;

/// Calls that were answered.
#[derive(Clone)]
struct Load {
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Calls one after the other by each of the callers, until it is stopped.
    fn start(ingress: &Http) -> (Self, Vec<tokio::task::JoinHandle<()>>) {
        let load = Self { answered: Arc::default(), stop: Arc::default() };
        let callers = (0..CALLERS).map(|caller| {
            let (load, ingress) = (load.clone(), ingress.clone());
            tokio::spawn(async move {
                let mut n = caller as u64;
                while !load.stop.load(Ordering::Relaxed) {
                    call(&ingress, n).await;
                    load.answered.fetch_add(1, Ordering::Relaxed);
                    n += CALLERS as u64;
                }
            })
        });
        let callers = callers.collect();
        (load, callers)
    }

    /// Answers a second over this time, and the server's CPU microseconds for each.
    async fn measure(&self, server: &Server, time: Duration) -> (f64, f64) {
        let (before, began, cpu) = (self.answered.load(Ordering::Relaxed), Instant::now(), server.cpu());
        pause(time).await;
        let answered = (self.answered.load(Ordering::Relaxed) - before) as f64;
        (answered / began.elapsed().as_secs_f64(), (server.cpu() - cpu).as_secs_f64() * 1e6 / answered)
    }
}

/// One invocation, whose input no compression makes smaller; its id.
async fn call(ingress: &Http, n: u64) -> String {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    });
    let body: Vec<u8> = noise.flat_map(u64::to_le_bytes).take(INPUT_BYTES).collect();
    let headers = [("content-type", "application/octet-stream")];
    let answer = ingress.request(http::Method::POST, "/Kept/on", &headers, Bytes::from(body)).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.headers["x-restate-id"].to_str().expect("an id").to_owned()
}

/// Table files of all partitions: the log has a size of its own.
fn stored(base_dir: &Path) -> u64 {
    let mut sum = 0;
    for partition in std::fs::read_dir(base_dir.join("partitions")).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(partition.path()).into_iter().flatten().flatten() {
            if file.path().extension().is_some_and(|extension| extension == "sst") {
                // A file may be removed between the list and the look.
                sum += file.metadata().map_or(0, |metadata| metadata.len());
            }
        }
    }
    sum
}

async fn journal_is_there(server: &Server, id: &str) -> anyhow::Result<bool> {
    let answer = server.admin.get(&format!("/invocations/{id}")).await?;
    if answer.status == 404 {
        return Ok(false);
    }
    Ok(answer.ok()?.json()?["journal"]["length"].as_u64().is_some_and(|length| length > 0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_goes_beside_the_load() {
    let kept = tier(6_000, 200_000);
    let retention = Duration::from_secs(tier(12, 180));
    let window = Duration::from_secs(tier(4, 30));
    let options = ServerOptions::default()
        .env("MILLRACE_WORKER__CLEANUP_INTERVAL", "500ms")
        .env("MILLRACE_DEFAULT_JOURNAL_RETENTION", &format!("{}s", retention.as_secs()))
        // So that small numbers reach the disk.
        .env("MILLRACE_WORKER__STORAGE__WRITE_BUFFER_SIZE", tier("1MiB", "8MiB"));
    let endpoint = Endpoint::start(manifest("Kept"), |attempt: Attempt| attempt.say(wire::done())).await;
    let server = Server::start(options).await;
    let made = server.admin.post("/deployments", &json!({"uri": endpoint.uri()})).await.expect("an answer");
    assert_eq!(made.status, 201, "{}", made.text());

    // What is to expire, as fast as it goes.
    let first = call(&server.ingress, u64::MAX).await;
    let began = Instant::now();
    let (load, callers) = Load::start(&server.ingress);
    eventually(10 * PATIENCE, "enough has ended", async || {
        let ended = load.answered.load(Ordering::Relaxed);
        anyhow::ensure!(ended >= kept, "{ended} of {kept}");
        Ok(())
    })
    .await;
    let filled = began.elapsed();
    // The same load goes on; nothing has expired yet, or it is not known what to compare with.
    let (before, cpu_before) = load.measure(&server, window).await;
    assert!(journal_is_there(&server, &first).await.expect("an answer"), "it expired before it was measured");
    let full = stored(&server.base_dir());

    // From now on as much expires as was made then; at the end all of it has.
    pause(retention.saturating_sub(began.elapsed())).await;
    eventually(PATIENCE, "the first one has expired", async || {
        anyhow::ensure!(!journal_is_there(&server, &first).await?, "its journal is there");
        Ok(())
    })
    .await;
    let (during, cpu_during) = load.measure(&server, window.min(filled)).await;
    println!(
        "{before:.0} calls a second before, {during:.0} while others expire; {cpu_before:.0} and {cpu_during:.0} us of CPU \
         a call; {} MiB stored",
        full >> 20
    );
    load.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("all were answered");
    }
    // As many expire in this time as were called before it, so each call pays for one. What else runs on the machine
    // changes how many calls there are in a second, and hardly what one costs.
    let bar = tier(1.6, 1.4);
    assert!(cpu_during < cpu_before * bar, "{cpu_during} us a call while others expire, {cpu_before} before");
    if tier(false, true) {
        assert!(during > before * 0.9, "{during} calls a second while others expire, {before} before");
    }

    let last = call(&server.ingress, u64::MAX - 1).await;
    eventually(retention + 2 * PATIENCE, "the last one has expired", async || {
        anyhow::ensure!(!journal_is_there(&server, &last).await?, "its journal is there");
        Ok(())
    })
    .await;
    // The inputs were nearly all of it. The rows of what has ended stay, for answers to who asks again.
    assert!(full > kept * INPUT_BYTES as u64 / 2, "{full} bytes were stored");
    eventually(2 * PATIENCE, "the disk has its room back", async || {
        let left = stored(&server.base_dir());
        anyhow::ensure!(left < full / 2, "{left} of {full} bytes are left");
        Ok(())
    })
    .await;
    println!("{} MiB left", stored(&server.base_dir()) >> 20);
}
