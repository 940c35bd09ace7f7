//! State that is edited from outside.

use millrace_model::state::StateVersion;
use serde_json::{Value, json};

use super::{attach, start, until};
use crate::support::{PATIENCE, Server, eventually};

async fn edit(server: &Server, service: &str, body: Value) {
    let answer = server.admin.post(&format!("/services/{service}/state"), &body).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (202, ""), "{body}");
}

#[tokio::test]
async fn an_edit_replaces_the_state_of_a_key() {
    let (mut server, _service) = start().await;
    assert_eq!(server.call("Counter/k/add", json!(3)).await.unwrap(), 3);
    edit(&server, "Counter", json!({"object_key": "k", "new_state": {"count": [52, 49], "other": "1"}})).await;
    assert_eq!(server.query("Counter/k/get").await.unwrap(), 41);
    assert_eq!(server.query("Counter/k/keys").await.unwrap(), json!(["count", "other"]));
    assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), 42);
    // Others have their own.
    assert_eq!(server.query("Counter/l/get").await.unwrap(), 0);
    edit(&server, "Counter", json!({"object_key": "k", "new_state": {"count": "7"}})).await;
    server.crash().await;
    assert_eq!(server.query("Counter/k/keys").await.unwrap(), json!(["count"]));
    assert_eq!(server.query("Counter/k/get").await.unwrap(), 7);
    edit(&server, "Counter", json!({"object_key": "k", "new_state": {}})).await;
    assert_eq!(server.query("Counter/k/keys").await.unwrap(), json!([]));
}

#[tokio::test]
async fn an_edit_against_older_state_is_dropped() {
    let (server, _service) = start().await;
    assert_eq!(server.call("Counter/k/add", json!(5)).await.unwrap(), 5);
    let version = |count: &str| StateVersion::of([(&b"count"[..], count.as_bytes())]).to_string();
    let to =
        |count: &str, version: String| json!({"object_key": "k", "new_state": {"count": count}, "version": version});
    edit(&server, "Counter", to("50", version("4"))).await;
    assert_eq!(server.query("Counter/k/get").await.unwrap(), 5);
    edit(&server, "Counter", to("50", version("5"))).await;
    assert_eq!(server.query("Counter/k/get").await.unwrap(), 50);
}

#[tokio::test]
async fn an_edit_waits_its_turn() {
    let (server, service) = start().await;
    let gate = service.file("gate");
    let held = server.send("Gate/k/on", json!({"seq": 1, "hold": gate})).await.unwrap();
    until(&server, &held, "running").await;
    let before = server.send("Gate/k/on", json!({"seq": 2})).await.unwrap();
    until(&server, &before, "inboxed").await;
    // The one that is against older state is dropped when it is its turn.
    let stale = StateVersion::of([]).to_string();
    edit(&server, "Gate", json!({"object_key": "k", "new_state": {"seqs": "[7]"}, "version": stale})).await;
    edit(&server, "Gate", json!({"object_key": "k", "new_state": {"seqs": "[8]"}})).await;
    let behind = server.send("Gate/k/on", json!({"seq": 3})).await.unwrap();
    assert_eq!(server.query("Gate/k/seqs").await.unwrap(), json!([]));
    std::fs::write(gate, "").unwrap();
    assert_eq!(attach(&server, &held).await.json().unwrap(), 1);
    assert_eq!(attach(&server, &before).await.json().unwrap(), 2);
    assert_eq!(attach(&server, &behind).await.json().unwrap(), 2);
    assert_eq!(server.query("Gate/k/seqs").await.unwrap(), json!([8, 3]));
    eventually(PATIENCE, "the key is free", async || {
        let key = server.admin.get("/services/Gate/keys/k").await?.json()?;
        anyhow::ensure!(key["state"] == "free", "{key:#}");
        Ok(())
    })
    .await;
}
