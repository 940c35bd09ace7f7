//! The queue of a key survives with its order (invariant 3).

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn who_waits_for_a_key_keeps_the_place() {
    let mut world = World::start("rust").await;
    let client = world.client();
    let file = world.service.file("gate");
    // The first one holds the key, with everybody behind it.
    let mut ids = vec![client.send("Gate/q/on", "0", &json!({"seq": 0, "hold": file})).await];
    for seq in 1..60 {
        if seq % 20 == 0 {
            world.server.crash().await;
        }
        ids.push(client.send("Gate/q/on", &seq.to_string(), &json!({"seq": seq})).await);
    }
    let look = world.server.admin.get("/services/Gate/keys/q").await.unwrap().json().unwrap();
    assert_eq!(look["inbox_first"][0], json!(ids[1]), "{look:#}");
    world.server.crash().await;
    std::fs::write(file, "").unwrap();
    assert_eq!(client.attach(ids.last().expect("some")).await, 60);
    assert_eq!(client.query("Gate/q/seqs").await, json!((0..60).collect::<Vec<_>>()));
}
