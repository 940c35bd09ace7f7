//! Every record once and in order per key, whatever dies meanwhile.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::support::{pause, seed, tier};

/// Noise of handlers that fail on purpose, and of a crash in the middle of anything.
fn allow_failures(server: &Server) {
    server.allow("random failure");
}

fn moment(dice: &mut StdRng) -> Duration {
    Duration::from_millis(dice.random_range(20..700))
}

/// Ends the server, or the services, in one of several ways and lets them serve again.
async fn end(scene: &mut Scene, dice: &mut StdRng) {
    let server = &mut scene.server;
    match dice.random_range(0..5) {
        0 => assert!(server.stop().success(), "the server did not stop by itself"),
        1 => {
            // Again while it still recovers.
            server.kill();
            server.spawn();
            pause(Duration::from_millis(dice.random_range(0..150))).await;
            server.kill();
        }
        2 => {
            scene.service.kill();
            pause(moment(dice) / 4).await;
            return scene.service.start_again();
        }
        _ => server.kill(),
    }
    server.start_again().await;
}

/// Writes in as many parts as there are ends and one more, each end somewhere in the middle of a part's work.
async fn survive(scene: &mut Scene, topic: &str, events: &[Event], ends: usize, dice: &mut StdRng) {
    let producer = scene.kafka.producer().await;
    for (n, part) in events.chunks(events.len().div_ceil(ends + 1)).enumerate() {
        tokio::join!(produce(&producer, topic, part), async {
            if n < ends {
                pause(moment(dice)).await;
                end(scene, dice).await;
            }
        });
    }
}

/// Every record is settled, and nothing is left over of what was counted on the way.
async fn drained(server: &Server, id: &str, events: &[Event]) {
    let wanted = events.len() as u64;
    let is_drained = |shown: &Value| {
        let budget = |what: &str| shown["status"]["budget"][what].as_u64();
        ["ready_records", "ready_bytes", "held_records", "held_bytes"].into_iter().all(|what| budget(what) == Some(0))
            && count(shown, "records") == wanted
            && state(shown) == "running"
    };
    let shown = server.until_subscription(id, "all is settled", is_drained).await;
    assert_eq!((count(&shown, "rejected"), count(&shown, "missing")), (0, 0), "{shown:#}");
}

#[tokio::test]
async fn every_key_has_exactly_its_records_in_order_across_kills_of_the_server() {
    let (records, keys, kills) = tier((2_000, 200, 3), (20_000, 1_000, 10));
    let mut dice = StdRng::seed_from_u64(seed());
    let mut scene = Scene::with(&[("FAIL_PERCENT", "5")], |options| options.partitions(8)).await;
    allow_failures(&scene.server);
    let topic = scene.kafka.topic("kills", 8).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    // Placed by the key like Kafka's own clients do.
    let events = turns(keys, records / keys, |_| None);
    survive(&mut scene, &topic, &events, kills, &mut dice).await;
    settled(&scene.server, "Events", &events).await;
    drained(&scene.server, &id, &events).await;
}

#[tokio::test]
async fn every_key_has_exactly_its_records_in_order_when_they_are_shuffled() {
    let (records, keys, kills) = tier((1_000, 100, 2), (20_000, 1_000, 10));
    let mut dice = StdRng::seed_from_u64(seed());
    let mut scene = Scene::with(&[("FAIL_PERCENT", "5")], |options| options.partitions(4)).await;
    allow_failures(&scene.server);
    // Not a multiple of the engine's partitions, and the keys are anywhere.
    let topic = scene.kafka.topic("shuffled", 7).await;
    // Budgets so small that sources are paused all the time, by both of them.
    let options = [EARLIEST, ("millrace.ready-records", "40"), ("millrace.held-records", "60")];
    let id = scene.server.subscribe(&topic, "Events/on", &options).await;
    let events = turns(keys, records / keys, |key| Some((key % 7) as i32));
    survive(&mut scene, &topic, &events, kills, &mut dice).await;
    settled(&scene.server, "Events", &events).await;
    drained(&scene.server, &id, &events).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_has_exactly_its_records_in_order_across_restarts_of_the_broker() {
    let (records, keys) = tier((1_000, 100), (20_000, 1_000));
    let mut dice = StdRng::seed_from_u64(seed());
    let kafka = Kafka::start();
    let service = Service::start_with("rust", &[("FAIL_PERCENT", "5")]);
    let server = Server::start(ServerOptions::kafka(kafka.bootstrap()).partitions(4)).await;
    server.register(&service).await;
    allow_failures(&server);
    server.allow("kafka client");
    server.allow("subscription is held up");
    let topic = kafka.topic("restarts", 6).await;
    let id = server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let events = turns(keys, records / keys, |key| Some((key % 6) as i32));
    let third = events.len() / 3;
    let producer = kafka.producer().await;
    produce(&producer, &topic, &events[..third]).await;
    for (signal, part) in [("TERM", &events[third..2 * third]), ("KILL", &events[2 * third..])] {
        // The producer tries again by itself.
        let (_, ()) = tokio::join!(produce(&producer, &topic, part), async {
            pause(moment(&mut dice) / 4).await;
            tokio::task::block_in_place(|| kafka.stop(signal));
            server.until_subscription(&id, "the trouble is shown", |shown| state(shown) == "retrying").await;
            assert!(server.admin.get("/health").await.is_ok_and(|answer| answer.status.is_success()));
            tokio::task::block_in_place(|| kafka.start_again());
        });
    }
    settled(&server, "Events", &events).await;
    drained(&server, &id, &events).await;
}
