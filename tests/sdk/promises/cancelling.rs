//! Trees of calls that are cancelled or killed.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    stage::{Stage, failure},
    support::{PATIENCE, eventually},
};

/// Three levels above the leaf's wait.
const ROOT: u32 = 2;

/// Grows a tree whose leaf waits; id of the root.
async fn grow(stage: &Stage, key: &str, wait: &str) -> String {
    let input = json!({"key": key, "level": ROOT, "wait": wait});
    let id = stage.server.send(&format!("Tree/{key}-{ROOT}/grow"), input).await.unwrap();
    stage.until(&format!("ListObject/{key}/get"), json!(["ready"])).await;
    id
}

async fn operate(stage: &Stage, id: &str, verb: &str) {
    let answer = stage.server.admin.patch(&format!("/invocations/{id}/{verb}"), &json!({})).await.unwrap();
    assert!(answer.status.is_success(), "{verb}: {} {}", answer.status, answer.text());
}

/// The keys of all nodes are free.
async fn falls(stage: &Stage, key: &str) {
    for level in 0..=ROOT {
        assert_eq!(stage.server.query(&format!("Tree/{key}-{level}/idle")).await.unwrap(), "idle");
    }
}

/// Every level has compensated once, in whatever order: the SDKs pass a cancellation on and do not wait for the children.
async fn is_undone(stage: &Stage, key: &str) {
    falls(stage, key).await;
    let mut log = stage.server.query(&format!("ListObject/{key}/get")).await.unwrap();
    log.as_array_mut().unwrap().sort_by_key(Value::to_string);
    assert_eq!(log, json!(["ready", "undo 0 409", "undo 1 409", "undo 2 409"]));
}

pub async fn a_tree_is_cancelled_from_the_root(stage: Arc<Stage>) {
    for wait in ["sleep", "awakeable", "signal"] {
        let key = stage.key();
        let root = grow(&stage, &key, wait).await;
        operate(&stage, &root, "cancel").await;
        assert_eq!(stage.attach(&root).await.status, 409, "{wait}");
        is_undone(&stage, &key).await;
    }
}

pub async fn a_tree_is_undone_from_the_leaf(stage: Arc<Stage>) {
    let key = stage.key();
    let root = grow(&stage, &key, "awakeable").await;
    let leaf = eventually(PATIENCE, "the leaf holds its key", async || {
        let shown = stage.server.admin.get(&format!("/services/Tree/keys/{key}-0")).await?.ok()?.json()?;
        shown["holder"]["id"].as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{shown:#}"))
    })
    .await;
    operate(&stage, &leaf, "cancel").await;
    assert_eq!(failure(&stage.attach(&root).await).0, 409);
    let log = stage.server.query(&format!("ListObject/{key}/get")).await.unwrap();
    assert_eq!(log, json!(["ready", "undo 0 409", "undo 1 409", "undo 2 409"]));
    falls(&stage, &key).await;
}

pub async fn a_handler_cancels_a_tree(stage: Arc<Stage>) {
    let key = stage.key();
    let root = grow(&stage, &key, "sleep").await;
    stage.tell("Signals/cancel", json!({"id": root})).await;
    assert_eq!(stage.attach(&root).await.status, 409);
    is_undone(&stage, &key).await;
}

pub async fn a_killed_tree_undoes_nothing(stage: Arc<Stage>) {
    for wait in ["sleep", "awakeable"] {
        let key = stage.key();
        let root = grow(&stage, &key, wait).await;
        operate(&stage, &root, "kill").await;
        assert_eq!(failure(&stage.attach(&root).await), (409, "killed".to_owned()));
        falls(&stage, &key).await;
        assert_eq!(stage.server.query(&format!("ListObject/{key}/get")).await.unwrap(), json!(["ready"]));
    }
}
