//! Many timers over a kill: all fire, none early, once, and memory does not grow with them (invariant 6).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use serde_json::json;

use crate::{
    support::{Attempt, Endpoint, Http, PATIENCE, Server, ServerOptions, eventually, manifest, tier},
    wire::{Message, SLEEP, SUSPENSION, done, join},
};

/// All are due within this.
const SPREAD_MS: u64 = 4_000;
/// What a busy machine may take to fire them all. Not a bar of speed.
const LATE_MAX: Duration = Duration::from_secs(300);
/// Clients that set timers at the same time.
const SENDERS: u64 = 32;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// What the handlers have seen.
#[derive(Default)]
struct Seen {
    fired: HashSet<u64>,
    wrong: Vec<String>,
}

impl Seen {
    fn fire(&mut self, n: u64, due: u64) {
        let now = now_ms();
        if now < due {
            self.wrong.push(format!("timer {n} fired {} ms early", due - now));
        }
        if !self.fired.insert(n) {
            // The attempt that the kill cut off may come again; nothing runs at the kill.
            self.wrong.push(format!("timer {n} fired twice"));
        }
    }
}

/// `<number> <due>` between blanks, wherever it stands in the input.
fn input(bytes: &[u8]) -> (u64, u64) {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.split_once("timer ").expect("the input");
    let mut numbers = rest.split(' ').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("its number"), numbers.next().expect("its time"))
}

/// Is there a frame of this type?
fn has_frame(mut bytes: &[u8], ty: u16) -> bool {
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        if u16::from_be_bytes([head[0], head[1]]) == ty {
            return true;
        }
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        bytes = rest.get(length..).unwrap_or_default();
    }
    false
}

/// `Delayed/on` is called when its timer fires; `Asleep/on` sleeps until then.
async fn endpoint(seen: Arc<Mutex<Seen>>) -> Endpoint {
    let mut manifest = manifest("Delayed");
    let mut asleep = manifest["services"][0].clone();
    asleep["name"] = json!("Asleep");
    manifest["services"].as_array_mut().expect("a list").push(asleep);
    Endpoint::start(manifest, move |mut attempt: Attempt| {
        let seen = Arc::clone(&seen);
        async move {
            let replay = attempt.first_bytes().await;
            let (n, due) = input(&replay);
            let sleeps = n % 2 == 1;
            let said = if sleeps && !has_frame(&replay, SLEEP) {
                let sleep = Message::new().number(1, due).number(11, 1).frame(SLEEP);
                let wait = Message::new().message(4, Message::new().bytes(1, [1]).number(5, 1)).frame(SUSPENSION);
                join(&[sleep, wait])
            } else {
                seen.lock().expect("nobody panics with it").fire(n, due);
                done()
            };
            let mut answer = attempt.accept();
            let _ = answer.send_data(said, true);
            attempt.rest().await;
        }
    })
    .await
}

async fn set(ingress: &Http, n: u64, due: u64) {
    let body = Bytes::from(format!("timer {n} {due} "));
    let path = match n % 2 {
        1 => "/Asleep/on/send".to_owned(),
        _ => format!("/Delayed/on/send?delay={}ms", due.saturating_sub(now_ms())),
    };
    let headers = [("content-type", "application/octet-stream")];
    let answer = ingress.request(http::Method::POST, &path, &headers, body).await.expect("an answer");
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_timers_survive_a_kill() {
    let count: u64 = tier(5_000, 100_000);
    let seen = Arc::<Mutex<Seen>>::default();
    let endpoint = endpoint(Arc::clone(&seen)).await;
    let mut server = Server::start(ServerOptions::default()).await;
    let made = server.admin.post("/deployments", &json!({"uri": endpoint.uri()})).await.expect("an answer");
    assert_eq!(made.status, 201, "{}", made.text());

    // How long it takes to set them, so that none is due before all are set and the server has been killed.
    let began = Instant::now();
    let warm = 200;
    let far = now_ms() + 24 * 60 * 60 * 1000;
    for n in 0..warm {
        set(&server.ingress, count + n, far).await;
    }
    let each_us = began.elapsed().as_micros() as u64 / warm;
    let due = now_ms() + 15_000 + 2 * count * each_us / 1000;
    println!("due in {} s", (due - now_ms()) / 1000);

    let setting: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let ingress = server.ingress.clone();
            tokio::spawn(async move {
                for n in (sender..count).step_by(SENDERS as usize) {
                    // Not in the order in which they are due.
                    set(&ingress, n, due + n * 7919 % SPREAD_MS).await;
                }
            })
        })
        .collect();
    for sender in setting {
        sender.await.expect("all are set");
    }
    let pending = (count + warm) as f64;
    let waiting = async |server: &Server| {
        let mut sum = 0.0;
        for state in ["suspended", "scheduled"] {
            sum += server.metric("millrace_partition_invocations", &format!("state=\"{state}\"")).await?;
        }
        anyhow::Ok(sum)
    };
    eventually(PATIENCE, "all of them wait", async || {
        let sum = waiting(&server).await?;
        anyhow::ensure!(sum == pending, "{sum} of {pending}");
        Ok(())
    })
    .await;
    assert!(now_ms() < due, "they were not set in time");
    assert_eq!(seen.lock().unwrap().fired.len(), 0);

    server.crash().await;
    eventually(PATIENCE, "they are known again", async || {
        let sum = waiting(&server).await?;
        anyhow::ensure!(sum == pending, "{sum} of {pending}");
        Ok(())
    })
    .await;
    // A timer in memory is a key; those beyond the window and the rows of who waits are on the disk or in caches of a
    // fixed size.
    let resident = server.rss();
    println!("{} MiB with {count} timers", resident >> 20);
    assert!(resident < 400 << 20, "{resident} bytes");
    let early = now_ms();
    if early < due {
        assert_eq!(seen.lock().unwrap().fired.len(), 0, "nothing is started again by the restart");
    }

    eventually(Duration::from_millis(due.saturating_sub(now_ms()) + SPREAD_MS) + LATE_MAX, "all fire", async || {
        let fired = seen.lock().unwrap().fired.len();
        anyhow::ensure!(fired as u64 == count, "{fired} of {count}");
        Ok(())
    })
    .await;
    println!("all fired {} s after they were due", (now_ms().saturating_sub(due)) / 1000);
    let wrong = std::mem::take(&mut seen.lock().unwrap().wrong);
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong[..wrong.len().min(10)].join(", "));
}
