//! Calls from outside.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};

use crate::{
    stage::Stage,
    support::{PATIENCE, eventually},
};

const OCTETS: &[(&str, &str)] = &[("content-type", "application/octet-stream")];

pub async fn a_service_answers(stage: Arc<Stage>) {
    let answer = stage.server.ingress.post("/Greeter/greet", &json!("Änn \u{1f600}\n")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json().unwrap(), json!("Hello Änn \u{1f600}\n"));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(answer.headers["x-restate-id"].to_str().unwrap().starts_with("inv_1"));
    let answer = stage.server.ingress.post("/restate/call/Greeter/greet", &json!("Bob")).await.unwrap();
    assert_eq!(answer.json().unwrap(), json!("Hello Bob"));
}

pub async fn raw_bytes_pass_unchanged(stage: Arc<Stage>) {
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for body in [Vec::new(), vec![0], all, large] {
        let answer =
            stage.server.ingress.request(Method::POST, "/Greeter/echoBytes", OCTETS, body.clone()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.body == body, "{} bytes came back as {}", body.len(), answer.body.len());
    }
}

pub async fn headers_reach_the_handler(stage: Arc<Stage>) {
    let headers = [("x-my-own", "Ünïcode is not sent, but this is"), ("idempotency-key", "headers")];
    let ascii = [("x-my-own", "a value, with: punctuation"), headers[1]];
    let answer = stage.server.ingress.request(Method::POST, "/Greeter/headers?q=1", &ascii, "").await.unwrap();
    let seen = answer.ok().unwrap().json().unwrap();
    assert_eq!(seen["x-my-own"], "a value, with: punctuation");
    assert_eq!(seen["x-restate-ingress-path"], "/Greeter/headers?q=1");
    assert_eq!(seen["idempotency-key"], Value::Null, "a header of the ingress alone");
}

pub async fn a_terminal_error_keeps_code_and_message(stage: Arc<Stage>) {
    for code in [418, 500, 404] {
        let input = json!({"code": code, "message": "no \"way\""});
        let answer = stage.server.ingress.post("/Greeter/fail", &input).await.unwrap();
        assert_eq!(answer.status.as_u16(), code);
        assert_eq!(answer.headers["x-restate-error-source"], "invocation");
        let body = answer.json().unwrap();
        assert_eq!(body["code"], code);
        assert_eq!(body["message"], "no \"way\"");
    }
}

pub async fn a_send_is_accepted_and_its_result_kept(stage: Arc<Stage>) {
    let headers = [("content-type", "application/json"), ("idempotency-key", "send")];
    let path = "/Greeter/greet/send";
    let sent = stage.server.ingress.request(Method::POST, path, &headers, "\"Cid\"").await.unwrap();
    assert_eq!(sent.status, 202);
    let first = sent.json().unwrap();
    assert_eq!(first["status"], "Accepted");
    let again = stage.server.ingress.request(Method::POST, path, &headers, "\"Cid\"").await.unwrap();
    let again = again.json().unwrap();
    assert_eq!(again["status"], "PreviouslyAccepted");
    assert_eq!(again["invocationId"], first["invocationId"]);
    let id = first["invocationId"].as_str().unwrap();
    for way in ["attach", "output"] {
        let answer = stage.server.ingress.get(&format!("/restate/invocation/{id}/{way}")).await.unwrap();
        assert_eq!(answer.json().unwrap(), json!("Hello Cid"), "{way}");
    }
    let by_key = stage.server.ingress.get("/restate/invocation/Greeter/greet/send/attach").await.unwrap();
    assert_eq!(by_key.json().unwrap(), json!("Hello Cid"));
}

pub async fn a_delayed_send_waits(stage: Arc<Stage>) {
    let key = stage.key();
    let delay = Duration::from_millis(1200);
    let started = Instant::now();
    let path = format!("/Counter/{key}/add/send?delay={}ms", delay.as_millis());
    let sent = stage.server.ingress.post(&path, &json!(5)).await.unwrap().ok().unwrap().json().unwrap();
    assert!(sent["executionTime"].is_string(), "{sent}");
    eventually(PATIENCE, "the delayed send arrives", async || {
        let before = started.elapsed();
        let count = stage.server.query(&format!("Counter/{key}/get")).await?;
        assert!(count == 0 || started.elapsed() >= delay, "it ran after {before:?}");
        anyhow::ensure!(count == 5, "{count}");
        Ok(())
    })
    .await;
}

pub async fn an_idempotent_call_runs_once(stage: Arc<Stage>) {
    let key = stage.key();
    let path = format!("/Counter/{key}/add");
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (stage, path) = (Arc::clone(&stage), path.clone());
            tokio::spawn(async move { stage.server.ingress.request(Method::POST, &path, &headers, "3").await })
        })
        .collect();
    let mut ids = Vec::new();
    for call in calls {
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.json().unwrap(), 3);
        ids.push(answer.headers["x-restate-id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(stage.server.query(&format!("Counter/{key}/get")).await.unwrap(), 3);
}
