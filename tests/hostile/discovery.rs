//! Documents that answer discovery and are not manifests, or not good ones.

use bytes::Bytes;
use http::Response;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{Attempt, Endpoint, MANIFEST_TYPE, Server, ServerOptions, manifest, seed, tier};

async fn answer(server: &Server, content_type: &str, body: impl Into<Bytes>) -> (u16, Value) {
    let head = Response::builder().header("content-type", content_type);
    let endpoint = Endpoint::raw(head, body.into(), |_: Attempt| async {}).await;
    let made = server.admin.post("/deployments", &json!({"uri": endpoint.uri()})).await.unwrap();
    (made.status.as_u16(), made.json().unwrap())
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut manifest = manifest("Hostile");
    change(&mut manifest);
    manifest
}

#[tokio::test]
async fn hostile_documents_register_nothing() {
    let server = Server::start(ServerOptions::default()).await;
    let deep = "[".repeat(200_000);
    let handlers = |n: usize| {
        changed(|m| m["services"][0]["handlers"] = (0..n).map(|n| json!({"name": format!("h{n}")})).collect())
    };
    let cases: Vec<(&str, &str, String, u16)> = vec![
        ("another content type", "application/json", manifest("Hostile").to_string(), 500),
        ("nothing", MANIFEST_TYPE, String::new(), 500),
        ("not JSON", MANIFEST_TYPE, "<html>".to_owned(), 500),
        ("not an object", MANIFEST_TYPE, "[]".to_owned(), 500),
        ("nested without end", MANIFEST_TYPE, deep, 500),
        ("cut off", MANIFEST_TYPE, manifest("Hostile").to_string().split_off(20), 500),
        ("no mode", MANIFEST_TYPE, changed(|m| m["protocolMode"] = Value::Null).to_string(), 500),
        ("min above max", MANIFEST_TYPE, changed(|m| m["minProtocolVersion"] = json!(9)).to_string(), 500),
        (
            "versions of the past",
            MANIFEST_TYPE,
            changed(|m| {
                m["minProtocolVersion"] = json!(1);
                m["maxProtocolVersion"] = json!(4);
            })
            .to_string(),
            500,
        ),
        (
            "versions of the future",
            MANIFEST_TYPE,
            changed(|m| {
                m["minProtocolVersion"] = json!(8);
                m["maxProtocolVersion"] = json!(9);
            })
            .to_string(),
            500,
        ),
        ("version 1e30", MANIFEST_TYPE, manifest("Hostile").to_string().replace(":7,", ":1e30,"), 500),
        ("negative version", MANIFEST_TYPE, changed(|m| m["minProtocolVersion"] = json!(-1)).to_string(), 500),
        ("reserved name", MANIFEST_TYPE, manifest("restateful").to_string(), 400),
        ("reserved name, shouted", MANIFEST_TYPE, manifest("OPENAPI").to_string(), 400),
        ("slash in a name", MANIFEST_TYPE, manifest("a/b").to_string(), 500),
        ("empty name", MANIFEST_TYPE, manifest("").to_string(), 500),
        ("endless name", MANIFEST_TYPE, manifest(&"n".repeat(100_000)).to_string(), 500),
        ("control characters", MANIFEST_TYPE, manifest("a\u{0}b").to_string(), 500),
        ("unknown type", MANIFEST_TYPE, changed(|m| m["services"][0]["ty"] = json!("DAEMON")).to_string(), 500),
        (
            "workflow handler of a service",
            MANIFEST_TYPE,
            changed(|m| m["services"][0]["handlers"][0]["ty"] = json!("WORKFLOW")).to_string(),
            400,
        ),
        (
            "handler twice",
            MANIFEST_TYPE,
            changed(|m| m["services"][0]["handlers"] = json!([{"name": "on"}, {"name": "on"}])).to_string(),
            500,
        ),
        (
            "service twice",
            MANIFEST_TYPE,
            changed(|m| m["services"] = json!([m["services"][0], m["services"][0]])).to_string(),
            500,
        ),
        ("too many handlers", MANIFEST_TYPE, handlers(20_000).to_string(), 500),
        ("negative timeout", MANIFEST_TYPE, changed(|m| m["services"][0]["abortTimeout"] = json!(-1)).to_string(), 500),
        (
            "factor below zero",
            MANIFEST_TYPE,
            changed(|m| m["services"][0]["retryPolicyExponentiationFactor"] = json!(-2)).to_string(),
            500,
        ),
        (
            "content type with a line break",
            MANIFEST_TYPE,
            changed(|m| m["services"][0]["handlers"][0]["output"] = json!({"contentType": "a/b\r\nset-cookie: x=y"}))
                .to_string(),
            500,
        ),
        (
            "9 MiB",
            MANIFEST_TYPE,
            changed(|m| m["services"][0]["documentation"] = json!("x".repeat(9 << 20))).to_string(),
            500,
        ),
    ];
    let mut wrong = Vec::new();
    for (name, content_type, body, status) in cases {
        let (found, error) = answer(&server, content_type, body).await;
        let text = error["message"].as_str().unwrap_or_default();
        if found != status || text.is_empty() || text.len() > 4096 {
            wrong.push(format!("{name}: {found} {}", error.to_string().chars().take(400).collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let services = server.admin.get("/services").await.unwrap().json().unwrap();
    assert_eq!(services, json!({"services": []}));
    let (status, made) = answer(&server, MANIFEST_TYPE, manifest("Good").to_string()).await;
    assert_eq!((status, &made["services"][0]["name"]), (201, &json!("Good")));
}

/// Changed bytes of a good manifest: registered or refused, always answered.
#[tokio::test]
async fn damaged_manifests_are_answered() {
    let server = Server::start(ServerOptions::default()).await;
    let mut rng = StdRng::seed_from_u64(seed());
    let good = manifest("Damaged").to_string().into_bytes();
    for _ in 0..tier(150, 5000) {
        let mut body = good.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..body.len());
            match rng.random_range(0..3) {
                0 => body[at] = rng.random(),
                1 => _ = body.remove(at),
                _ => body.insert(at, b"0123456789\"{}[],:-.eE"[rng.random_range(0..21)]),
            }
        }
        let (status, answer) = answer(&server, MANIFEST_TYPE, body).await;
        assert!([201, 400, 409, 500].contains(&status), "{status} {answer}");
    }
    assert_eq!(server.ingress.get("/restate/health").await.unwrap().status, 200);
}

/// An endpoint that never answers, or never ends, does not keep the operator waiting for ever.
#[tokio::test]
async fn silent_endpoints_are_given_up() {
    let server = Server::start(ServerOptions::default()).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", silent.local_addr().unwrap());
    let made = server.admin.post("/deployments", &json!({"uri": uri})).await.unwrap();
    assert_eq!(made.status, 500);
    assert_eq!(made.json().unwrap()["restate_code"], "META0003", "{}", made.text());
}
