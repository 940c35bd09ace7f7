//! The Kafka quickstart and event processing, over a real broker.

use millrace_connector_kafka::OutRecord;
use serde_json::{Value, json};

use super::{Stage, eventually, get, happened, start};
use crate::support::{Kafka, PATIENCE, ServerOptions};

const EARLIEST: (&str, &str) = ("auto.offset.reset", "earliest");

async fn produce(topic: &str, records: &[(&str, Value)]) {
    let texts: Vec<_> = records.iter().map(|(key, value)| (*key, value.to_string())).collect();
    Kafka::shared()
        .produce(texts.iter().map(|(key, value)| OutRecord {
            topic,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            ..OutRecord::default()
        }))
        .await;
}

async fn until_delivery(stage: &Stage, id: &str, expected: &Value) {
    eventually(PATIENCE, "the delivery is known", async || {
        let shown = get(stage, &format!("/delivery-tracker/{id}/getDelivery")).await.ok()?;
        anyhow::ensure!(shown.json()? == *expected, "{}", shown.text());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_guides_about_events_do_what_they_say() {
    let kafka = Kafka::shared();
    let stage = start(ServerOptions::kafka(kafka.bootstrap())).await;
    a_greeting_comes_from_a_topic(&stage).await;
    tokio::join!(deliveries_are_enriched(&stage), posts_of_a_user_come_one_after_the_other(&stage));
    let Stage { mut server, .. } = stage;
    assert!(server.stop().success());
}

async fn a_greeting_comes_from_a_topic(stage: &Stage) {
    let topic = Kafka::shared().topic("greetings", 1).await;
    let id = stage.server.subscribe(&topic, "Greeter/greet", &[EARLIEST]).await;
    produce(&topic, &[("any", json!({"name": "Sarah"}))]).await;
    eventually(PATIENCE, "Sarah is greeted", async || {
        let lines = stage.service.steps();
        anyhow::ensure!(lines.iter().filter(|line| *line == "reminder for Sarah").count() == 1, "{lines:#?}");
        Ok(())
    })
    .await;
    let list = stage.server.admin.get("/subscriptions").await.unwrap().json().unwrap();
    let shown = &list["subscriptions"][0];
    assert!(id.starts_with("sub_") && shown["id"] == *id, "{list:#}");
    assert_eq!(shown["source"], format!("kafka://c/{topic}"));
    assert_eq!(shown["sink"], "service://Greeter/greet");
    assert_eq!(shown["options"]["auto.offset.reset"], "earliest");
    assert_eq!(shown["options"]["group.id"], *id);
    stage.server.unsubscribe(&id).await;
    let list = stage.server.admin.get("/subscriptions").await.unwrap().json().unwrap();
    assert_eq!(list["subscriptions"], json!([]));
}

async fn deliveries_are_enriched(stage: &Stage) {
    let kafka = Kafka::shared();
    let (registrations, positions) = (kafka.topic("deliveries", 3).await, kafka.topic("positions", 3).await);
    stage.server.subscribe(&registrations, "delivery-tracker/register", &[EARLIEST]).await;
    stage.server.subscribe(&positions, "delivery-tracker/setLocation", &[EARLIEST]).await;
    let ids = ["parcel-1", "parcel-2", "parcel-3"];
    let delivery = |id: &str| json!({"finalDestination": format!("home of {id}")});
    produce(&registrations, &ids.map(|id| (id, delivery(id)))).await;
    for id in ids {
        until_delivery(stage, id, &delivery(id)).await;
    }
    let location = |n: i32| json!({"timestamp": format!("2026-01-01T00:00:{n:02}Z"), "lat": n, "long": -n});
    // One parcel nobody has registered: its event fails for good and stops no other.
    let mut records = vec![("stranger", location(0))];
    for n in 0..20 {
        records.extend(ids.map(|id| (id, location(n))));
    }
    produce(&positions, &records).await;
    for id in ids {
        let mut expected = delivery(id);
        expected["locations"] = (0..20).map(location).collect();
        until_delivery(stage, id, &expected).await;
    }
}

async fn posts_of_a_user_come_one_after_the_other(stage: &Stage) {
    let topic = Kafka::shared().topic("posts", 2).await;
    stage.server.subscribe(&topic, "userFeed/processPost", &[EARLIEST]).await;
    let post = |content: &str| json!({ "content": content });
    let users = ["ann", "ben"];
    let posts = users.map(|user| ["one", "two"].map(|content| (user, post(content)))).concat();
    produce(&topic, &posts).await;
    let expected =
        ["post created: one", "in the feed: one", "post created: two", "in the feed: two"].map(str::to_owned);
    for user in users {
        eventually(PATIENCE, "the posts are in the feed", async || {
            let lines = happened(stage, user);
            anyhow::ensure!(lines == expected, "{user}: {lines:#?}");
            Ok(())
        })
        .await;
    }
}
