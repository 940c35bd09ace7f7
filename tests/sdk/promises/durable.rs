//! Steps, retries, sleeping.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    stage::Stage,
    support::{PATIENCE, eventually},
};

pub async fn steps_run_once_each(stage: Arc<Stage>) {
    let answer = stage.server.ingress.post("/Steps/run", &json!(12)).await.unwrap();
    assert_eq!(answer.json().unwrap(), 12, "{}", answer.text());
    let id = answer.headers["x-restate-id"].to_str().unwrap();
    let lines: Vec<_> = stage.service.steps().into_iter().filter(|line| line.contains(id)).collect();
    for i in 0..12 {
        let run = format!("run {id} {i}");
        assert_eq!(lines.iter().filter(|line| **line == run).count(), 1, "{lines:#?}");
        assert!(lines.contains(&format!("ack {id} {i}")), "{lines:#?}");
    }
}

pub async fn a_failed_attempt_is_retried(stage: Arc<Stage>) {
    let started = Instant::now();
    let input = json!({"key": stage.key(), "times": 2});
    assert_eq!(stage.server.call("Steps/failTimes", input).await.unwrap(), 3);
    // 500 ms and twice that, with up to a third more.
    assert!(started.elapsed() >= Duration::from_millis(1500), "{:?}", started.elapsed());
}

pub async fn a_failed_step_is_retried(stage: Arc<Stage>) {
    let input = json!({"key": stage.key(), "times": 2});
    assert_eq!(stage.server.call("Steps/failingStep", input).await.unwrap(), 3);
}

pub async fn a_sleeper_is_suspended_and_woken(stage: Arc<Stage>) {
    let nap = Duration::from_secs(3);
    let started = Instant::now();
    let id = stage.server.send("Sleeper/sleep", json!(nap.as_millis() as u64)).await.unwrap();
    eventually(nap, "it is suspended", async || {
        let look = stage.server.admin.get(&format!("/invocations/{id}")).await?.ok()?.json()?;
        anyhow::ensure!(look["status"] == "suspended", "{look:#}");
        Ok(())
    })
    .await;
    let answer = stage.server.ingress.get(&format!("/restate/invocation/{id}/attach")).await.unwrap();
    assert_eq!(answer.json().unwrap(), "slept");
    assert!(started.elapsed() >= nap, "woken after {:?}", started.elapsed());
}

pub async fn a_sleeper_goes_on_with_the_next_step(stage: Arc<Stage>) {
    let answer = stage.server.ingress.post("/Sleeper/sleepThenStep", &json!(700)).await.unwrap();
    let line = format!("slept {}", answer.headers["x-restate-id"].to_str().unwrap());
    assert_eq!(answer.json().unwrap(), json!(line));
    eventually(PATIENCE, "the step is logged", async || {
        let lines = stage.service.steps();
        anyhow::ensure!(lines.iter().filter(|seen| **seen == line).count() == 1, "{lines:#?}");
        Ok(())
    })
    .await;
}
