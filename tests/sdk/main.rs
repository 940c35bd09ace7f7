//! Handlers of the real SDKs behind the real binary: one function per promise in `promises/`, run for each language, each
//! way to speak to a service and each version of the service protocol. Operators' verbs are in `lifecycle/`, programs made
//! at random in `random/`. `MILLRACE_TESTS=all` runs the whole matrix, otherwise a part of it is left out.

#[path = "../support/mod.rs"]
mod support;

mod guides;
mod identity;
mod lambda;
mod lifecycle;
mod promises;
mod random;
mod stage;
mod versioning;
#[path = "../crash/world.rs"]
#[allow(dead_code)] // The crash tests use the rest.
mod world;

use promises::ALL;
use stage::{Stage, check};
use support::{Claim, tier};

/// How a deployment is spoken to.
#[derive(Clone, Copy)]
enum Mode {
    /// Streams over HTTP/2.
    Streams,
    /// One request for each time the handler gets on, over HTTP/2.
    Requests,
    /// The same over HTTP/1.1, from the SDK's own server.
    Http1,
}

/// When a cell of the matrix runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    InFull,
}

/// `version`: the newest that the service claims to speak; what the SDK and the server choose themselves without.
async fn cell(language: &str, mode: Mode, version: Option<u32>, when: When) {
    if when == When::InFull && !tier(false, true) {
        return;
    }
    let claim = Claim { version, request_response: matches!(mode, Mode::Requests), ..Claim::default() };
    let stage = match (mode, version) {
        (Mode::Http1, _) => Stage::http1(language).await,
        (Mode::Streams, None) => Stage::start(language).await,
        _ => Stage::proxied(language, claim).await,
    };
    let proxy = check(stage, ALL).await;
    if let (Some(version), Some(proxy)) = (version, proxy) {
        assert_eq!(proxy.content_types(), [format!("application/vnd.restate.invocation.v{version}")]);
    }
}

macro_rules! matrix {
    ($($name:ident: $language:literal, $mode:ident, $version:expr, $when:ident;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                cell($language, Mode::$mode, $version, When::$when).await;
            }
        )*
    };
}

matrix! {
    typescript_over_streams: "typescript", Streams, None, Always;
    typescript_over_http_1: "typescript", Http1, None, Always;
    typescript_at_version_5: "typescript", Streams, Some(5), Always;
    typescript_at_version_6: "typescript", Streams, Some(6), Always;
    typescript_at_version_7: "typescript", Streams, Some(7), InFull;
    typescript_in_requests_at_version_5: "typescript", Requests, Some(5), InFull;
    typescript_in_requests_at_version_6: "typescript", Requests, Some(6), InFull;
    typescript_in_requests_at_version_7: "typescript", Requests, Some(7), InFull;

    python_over_streams: "python", Streams, None, Always;
    python_over_http_1: "python", Http1, None, Always;
    python_at_version_5: "python", Streams, Some(5), InFull;
    python_at_version_6: "python", Streams, Some(6), InFull;
    python_at_version_7: "python", Streams, Some(7), InFull;
    python_in_requests_at_version_5: "python", Requests, Some(5), InFull;
    python_in_requests_at_version_6: "python", Requests, Some(6), Always;
    python_in_requests_at_version_7: "python", Requests, Some(7), InFull;

    rust_over_streams: "rust", Streams, None, Always;
    rust_at_version_5: "rust", Streams, Some(5), Always;
    rust_at_version_6: "rust", Streams, Some(6), InFull;
    rust_at_version_7: "rust", Streams, Some(7), InFull;
    rust_in_requests_at_version_5: "rust", Requests, Some(5), InFull;
    rust_in_requests_at_version_6: "rust", Requests, Some(6), InFull;
    rust_in_requests_at_version_7: "rust", Requests, Some(7), Always;

    // Its newest release speaks versions 5 and 6.
    java_over_streams: "java", Streams, None, InFull;
    java_over_http_1: "java", Http1, None, InFull;
    java_at_version_5: "java", Streams, Some(5), InFull;
    java_at_version_6: "java", Streams, Some(6), InFull;
    java_in_requests_at_version_5: "java", Requests, Some(5), InFull;
    java_in_requests_at_version_6: "java", Requests, Some(6), InFull;

    go_over_streams: "go", Streams, None, InFull;
    go_over_http_1: "go", Http1, None, InFull;
    go_at_version_5: "go", Streams, Some(5), InFull;
    go_at_version_6: "go", Streams, Some(6), InFull;
    go_at_version_7: "go", Streams, Some(7), InFull;
    go_in_requests_at_version_5: "go", Requests, Some(5), InFull;
    go_in_requests_at_version_6: "go", Requests, Some(6), InFull;
    go_in_requests_at_version_7: "go", Requests, Some(7), InFull;
}
