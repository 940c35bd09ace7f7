//! Several things awaited at once.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    stage::{Stage, failure},
    support::{PATIENCE, eventually},
};

/// A handler of `Combine` that waits for awakeables.
struct Waiting {
    stage: Arc<Stage>,
    key: String,
    result: JoinHandle<anyhow::Result<Value>>,
}

impl Waiting {
    /// Resolves when all `n` awakeables are held.
    async fn start(stage: &Arc<Stage>, handler: &str, n: usize) -> Self {
        let key = stage.key();
        let result = stage.begin(&format!("Combine/{handler}"), json!({"key": key, "n": n}));
        for i in 0..n {
            stage.held(&format!("{key}-{i}")).await;
        }
        Self { stage: Arc::clone(stage), key, result }
    }

    async fn resolve(&self, i: usize, value: &str) {
        self.stage.tell(&format!("Holder/{}-{i}/unlock", self.key), json!(value)).await;
    }

    async fn reject(&self, i: usize, reason: &str) {
        self.stage.tell(&format!("Holder/{}-{i}/refuse", self.key), json!(reason)).await;
    }

    async fn result(self) -> Value {
        self.result.await.expect("no panic").expect("an output")
    }
}

pub async fn all_wait_for_the_last(stage: Arc<Stage>) {
    let all = Waiting::start(&stage, "all", 3).await;
    for i in [1, 0, 2] {
        assert!(!all.result.is_finished());
        all.resolve(i, &format!("v{i}")).await;
    }
    assert_eq!(all.result().await, json!(["v0", "v1", "v2"]));
    let all = Waiting::start(&stage, "all", 3).await;
    all.resolve(0, "v").await;
    all.reject(2, "no").await;
    assert_eq!(all.result().await, "rejected: no");
}

pub async fn any_takes_the_first_success(stage: Arc<Stage>) {
    let any = Waiting::start(&stage, "any", 3).await;
    any.reject(0, "no").await;
    any.resolve(2, "yes").await;
    assert_eq!(any.result().await, "yes");
    let any = Waiting::start(&stage, "any", 2).await;
    any.reject(1, "no").await;
    any.reject(0, "no").await;
    assert_eq!(any.result().await, "all rejected");
}

pub async fn race_takes_the_first(stage: Arc<Stage>) {
    let race = Waiting::start(&stage, "race", 3).await;
    race.resolve(1, "fast").await;
    assert_eq!(race.result().await, "fast");
    let race = Waiting::start(&stage, "race", 3).await;
    race.reject(2, "no").await;
    assert_eq!(race.result().await, "rejected: no");
}

pub async fn all_are_settled(stage: Arc<Stage>) {
    let settled = Waiting::start(&stage, "allSettled", 3).await;
    settled.reject(1, "no").await;
    settled.resolve(2, "c").await;
    settled.resolve(0, "a").await;
    assert_eq!(settled.result().await, json!(["a", "rejected: no", "c"]));
}

pub async fn select_names_the_first(stage: Arc<Stage>) {
    for winner in [0, 2] {
        let select = Waiting::start(&stage, "select", 3).await;
        select.resolve(winner, "x").await;
        assert_eq!(select.result().await, winner);
    }
}

pub async fn sleeps_end_in_order(stage: Arc<Stage>) {
    let delays = json!([900, 1, 450]);
    assert_eq!(stage.server.call("Combine/order", delays).await.unwrap(), json!([1, 2, 0]));
}

pub async fn a_timeout_ends_waiting(stage: Arc<Stage>) {
    assert_eq!(stage.server.call("Combine/timeout", json!(120)).await.unwrap(), "timeout");
}

pub async fn the_winner_stays_the_winner(stage: Arc<Stage>) {
    let select = Waiting::start(&stage, "sameWinner", 2).await;
    // The first completion leads to a failure behind the step, the second one is there for the attempt after it: or comes
    // too late, on a slow machine.
    for i in [1, 0] {
        let id = stage.held(&format!("{}-{i}", select.key)).await;
        let path = format!("/restate/awakeables/{id}/resolve");
        let headers = [("content-type", "application/json")];
        let answer = stage.server.ingress.request(Method::POST, &path, &headers, "\"x\"").await.unwrap();
        assert!([202, 409].contains(&answer.status.as_u16()), "{}", answer.text());
    }
    assert_eq!(select.result().await, true);
}

pub async fn the_loser_is_cancelled(stage: Arc<Stage>) {
    let answer = stage.server.ingress.post_empty("/Combine/cancelLoser").await.unwrap();
    let loser = answer.json().unwrap();
    let loser = loser.as_str().expect("an id");
    assert_eq!(failure(&stage.attach(loser).await).0, 409);
    eventually(PATIENCE, "it is completed", async || {
        let shown = stage.server.admin.get(&format!("/invocations/{loser}")).await?.ok()?.json()?;
        anyhow::ensure!(shown["status"] == "completed", "{shown:#}");
        Ok(())
    })
    .await;
}
