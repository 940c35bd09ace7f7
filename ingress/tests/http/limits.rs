//! Limits: sizes, numbers, time; and the way down.

use std::{sync::Arc, time::Duration};

use http::Version;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::support::Door;

const KIB: usize = 1024;

async fn raw(door: &Door, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    for part in parts {
        stream.write_all(part).await.unwrap();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_above_the_limit_are_refused_in_json() {
    let door = Door::with(|config| config.request_size_limit = 64 * KIB).await;
    let message = "cannot read body: it is longer than 65536 bytes";
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let json = [("content-type", "application/json")];
        let fits = "x".repeat(64 * KIB);
        let reply = door.send(version, door.request("POST", "/Greeter/greet", &json, &fits)).await;
        assert_eq!((reply.status, reply.body.len()), (200, fits.len()), "{version:?}");
        let reply = door.send(version, door.request("POST", "/Greeter/greet", &json, &format!("{fits}x"))).await;
        reply.refused(413, "ingress", message);
        assert_eq!(reply.json()["error_code"], "RT0003");
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    }

    let head = b"POST /Greeter/greet HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(32 * KIB));
    let mut parts =
        vec![head.as_slice(), b"transfer-encoding: chunked\r\n\r\n", chunk.as_bytes(), chunk.as_bytes(), b"0\r\n\r\n"];
    assert!(raw(&door, &parts).await.starts_with("HTTP/1.1 200 "));
    parts.insert(4, b"1\r\nx\r\n");
    let answer = raw(&door, &parts).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains(message), "{answer}");
}

#[tokio::test]
async fn a_refused_upload_gets_its_answer() {
    // More than any socket buffer holds: without reading on, the sender would see a reset instead of the answer.
    let door = Door::open().await;
    let body = "x".repeat(16 << 20);
    let reply = door.http1("POST", "/Nope/nope", &[("content-type", "application/json")], &body).await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn too_many_requests_are_refused_at_once() {
    let door = Arc::new(Door::with(|config| config.concurrent_requests_limit = 2).await);
    let (done, mut ended) = mpsc::channel(5);
    for _ in 0..5 {
        let (door, done) = (door.clone(), done.clone());
        tokio::spawn(async move { done.send(door.post("/Greeter/hang", "1").await).await });
    }
    for _ in 0..3 {
        let refused = ended.recv().await.unwrap();
        refused.refused(429, "ingress", "too many requests, the ingress is overloaded. Retry later.");
    }
    door.engine.release();
    for _ in 0..2 {
        assert_eq!(ended.recv().await.unwrap().status, 200);
    }
    assert_eq!(door.post("/Greeter/greet", "1").await.status, 200);
}

#[tokio::test]
async fn bodies_that_are_read_have_a_common_limit() {
    let door = Door::with(|config| config.request_memory_limit = 64 * KIB).await;
    let mut slow = TcpStream::connect(door.address).await.unwrap();
    let head =
        "POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 70000\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&[b'1'; 64 * KIB]).await.unwrap();
    // Until the slow one has filled the pool, small requests pass.
    loop {
        let reply = door.post("/Greeter/greet", "1").await;
        if reply.status == 429 {
            break;
        }
        assert_eq!(reply.status, 200);
    }
    assert_eq!(door.get("/Greeter/noInput").await.status, 200, "no body, no share");
    slow.write_all(&[b'1'; 70_000 - 64 * KIB]).await.unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(door.post("/Greeter/greet", "1").await.status, 200);
}

#[tokio::test]
async fn slow_clients_are_let_go_and_block_nobody() {
    let door = Door::with(|config| {
        config.body_timeout = Duration::from_millis(50);
        config.head_timeout = Duration::from_millis(50);
    })
    .await;
    let body =
        "POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n123";
    let answer = raw(&door, &[body.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Nothing, half a head, half of the HTTP/2 preface: closed without an answer.
    for start in ["", "PRI * HTTP/2", "POST /Greeter/gre", "POST /Greeter/greet HTTP/1.1\r\nhost: x"] {
        assert_eq!(raw(&door, &[start.as_bytes()]).await, "", "{start}");
    }
    assert_eq!(door.post("/Greeter/greet", "1").await.status, 200);
    assert_eq!(door.engine.seen().len(), 1);
}

#[tokio::test]
async fn who_hangs_up_takes_nothing_back() {
    let door = Door::open().await;
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let head = "POST /Greeter/hang HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nidempotency-key: ik\r\n";
    stream.write_all(format!("{head}content-length: 1\r\n\r\n1").as_bytes()).await.unwrap();
    while door.engine.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(stream);
    door.engine.release();
    let reply = door.get("/restate/invocation/Greeter/hang/ik/output").await;
    assert_eq!((reply.status, reply.text()), (200, "\"released\""));
}

#[tokio::test]
async fn shutdown_waits_for_requests_under_way() {
    let mut door = Door::open().await;
    // An idle connection does not hold it up.
    let idle = TcpStream::connect(door.address).await.unwrap();
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let head = "POST /Greeter/hang HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n1";
    stream.write_all(head.as_bytes()).await.unwrap();
    while door.engine.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    door.stop();
    let engine = door.engine.clone();
    engine.release();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    let address = door.address;
    door.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let mut door = Door::with(|config| config.drain_timeout = Duration::from_millis(50)).await;
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let head = "POST /Greeter/hang HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n1";
    stream.write_all(head.as_bytes()).await.unwrap();
    while door.engine.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    door.stop();
    door.stopped().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
}
