//! Codes of registering deployments and subscriptions.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{
    Attempt, Endpoint, MANIFEST_TYPE, Server, ServerOptions, free_port,
    lambda::{ARN, Lambda},
    manifest,
};

async fn endpoint(manifest: Value) -> Endpoint {
    Endpoint::start(manifest, |_: Attempt| async {}).await
}

/// A manifest whose service is a copy of `name` with these handlers.
fn with_handlers(name: &str, handlers: &[&str]) -> Value {
    let mut manifest = manifest(name);
    manifest["services"][0]["handlers"] = handlers.iter().map(|name| json!({"name": name})).collect();
    manifest
}

async fn post(server: &Server, body: Value) -> (u16, Value) {
    let answer = server.admin.post("/deployments", &body).await.unwrap();
    (answer.status.as_u16(), answer.json().unwrap())
}

#[track_caller]
fn check(answer: &(u16, Value), status: u16, code: &str) {
    let (found, body) = answer;
    assert_eq!((*found, &body["restate_code"]), (status, &json!(code)), "{body}");
    assert!(!body["message"].as_str().unwrap_or_default().is_empty(), "{body}");
}

#[tokio::test]
async fn discovery_that_fails_has_codes() {
    let server = Server::start(ServerOptions::default()).await;
    // META0003: nobody is there.
    let closed = post(&server, json!({"uri": format!("http://127.0.0.1:{}", free_port())})).await;
    check(&closed, 500, "META0003");
    // META0012: versions that nobody speaks here.
    let mut foreign = manifest("Foreign");
    foreign["minProtocolVersion"] = json!(200);
    foreign["maxProtocolVersion"] = json!(201);
    let foreign = endpoint(foreign).await;
    check(&post(&server, json!({"uri": foreign.uri()})).await, 500, "META0012");
    // META0013: not a manifest.
    for (content_type, body) in [("text/html", "<html>hello</html>"), (MANIFEST_TYPE, "{\"services\": 5}")] {
        let head = Response::builder().header("content-type", content_type);
        let garbage = Endpoint::raw(head, Bytes::from_static(body.as_bytes()), |_: Attempt| async {}).await;
        check(&post(&server, json!({"uri": garbage.uri()})).await, 500, "META0013");
    }
    // META0005: a name of ours.
    let reserved = endpoint(manifest("restate")).await;
    check(&post(&server, json!({"uri": reserved.uri()})).await, 400, "META0005");
    assert_eq!(server.admin.get("/services").await.unwrap().json().unwrap(), json!({"services": []}));
}

#[tokio::test]
async fn an_endpoint_of_http1_is_recognized() {
    let server = Server::start(ServerOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let endpoint = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                // What servers without HTTP/2 say to its preface.
                let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(refusal).await;
            });
        }
    });
    check(&post(&server, json!({"uri": uri})).await, 500, "META0014");
    endpoint.abort();
}

/// A function answers once: it cannot stream in both directions.
#[tokio::test]
async fn a_function_that_announces_streaming() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let manifest = STANDARD.encode(manifest("Streams").to_string());
    let headers = json!({"content-type": MANIFEST_TYPE});
    let answer = json!({"statusCode": 200, "headers": headers, "body": manifest, "isBase64Encoded": true}).to_string();
    let function = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let length = answer.len();
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}");
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    let lambda = Lambda::start(&uri).await;
    let server = Server::start(lambda.options()).await;
    check(&post(&server, json!({"arn": ARN})).await, 500, "META0015");
    function.abort();
}

#[tokio::test]
async fn deployments_are_immutable() {
    let server = Server::start(ServerOptions::default()).await;
    let whole = endpoint(with_handlers("Shop", &["buy", "sell"])).await;
    let (status, made) = post(&server, json!({"uri": whole.uri()})).await;
    assert_eq!(status, 201, "{made}");
    // META0004: the same again.
    check(&post(&server, json!({"uri": whole.uri()})).await, 409, "META0004");
    // META0006: less than before, and something else than before.
    let reduced = endpoint(with_handlers("Shop", &["buy"])).await;
    check(&post(&server, json!({"uri": reduced.uri()})).await, 409, "META0006");
    let mut object = with_handlers("Shop", &["buy", "sell"]);
    object["services"][0]["ty"] = json!("VIRTUAL_OBJECT");
    let object = endpoint(object).await;
    check(&post(&server, json!({"uri": object.uri()})).await, 409, "META0006");
    // META0016: an update in place with something else.
    let path = format!("/deployments/{}", made["id"].as_str().unwrap());
    let mut older = with_handlers("Shop", &["buy", "sell"]);
    older["maxProtocolVersion"] = json!(6);
    let older = endpoint(older).await;
    for other in [&reduced, &object, &older] {
        let body = json!({"uri": other.uri()}).to_string();
        let answer = server.admin.request(Method::PUT, &path, JSON, body).await.unwrap();
        check(&(answer.status.as_u16(), answer.json().unwrap()), 400, "META0016");
    }
    // META0017: which of two?
    let twin = endpoint(with_handlers("Shop", &["buy", "sell"])).await;
    assert_eq!(post(&server, json!({"uri": twin.uri()})).await.0, 201);
    let answer = server.admin.patch(&path, &json!({"uri": twin.uri()})).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    check(&post(&server, json!({"uri": twin.uri(), "force": true})).await, 409, "META0017");
}

#[tokio::test]
async fn subscriptions_that_cannot_be() {
    let options = ServerOptions { bootstrap: Some(format!("127.0.0.1:{}", free_port())), ..ServerOptions::default() };
    let server = Server::start(options).await;
    let shop = endpoint(manifest("Shop")).await;
    assert_eq!(post(&server, json!({"uri": shop.uri()})).await.0, 201);
    for (source, sink) in [
        ("ftp://c/topic", "service://Shop/on"),
        ("kafka://nowhere/topic", "service://Shop/on"),
        ("kafka://c/topic", "topic://Shop/on"),
        ("kafka://c/topic", "service://Shop/nope"),
        ("kafka://c/topic", "service://Nope/on"),
    ] {
        let body = json!({"source": source, "sink": sink});
        let answer = server.admin.post("/subscriptions", &body).await.unwrap();
        check(&(answer.status.as_u16(), answer.json().unwrap()), 400, "META0009");
    }
    let forbidden =
        json!({"source": "kafka://c/t", "sink": "service://Shop/on", "options": {"bootstrap.servers": "x:1"}});
    let answer = server.admin.request(Method::POST, "/subscriptions", JSON, forbidden.to_string()).await.unwrap();
    check(&(answer.status.as_u16(), answer.json().unwrap()), 400, "META0009");
    server.allow("kafka");
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
