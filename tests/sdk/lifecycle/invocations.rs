//! Kill, cancel, pause, resume, purge.

use std::collections::BTreeMap;

use serde_json::json;

use super::{attach, look, operate, start, until};
use crate::support::{Claim, PATIENCE, Proxy, Server, ServerOptions, Service, eventually};

#[tokio::test]
async fn a_killed_handler_frees_its_key() {
    let (server, service) = start().await;
    let gate = service.file("gate");
    let held = server.send("Gate/k/on", json!({"seq": 1, "hold": gate})).await.unwrap();
    let next = server.send("Gate/k/on", json!({"seq": 2})).await.unwrap();
    until(&server, &held, "running").await;
    until(&server, &next, "inboxed").await;
    let waiter = tokio::spawn({
        let (ingress, held) = (server.ingress.clone(), held.clone());
        async move { ingress.get(&format!("/restate/invocation/{held}/attach")).await }
    });
    assert_eq!(operate(&server, &held, "kill").await.status, 200);
    let answer = waiter.await.unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), answer.json().unwrap()["message"].clone()), (409, json!("killed")));
    assert_eq!(attach(&server, &next).await.json().unwrap(), 1);
    assert_eq!(server.query("Gate/k/seqs").await.unwrap(), json!([2]));
    assert_eq!(operate(&server, &held, "kill").await.status, 409);
}

/// The result of a call for somebody who is gone harms nobody.
#[tokio::test]
async fn a_killed_caller_leaves_no_trouble() {
    let (server, _service) = start().await;
    // The key is held by somebody who always fails, so the call waits for it.
    let holder = server.send("Counter/k/flakyAdd", json!({"n": 1, "failPercent": 100})).await.unwrap();
    until(&server, &holder, "backing-off").await;
    let caller = server.send("Caller/callCounter", json!({"key": "k", "n": 5})).await.unwrap();
    let callee = eventually(PATIENCE, "the call is made", async || {
        let key = server.admin.get("/services/Counter/keys/k").await?.json()?;
        key["inbox_first"][0].as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{key:#}"))
    })
    .await;
    assert_eq!(until(&server, &callee, "inboxed").await["invoked_by_id"], json!(caller));
    assert_eq!(operate(&server, &caller, "kill").await.status, 200);
    assert_eq!(until(&server, &caller, "completed").await["completion_failure"], "[409] killed");
    assert_eq!(operate(&server, &holder, "kill").await.status, 200);
    eventually(PATIENCE, "the key is free", async || {
        let key = server.admin.get("/services/Counter/keys/k").await?.json()?;
        anyhow::ensure!(key["state"] == "free", "{key:#}");
        Ok(())
    })
    .await;
    assert_eq!(until(&server, &caller, "completed").await["completion_failure"], "[409] killed");
}

#[tokio::test]
async fn what_has_not_started_is_cancelled_at_once() {
    let (server, service) = start().await;
    let gate = service.file("gate");
    let held = server.send("Gate/k/on", json!({"seq": 1, "hold": gate})).await.unwrap();
    until(&server, &held, "running").await;
    let waits = server.send("Gate/k/on", json!({"seq": 2})).await.unwrap();
    let behind = server.send("Gate/k/on", json!({"seq": 3})).await.unwrap();
    let later = server.ingress.post("/Counter/later/add/send?delay=1h", &json!(1)).await.unwrap().json().unwrap();
    let later = later["invocationId"].as_str().unwrap().to_owned();
    assert_eq!(until(&server, &later, "scheduled").await["target"], "Counter/later/add");
    for id in [&waits, &later] {
        assert_eq!(operate(&server, id, "resume").await.status, 425);
        assert_eq!(operate(&server, id, "cancel").await.status, 200);
        // The entry is gone.
        let output = server.ingress.get(&format!("/restate/invocation/{id}/output")).await.unwrap();
        assert_eq!(output.status, 404, "{}", output.text());
        assert_eq!(server.admin.get(&format!("/invocations/{id}")).await.unwrap().status, 404);
        for verb in ["kill", "cancel", "pause", "resume", "purge", "purge-journal", "restart-as-new"] {
            assert_eq!(operate(&server, id, verb).await.status, 404, "{verb}");
        }
    }
    std::fs::write(gate, "").unwrap();
    assert_eq!(attach(&server, &behind).await.json().unwrap(), 2);
    assert_eq!(server.query("Gate/k/seqs").await.unwrap(), json!([1, 3]));
}

/// Services whose handlers are paused when their second attempt fails.
async fn pausing() -> (Server, Service, Proxy) {
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    let settings = [
        ("retryPolicyMaxAttempts", json!(2)),
        ("retryPolicyInitialInterval", json!(20)),
        ("retryPolicyOnMaxAttempts", json!("PAUSE")),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let claim = Claim { service: BTreeMap::from(settings), ..Claim::default() };
    let proxy = Proxy::start(&service.uri(), claim).await;
    let made = server.admin.post("/deployments", &json!({"uri": proxy.uri()})).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    (server, service, proxy)
}

#[tokio::test]
async fn a_failing_handler_is_paused_and_resumed() {
    let (mut server, service, proxy) = pausing().await;
    let id = server.send("Steps/failTimes", json!({"key": "a", "times": 2})).await.unwrap();
    let look = until(&server, &id, "paused").await;
    assert_eq!(look["last_failure"]["code"], "RT0007", "{look:#}");
    assert!(look["last_failure"]["message"].as_str().unwrap().contains("attempt 2 of a fails"), "{look:#}");
    assert_eq!(proxy.attempts("Steps/failTimes"), 2);
    // It stays so, over a restart.
    server.crash().await;
    until(&server, &id, "paused").await;
    assert_eq!(operate(&server, &id, "pause").await.status, 200);
    assert_eq!(operate(&server, &id, "purge").await.status, 409);
    assert_eq!(operate(&server, &id, "resume").await.status, 200);
    assert_eq!(attach(&server, &id).await.json().unwrap(), 3);
    assert_eq!(operate(&server, &id, "resume").await.status, 409);
    drop(service);
}

#[tokio::test]
async fn a_paused_key_is_found_and_resumed() {
    let (server, service, _proxy) = pausing().await;
    // A handler that fails as long as its input cannot be read.
    let broken = server.send("Counter/k/flakyAdd", json!({"n": 1, "failPercent": 100})).await.unwrap();
    let behind = server.send("Counter/k/add", json!(5)).await.unwrap();
    until(&server, &broken, "paused").await;
    let key = server.admin.get("/services/Counter/keys/k").await.unwrap().json().unwrap();
    assert_eq!(key["state"], "blocked", "{key:#}");
    assert_eq!(key["holder"]["id"], json!(broken));
    assert_eq!(key["inbox_first"], json!([behind]));
    // Readers are not behind it.
    assert_eq!(server.query("Counter/k/get").await.unwrap(), 0);
    assert_eq!(operate(&server, &broken, "resume").await.status, 200);
    eventually(PATIENCE, "it has failed again", async || {
        let look = look(&server, &broken).await?;
        anyhow::ensure!(look["status"] == "paused" && look["attempt"].as_u64() >= Some(4), "{look:#}");
        Ok(())
    })
    .await;
    assert_eq!(operate(&server, &broken, "kill").await.status, 200);
    assert_eq!(attach(&server, &behind).await.json().unwrap(), 5);
    let key = server.admin.get("/services/Counter/keys/k").await.unwrap().json().unwrap();
    assert_eq!(key["state"], "free", "{key:#}");
    drop(service);
}

#[tokio::test]
async fn a_cancelled_paused_handler_ends() {
    let (server, _service, _proxy) = pausing().await;
    let id = server.send("Counter/k/flakyAdd", json!({"n": 1, "failPercent": 100})).await.unwrap();
    until(&server, &id, "paused").await;
    assert_eq!(operate(&server, &id, "cancel").await.status, 202);
    // The handler fails before it waits for anything, so it never hears of it: it is tried again, and killed at last.
    eventually(PATIENCE, "it was tried again", async || {
        let look = look(&server, &id).await?;
        anyhow::ensure!(look["attempt"].as_u64() > Some(2), "{look:#}");
        Ok(())
    })
    .await;
    assert_eq!(operate(&server, &id, "kill").await.status, 200);
}

#[tokio::test]
async fn an_operator_pauses_and_resumes_a_running_handler() {
    let (server, service) = start().await;
    let id = server.send("Steps/runSlow", json!({"n": 12, "delayMs": 100})).await.unwrap();
    eventually(PATIENCE, "it runs", async || {
        anyhow::ensure!(service.steps().iter().any(|line| line.starts_with("ack")), "{:?}", service.steps());
        Ok(())
    })
    .await;
    assert_eq!(operate(&server, &id, "pause").await.status, 202);
    until(&server, &id, "paused").await;
    let steps = service.steps().len();
    crate::support::pause(std::time::Duration::from_millis(500)).await;
    assert!(service.steps().len() <= steps + 2, "it goes on");
    assert_eq!(operate(&server, &id, "resume").await.status, 200);
    assert_eq!(attach(&server, &id).await.json().unwrap(), 12);
    let lines = service.steps();
    for step in 0..12 {
        let runs = lines.iter().filter(|line| **line == format!("run {id} {step}")).count();
        assert_eq!(runs, 1, "step {step}");
    }
}

#[tokio::test]
async fn a_cancelled_handler_ends_by_its_own_hand() {
    let (server, _service) = start().await;
    let id = server.send("Sleeper/sleep", json!(600_000)).await.unwrap();
    until(&server, &id, "suspended").await;
    assert_eq!(operate(&server, &id, "cancel").await.status, 202);
    let answer = attach(&server, &id).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_eq!(answer.json().unwrap()["source"], "invocation");
}

#[tokio::test]
async fn a_purged_result_is_forgotten() {
    let (mut server, _service) = start().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "p")];
    let call = async |server: &Server| {
        server.ingress.request(http::Method::POST, "/Counter/k/add", &headers, "1").await.unwrap()
    };
    let first = call(&server).await;
    let id = first.headers["x-restate-id"].to_str().unwrap().to_owned();
    assert_eq!(call(&server).await.json().unwrap(), 1);
    assert_eq!(operate(&server, &id, "purge-journal").await.status, 200);
    assert_eq!(call(&server).await.json().unwrap(), 1);
    assert_eq!(operate(&server, &id, "purge").await.status, 200);
    assert_eq!(server.admin.get(&format!("/invocations/{id}")).await.unwrap().status, 404);
    server.crash().await;
    assert_eq!(server.admin.get(&format!("/invocations/{id}")).await.unwrap().status, 404);
    // The same key makes the same id anew.
    let again = call(&server).await;
    assert_eq!(again.json().unwrap(), 2);
    assert_eq!(again.headers["x-restate-id"], first.headers["x-restate-id"]);
}
