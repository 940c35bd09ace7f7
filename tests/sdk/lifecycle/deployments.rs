//! Registering again, moving on, going away.

use serde_json::{Value, json};

use super::{attach, start, until};
use crate::support::{Claim, Endpoint, Proxy, Server, ServerOptions, Service, manifest};

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
    assert_eq!((status, &again["id"]), (200, &id));
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
