//! Going on elsewhere, and once more.

use http::Method;
use serde_json::{Value, json};

use super::{attach, look, operate, start, until};
use crate::support::{Claim, PATIENCE, Proxy, Server, ServerOptions, Service, eventually};

/// Runs `n` slow steps until one of them is done, and pauses the invocation.
async fn paused_among_steps(server: &Server, service: &Service, n: u32) -> String {
    let id = server.send("Steps/runSlow", json!({"n": n, "delayMs": 100})).await.unwrap();
    eventually(PATIENCE, "a step is done", async || {
        anyhow::ensure!(service.steps().iter().any(|line| line.starts_with("ack")), "{:?}", service.steps());
        Ok(())
    })
    .await;
    assert_eq!(operate(server, &id, "pause").await.status, 202);
    until(server, &id, "paused").await;
    id
}

#[tokio::test]
async fn a_paused_invocation_goes_on_at_another_deployment() {
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    let [old, new] =
        [Proxy::start(&service.uri(), Claim::default()).await, Proxy::start(&service.uri(), Claim::default()).await];
    assert_eq!(server.admin.post("/deployments", &json!({"uri": old.uri()})).await.unwrap().status, 201);
    let id = paused_among_steps(&server, &service, 12).await;
    let made = server.admin.post("/deployments", &json!({"uri": new.uri()})).await.unwrap().json().unwrap();
    let unknown = operate(&server, &id, "resume?deployment=dp_10000000000000000000000").await;
    assert_eq!(unknown.status, 400, "{}", unknown.text());
    assert_eq!(operate(&server, &id, "resume?deployment=latest").await.status, 200);
    assert_eq!(attach(&server, &id).await.json().unwrap(), 12);
    assert_eq!((old.attempts("Steps/runSlow"), new.attempts("Steps/runSlow")), (1, 1));
    let look = look(&server, &id).await.unwrap();
    assert_eq!(look["pinned_deployment_id"], made["id"], "{look:#}");
    // What was done before is not done again.
    let lines = service.steps();
    for step in 0..12 {
        let runs = lines.iter().filter(|line| **line == format!("run {id} {step}")).count();
        assert_eq!(runs, 1, "step {step}");
    }
}

#[tokio::test]
async fn a_deployment_changes_only_while_nothing_runs() {
    let (server, service) = start().await;
    let gate = service.file("gate");
    let held = server.send("Gate/k/on", json!({"seq": 1, "hold": gate})).await.unwrap();
    until(&server, &held, "running").await;
    let answer = operate(&server, &held, "resume?deployment=latest").await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.json().unwrap()["message"].as_str().unwrap().ends_with("deployment id cannot be changed."));
    assert_eq!(operate(&server, &held, "resume?deployment=keep").await.status, 200);
    std::fs::write(gate, "").unwrap();
    assert_eq!(attach(&server, &held).await.json().unwrap(), 1);
}

async fn restart(server: &Server, id: &str, query: &str) -> (u16, Value) {
    let answer = operate(server, id, &format!("restart-as-new{query}")).await;
    (answer.status.as_u16(), answer.json().unwrap())
}

#[tokio::test]
async fn a_completed_invocation_runs_once_more() {
    let (mut server, service) = start().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "i"), ("x-note", "n")];
    let first = server.ingress.request(Method::POST, "/Counter/k/add", &headers, "5").await.unwrap();
    let old = first.headers["x-restate-id"].to_str().unwrap().to_owned();
    let (status, body) = restart(&server, &old, "").await;
    assert_eq!(status, 200, "{body}");
    let new = body["new_invocation_id"].as_str().unwrap();
    // It is on the same key, so its id begins alike.
    assert_eq!((&new[..16], new != old), (&old[..16], true));
    assert_eq!(attach(&server, new).await.json().unwrap(), 10);
    let view = look(&server, new).await.unwrap();
    assert_eq!((&view["invoked_by"], &view["restarted_from"]), (&json!("restart_as_new"), &json!(old)), "{view:#}");
    // The old one is left alone, over a crash too.
    server.crash().await;
    assert_eq!(attach(&server, &old).await.json().unwrap(), 5);
    assert_eq!(attach(&server, new).await.json().unwrap(), 10);
    drop(service);
}

#[tokio::test]
async fn a_restart_takes_over_what_was_done_up_to_an_entry() {
    let (server, service) = start().await;
    let old = server.send("Steps/run", json!(3)).await.unwrap();
    assert_eq!(attach(&server, &old).await.json().unwrap(), 3);
    assert_eq!(restart(&server, &old, "?from=99").await.0, 400);
    // Entry 1 is the first step's command; its result comes along.
    let (status, body) = restart(&server, &old, "?from=1").await;
    assert_eq!(status, 200, "{body}");
    let new = body["new_invocation_id"].as_str().unwrap();
    assert_eq!(attach(&server, new).await.json().unwrap(), 3);
    let runs = |id: &str, step: u32| {
        let line = format!("run {id} {step}");
        service.steps().iter().filter(|seen| **seen == line).count()
    };
    assert_eq!([0, 1, 2].map(|step| runs(new, step)), [0, 1, 1]);
    let (status, body) = restart(&server, &old, "").await;
    assert_eq!(status, 200, "{body}");
    let again = body["new_invocation_id"].as_str().unwrap();
    assert_eq!(attach(&server, again).await.json().unwrap(), 3);
    assert_eq!([0, 1, 2].map(|step| runs(again, step)), [1, 1, 1]);
    // A sleep that never ended is no past to go on from.
    let killed = server.send("Sleeper/sleep", json!(600_000)).await.unwrap();
    until(&server, &killed, "suspended").await;
    assert_eq!(operate(&server, &killed, "kill").await.status, 200);
    let (status, body) = restart(&server, &killed, "?from=1").await;
    assert_eq!(status, 400, "{body}");
    assert!(body["message"].as_str().unwrap().contains("without respective Completions"), "{body}");
}

#[tokio::test]
async fn what_cannot_be_restarted() {
    let (server, service) = start().await;
    let gate = service.file("gate");
    let running = server.send("Gate/k/on", json!({"seq": 1, "hold": gate})).await.unwrap();
    until(&server, &running, "running").await;
    let inboxed = server.send("Gate/k/on", json!({"seq": 2})).await.unwrap();
    assert_eq!(restart(&server, &running, "").await.0, 409);
    assert_eq!(restart(&server, &inboxed, "").await.0, 425);
    let later = server.ingress.post("/Counter/later/add/send?delay=1h", &json!(1)).await.unwrap().json().unwrap();
    assert_eq!(restart(&server, later["invocationId"].as_str().unwrap(), "").await.0, 425);
    std::fs::write(gate, "").unwrap();
    assert_eq!(attach(&server, &inboxed).await.json().unwrap(), 2);
    assert_eq!(operate(&server, &running, "purge-journal").await.status, 200);
    assert_eq!(restart(&server, &running, "").await.0, 410);
    assert_eq!(operate(&server, &running, "purge").await.status, 200);
    assert_eq!(restart(&server, &running, "").await.0, 404);
    // A workflow runs once.
    let run = server.send("Blocker/w/run", json!("x")).await.unwrap();
    assert_eq!(server.ingress.post("/Blocker/w/resolve", &json!("y")).await.unwrap().status, 200);
    attach(&server, &run).await;
    assert_eq!(restart(&server, &run, "").await.0, 422);
}

#[tokio::test]
async fn many_at_once() {
    let (server, _service) = start().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(server.send("Sleeper/sleep", json!(600_000)).await.unwrap());
    }
    let batch = async |verb: &str, ids: &[String]| {
        let path = format!("/internal/invocations_batch_operations/{verb}");
        let answer = server.admin.post(&path, &json!({"invocation_ids": ids})).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json().unwrap();
        (body["succeeded"].as_array().unwrap().len(), body["failed"].as_array().unwrap().len())
    };
    assert_eq!(batch("pause", &ids[..5]).await, (5, 0));
    assert_eq!(batch("cancel", &ids[..10]).await, (10, 0));
    assert_eq!(batch("kill", &ids[10..]).await, (10, 0));
    for id in &ids {
        assert_eq!(attach(&server, id).await.status, 409);
    }
    assert_eq!(batch("kill", &ids).await, (0, 20));
    assert_eq!(batch("restart-as-new", &ids[..2]).await, (2, 0));
    assert_eq!(batch("purge-journal", &ids).await, (20, 0));
    assert_eq!(batch("restart-as-new", &ids).await, (0, 20));
    assert_eq!(batch("purge", &ids).await, (20, 0));
    assert_eq!(batch("purge", &ids).await, (0, 20));
}
