//! Every kind of handler takes records, and what is wrong with a subscription is said when it is made.

use std::collections::BTreeSet;

use super::*;

fn values<'a>(topic: &'a str, records: &'a [(Option<&'a str>, String)]) -> impl Iterator<Item = OutRecord<'a>> {
    records.iter().map(move |(key, value)| OutRecord {
        topic,
        key: key.map(str::as_bytes),
        value: Some(value.as_bytes()),
        ..OutRecord::default()
    })
}

#[tokio::test]
async fn a_service_handles_every_record_once_whatever_its_key() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("service", 3).await;
    let id = scene.server.subscribe(&topic, "Steps/onEvent", &[EARLIEST]).await;
    let keys = [None, Some("a"), Some("b")];
    let records: Vec<_> = (0..60).map(|seq| (keys[seq % 3], json!({ "seq": seq }).to_string())).collect();
    scene.kafka.produce(values(&topic, &records)).await;
    let wanted: BTreeSet<_> = (0..60).map(|seq| format!("event {seq}")).collect();
    eventually(PATIENCE, "all records are handled", async || {
        let seen: BTreeSet<_> = scene.service.steps().into_iter().collect();
        ensure!(seen == wanted, "{} of {}", seen.len(), wanted.len());
        Ok(())
    })
    .await;
    let shown = scene.server.until_subscription(&id, "60 are taken", |shown| count(shown, "records") == 60).await;
    assert_eq!(count(&shown, "rejected"), 0);
    assert_eq!(scene.service.steps().len(), 60, "a step ran twice");
}

#[tokio::test]
async fn a_shared_handler_runs_beside_the_exclusive_one_of_its_key() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("shared", 1).await;
    let id = scene.server.subscribe(&topic, "Gate/seqs", &[EARLIEST]).await;
    let file = scene.service.file("go");
    scene.server.send("Gate/k/hold", json!({ "file": file })).await.unwrap();
    let records: Vec<_> = (0..10).map(|_| (Some("k"), String::new())).collect();
    scene.kafka.produce(values(&topic, &records)).await;
    let settled = |shown: &Value| count(shown, "records") == 10 && shown["status"]["budget"]["ready_records"] == 0;
    scene.server.until_subscription(&id, "all records are handled", settled).await;
    std::fs::write(&file, "").unwrap();
}

#[tokio::test]
async fn two_subscriptions_of_one_topic_each_get_every_record() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("twice", 2).await;
    scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    scene.server.subscribe(&topic, "Gate/on", &[EARLIEST]).await;
    let events = turns(10, 10, |key| Some((key % 2) as i32));
    produce(&scene.kafka.producer().await, &topic, &events).await;
    settled(&scene.server, "Events", &events).await;
    settled(&scene.server, "Gate", &events).await;
}

#[tokio::test]
async fn a_subscription_that_cannot_work_is_refused_and_every_fault_named() {
    let scene = Scene::new().await;
    let refused = async |source: &str, sink: &str, options: Value| {
        let body = json!({ "source": source, "sink": sink, "options": options });
        let answer = scene.server.admin.post("/subscriptions", &body).await.unwrap();
        assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.text());
        answer.text()
    };
    let options = json!({
        "bogus": "x", "enable.auto.commit": "true", "bootstrap.servers": "h:1", "fetch.min.bytes": "many",
        "millrace.null-key": "maybe", "millrace.other": "1", "plugin.library.paths": "/tmp/x.so",
    });
    let text = refused("kafka://c/t", "service://Events/on", options.clone()).await;
    assert!(text.contains("META0009"), "{text}");
    for key in options.as_object().unwrap().keys() {
        assert!(text.contains(key.as_str()), "{key} is not named in {text}");
    }
    for (source, sink, wanted) in [
        ("kafka://nobody/t", "service://Events/on", "nobody"),
        ("http://c/t", "service://Events/on", "META0009"),
        ("kafka://c", "service://Events/on", "META0009"),
        ("kafka://c/t", "service://Nobody/on", "META0009"),
        ("kafka://c/t", "service://Events/nothing", "META0009"),
        ("kafka://c/t", "kafka://c/t", "META0009"),
    ] {
        let text = refused(source, sink, json!({})).await;
        assert!(text.contains(wanted), "{source} {sink}: {text}");
    }
    let listed = scene.server.admin.get("/subscriptions").await.unwrap().json().unwrap();
    assert_eq!(listed["subscriptions"], json!([]));
}

/// A record starts a workflow for its key, a second one of the key none; other handlers of the workflow take records too.
#[tokio::test]
async fn a_record_runs_a_workflow_once_and_another_moves_it_on() {
    let scene = Scene::new().await;
    let (starts, gates) = (scene.kafka.topic("starts", 2).await, scene.kafka.topic("gates", 2).await);
    let run = scene.server.subscribe(&starts, "Blocker/run", &[EARLIEST]).await;
    let resolve = scene.server.subscribe(&gates, "Blocker/resolve", &[EARLIEST]).await;
    let value = |text: &str| serde_json::to_string(text).unwrap();
    let records: Vec<_> = (0..3).flat_map(|n| ["a", "b"].map(|key| (Some(key), value(&format!("{key}{n}"))))).collect();
    scene.kafka.produce(values(&starts, &records)).await;
    scene.server.until_subscription(&run, "six are taken", |shown| count(shown, "records") == 6).await;
    for key in ["a", "b"] {
        eventually(PATIENCE, "it runs", async || {
            let stage = scene.server.query(&format!("Blocker/{key}/stage")).await?;
            ensure!(stage == "waiting", "{stage}");
            Ok(())
        })
        .await;
    }
    let gate: Vec<_> = ["a", "b"].map(|key| (Some(key), value("go"))).into();
    scene.kafka.produce(values(&gates, &gate)).await;
    for key in ["a", "b"] {
        let done = scene.server.query(&format!("Blocker/{key}/awaitDone")).await.unwrap();
        assert_eq!(done, format!("{key}0 go"), "the first record made it run");
    }
    for id in [&run, &resolve] {
        let done = |shown: &Value| {
            shown["status"]["budget"]["ready_records"] == 0 && shown["status"]["budget"]["held_records"] == 0
        };
        let shown = scene.server.until_subscription(id, "all are settled", done).await;
        assert_eq!(shown["status"]["outcomes"]["failed"], 0, "{shown:#}");
    }
}

/// A client costs about six threads and a connection to every broker.
#[tokio::test]
async fn subscriptions_of_one_cluster_share_their_clients() {
    let scene = Scene::new().await;
    let mut topics = Vec::new();
    for _ in 0..12 {
        topics.push(scene.kafka.topic("shared-client", 1).await);
    }
    let events = [Event::at(0, "k", 0)];
    let producer = scene.kafka.producer().await;
    let mut threads = Vec::new();
    for topic in &topics {
        let id = scene.server.subscribe(topic, "Events/on", &[EARLIEST]).await;
        produce(&producer, topic, &events).await;
        scene.server.until_subscription(&id, "it reads", |shown| count(shown, "records") == 1).await;
        threads.push(scene.server.threads());
    }
    let (first, last) = (threads[0], threads[11]);
    eprintln!("threads with 1 to 12 subscriptions: {threads:?}, memory {} MiB", scene.server.rss() >> 20);
    // Blocking calls have threads for a while.
    assert!(last < first + 8, "{threads:?}");
}
