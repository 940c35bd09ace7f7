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

/// Writes in as many parts as there are kills and one more, each kill somewhere in the middle of a part's work.
async fn survive_kills(scene: &mut Scene, topic: &str, events: &[Event], kills: usize, dice: &mut StdRng) {
    let producer = scene.kafka.producer().await;
    for (n, part) in events.chunks(events.len().div_ceil(kills + 1)).enumerate() {
        let (_, ()) = tokio::join!(produce(&producer, topic, part), async {
            if n < kills {
                pause(moment(dice)).await;
                scene.server.kill();
                scene.server.start_again().await;
            }
        });
    }
}

#[tokio::test]
async fn every_key_has_exactly_its_records_in_order_across_kills_of_the_server() {
    let (records, keys, kills) = tier((2_000, 200, 3), (20_000, 1_000, 10));
    let mut dice = StdRng::seed_from_u64(seed());
    let mut scene = Scene::with(&[("FAIL_PERCENT", "5")], |options| options.partitions(8)).await;
    allow_failures(&scene.server);
    let topic = scene.kafka.topic("kills", 8).await;
    scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    // Placed by the key like Kafka's own clients do.
    let events = turns(keys, records / keys, |_| None);
    survive_kills(&mut scene, &topic, &events, kills, &mut dice).await;
    settled(&scene.server, "Events", &events).await;
}

#[tokio::test]
async fn every_key_has_exactly_its_records_in_order_when_they_are_shuffled() {
    let (records, keys, kills) = tier((1_000, 100, 2), (20_000, 1_000, 10));
    let mut dice = StdRng::seed_from_u64(seed());
    let mut scene = Scene::with(&[("FAIL_PERCENT", "5")], |options| options.partitions(4)).await;
    allow_failures(&scene.server);
    // Not a multiple of the engine's partitions, and the keys are anywhere.
    let topic = scene.kafka.topic("shuffled", 7).await;
    scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let events = turns(keys, records / keys, |key| Some((key % 7) as i32));
    survive_kills(&mut scene, &topic, &events, kills, &mut dice).await;
    settled(&scene.server, "Events", &events).await;
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
    server.until_subscription(&id, "it runs again", |shown| state(shown) == "running").await;
}
