//! Codes of attempts that only an endpoint without an SDK provokes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    support::{Attempt, Endpoint, PATIENCE, Server, ServerOptions, eventually, manifest},
    wire::{ERROR, Message, PROPOSE, RUN},
};

/// Attempts without end, in quick succession.
pub fn patient(service: &str) -> Value {
    let mut manifest = manifest(service);
    let retries = &mut manifest["services"][0];
    retries["retryPolicyMaxAttempts"] = json!(1_000_000);
    retries["retryPolicyInitialInterval"] = json!(20);
    retries["retryPolicyMaxInterval"] = json!(100);
    manifest
}

/// A step with its result, which makes the first attempt's version and deployment those of the invocation.
pub fn step(result: &[u8]) -> Bytes {
    let run = Message::new().number(11, 1).bytes(12, "step").frame(RUN);
    let propose = Message::new().number(1, 1).bytes(14, result).asking(PROPOSE);
    [run, propose].concat().into()
}

/// The first attempt runs a step and breaks off once it is acknowledged; every later one says `then`.
pub async fn stepping(service: &str, then: Bytes) -> Endpoint {
    let attempts = Arc::new(AtomicUsize::new(0));
    Endpoint::start(patient(service), move |mut attempt: Attempt| {
        let (n, then) = (attempts.fetch_add(1, Ordering::Relaxed), then.clone());
        async move {
            if n > 0 {
                return attempt.say(then).await;
            }
            attempt.first_bytes().await;
            let mut answer = attempt.accept();
            let _ = answer.send_data(step(b"result"), false);
            // The acknowledgement.
            attempt.first_bytes().await;
            attempt.reset(h2::Reason::INTERNAL_ERROR);
        }
    })
    .await
}

pub async fn register(server: &Server, endpoint: &Endpoint) -> String {
    let made = server.admin.post("/deployments", &json!({"uri": endpoint.uri()})).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    made.json().unwrap()["id"].as_str().unwrap().to_owned()
}

pub async fn look(server: &Server, id: &str) -> anyhow::Result<Value> {
    server.admin.get(&format!("/invocations/{id}")).await?.json()
}

/// Waits until the last failure of the invocation has this code.
pub async fn until_failed(server: &Server, id: &str, code: &str) {
    eventually(PATIENCE, code, async || {
        let look = look(server, id).await?;
        anyhow::ensure!(look["last_failure"]["code"] == code, "{look:#}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_message_above_the_limit() {
    let options = ServerOptions::default().env("MILLRACE_WORKER__INVOKER__MESSAGE_SIZE_LIMIT", "64KiB");
    let server = Server::start(options).await;
    let mut manifest = manifest("Large");
    manifest["services"][0]["retryPolicyOnMaxAttempts"] = json!("PAUSE");
    let endpoint = Endpoint::start(manifest, |attempt: Attempt| attempt.say(step(&[b'x'; 100 << 10]))).await;
    register(&server, &endpoint).await;
    let id = server.send("Large/on", json!(1)).await.unwrap();
    until_failed(&server, &id, "RT0003").await;
}

/// The journal is that of code which is not there any more.
#[tokio::test]
async fn code_that_was_changed_in_place() {
    let server = Server::start(ServerOptions::default()).await;
    // What SDKs say when a handler does something else than its journal.
    let mismatch = Message::new().number(1, 570).bytes(2, "expected a run, found a sleep").frame(ERROR);
    let endpoint = stepping("Changed", mismatch).await;
    register(&server, &endpoint).await;
    let id = server.send("Changed/on", json!(1)).await.unwrap();
    until_failed(&server, &id, "RT0016").await;
}

#[tokio::test]
async fn a_deployment_that_is_removed_under_load() {
    let server = Server::start(ServerOptions::default()).await;
    let endpoint = stepping("Gone", Bytes::new()).await;
    let deployment = register(&server, &endpoint).await;
    let id = server.send("Gone/on", json!(1)).await.unwrap();
    server.allow("deployment cannot be reached");
    until_failed(&server, &id, "RT0010").await;
    let removed = server.admin.delete(&format!("/deployments/{deployment}?force=true")).await.unwrap();
    assert_eq!(removed.status, 202, "{}", removed.text());
    until_failed(&server, &id, "RT0011").await;
}

/// Nobody listens where the deployment was.
#[tokio::test]
async fn an_endpoint_that_is_stopped() {
    let server = Server::start(ServerOptions::default()).await;
    let endpoint = stepping("Stopped", Bytes::new()).await;
    register(&server, &endpoint).await;
    drop(endpoint);
    server.allow("deployment cannot be reached");
    let id = server.send("Stopped/on", json!(1)).await.unwrap();
    until_failed(&server, &id, "RT0010").await;
}

#[tokio::test]
async fn a_status_that_no_service_answers_with() {
    let server = Server::start(ServerOptions::default()).await;
    let endpoint = Endpoint::start(patient("Odd"), |mut attempt: Attempt| async move {
        attempt.first_bytes().await;
        let mut answer = attempt.answer(http::Response::builder().status(500));
        let _ = answer.send_data(Bytes::from_static(b"oops"), true);
        attempt.rest().await;
    })
    .await;
    register(&server, &endpoint).await;
    let id = server.send("Odd/on", json!(1)).await.unwrap();
    until_failed(&server, &id, "RT0006").await;
    // It is retried like anything else.
    eventually(Duration::from_secs(30), "more attempts", async || {
        anyhow::ensure!(endpoint.attempts() > 2, "{}", endpoint.attempts());
        Ok(())
    })
    .await;
}
