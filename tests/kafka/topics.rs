//! Topics change under a subscription.

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};

use super::*;

/// A key of its own for every incarnation of a topic, over three source partitions.
fn events(prefix: &str, keys: u64, count: u64) -> Vec<Event> {
    let named = |event: Event| Event { key: format!("{prefix}-{}", event.key), ..event };
    turns(keys, count, |key| Some((key % 3) as i32)).into_iter().map(named).collect()
}

#[tokio::test]
async fn a_topic_that_is_made_again_is_read_from_its_new_beginning() {
    let scene = Scene::new().await;
    scene.server.allow("subscription is held up");
    scene.server.allow("kafka client");
    let topic = scene.kafka.topic("again", 3).await;
    // Whatever the subscription says about its first start: a topic that was made meanwhile has nothing old.
    let id = scene.server.subscribe(&topic, "Events/on", &[("auto.offset.reset", "latest")]).await;
    scene.server.until_subscription(&id, "it reads", |shown| !shown["status"]["sources"][2].is_null()).await;
    // Fewer records than before, more, and as many.
    for (round, count) in [10, 5, 20, 20].into_iter().enumerate() {
        if round > 0 {
            scene.kafka.delete_topic(&topic).await;
            scene.kafka.create_topic(&topic, 3).await;
        }
        let events = events(&format!("round-{round}"), 9, count);
        produce(&scene.kafka.producer().await, &topic, &events).await;
        settled(&scene.server, "Events", &events).await;
    }
    scene.server.until_subscription(&id, "it runs", |shown| state(shown) == "running").await;
}

#[tokio::test]
async fn a_topic_that_is_made_again_while_the_server_is_down_is_read_from_its_new_beginning() {
    let mut scene = Scene::new().await;
    let topic = scene.kafka.topic("away", 3).await;
    scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let before = events("before", 9, 10);
    produce(&scene.kafka.producer().await, &topic, &before).await;
    settled(&scene.server, "Events", &before).await;
    scene.server.kill();
    scene.kafka.delete_topic(&topic).await;
    scene.kafka.create_topic(&topic, 3).await;
    // More than before, so that the old position is a valid offset.
    let after = events("after", 9, 30);
    produce(&scene.kafka.producer().await, &topic, &after).await;
    scene.server.start_again().await;
    settled(&scene.server, "Events", &after).await;
    settled(&scene.server, "Events", &before).await;
}

#[tokio::test]
async fn new_partitions_of_a_topic_are_read_from_their_first_record() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("grows", 1).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[("auto.offset.reset", "latest")]).await;
    scene.server.until_subscription(&id, "it reads", |shown| !shown["status"]["sources"][0].is_null()).await;
    scene.kafka.admin().await.grow_topic(&topic, 4).await.unwrap();
    let events = turns(8, 5, |key| Some((key % 4) as i32));
    let producer = scene.kafka.producer().await;
    eventually(PATIENCE, "the producer knows the new partitions", async || {
        let info = scene.kafka.admin().await.describe_topic(&topic).await?;
        ensure!(info.partitions == 4, "{info:?}");
        Ok(())
    })
    .await;
    produce(&producer, &topic, &events).await;
    settled(&scene.server, "Events", &events).await;
}

#[tokio::test]
async fn records_that_were_removed_before_they_were_read_are_counted_as_missing() {
    let mut scene = Scene::new().await;
    scene.server.allow("the position was not in the topic");
    let topic = scene.kafka.topic("trimmed", 1).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let first: Vec<_> = (0..10).map(|seq| Event::at(0, "first", seq)).collect();
    let producer = scene.kafka.producer().await;
    produce(&producer, &topic, &first).await;
    settled(&scene.server, "Events", &first).await;
    scene.server.kill();
    let lost: Vec<_> = (0..25).map(|seq| Event::at(0, "lost", seq)).collect();
    produce(&producer, &topic, &lost).await;
    let admin: AdminClient<DefaultClientContext> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", scene.kafka.bootstrap()).create().unwrap();
    let mut upto = TopicPartitionList::new();
    upto.add_partition_offset(&topic, 0, Offset::Offset(35)).unwrap();
    admin.delete_records(&upto, &AdminOptions::new()).await.unwrap();
    assert_eq!(scene.kafka.ends(&topic, 0).await, (35, 35));
    let after: Vec<_> = (0..5).map(|seq| Event::at(0, "after", seq)).collect();
    produce(&producer, &topic, &after).await;
    scene.server.start_again().await;
    settled(&scene.server, "Events", &after).await;
    let shown = scene.server.until_subscription(&id, "25 are missing", |shown| count(shown, "missing") == 25).await;
    assert_eq!(count(&shown, "records"), 15, "{shown:#}");
    assert_eq!(scene.server.query("Events/lost/seqs").await.unwrap(), json!([]));
}

#[tokio::test]
async fn the_lag_is_shown_while_it_lasts() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("lag", 1).await;
    let options = [EARLIEST, ("millrace.ready-records", "4"), ("millrace.held-records", "1")];
    let id = scene.server.subscribe(&topic, "Gate/on", &options).await;
    let file = scene.service.file("go");
    let value = json!({ "seq": 0, "hold": file }).to_string();
    let record = OutRecord { topic: &topic, key: Some(b"k"), value: Some(value.as_bytes()), ..OutRecord::default() };
    // More than one batch of the reader, so that something stays behind.
    scene.kafka.produce((0..3000).map(|_| record)).await;
    let behind = |shown: &Value| {
        let lag = count(shown, "lag_records");
        state(shown) == "paused" && lag > 0 && lag + count(shown, "records") == 3000
    };
    scene.server.until_subscription(&id, "the lag and its reason", behind).await;
    eventually(PATIENCE, "the metric", async || {
        let lag = scene.server.metric("millrace_kafka_ingress_consumer_lag", &topic).await?;
        ensure!(lag > 0.0, "{lag}");
        Ok(())
    })
    .await;
    std::fs::write(&file, "").unwrap();
    let done = |shown: &Value| count(shown, "records") == 3000 && shown["status"]["lag_records"] == 0;
    scene.server.until_subscription(&id, "no lag", done).await;
}
