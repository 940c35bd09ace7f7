//! Stores that are flushed and a log that is trimmed while servers die.

use http::Method;
use rand::Rng;
use serde_json::json;

use crate::{
    support::{ServerOptions, tier},
    world::{Victim, World},
};

const PIECE: usize = 400_000;

/// More than fits into write buffers and into the untrimmed log, so that what is read after a kill comes from files.
#[tokio::test]
async fn state_survives_flushes_and_trimming() {
    let options = ServerOptions::default()
        .partitions(2)
        .env("MILLRACE_LOG__LOCAL__SEGMENT_SIZE", "4MiB")
        .env("MILLRACE_LOG__LOCAL__FLUSH_BEHIND", "64MiB")
        .env("MILLRACE_WORKER__STORAGE__WRITE_BUFFER_SIZE", "4MiB");
    let mut world = World::start_with("rust", options).await;
    let headers = [("content-type", "application/octet-stream")];
    let rounds = tier(3, 12);
    let fill = |round: usize, n: usize| vec![(round * 31 + n) as u8; PIECE];
    for round in 0..rounds {
        for n in 0..70 {
            let path = format!("/Events/p{n}/onRaw");
            let answer = world.server.ingress.request(Method::POST, &path, &headers, fill(round, n)).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        world.server.call("Counter/rounds/add", json!(1)).await.unwrap();
        let wait = std::time::Duration::from_millis(world.rng.random_range(1..300));
        world.kill(Victim::Server, wait).await;
        for n in 0..70 {
            let answer = world.server.ingress.post_empty(&format!("/Events/p{n}/raw")).await.unwrap();
            assert!(answer.body == fill(round, n), "round {round}, key {n}: {} bytes", answer.body.len());
        }
    }
    assert_eq!(world.server.query("Counter/rounds/get").await.unwrap(), rounds);
}
