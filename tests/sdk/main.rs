//! Handlers of the real SDKs behind the real binary: one function per promise in `promises/`, run for each language, each
//! way to speak to a service and each version of the service protocol. Operators' verbs are in `lifecycle/`.

#[path = "../support/mod.rs"]
mod support;

mod lifecycle;
mod promises;
mod stage;

use promises::ALL;
use stage::{Stage, check};
use support::Claim;

#[tokio::test]
async fn typescript_over_streams() {
    check(Stage::start("typescript").await, ALL).await;
}

#[tokio::test]
async fn python_over_streams() {
    check(Stage::start("python").await, ALL).await;
}

#[tokio::test]
async fn rust_over_streams() {
    check(Stage::start("rust").await, ALL).await;
}

#[tokio::test]
async fn typescript_over_http_1() {
    check(Stage::http1("typescript").await, ALL).await;
}

#[tokio::test]
async fn python_over_http_1() {
    check(Stage::http1("python").await, ALL).await;
}

/// One request for each time the handler gets on, over HTTP/2.
#[tokio::test]
async fn rust_in_requests_and_responses() {
    let claim = Claim { request_response: true, ..Claim::default() };
    check(Stage::proxied("rust", claim).await, ALL).await;
}

async fn version(language: &str, version: u32) {
    let stage = Stage::proxied(language, Claim { version: Some(version), ..Claim::default() }).await;
    let proxy = check(stage, ALL).await.expect("there is one");
    assert_eq!(proxy.content_types(), [format!("application/vnd.restate.invocation.v{version}")]);
}

#[tokio::test]
async fn typescript_at_version_5() {
    version("typescript", 5).await;
}

#[tokio::test]
async fn typescript_at_version_6() {
    version("typescript", 6).await;
}

#[tokio::test]
async fn typescript_at_version_7() {
    version("typescript", 7).await;
}

#[tokio::test]
async fn rust_at_version_5() {
    version("rust", 5).await;
}

#[tokio::test]
async fn rust_at_version_6() {
    version("rust", 6).await;
}

#[tokio::test]
async fn rust_at_version_7() {
    version("rust", 7).await;
}

#[tokio::test]
async fn python_at_version_6() {
    version("python", 6).await;
}
