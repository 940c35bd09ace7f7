//! Any handler by its name: bytes, keys, headers, idempotency.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    stage::Stage,
    support::{PATIENCE, eventually},
};

/// Bytes for a target's `body`.
fn bytes(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn body(json: &Value) -> String {
    bytes(json.to_string().as_bytes())
}

fn decoded(answer: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(answer.as_str().expect("a string")).expect("base64")
}

fn read(answer: &Value) -> Value {
    serde_json::from_slice(&decoded(answer)).expect("JSON")
}

pub async fn any_handler_is_called_by_name(stage: Arc<Stage>) {
    let all: Vec<u8> = (0..=255).collect();
    let target = json!({"service": "Greeter", "handler": "echoBytes", "body": bytes(&all)});
    assert_eq!(decoded(&stage.server.call("Proxy/call", target).await.unwrap()), all);
    // A key that is no path.
    let key = format!("{}/é ?#%", stage.key());
    for sum in [2, 4] {
        let target = json!({"service": "Counter", "key": key, "handler": "add", "body": body(&json!(2))});
        assert_eq!(read(&stage.server.call("Proxy/call", target).await.unwrap()), sum);
    }
    let target = json!({"service": "Counter", "key": key, "handler": "get"});
    assert_eq!(read(&stage.server.call("Proxy/call", target).await.unwrap()), 4);
    let fail = body(&json!({"code": 418, "message": "tea"}));
    let target = json!({"service": "Greeter", "handler": "fail", "body": fail});
    assert_eq!(stage.fails("Proxy/call", target).await, (418, "tea".to_owned()));
}

pub async fn a_generic_send_arrives(stage: Arc<Stage>) {
    let key = stage.key();
    let target = json!({"service": "Counter", "key": key, "handler": "add", "body": body(&json!(7))});
    let id = stage.server.call("Proxy/send", target).await.unwrap();
    assert_eq!(stage.attach(id.as_str().unwrap()).await.json().unwrap(), 7);
}

pub async fn a_delayed_send_leaves_the_key_free(stage: Arc<Stage>) {
    let key = stage.key();
    let (add, hour) = (body(&json!(7)), 3_600_000);
    let target = json!({"service": "Counter", "key": key, "handler": "add", "body": add, "delayMs": hour});
    let id = stage.server.call("Proxy/send", target).await.unwrap();
    assert_eq!(stage.server.call(&format!("Counter/{key}/add"), json!(1)).await.unwrap(), 1);
    let path = format!("/invocations/{}", id.as_str().unwrap());
    eventually(PATIENCE, "it is scheduled", async || {
        let shown = stage.server.admin.get(&path).await?.ok()?.json()?;
        anyhow::ensure!(shown["status"] == "scheduled", "{shown:#}");
        Ok(())
    })
    .await;
}

pub async fn an_idempotent_call_of_a_handler_runs_once(stage: Arc<Stage>) {
    let key = stage.key();
    let mut target = json!({"service": "Counter", "key": key, "handler": "add", "body": body(&json!(1))});
    for (idempotency_key, sum) in [("a", 1), ("a", 1), ("b", 2), ("a", 1)] {
        target["idempotencyKey"] = json!(idempotency_key);
        assert_eq!(read(&stage.server.call("Proxy/call", target.clone()).await.unwrap()), sum);
    }
}

pub async fn an_idempotent_send_of_a_handler_runs_once(stage: Arc<Stage>) {
    let key = stage.key();
    let target =
        json!({"service": "Counter", "key": key, "handler": "add", "body": body(&json!(1)), "idempotencyKey": "a"});
    let first = stage.server.call("Proxy/send", target.clone()).await.unwrap();
    let again = stage.server.call("Proxy/send", target).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(stage.attach(first.as_str().unwrap()).await.json().unwrap(), 1);
    // The same key over HTTP is the same invocation.
    let answer = stage.server.ingress.get(&format!("/restate/invocation/Counter/{key}/add/a/attach")).await.unwrap();
    assert_eq!(answer.json().unwrap(), 1, "{}", answer.text());
    assert_eq!(stage.server.query(&format!("Counter/{key}/get")).await.unwrap(), 1);
}

pub async fn headers_of_a_handler_arrive(stage: Arc<Stage>) {
    let target = json!({"service": "Greeter", "handler": "headers", "headers": {"x-of-mine": "a value, with: more"}});
    let headers = read(&stage.server.call("Proxy/call", target).await.unwrap());
    assert_eq!(headers["x-of-mine"], "a value, with: more");
}

pub async fn sends_to_a_key_keep_their_order(stage: Arc<Stage>) {
    let key = stage.key();
    let mut program = Vec::new();
    for i in 0..10 {
        // Each overwrites what the one before it has set.
        program.push(json!({"op": "send", "key": key, "program": [{"op": "set", "name": "last", "value": i}]}));
    }
    program.push(json!({"op": "attach", "key": key, "program": [{"op": "get", "name": "last"}]}));
    let from = stage.key();
    assert_eq!(stage.server.call(&format!("Interpreter/{from}/run"), json!(program)).await.unwrap(), 9);
}

pub async fn failures_among_many_calls_are_told_apart(stage: Arc<Stage>) {
    let key = stage.key();
    let fail = body(&json!({"code": 410, "message": "not that one"}));
    let targets = json!([
        {"service": "Greeter", "handler": "greet", "body": body(&json!("a"))},
        {"service": "Greeter", "handler": "fail", "body": fail},
        {"service": "Counter", "key": key, "handler": "add", "body": body(&json!(3))},
    ]);
    let answers = stage.server.call("Proxy/callMany", targets).await.unwrap();
    assert_eq!(read(&answers[0]["ok"]), "Hello a");
    assert_eq!(answers[1], json!({"error": "410: not that one"}));
    assert_eq!(read(&answers[2]["ok"]), 3);
}
