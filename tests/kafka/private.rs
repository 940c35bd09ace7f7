//! What is private is for handlers alone.

use super::*;

async fn make(scene: &Scene, public: bool) {
    let patched = scene.server.admin.patch("/services/Events", &json!({ "public": public })).await.unwrap();
    assert_eq!(patched.status, 200, "{}", patched.text());
}

async fn produce_one(scene: &Scene, topic: &str, seq: usize) {
    let value = json!({ "seq": seq }).to_string();
    let record = OutRecord { topic, key: Some(b"k"), value: Some(value.as_bytes()), ..OutRecord::default() };
    scene.kafka.produce([record]).await;
}

#[tokio::test]
async fn a_private_service_takes_no_records_until_it_is_public_again() {
    let scene = Scene::new().await;
    scene.server.allow("SUB0005");
    let topic = scene.kafka.topic("private", 1).await;
    make(&scene, false).await;
    let refused = scene.server.try_subscribe(&topic, "Events/on", &[EARLIEST]).await.unwrap_err().to_string();
    assert!(refused.contains("the handler is private"), "{refused}");

    make(&scene, true).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    produce_one(&scene, &topic, 0).await;
    scene.server.until_subscription(&id, "it is taken", |shown| count(shown, "records") == 1).await;
    make(&scene, false).await;
    produce_one(&scene, &topic, 1).await;
    let waits = |shown: &Value| shown["status"]["last_error"]["code"] == "SUB0005";
    let shown = scene.server.until_subscription(&id, "it says why it waits", waits).await;
    assert_eq!(count(&shown, "records"), 1, "{shown:#}");

    make(&scene, true).await;
    scene.server.until_subscription(&id, "both are taken", |shown| count(shown, "records") == 2).await;
    eventually(PATIENCE, "both are handled, in their order", async || {
        let seqs = scene.server.query("Events/k/seqs").await?;
        ensure!(seqs == json!([0, 1]), "{seqs}");
        Ok(())
    })
    .await;
}
