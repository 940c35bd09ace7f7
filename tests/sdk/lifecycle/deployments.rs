//! Registering again, moving on, going away.

use serde_json::{Value, json};

use super::{attach, start, until};
use crate::support::{Claim, Endpoint, PATIENCE, Proxy, Server, ServerOptions, Service, eventually, manifest};

async fn register(server: &Server, body: Value) -> (u16, Value) {
    let answer = server.admin.post("/deployments", &body).await.unwrap();
    (answer.status.as_u16(), answer.json().unwrap())
}

async fn revision(server: &Server, service: &str) -> Value {
    server.admin.get(&format!("/services/{service}")).await.unwrap().json().unwrap()["revision"].clone()
}

#[tokio::test]
async fn registering_again_needs_force() {
    let (mut server, service) = start().await;
    let first = server.admin.get("/deployments").await.unwrap().json().unwrap();
    let id = first["deployments"][0]["id"].clone();
    let (status, again) = register(&server, json!({"uri": service.uri()})).await;
    assert_eq!((status, &again["restate_code"]), (409, &json!("META0004")));
    // To the published client it is done already.
    let again = server.admin.post("/v4/deployments", &json!({"uri": service.uri()})).await.unwrap();
    assert_eq!((again.status.as_u16(), &again.json().unwrap()["id"]), (200, &id));
    assert_eq!(revision(&server, "Greeter").await, 1);
    let (status, dry) = register(&server, json!({"uri": service.uri(), "force": true, "dry_run": true})).await;
    assert_eq!(status, 200, "{dry}");
    assert_eq!(revision(&server, "Greeter").await, 1);
    let (status, forced) = register(&server, json!({"uri": service.uri(), "force": true})).await;
    assert_eq!((status, &forced["id"]), (200, &id));
    assert_eq!(revision(&server, "Greeter").await, 2);
    // It is in the log.
    server.crash().await;
    assert_eq!(revision(&server, "Greeter").await, 2);
    assert_eq!(server.call("Greeter/greet", json!("x")).await.unwrap(), "Hello x");
}

#[tokio::test]
async fn a_new_deployment_takes_new_calls_and_leaves_old_ones() {
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    let [old, new] =
        [Proxy::start(&service.uri(), Claim::default()).await, Proxy::start(&service.uri(), Claim::default()).await];
    let (status, made) = register(&server, json!({"uri": old.uri()})).await;
    assert_eq!(status, 201, "{made}");
    let sleeper = server.send("Sleeper/sleep", json!(1500)).await.unwrap();
    until(&server, &sleeper, "suspended").await;
    let (status, newer) = register(&server, json!({"uri": new.uri()})).await;
    assert_eq!(status, 201, "{newer}");
    assert_eq!(revision(&server, "Greeter").await, 2);
    assert_eq!(server.call("Greeter/greet", json!("x")).await.unwrap(), "Hello x");
    assert_eq!((old.attempts("Greeter/greet"), new.attempts("Greeter/greet")), (0, 1));
    // Pinned to where it began.
    assert_eq!(attach(&server, &sleeper).await.json().unwrap(), "slept");
    assert_eq!((old.attempts("Sleeper/sleep"), new.attempts("Sleeper/sleep")), (2, 0));
    // Without the newer one the older one serves again.
    let id = newer["id"].as_str().unwrap();
    assert_eq!(server.admin.delete(&format!("/deployments/{id}")).await.unwrap().status, 501);
    assert_eq!(server.admin.delete(&format!("/deployments/{id}?force=true")).await.unwrap().status, 202);
    assert_eq!(server.call("Greeter/greet", json!("y")).await.unwrap(), "Hello y");
    assert_eq!(old.attempts("Greeter/greet"), 1);
}

#[tokio::test]
async fn another_type_of_service_is_refused() {
    let server = Server::start(ServerOptions::default()).await;
    let endpoint = async |ty: &str| {
        let mut manifest = manifest("Chameleon");
        manifest["services"][0]["ty"] = json!(ty);
        Endpoint::start(manifest, |_| async {}).await
    };
    let [service, object] = [endpoint("SERVICE").await, endpoint("VIRTUAL_OBJECT").await];
    assert_eq!(register(&server, json!({"uri": service.uri()})).await.0, 201);
    let (status, error) = register(&server, json!({"uri": object.uri()})).await;
    assert_eq!((status, &error["restate_code"]), (409, &json!("META0006")), "{error}");
    assert_eq!(register(&server, json!({"uri": object.uri(), "breaking": true})).await.0, 201);
}

#[tokio::test]
async fn calls_wait_for_a_deployment_that_is_down() {
    let (server, mut service) = start().await;
    service.kill();
    let id = server.send("Counter/k/add", json!(2)).await.unwrap();
    let look = until(&server, &id, "backing-off").await;
    assert_eq!(look["last_failure"]["code"], "RT0010", "{look:#}");
    service.start_again();
    assert_eq!(attach(&server, &id).await.json().unwrap(), 2);
}

/// The documentation's way out for invocations that are stuck with code that is broken.
#[tokio::test]
async fn a_stuck_invocation_goes_on_at_the_patched_address() {
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    let broken = Proxy::start(&service.uri(), Claim::default()).await;
    let (_, made) = register(&server, json!({"uri": broken.uri()})).await;
    let stuck = server.send("Steps/runSlow", json!({"n": 6, "delayMs": 100})).await.unwrap();
    eventually(PATIENCE, "it has begun", async || {
        anyhow::ensure!(!service.steps().is_empty());
        Ok(())
    })
    .await;
    drop(broken);
    let look = until(&server, &stuck, "backing-off").await;
    assert_eq!(look["pinned_deployment_id"], made["id"], "{look:#}");
    let patched = Proxy::start(&service.uri(), Claim::default()).await;
    let path = format!("/deployments/{}", made["id"].as_str().unwrap());
    let answer = server.admin.request(http::Method::PUT, &path, JSON, json!({"uri": patched.uri()}).to_string()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(attach(&server, &stuck).await.json().unwrap(), 6);
    assert!(patched.attempts("Steps/runSlow") > 0);
    assert_eq!(revision(&server, "Steps").await, 1);
    // Something else is not taken for it.
    let other = Endpoint::start(manifest("Other"), |_| async {}).await;
    let answer = server.admin.patch(&path, &json!({"uri": other.uri()})).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json().unwrap()["restate_code"].clone()), (400, json!("META0016")));
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn a_private_service_is_for_handlers_only() {
    let (server, _service) = start().await;
    let patch = async |body: Value| server.admin.patch("/services/Counter", &body).await.unwrap().status.as_u16();
    assert_eq!(patch(json!({"public": false})).await, 200);
    for path in ["/Counter/k/add", "/Counter/k/add/send", "/restate/call/Counter/k/add"] {
        let answer = server.ingress.post(path, &json!(1)).await.unwrap();
        let message = answer.json().unwrap()["message"].clone();
        assert_eq!((answer.status.as_u16(), message), (400, json!("the invoked service is not public")), "{path}");
    }
    assert_eq!(server.call("Caller/callCounter", json!({"key": "k", "n": 5})).await.unwrap(), 5);
    assert_eq!(patch(json!({"public": true})).await, 200);
    assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), 6);
}

/// Settings are those of the moment in which an invocation is made.
#[tokio::test]
async fn a_changed_retention_holds_for_what_comes() {
    let (server, _service) = start().await;
    let call = async |key: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let answer = server.ingress.request(http::Method::POST, "/Counter/k/add", &headers, "1").await.unwrap();
        answer.json().unwrap()
    };
    assert_eq!(call("long").await, 1);
    let patch = json!({"idempotency_retention": "50ms", "journal_retention": "0s"});
    let answer = server.admin.patch("/services/Counter", &patch).await.unwrap();
    assert_eq!(answer.json().unwrap()["idempotency_retention"], "50ms");
    assert_eq!(call("short").await, 2);
    eventually(PATIENCE, "the key is forgotten", async || {
        let sum = call("short").await;
        anyhow::ensure!(sum == 3, "{sum}");
        Ok(())
    })
    .await;
    assert_eq!(call("long").await, 1);
}
