//! Timers survive, fire on time and never early (invariant 6).

use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::json;

use crate::{
    support::{pause, tier},
    world::World,
};

/// What a busy machine may add to a timer that is due while the server runs. Not a bar of speed.
const LATE_MAX: Duration = Duration::from_secs(15);

#[tokio::test]
async fn sleepers_wake_on_time_and_never_early() {
    let mut world = World::start("rust").await;
    let client = world.client();
    let mut sleepers = Vec::new();
    for n in 0..tier(120, 3000) {
        let nap = Duration::from_millis(world.rng.random_range(500..6000));
        let (client, began) = (client.clone(), Instant::now());
        let input = json!(nap.as_millis() as u64);
        let id = client.send("Sleeper/sleepThenStep", &format!("sleeper-{n}"), &input).await;
        // Followed from the start, so that the moment of waking is seen, by whichever server.
        let followed = id.clone();
        let woken = tokio::spawn(async move {
            let result = client.attach(&followed).await;
            assert_eq!(result, json!(format!("slept {followed}")));
            began.elapsed()
        });
        sleepers.push((id, nap, woken));
    }
    world.kills(3, 12).await;
    let up = Instant::now();
    let mut last = Duration::ZERO;
    for (id, nap, woken) in sleepers {
        let slept = woken.await.unwrap();
        assert!(slept >= nap, "{id} slept {slept:?} instead of {nap:?}");
        last = last.max(nap);
    }
    assert!(up.elapsed() < last + LATE_MAX, "the last one woke {:?} after the last kill", up.elapsed());
}

/// What is due while nobody is there fires when somebody is.
#[tokio::test]
async fn timers_that_pass_while_the_server_is_down_fire_at_once() {
    let mut world = World::start("rust").await;
    let client = world.client();
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(client.send("Sleeper/sleep", &format!("sleeper-{n}"), &json!(1500)).await);
    }
    for n in 0..20 {
        let path = format!("Counter/delayed-{n}/add/send?delay=1500ms");
        let sent = world.server.ingress.post(&format!("/{path}"), &json!(1)).await.unwrap();
        assert_eq!(sent.status, 202);
    }
    world.server.kill();
    pause(Duration::from_millis(1600)).await;
    world.server.start_again().await;
    let up = Instant::now();
    for id in &ids {
        assert_eq!(client.attach(id).await, "slept");
    }
    for n in 0..20 {
        while client.query(&format!("Counter/delayed-{n}/get")).await != 1 {
            assert!(up.elapsed() < LATE_MAX);
            pause(Duration::from_millis(25)).await;
        }
    }
    assert!(up.elapsed() < LATE_MAX, "{:?}", up.elapsed());
}

/// A sleeper is a row and a timer: after a restart it is not started again.
#[tokio::test]
async fn a_restart_does_not_wake_sleepers() {
    let mut world = World::start("rust").await;
    let client = world.client();
    for n in 0..30 {
        client.send("Sleeper/sleep", &format!("sleeper-{n}"), &json!(600_000)).await;
    }
    let id = client.send("Sleeper/sleep", "last", &json!(600_000)).await;
    let look =
        async |world: &World| world.server.admin.get(&format!("/invocations/{id}")).await.unwrap().json().unwrap();
    while look(&world).await["status"] != "suspended" {
        pause(Duration::from_millis(20)).await;
    }
    let before = look(&world).await;
    world.server.crash().await;
    // Time in which nothing must happen.
    pause(Duration::from_millis(700)).await;
    let after = look(&world).await;
    assert_eq!((&after["status"], &after["attempt"]), (&json!("suspended"), &before["attempt"]), "{after:#}");
    let started = world.server.metric("millrace_invoker_invocation_tasks_total", "").await.unwrap();
    assert_eq!(started, 0.0, "attempts after the restart");
}
