//! Calls from handler to handler.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    stage::Stage,
    support::{PATIENCE, eventually, tier},
};

async fn counts(stage: &Stage, key: &str, expected: i64) {
    eventually(PATIENCE, "the counter has everything", async || {
        let count = stage.server.query(&format!("Counter/{key}/get")).await?;
        anyhow::ensure!(count == expected, "{count} is not {expected}");
        Ok(())
    })
    .await;
}

pub async fn a_call_returns_the_result(stage: Arc<Stage>) {
    let key = stage.key();
    for sum in [2, 4] {
        assert_eq!(stage.server.call("Caller/callCounter", json!({"key": key, "n": 2})).await.unwrap(), sum);
    }
}

pub async fn a_call_returns_the_terminal_error(stage: Arc<Stage>) {
    let input = json!({"code": 419, "message": "not today"});
    assert_eq!(stage.server.call("Caller/callFailing", input).await.unwrap(), "419: not today");
}

pub async fn a_one_way_call_arrives(stage: Arc<Stage>) {
    let key = stage.key();
    assert_eq!(stage.server.call("Caller/sendCounter", json!({"key": key, "n": 3})).await.unwrap(), "sent");
    counts(&stage, &key, 3).await;
}

pub async fn a_delayed_one_way_call_waits(stage: Arc<Stage>) {
    let key = stage.key();
    let delay = Duration::from_millis(1000);
    let started = Instant::now();
    let input = json!({"key": key, "n": 3, "delayMs": delay.as_millis() as u64});
    assert_eq!(stage.server.call("Caller/sendDelayed", input).await.unwrap(), "sent");
    counts(&stage, &key, 3).await;
    assert!(started.elapsed() >= delay, "it ran after {:?}", started.elapsed());
}

pub async fn the_id_of_a_send_is_its_own(stage: Arc<Stage>) {
    let key = stage.key();
    let id = stage.server.call("Caller/sendForId", json!({"key": key, "n": 6})).await.unwrap();
    let id = id.as_str().expect("an id");
    let answer = stage.server.ingress.get(&format!("/restate/invocation/{id}/attach")).await.unwrap();
    assert_eq!(answer.json().unwrap(), 6, "{}", answer.text());
}

pub async fn calls_nest(stage: Arc<Stage>) {
    let key = stage.key();
    assert_eq!(stage.server.call("Caller/chain", json!({"key": key, "depth": 6})).await.unwrap(), 1);
    counts(&stage, &key, 1).await;
}

pub async fn calls_fan_out(stage: Arc<Stage>) {
    let key = stage.key();
    // The Python services' server answers a thousand streams of one connection, as the proxy makes them, too late.
    let is_narrow = stage.language == "python" && stage.proxy.is_some();
    let width = if is_narrow { 20 } else { tier(20, 1000) };
    let input = json!({"key": key, "width": width, "n": 2});
    assert_eq!(stage.server.call("Caller/fanOut", input).await.unwrap(), 2 * width);
    counts(&stage, &format!("{key}-{}", width - 1), 2).await;
}

pub async fn many_calls_at_once(stage: Arc<Stage>) {
    let keys: Vec<_> = (0..4).map(|_| stage.key()).collect();
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let (stage, key) = (Arc::clone(&stage), keys[n % keys.len()].clone());
            tokio::spawn(async move { stage.server.call("Caller/callCounter", json!({"key": key, "n": 1})).await })
        })
        .collect();
    let mut sums = Vec::new();
    for call in calls {
        sums.push(call.await.unwrap().unwrap());
    }
    sums.sort_by_key(Value::as_i64);
    let expected: Vec<_> = (1..=10).flat_map(|sum| [Value::from(sum), sum.into(), sum.into(), sum.into()]).collect();
    assert_eq!(sums, expected);
}
