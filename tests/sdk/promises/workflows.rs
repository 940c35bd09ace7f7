//! Workflows and their promises.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::stage::{Stage, failure};

fn path(key: &str, handler: &str) -> String {
    format!("Blocker/{key}/{handler}")
}

pub async fn a_workflow_waits_for_a_promise(stage: Arc<Stage>) {
    let key = stage.key();
    assert_eq!(stage.server.query(&path(&key, "stage")).await.unwrap(), Value::Null);
    let run = stage.begin(&path(&key, "run"), json!("in"));
    stage.until(&path(&key, "stage"), json!("waiting")).await;
    assert_eq!(stage.server.query(&path(&key, "peek")).await.unwrap(), Value::Null);
    let output = format!("/restate/workflow/Blocker/{key}/output");
    assert_eq!(stage.server.ingress.get(&output).await.unwrap().status, 470);
    stage.tell(&path(&key, "resolve"), json!("out")).await;
    assert_eq!(run.await.unwrap().unwrap(), "in out");
    assert_eq!(stage.server.query(&path(&key, "stage")).await.unwrap(), "passed");
    assert_eq!(stage.server.query(&path(&key, "peek")).await.unwrap(), "out");
    for verb in ["attach", "output"] {
        let answer = stage.server.ingress.get(&format!("/restate/workflow/Blocker/{key}/{verb}")).await.unwrap();
        assert_eq!(answer.json().unwrap(), "in out", "{verb}: {}", answer.text());
    }
}

pub async fn a_promise_may_be_resolved_first(stage: Arc<Stage>) {
    let key = stage.key();
    stage.tell(&path(&key, "resolve"), json!("first")).await;
    stage.until(&path(&key, "peek"), json!("first")).await;
    assert_eq!(stage.server.query(&path(&key, "awaitGate")).await.unwrap(), "first");
    assert_eq!(stage.server.call(&path(&key, "run"), json!("then")).await.unwrap(), "then first");
}

pub async fn a_rejected_promise_fails_the_waiter(stage: Arc<Stage>) {
    let key = stage.key();
    let id = stage.server.send(&path(&key, "run"), json!("in")).await.unwrap();
    stage.until(&path(&key, "stage"), json!("waiting")).await;
    stage.tell(&path(&key, "reject"), json!("it is over")).await;
    assert_eq!(failure(&stage.attach(&id).await), (500, "it is over".to_owned()));
    for handler in ["peek", "awaitGate"] {
        let answer = stage.server.ingress.post_empty(&format!("/{}", path(&key, handler))).await.unwrap();
        assert_eq!(failure(&answer), (500, "it is over".to_owned()), "{handler}");
    }
    assert_eq!(stage.server.query(&path(&key, "stage")).await.unwrap(), "waiting");
}

pub async fn a_promise_is_completed_once(stage: Arc<Stage>) {
    let key = stage.key();
    stage.tell(&path(&key, "resolve"), json!("first")).await;
    stage.until(&path(&key, "peek"), json!("first")).await;
    for handler in ["resolve", "reject"] {
        let answer = stage.server.ingress.post(&format!("/{}", path(&key, handler)), &json!("second")).await.unwrap();
        // The Rust SDK does not look whether its completion was taken.
        let expected = if stage.service.language() == "rust" { 200 } else { 409 };
        assert_eq!(answer.status, expected, "{handler}: {}", answer.text());
    }
    assert_eq!(stage.server.query(&path(&key, "peek")).await.unwrap(), "first");
}

pub async fn a_workflow_runs_once(stage: Arc<Stage>) {
    let key = stage.key();
    let id = stage.server.send(&path(&key, "run"), json!("one")).await.unwrap();
    let again = stage.server.ingress.post(&format!("/{}/send", path(&key, "run")), &json!("two")).await.unwrap();
    let shown = again.json().unwrap();
    assert_eq!((again.status.as_u16(), &shown["status"]), (202, &json!("PreviouslyAccepted")), "{shown}");
    assert_eq!(shown["invocationId"], json!(id));
    assert_eq!(stage.fails(&path(&key, "run"), json!("three")).await.0, 409);
    stage.tell(&path(&key, "resolve"), json!("x")).await;
    assert_eq!(stage.attach(&id).await.json().unwrap(), "one x");
    assert_eq!(stage.fails(&path(&key, "run"), json!("four")).await.0, 409);
}

pub async fn all_handlers_wait_for_one_promise(stage: Arc<Stage>) {
    let key = stage.key();
    let gates: Vec<_> = (0..3).map(|_| stage.begin(&path(&key, "awaitGate"), Value::Null)).collect();
    let done = stage.begin(&path(&key, "awaitDone"), Value::Null);
    let run = stage.begin(&path(&key, "run"), json!("r"));
    stage.until(&path(&key, "stage"), json!("waiting")).await;
    let sent = stage.server.send(&path(&key, "resolve"), json!("v")).await.unwrap();
    assert!(stage.attach(&sent).await.status.is_success());
    for gate in gates {
        assert_eq!(gate.await.unwrap().unwrap(), "v");
    }
    assert_eq!(run.await.unwrap().unwrap(), "r v");
    assert_eq!(done.await.unwrap().unwrap(), "r v");
}

pub async fn a_workflow_starts_another(stage: Arc<Stage>) {
    let (parent, child) = (stage.key(), stage.key());
    let submitted = stage.begin(&path(&parent, "submit"), json!({"key": child, "input": "nested"}));
    stage.until(&path(&child, "stage"), json!("waiting")).await;
    stage.tell(&path(&child, "resolve"), json!("done")).await;
    assert_eq!(submitted.await.unwrap().unwrap(), "nested done");
}
