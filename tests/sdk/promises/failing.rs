//! What fails: steps with a policy, steps that fail for good, handlers that do something else in another attempt.

use std::sync::Arc;

use serde_json::json;

use crate::stage::Stage;

pub async fn retries_of_a_step_are_used_up(stage: Arc<Stage>) {
    let input = json!({"key": stage.key(), "attempts": 3});
    assert_eq!(stage.server.call("Steps/exhausted", input).await.unwrap(), 3);
}

pub async fn the_time_of_a_step_is_used_up(stage: Arc<Stage>) {
    let input = json!({"key": stage.key(), "ms": 300});
    let runs = stage.server.call("Steps/outOfTime", input).await.unwrap().as_u64().unwrap();
    // One at once, then one each 50 ms, unless the machine is slow.
    assert!((2..=8).contains(&runs), "{runs} runs");
}

pub async fn a_step_fails_for_good(stage: Arc<Stage>) {
    let input = json!({"code": 418, "message": "tea, \"hot\""});
    assert_eq!(stage.server.call("Steps/terminalStep", input).await.unwrap(), "418: tea, \"hot\"");
}

pub async fn chance_is_the_same_in_every_attempt(stage: Arc<Stage>) {
    assert_eq!(stage.server.call("Steps/sameRandom", json!({"key": stage.key()})).await.unwrap(), true);
}

pub async fn the_clock_is_the_same_in_every_attempt(stage: Arc<Stage>) {
    assert_eq!(stage.server.call("Steps/sameTime", json!({"key": stage.key()})).await.unwrap(), true);
}

pub async fn a_replay_logs_nothing(stage: Arc<Stage>) {
    let key = stage.key();
    stage.tell("Steps/logged", json!({"key": key})).await;
    let line = format!("logged {key}");
    let log = stage.service.log();
    assert_eq!(log.lines().filter(|seen| seen.contains(&line)).count(), 1, "{log}");
}

pub async fn errors_are_mapped_to_terminal_ones(stage: Arc<Stage>) {
    let input = json!({"code": 422, "message": "too long"});
    assert_eq!(stage.fails("Steps/mapped", input).await, (422, "too long".to_owned()));
}

pub async fn finished_steps_are_not_repeated_when_another_fails(stage: Arc<Stage>) {
    let n = 6;
    let answer = stage.server.ingress.post("/Steps/parallel", &json!({"key": stage.key(), "n": n})).await.unwrap();
    assert_eq!(answer.json().unwrap(), n, "{}", answer.text());
    let id = answer.headers["x-restate-id"].to_str().unwrap();
    let lines: Vec<_> = stage.service.steps().into_iter().filter(|line| line.contains(id)).collect();
    for i in 0..n {
        // A step that had not been acknowledged when the attempt failed may run again.
        let runs = lines.iter().filter(|line| **line == format!("run {id} {i}")).count();
        assert!((1..=2).contains(&runs), "step {i}: {lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| **line == format!("run {id} {}", n - 1)).count(), 1, "{lines:#?}");
}

pub async fn what_was_journaled_cannot_be_changed(stage: Arc<Stage>) {
    for kind in ["command", "target", "state"] {
        let id = stage.server.send(&format!("NonDet/{}/run", stage.key()), json!(kind)).await.unwrap();
        let attempts = stage.attach(&id).await.json().unwrap().as_u64().unwrap();
        assert!(attempts >= 3, "{kind}: {attempts}");
    }
}
