//! A key that stands still holds up nobody else.

use super::*;

/// What `Gate/on` gets: hangs until the file exists.
fn held(seq: u64, file: &std::path::Path) -> String {
    json!({ "seq": seq, "hold": file }).to_string()
}

async fn produce_values(scene: &Scene, topic: &str, partition: i32, values: &[(String, String)]) {
    let records = values.iter().map(|(key, value)| OutRecord {
        topic,
        partition: Some(partition),
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        ..OutRecord::default()
    });
    scene.kafka.produce(records).await;
}

#[tokio::test]
async fn a_key_that_hangs_holds_up_no_other_key_of_its_source_partition() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("hangs", 1).await;
    scene.server.subscribe(&topic, "Gate/on", &[EARLIEST]).await;
    let file = scene.service.file("go");
    let mut values = Vec::new();
    let mut stuck = Vec::new();
    let mut others = Vec::new();
    for seq in 0..20 {
        values.push(("stuck".to_owned(), held(seq, &file)));
        stuck.push(Event::at(0, "stuck", seq));
        for key in 0..10 {
            let key = format!("key-{key}");
            values.push((key.clone(), json!({ "seq": seq }).to_string()));
            others.push(Event::at(0, &key, seq));
        }
    }
    produce_values(&scene, &topic, 0, &values).await;
    settled(&scene.server, "Gate", &others).await;
    assert_eq!(scene.server.query("Gate/stuck/seqs").await.unwrap(), json!([]));
    std::fs::write(&file, "").unwrap();
    settled(&scene.server, "Gate", &stuck).await;
}

/// One key hangs and makes up a tenth of the traffic; the held budget takes its records until it is full, and then the
/// subscription says which key it is.
#[tokio::test]
async fn other_keys_go_on_as_long_as_the_held_budget_lasts_and_then_the_status_names_the_key() {
    let scene = Scene::with(&[], |options| options.partitions(2)).await;
    let topic = scene.kafka.topic("budget", 2).await;
    let options = [EARLIEST, ("millrace.ready-records", "40"), ("millrace.held-records", "100")];
    let id = scene.server.subscribe(&topic, "Gate/on", &options).await;
    let file = scene.service.file("go");
    // 90 rounds fit into the held budget, which the next 60 exceed.
    let round = |seq: u64| {
        let mut round = vec![("stuck".to_owned(), held(seq, &file))];
        round.extend((0..9).map(|key| (format!("key-{key}"), json!({ "seq": seq }).to_string())));
        round
    };
    let others = |rounds: std::ops::Range<u64>| -> Vec<Event> {
        rounds.flat_map(|seq| (0..9).map(move |key| Event::at(0, &format!("key-{key}"), seq))).collect()
    };
    let first: Vec<_> = (0..90).flat_map(round).collect();
    produce_values(&scene, &topic, 0, &first).await;
    settled(&scene.server, "Gate", &others(0..90)).await;
    scene.server.until_subscription(&id, "it runs", |shown| state(shown) == "running").await;

    let second: Vec<_> = (90..150).flat_map(round).collect();
    produce_values(&scene, &topic, 0, &second).await;
    let is_full = |shown: &Value| {
        let keys = shown["status"]["blocked_keys"].as_array().is_some_and(|keys| keys.len() == 1);
        state(shown) == "paused" && keys
    };
    let shown = scene.server.until_subscription(&id, "only one key fills the budget", is_full).await;
    let because = shown["status"]["paused_because"].as_str().unwrap_or_default();
    assert!(because.contains("held budget") && because.contains("'stuck'"), "{shown:#}");
    assert_eq!(shown["status"]["blocked_keys"][0]["key"], "stuck", "{shown:#}");

    // The other source partition belongs to another engine partition and has a budget of its own.
    let elsewhere = Event::at(1, "elsewhere", 0);
    produce(&scene.kafka.producer().await, &topic, std::slice::from_ref(&elsewhere)).await;
    settled(&scene.server, "Gate", [&elsewhere]).await;

    std::fs::write(&file, "").unwrap();
    let stuck: Vec<_> = (0..150).map(|seq| Event::at(0, "stuck", seq)).collect();
    settled(&scene.server, "Gate", &stuck).await;
    settled(&scene.server, "Gate", &others(0..150)).await;
    let shown = scene.server.until_subscription(&id, "it runs", |shown| state(shown) == "running").await;
    for budget in ["ready_records", "ready_bytes", "held_records", "held_bytes"] {
        assert_eq!(shown["status"]["budget"][budget], 0, "{shown:#}");
    }
}

/// The same with a key whose handler fails until its invocation is paused, and across a `kill -9`.
#[tokio::test]
async fn a_paused_key_is_named_survives_a_crash_and_goes_on_when_its_operator_says_so() {
    let retries = |options: ServerOptions| {
        options
            .partitions(2)
            .env("MILLRACE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL", "10ms")
            .env("MILLRACE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS", "2")
    };
    let mut scene = Scene::with(&[], retries).await;
    scene.server.allow("random failure");
    let topic = scene.kafka.topic("paused", 1).await;
    let options = [EARLIEST, ("millrace.ready-records", "40"), ("millrace.held-records", "20")];
    let id = scene.server.subscribe(&topic, "Counter/flakyAdd", &options).await;
    let value = |percent| json!({ "n": 1, "failPercent": percent }).to_string();
    let mut values = vec![("bad".to_owned(), value(100))];
    values.extend((0..30).map(|_| ("bad".to_owned(), value(0))));
    values.extend((0..50).map(|n| (format!("key-{}", n % 5), value(0))));
    // The first of the key fails; 20 of the others behind it fill the budget.
    let (front, back) = values.split_at(15);
    produce_values(&scene, &topic, 0, front).await;
    produce_values(&scene, &topic, 0, &values[31..]).await;
    let until = async |server: &Server, key: &str, wanted: u64| {
        eventually(PATIENCE, key, async || {
            let count = server.query(&format!("Counter/{key}/get")).await?;
            ensure!(count == wanted, "{count} instead of {wanted}");
            Ok(())
        })
        .await;
    };
    for key in 0..5 {
        until(&scene.server, &format!("key-{key}"), 10).await;
    }
    produce_values(&scene, &topic, 0, &back[..16]).await;
    let is_full = |shown: &Value| state(shown) == "paused" && !shown["status"]["blocked_keys"][0].is_null();
    let shown = scene.server.until_subscription(&id, "its budget is full", is_full).await;
    assert_eq!(shown["status"]["blocked_keys"][0]["key"], "bad", "{shown:#}");
    assert_eq!(shown["status"]["blocked_keys"][0]["status"], "paused", "{shown:#}");
    scene.server.crash().await;
    let shown = scene.server.until_subscription(&id, "its budget is full", is_full).await;
    let invocation = shown["status"]["blocked_keys"][0]["invocation_id"].as_str().unwrap().to_owned();
    let killed = scene.server.admin.patch(&format!("/invocations/{invocation}/kill"), &json!({})).await.unwrap();
    assert!(killed.status.is_success(), "{killed:?}");
    until(&scene.server, "bad", 30).await;
    scene.server.until_subscription(&id, "it runs", |shown| state(shown) == "running").await;
}
