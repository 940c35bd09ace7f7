//! Awakeables: made by one handler, completed by somebody else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::json;

use crate::stage::Stage;

pub async fn a_handler_resolves_an_awakeable(stage: Arc<Stage>) {
    let key = stage.key();
    let waiting = stage.begin("Awaiter/await", json!({"key": key}));
    assert!(stage.held(&key).await.starts_with("sign_1"));
    stage.tell(&format!("Holder/{key}/unlock"), json!("ä value")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "ä value");
    let (code, message) = stage.fails(&format!("Holder/{key}/unlock"), json!("more")).await;
    assert_eq!((code, message.as_str()), (404, "nothing held"));
}

pub async fn a_handler_rejects_an_awakeable(stage: Arc<Stage>) {
    let key = stage.key();
    let waiting = stage.begin("Awaiter/await", json!({"key": key}));
    stage.held(&key).await;
    stage.tell(&format!("Holder/{key}/refuse"), json!("not now")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "rejected: not now");
}

pub async fn awakeables_are_completed_over_http(stage: Arc<Stage>) {
    for (verb, body, expected) in [("resolve", "\"by hand\"", "by hand"), ("reject", "by hand", "rejected: by hand")] {
        let key = stage.key();
        let waiting = stage.begin("Awaiter/await", json!({"key": key}));
        let id = stage.held(&key).await;
        let content_type = if verb == "resolve" { "application/json" } else { "text/plain" };
        let path = format!("/restate/awakeables/{id}/{verb}");
        let headers = [("content-type", content_type)];
        // The second one comes too late, or is too much: it changes nothing, and is told so (F160).
        for (body, status) in [(body, 202), ("\"again\"", 409)] {
            let answer = stage.server.ingress.request(Method::POST, &path, &headers, body.to_owned()).await.unwrap();
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        assert_eq!(waiting.await.unwrap().unwrap(), expected);
    }
}

pub async fn an_early_completion_is_kept(stage: Arc<Stage>) {
    let key = stage.key();
    let started = Instant::now();
    let waiting = stage.begin("Awaiter/awaitLate", json!({"key": key, "ms": 900}));
    stage.held(&key).await;
    stage.tell(&format!("Holder/{key}/unlock"), json!("early")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "early");
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

pub async fn an_awakeable_times_out(stage: Arc<Stage>) {
    let key = stage.key();
    let waiting = stage.begin("Awaiter/awaitTimeout", json!({"key": key, "ms": 150}));
    assert_eq!(waiting.await.unwrap().unwrap(), "timeout");
    // Nobody is there any more; that is no failure of the one who completes it.
    stage.tell(&format!("Holder/{key}/unlock"), json!("late")).await;
    let waiting = stage.begin("Awaiter/awaitTimeout", json!({"key": key, "ms": 600_000}));
    stage.held(&key).await;
    stage.tell(&format!("Holder/{key}/unlock"), json!("in time")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "in time");
}
