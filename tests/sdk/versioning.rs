//! How a team moves from one version of its services to the next, and takes one out of service. What registrations
//! refuse is in `tests/codes/registration.rs`, moving single invocations in `lifecycle/`.

use serde_json::{Value, json};

use crate::support::{Claim, PATIENCE, Proxy, Server, ServerOptions, Service, eventually};

async fn register(server: &Server, proxy: &Proxy) -> String {
    let made = server.admin.post("/deployments", &json!({"uri": proxy.uri()})).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    made.json().unwrap()["id"].as_str().unwrap().to_owned()
}

async fn remove(server: &Server, id: &str) -> u16 {
    server.admin.delete(&format!("/deployments/{id}")).await.unwrap().status.as_u16()
}

async fn until(server: &Server, id: &str, status: &str) {
    eventually(PATIENCE, "the status", async || {
        let look = server.admin.get(&format!("/invocations/{id}")).await?.ok()?.json()?;
        anyhow::ensure!(look["status"] == status, "not {status}: {look:#}");
        Ok(())
    })
    .await;
}

async fn attach(server: &Server, id: &str) -> Value {
    server.ingress.get(&format!("/restate/invocation/{id}/attach")).await.unwrap().json().unwrap()
}

/// The documentation's way: register the new one, wait until the old one is drained, remove it. No force is needed, and
/// nothing that still needs it is lost by going too fast.
#[tokio::test]
async fn an_old_version_is_removed_when_it_is_drained() {
    let service = Service::start("rust");
    let mut server = Server::start(ServerOptions::default()).await;
    let [v1, v2] =
        [Proxy::start(&service.uri(), Claim::default()).await, Proxy::start(&service.uri(), Claim::default()).await];
    let old = register(&server, &v1).await;
    assert_eq!(remove(&server, &old).await, 501, "it serves the latest revisions");
    let gate = service.file("gate");
    let sleeper = server.send("Sleeper/sleep", json!(3000)).await.unwrap();
    let holder = server.send("Gate/k/on", json!({"seq": 1, "hold": gate})).await.unwrap();
    until(&server, &sleeper, "suspended").await;
    until(&server, &holder, "running").await;
    let next = server.send("Gate/k/on", json!({"seq": 2})).await.unwrap();

    let new = register(&server, &v2).await;
    assert_eq!(remove(&server, &old).await, 501, "an invocation is tied to it");
    // What is pinned is in the log, and so is the choice of the new one.
    server.crash().await;
    assert_eq!(remove(&server, &old).await, 501);
    assert_eq!(server.call("Greeter/greet", json!("x")).await.unwrap(), "Hello x");
    assert_eq!((v1.attempts("Greeter/greet"), v2.attempts("Greeter/greet")), (0, 1));

    std::fs::write(gate, "").unwrap();
    assert_eq!(attach(&server, &holder).await, 1);
    // Made before the new version, but nothing ties them to the old one: one had stored nothing when the server was
    // killed, the other began later.
    assert_eq!(attach(&server, &next).await, 2);
    assert_eq!((v1.attempts("Gate/on"), v2.attempts("Gate/on")), (1, 2));
    assert_eq!(attach(&server, &sleeper).await, "slept");
    assert_eq!(v2.attempts("Sleeper/sleep"), 0);
    assert_eq!(remove(&server, &old).await, 202);
    let listed = server.admin.get("/deployments").await.unwrap().json().unwrap();
    let ids: Vec<_> = listed["deployments"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [json!(new)]);
    // Its results are kept.
    assert_eq!(attach(&server, &sleeper).await, "slept");
    assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), 1);
}

/// A service is taken out of service as a whole: first it takes nothing new, then nothing of it runs, then it goes.
#[tokio::test]
async fn a_service_is_retired_by_making_it_private_first() {
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    let only = Proxy::start(&service.uri(), Claim::default()).await;
    let id = register(&server, &only).await;
    let gate = service.file("gate");
    let last = server.send("Gate/k/on", json!({"seq": 1, "hold": gate})).await.unwrap();
    until(&server, &last, "running").await;
    let patched = server.admin.patch("/services/Gate", &json!({"public": false})).await.unwrap();
    assert_eq!(patched.status, 200, "{}", patched.text());
    assert!(server.send("Gate/k/on", json!({"seq": 2})).await.is_err());
    std::fs::write(gate, "").unwrap();
    assert_eq!(attach(&server, &last).await, 1);
    let removed = server.admin.delete(&format!("/deployments/{id}?force=true")).await.unwrap();
    assert_eq!(removed.status, 202, "{}", removed.text());
    assert_eq!(server.admin.get("/services/Gate").await.unwrap().status, 404);
    let gone = server.ingress.post("/Gate/k/on", &json!({"seq": 3})).await.unwrap();
    assert_eq!(gone.status, 404, "{}", gone.text());
    // The result of the last one outlives its service.
    assert_eq!(attach(&server, &last).await, 1);
}
