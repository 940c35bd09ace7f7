//! A server that is killed while it starts, again and again.

use std::time::Duration;

use rand::Rng;
use serde_json::json;

use crate::{
    support::{pause, tier},
    world::World,
};

#[tokio::test]
async fn kills_during_recovery_lose_nothing() {
    let mut world = World::start("rust").await;
    let client = world.client();
    for n in 0..200 {
        client.call(&format!("Counter/s{}/add", n % 10), &n.to_string(), &json!(1)).await;
    }
    let sleeper = client.send("Sleeper/sleep", "sleeper", &json!(3000)).await;
    for _ in 0..tier(6, 40) {
        world.server.kill();
        world.server.spawn();
        // From before the first file is opened to after the first announcement.
        pause(Duration::from_millis(world.rng.random_range(0..250))).await;
    }
    world.server.kill();
    world.server.start_again().await;
    for n in 0..10 {
        assert_eq!(client.query(&format!("Counter/s{n}/get")).await, 20);
    }
    // Known ids are known still.
    assert_eq!(client.call("Counter/s3/add", "3", &json!(1)).await, 1);
    assert_eq!(client.attach(&sleeper).await, "slept");
}
