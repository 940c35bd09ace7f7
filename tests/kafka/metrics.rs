//! The names of all metrics: people's dashboards and alerts rely on them.

use std::{collections::BTreeSet, path::Path};

use super::*;

/// Not there before something goes wrong.
const RARE: [&str; 2] =
    ["millrace_ingress_http_connection_dropped_total counter", "millrace_subscription_errors_total counter"];

/// `name kind` of everything that `/metrics` shows.
async fn names(server: &Server) -> anyhow::Result<(BTreeSet<String>, String)> {
    let text = server.node.get("/metrics").await?.ok()?.text();
    let names = text.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.to_owned())).collect();
    Ok((names, text))
}

/// Renaming one is a breaking change. `UPDATE_GOLDEN=1` writes the list.
#[tokio::test]
async fn the_names_of_all_metrics_after_some_load_are_those_of_the_list() {
    let scene = Scene::with(&[("FAIL_PERCENT", "20")], |options| {
        options.env("MILLRACE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL", "10ms")
    })
    .await;
    scene.server.allow("random failure");
    scene.server.allow("records were rejected");
    let topic = scene.kafka.topic("metrics", 3).await;
    let dead = scene.kafka.topic("dead", 1).await;
    let options = [EARLIEST, ("millrace.on-failure", "dead-letter"), ("millrace.dead-letter-topic", dead.as_str())];
    let id = scene.server.subscribe(&topic, "Events/on", &options).await;
    let events = turns(30, 10, |key| Some((key % 3) as i32));
    produce(&scene.kafka.producer().await, &topic, &events).await;
    scene.kafka.produce([OutRecord { topic: &topic, value: Some(b"{}"), ..OutRecord::default() }]).await;
    settled(&scene.server, "Events", &events).await;
    scene.server.call("Counter/k/add", json!(1)).await.unwrap();
    scene.server.call("Sleeper/sleep", json!(5)).await.unwrap();
    scene.server.call("Steps/run", json!(2)).await.unwrap();
    scene.server.call("Caller/callCounter", json!({ "key": "other", "n": 1 })).await.unwrap();
    scene.server.ingress.post("/Greeter/fail", &json!({ "code": 400, "message": "no" })).await.unwrap();
    let written = |shown: &Value| {
        shown["status"]["outcomes"]["dead_lettered"] == 1 && shown["status"]["outcomes"]["dead_letters_waiting"] == 0
    };
    scene.server.until_subscription(&id, "the letter is written", written).await;
    // What a subscription shows of itself.
    eventually(PATIENCE, "its gauges are those of now", async || {
        let of = async |name: &str| scene.server.metric(name, &id).await;
        let lag = of("millrace_kafka_ingress_consumer_lag").await?;
        let seconds = of("millrace_subscription_consumer_lag_seconds").await?;
        let (ready, held) =
            (of("millrace_subscription_ready_records").await?, of("millrace_subscription_held_records").await?);
        ensure!((lag, seconds, ready, held) == (0.0, 0.0, 0.0, 0.0), "{lag} {seconds} {ready} {held}");
        ensure!(of("millrace_kafka_ingress_requests_total").await? == 300.0, "records");
        Ok(())
    })
    .await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/metrics.txt");
    let (mut seen, text) = names(&scene.server).await.unwrap();
    seen.extend(RARE.map(str::to_owned));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let list: String = seen.iter().map(|name| format!("{name}\n")).collect();
        std::fs::write(&path, list).expect("the list can be written");
    }
    let list = std::fs::read_to_string(&path).expect("the list is in the repository");
    let list: BTreeSet<_> = list.lines().map(str::to_owned).collect();
    let (new, gone): (Vec<_>, Vec<_>) = (seen.difference(&list).collect(), list.difference(&seen).collect());
    assert!(new.is_empty() && gone.is_empty(), "new: {new:#?}\ngone: {gone:#?}\nsee {}", path.display());
    for name in seen.iter().filter(|name| !RARE.contains(&name.as_str())) {
        let name = name.split(' ').next().unwrap_or_default();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} is not described");
    }

    // A subscription that is gone shows nothing any more.
    scene.server.unsubscribe(&id).await;
    eventually(PATIENCE, "its metrics are gone", async || {
        let (_, text) = names(&scene.server).await?;
        ensure!(!text.contains(&id), "{id} is still there");
        Ok(())
    })
    .await;
}
