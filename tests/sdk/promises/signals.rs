//! What one invocation does with another: signals, attach, output.

use std::sync::Arc;

use serde_json::json;

use crate::stage::Stage;

pub async fn a_named_signal_arrives(stage: Arc<Stage>) {
    let id = stage.server.send("Signals/wait", json!({"name": "go ä"})).await.unwrap();
    let other = json!({"id": id, "name": "other", "value": "not this"});
    stage.tell("Signals/resolve", other).await;
    stage.tell("Signals/resolve", json!({"id": id, "name": "go ä", "value": "this"})).await;
    assert_eq!(stage.attach(&id).await.json().unwrap(), "this");
}

pub async fn a_rejected_signal_fails_the_waiter(stage: Arc<Stage>) {
    let id = stage.server.send("Signals/wait", json!({"name": "go"})).await.unwrap();
    stage.tell("Signals/reject", json!({"id": id, "name": "go", "reason": "stay"})).await;
    assert_eq!(stage.attach(&id).await.json().unwrap(), "rejected: stay");
}

pub async fn a_repeated_signal_arrives_twice(stage: Arc<Stage>) {
    let id = stage.server.send("Signals/waitTwice", json!({"name": "tick"})).await.unwrap();
    for value in ["one", "two"] {
        stage.tell("Signals/resolve", json!({"id": id, "name": "tick", "value": value})).await;
    }
    assert_eq!(stage.attach(&id).await.json().unwrap(), json!(["one", "two"]));
}

pub async fn a_handler_attaches_to_an_invocation(stage: Arc<Stage>) {
    let slow = stage.server.send("Sleeper/sleep", json!(600)).await.unwrap();
    for _ in 0..2 {
        // While it runs, and after it.
        assert_eq!(stage.server.call("Signals/attach", json!({"id": slow})).await.unwrap(), json!({"ok": "slept"}));
    }
    let failing = stage.server.send("Greeter/fail", json!({"code": 418, "message": "tea"})).await.unwrap();
    let attached = stage.server.call("Signals/attach", json!({"id": failing})).await.unwrap();
    assert_eq!(attached, json!({"error": "418: tea"}));
}

pub async fn a_handler_reads_an_output(stage: Arc<Stage>) {
    let key = stage.key();
    let id = stage.server.send("Awaiter/await", json!({"key": key})).await.unwrap();
    let output = || stage.server.call("Signals/output", json!({"id": id}));
    stage.held(&key).await;
    assert_eq!(output().await.unwrap(), json!({"pending": true}));
    stage.tell(&format!("Holder/{key}/unlock"), json!("now")).await;
    assert_eq!(stage.attach(&id).await.json().unwrap(), "now");
    assert_eq!(output().await.unwrap(), json!({"ok": "now"}));
}
