//! Programs made at random, over many keys, while server and services are killed: in the end every key holds what the model
//! says, and every program returned what it must.
//!
//! A failing run names its seed: `MILLRACE_TESTS_SEED=… cargo test --test sdk random` makes the same programs again, and
//! kills at the same moments as far as a machine can.

mod generate;

use std::time::Duration;

use anyhow::ensure;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    support::{PATIENCE, Server, ServerOptions, Service, eventually, seed, tier},
    world::{Client, Victim, World},
};
use generate::{Case, Generator};

/// Keys of each level: few enough that programs meet.
const KEYS: usize = 12;

/// Far longer than a program takes once nobody is killed any more.
const STUCK: Duration = Duration::from_secs(50);

/// How large a run is.
struct Size {
    rounds: u64,
    programs: usize,
    kills: usize,
}

async fn random_programs(language: &str, env: &[(&str, &str)]) {
    let size = tier(Size { rounds: 1, programs: 60, kills: 4 }, Size { rounds: 3, programs: 400, kills: 20 });
    let first = seed();
    for seed in first..first + size.rounds {
        eprintln!("programs of {language} with MILLRACE_TESTS_SEED={seed}");
        round(language, env, seed, &size).await;
    }
}

async fn round(language: &str, env: &[(&str, &str)], seed: u64, size: &Size) {
    let service = Service::start_with(language, env);
    // Kills count as failures: with the usual delays, programs that fail on purpose would soon wait a minute each time.
    let options = ServerOptions::default()
        .env("MILLRACE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL", "50ms")
        .env("MILLRACE_DEFAULT_RETRY_POLICY__MAX_INTERVAL", "500ms")
        .env("MILLRACE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS", "unlimited");
    let server = Server::start(options).await;
    let body = json!({"uri": service.uri(), "use_http_11": service.speaks_http1()});
    let made = server.admin.post("/deployments", &body).await.expect("an answer");
    assert_eq!(made.status, 201, "{}", made.text());
    let mut world = World { server, service, rng: StdRng::seed_from_u64(!seed) };

    let mut generator = Generator::new(StdRng::seed_from_u64(seed), KEYS, "r");
    let cases: Vec<_> = (0..size.programs).map(|_| generator.case()).collect();
    let client = world.client();
    // A part of them for each kill, so that there is always something to interrupt.
    let mut sending = Vec::new();
    for (n, part) in cases.chunks(size.programs.div_ceil(size.kills)).enumerate() {
        sending.push(tokio::spawn(send(client.clone(), n, part.to_vec())));
        let victim = [Victim::Server, Victim::Service, Victim::Server, Victim::Both][n % 4];
        world.kill(victim, Duration::from_millis(900)).await;
    }
    let mut sent = Vec::new();
    for part in sending {
        sent.extend(part.await.expect("all are accepted"));
    }
    for (id, case) in &sent {
        let Ok(result) = tokio::time::timeout(STUCK, client.attach(id)).await else {
            panic!("seed {seed}: {id} of {} is stuck: {:#}", case.key, stuck(&world.server, &generator).await);
        };
        assert_eq!(result, case.result, "seed {seed}: {id} of {}: {:#}", case.key, case.program);
    }
    for (key, entries) in generator.state() {
        // What nobody waited for may still be under way.
        eventually(2 * PATIENCE, "the state of the model", async || {
            let state = world.server.query(&format!("Interpreter/{key}/state")).await?;
            ensure!(state == json!(entries), "seed {seed}: {key} holds {state:#}, the model {:#}", json!(entries));
            Ok(())
        })
        .await;
    }
    // And it stays so: nothing runs twice.
    world.kill(Victim::Server, Duration::from_millis(50)).await;
    for (key, entries) in generator.state() {
        assert_eq!(client.query(&format!("Interpreter/{key}/state")).await, json!(entries), "seed {seed}: {key}");
    }
}

/// What the API shows of the keys that are not free.
async fn stuck(server: &Server, generator: &Generator) -> Value {
    let mut shown = Vec::new();
    for key in generator.state().keys() {
        let look = server.admin.get(&format!("/services/Interpreter/keys/{key}")).await.and_then(|look| look.json());
        shown.extend(look.ok().filter(|look| look["state"] != "free"));
    }
    Value::Array(shown)
}

/// Sends programs one after the other; their ids.
async fn send(client: Client, part: usize, cases: Vec<Case>) -> Vec<(String, Case)> {
    let mut sent = Vec::new();
    for (n, case) in cases.into_iter().enumerate() {
        let path = format!("Interpreter/{}/run", case.key);
        let id = client.send(&path, &format!("program-{part}-{n}"), &case.program).await;
        sent.push((id, case));
    }
    sent
}

#[tokio::test]
async fn random_programs_of_typescript() {
    random_programs("typescript", &[]).await;
}

#[tokio::test]
async fn random_programs_of_typescript_over_http_1() {
    random_programs("typescript", &[("HTTP1", "1")]).await;
}

#[tokio::test]
async fn random_programs_of_python() {
    random_programs("python", &[]).await;
}

#[tokio::test]
async fn random_programs_of_rust() {
    random_programs("rust", &[]).await;
}

#[tokio::test]
async fn random_programs_of_java() {
    if tier(false, true) {
        random_programs("java", &[]).await;
    }
}

#[tokio::test]
async fn random_programs_of_go() {
    if tier(false, true) {
        random_programs("go", &[]).await;
    }
}
