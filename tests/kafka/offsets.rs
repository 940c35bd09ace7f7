//! Where a subscription starts, and what Kafka's own tools see of it.

use millrace_connector_kafka::Commit;

use super::*;

fn numbers(key: &str, range: std::ops::Range<u64>) -> Vec<Event> {
    range.map(|seq| Event::at(0, key, seq)).collect()
}

async fn reads(scene: &Scene, id: &str) {
    scene.server.until_subscription(id, "it reads", |shown| !shown["status"]["sources"][0].is_null()).await;
}

#[tokio::test]
async fn earliest_reads_old_records_and_the_default_does_not() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("reset", 1).await;
    let producer = scene.kafka.producer().await;
    produce(&producer, &topic, &numbers("k", 0..5)).await;
    scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let latest = scene.server.subscribe(&topic, "Gate/on", &[]).await;
    reads(&scene, &latest).await;
    produce(&producer, &topic, &numbers("k", 5..10)).await;
    settled(&scene.server, "Events", &numbers("k", 0..10)).await;
    settled(&scene.server, "Gate", &numbers("k", 5..10)).await;
}

/// The start is a number from the first moment on: what is written while the server is away is not skipped.
#[tokio::test]
async fn latest_is_fixed_when_the_subscription_is_made() {
    let mut scene = Scene::new().await;
    let topic = scene.kafka.topic("fixed", 1).await;
    let producer = scene.kafka.producer().await;
    produce(&producer, &topic, &numbers("k", 0..5)).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[]).await;
    reads(&scene, &id).await;
    scene.server.kill();
    produce(&producer, &topic, &numbers("k", 5..10)).await;
    scene.server.start_again().await;
    settled(&scene.server, "Events", &numbers("k", 5..10)).await;
}

#[tokio::test]
async fn positions_are_committed_for_kafkas_tools() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("tools", 2).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let events = turns(4, 5, |key| Some((key % 2) as i32));
    produce(&scene.kafka.producer().await, &topic, &events).await;
    // Without a name of its own the group is the subscription.
    eventually(PATIENCE, "the committed offsets follow", async || {
        let committed = scene.kafka.committed(&id, &topic, 2).await?;
        ensure!(committed == [Some(10), Some(10)], "{committed:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_new_subscription_of_the_same_group_goes_on_exactly_where_the_deleted_one_stopped() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("goes-on", 2).await;
    let group = support::unique("group");
    let options = [EARLIEST, ("group.id", group.as_str())];
    let producer = scene.kafka.producer().await;
    let keys = 20;
    let all = turns(keys, 60, |key| Some((key % 2) as i32));
    let parts = all.chunks(keys as usize * 5);
    let mut id = scene.server.subscribe(&topic, "Events/on", &options).await;
    // Deleted and made again in the middle of the work.
    for part in parts {
        tokio::join!(produce(&producer, &topic, part), async {
            scene.server.unsubscribe(&id).await;
            id = scene.server.subscribe(&topic, "Events/on", &options).await;
        });
    }
    settled(&scene.server, "Events", &all).await;
}

#[tokio::test]
async fn a_deleted_subscription_takes_no_more_records_and_what_it_took_is_handled() {
    let mut scene = Scene::new().await;
    let topic = scene.kafka.topic("deleted", 1).await;
    let producer = scene.kafka.producer().await;
    let id = scene.server.subscribe(&topic, "Gate/on", &[EARLIEST]).await;
    let file = scene.service.file("go");
    let value = json!({ "seq": 0, "hold": file }).to_string();
    let record = OutRecord { topic: &topic, key: Some(b"k"), value: Some(value.as_bytes()), ..OutRecord::default() };
    scene.kafka.produce([record]).await;
    produce(&producer, &topic, &numbers("k", 1..5)).await;
    scene.server.until_subscription(&id, "five are taken", |shown| count(shown, "records") == 5).await;
    scene.server.unsubscribe(&id).await;
    let gone = scene.server.admin.get(&format!("/subscriptions/{id}")).await.unwrap();
    assert_eq!(gone.status, 404);
    // Its last act.
    eventually(PATIENCE, "its offsets are written", async || {
        let committed = scene.kafka.committed(&id, &topic, 1).await?;
        ensure!(committed == [Some(5)], "{committed:?}");
        Ok(())
    })
    .await;
    produce(&producer, &topic, &numbers("k", 5..8)).await;
    scene.server.crash().await;
    // Another subscription has read behind the new records by the time its own is handled.
    scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    eventually(PATIENCE, "the other one has read them all", async || {
        let seen = scene.server.query("Events/k/seqs").await?;
        ensure!(seen.as_array().is_some_and(|seen| seen.len() == 8), "{seen}");
        Ok(())
    })
    .await;
    std::fs::write(&file, "").unwrap();
    settled(&scene.server, "Gate", &numbers("k", 0..5)).await;
}

#[tokio::test]
async fn the_offsets_of_an_empty_group_are_adopted() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("adopted", 2).await;
    let producer = scene.kafka.producer().await;
    let events = turns(2, 10, |key| Some(key as i32));
    produce(&producer, &topic, &events).await;
    let group = support::unique("group");
    // Partition 1 has no committed offset: there the option counts.
    let commit = Commit { topic: &topic, partition: 0, offset: 7, metadata: "" };
    scene.kafka.admin().await.commit(&group, &[commit]).await.unwrap();
    scene.server.subscribe(&topic, "Events/on", &[EARLIEST, ("group.id", &group)]).await;
    let wanted: Vec<_> = events.iter().filter(|event| event.partition == Some(1) || event.seq >= 7).collect();
    settled(&scene.server, "Events", wanted).await;
}

#[tokio::test]
async fn a_group_with_members_is_not_adopted_until_they_have_left() {
    let scene = Scene::new().await;
    scene.server.allow("subscription is held up");
    let topic = scene.kafka.topic("members", 1).await;
    produce(&scene.kafka.producer().await, &topic, &numbers("k", 0..5)).await;
    let group = support::unique("group");
    let member = scene.kafka.join(&group, &topic).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST, ("group.id", &group)]).await;
    let shown = scene.server.until_subscription(&id, "it is refused", |shown| code(shown) == "SUB0001").await;
    assert_eq!(count(&shown, "records"), 0);
    tokio::task::spawn_blocking(move || drop(member)).await.unwrap();
    settled(&scene.server, "Events", &numbers("k", 0..5)).await;
}

/// Kafka is away when the subscription is deleted, and the server is killed before it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_offsets_of_a_deleted_subscription_survive_a_crash() {
    let kafka = tokio::task::block_in_place(Kafka::start);
    let service = Service::start("rust");
    let mut server = Server::start(ServerOptions::kafka(kafka.bootstrap())).await;
    server.allow("subscription is held up");
    server.allow("kafka client");
    server.register(&service).await;
    let topic = kafka.topic("buried", 2).await;
    let events = turns(4, 5, |key| Some((key % 2) as i32));
    let group = support::unique("group");
    let options = [EARLIEST, ("group.id", group.as_str())];
    let id = server.subscribe(&topic, "Events/on", &options).await;
    produce(&kafka.producer().await, &topic, &events).await;
    settled(&server, "Events", &events).await;
    tokio::task::block_in_place(|| kafka.stop("TERM"));
    server.unsubscribe(&id).await;
    // Its heir waits for it.
    let heir = server.subscribe(&topic, "Gate/on", &options).await;
    server.crash().await;
    let gone = server.admin.get(&format!("/subscriptions/{id}")).await.unwrap();
    assert_eq!(gone.status, 404);
    tokio::task::block_in_place(|| kafka.start_again());
    eventually(PATIENCE, "its offsets are written", async || {
        let committed = kafka.committed(&group, &topic, 2).await?;
        ensure!(committed == [Some(10), Some(10)], "{committed:?}");
        Ok(())
    })
    .await;
    let more: Vec<_> = (0..3).map(|seq| Event::at(0, "more", seq)).collect();
    produce(&kafka.producer().await, &topic, &more).await;
    settled(&server, "Gate", &more).await;
    let shown = server.subscription(&heir).await.unwrap();
    assert_eq!(count(&shown, "records"), 3, "it goes on exactly there: {shown:#}");
}

#[tokio::test]
async fn without_an_offset_to_start_from_nothing_is_read_until_there_is_one() {
    let scene = Scene::new().await;
    scene.server.allow("subscription is held up");
    let topic = scene.kafka.topic("no-start", 1).await;
    produce(&scene.kafka.producer().await, &topic, &numbers("k", 0..5)).await;
    let group = support::unique("group");
    let options = [("auto.offset.reset", "error"), ("group.id", group.as_str())];
    let id = scene.server.subscribe(&topic, "Events/on", &options).await;
    let shown = scene.server.until_subscription(&id, "it is told", |shown| code(shown) == "SUB0006").await;
    assert_eq!(count(&shown, "records"), 0);
    let commit = Commit { topic: &topic, partition: 0, offset: 3, metadata: "" };
    scene.kafka.admin().await.commit(&group, &[commit]).await.unwrap();
    settled(&scene.server, "Events", &numbers("k", 3..5)).await;
}
