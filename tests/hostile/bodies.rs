//! Bodies that are too large, too many, or never end.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Http, PATIENCE, Server, ServerOptions, Service, eventually};

const LIMIT: usize = 32 << 20;
const OCTETS: &[(&str, &str)] = &[("content-type", "application/octet-stream")];

#[tokio::test]
async fn oversized_bodies_are_refused_with_a_code() {
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    server.register(&service).await;
    let ingress = &server.ingress;
    let long = Bytes::from(vec![1; LIMIT + 1]);
    let answer = ingress.request(Method::POST, "/Greeter/echoBytes", OCTETS, long.clone()).await.unwrap();
    assert_eq!(answer.status, 413);
    let error: Value = answer.json().unwrap();
    assert_eq!((&error["code"], &error["source"]), (&json!(413), &json!("ingress")), "{error}");
    // The same for something that is kept.
    let answer = ingress.request(Method::POST, "/Events/k/onRaw/send", OCTETS, long).await.unwrap();
    assert_eq!(answer.status, 413);
    // Without saying so before.
    let mut stream = TcpStream::connect(("127.0.0.1", server.ports()[0])).await.unwrap();
    let head = "POST /Greeter/echoBytes HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        let chunk = [b"10000\r\n".as_slice(), &[1; 0x10000], b"\r\n"].concat();
        // Endless, until nobody listens any more.
        while write.write_all(&chunk).await.is_ok() {}
    });
    let mut start = [0; 12];
    read.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    drop(read);
    sending.await.unwrap();
    // As large as a handler can give back: a message of the service protocol has the same limit, its frame included.
    server.allow("large message from a handler");
    let body = Bytes::from(vec![7; LIMIT - 1024]);
    let answer = ingress.request(Method::POST, "/Events/k/onRaw", OCTETS, body.clone()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn many_large_bodies_do_not_fill_the_memory() {
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    server.register(&service).await;
    server.allow("large message from a handler");
    let body = Bytes::from(vec![3; 24 << 20]);
    let calls: Vec<_> = (0..24)
        .map(|n| {
            let (ingress, body) = (server.ingress.clone(), body.clone());
            tokio::spawn(async move {
                ingress.request(Method::POST, &format!("/Events/k{n}/onRaw"), OCTETS, body).await.unwrap().status
            })
        })
        .collect();
    let mut served = 0;
    for call in calls {
        let status = call.await.unwrap();
        // Refused for now is an answer; anything else is not.
        assert!(status == 200 || status == 429, "{status}");
        served += u16::from(status == 200);
    }
    assert!(served > 0);
    let peak = peak_memory(server.pid());
    assert!(peak < 1600 << 20, "{} MiB at most, {served} served", peak >> 20);
}

/// Largest resident memory so far. 0 where there is no `/proc`.
pub fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib * 1024)
}

#[tokio::test]
async fn garbage_for_the_admin_api_has_an_answer() {
    let server = Server::start(ServerOptions::default()).await;
    let json = &[("content-type", "application/json")];
    let deep = "{\"a\":".repeat(100_000);
    for path in ["/deployments", "/subscriptions", "/kafka-clusters", "/query", "/services/Nope/state"] {
        for body in ["", "{", "null", "[]", "{\"uri\":5}", "\u{0}", "{\"uri\":\"\\ud800\"}", deep.as_str()] {
            // A connection is of no more use when nobody wants to read the rest of what it brings.
            let once = Http::new(format!("http://127.0.0.1:{}", server.ports()[1]));
            let Ok(answer) = once.request(Method::POST, path, json, body.to_owned()).await else { continue };
            let expected = if path == "/query" { 400..=501 } else { 400..=499 };
            let shown = &body[..body.len().min(20)];
            // The state of objects is the next issue.
            let is_later = answer.status == 501 || answer.status == 202;
            assert!(
                expected.contains(&answer.status.as_u16()) || is_later,
                "{path} {shown:?}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    for uri in [
        "",
        "nope",
        "ftp://x/",
        "http://",
        "http://127.0.0.1:99999",
        "http://a b",
        "http://user:pass@127.0.0.1:1/",
        "file:///etc/passwd",
    ] {
        let answer = server.admin.post("/deployments", &json!({"uri": uri})).await.unwrap();
        assert!(answer.status.is_client_error() || answer.status == 500, "{uri}: {} {}", answer.status, answer.text());
        assert!(!answer.text().is_empty(), "{uri}");
    }
    for path in [
        "/deployments/dp_1",
        "/deployments/%00",
        "/subscriptions/sub_1zzzzzzzzzzzzzzzzzzzzzz",
        "/services/%FF",
        "/invocations/inv_1ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ",
    ] {
        let answer = server.admin.get(path).await.unwrap();
        assert!(answer.status.is_client_error(), "{path}: {} {}", answer.status, answer.text());
    }
    let large = vec![b' '; 64 << 20];
    if let Ok(answer) = server.admin.request(Method::POST, "/deployments", json, large).await {
        assert_eq!(answer.status, 413);
    }
    // On another connection than the one that was closed behind the refusal.
    eventually(PATIENCE, "the API answers", async || server.admin.get("/health").await?.ok()).await;
}
