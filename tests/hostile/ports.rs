//! Garbage on the ports of the server.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, Server, ServerOptions, Service, pause, seed, tier};

/// What a connection gets for `bytes`, until it is closed or silent.
async fn answer(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
    // The server may have closed it in the middle.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_millis(150), stream.take(1 << 20).read_to_end(&mut answer)).await;
    answer
}

fn heads() -> Vec<Vec<u8>> {
    let many = (0..5000).map(|n| format!("x-h{n}: v\r\n")).collect::<String>();
    [
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello".to_owned(),
        "POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n".to_owned(),
        "POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx"
            .to_owned(),
        "POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        "POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\ncontent-length: 4\r\n\r\nabcd"
            .to_owned(),
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a/".repeat(50_000)),
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "%".repeat(3000)),
        format!("GET /Counter/{}/get HTTP/1.1\r\nhost: x\r\n\r\n", "%FF".repeat(300)),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "v".repeat(1 << 20)),
        "GET /restate/health HTTP/1.1\r\nhost: x\r\nx: \u{0}\u{1}\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + "garbage garbage garbage",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}TLS hello".to_owned(),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

/// The preface of HTTP/2, then frames with any header.
fn http2(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for _ in 0..rng.random_range(1..12) {
        let mut payload = vec![0; rng.random_range(0..64)];
        rng.fill(&mut payload[..]);
        bytes.extend([0, 0, payload.len() as u8, rng.random_range(0..12), rng.random()]);
        bytes.extend((rng.random_range(0..8u32)).to_be_bytes());
        bytes.extend(payload);
    }
    bytes
}

#[tokio::test]
async fn garbage_on_every_port_disturbs_nobody() {
    let service = Service::start("rust");
    let mut server = Server::start(ServerOptions::default()).await;
    server.register(&service).await;
    let mut rng = StdRng::seed_from_u64(seed());
    let before = server.rss();
    for round in 0..tier(25, 1000) {
        for port in server.ports() {
            let mut bytes = vec![0; rng.random_range(1..3000)];
            rng.fill(&mut bytes[..]);
            answer(port, &bytes).await;
            answer(port, &http2(&mut rng)).await;
        }
        assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), round + 1);
    }
    for head in heads() {
        for port in server.ports() {
            let answer = answer(port, &head).await;
            let text = String::from_utf8_lossy(&answer);
            let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
            let shown = String::from_utf8_lossy(&head[..head.len().min(60)]).into_owned();
            assert!(status.is_none_or(|status| status < "500"), "{shown:?} on {port} was answered with {text}");
        }
    }
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert_eq!(server.metric("millrace_build_info", "").await.unwrap(), 1.0);
    assert!(server.stop().success());
}

/// Many clients that never finish what they begin.
#[tokio::test]
async fn slow_clients_disturb_nobody() {
    let service = Service::start("rust");
    let mut server = Server::start(ServerOptions::default()).await;
    server.register(&service).await;
    let before = server.rss();
    let [ingress, admin, node] = server.ports();
    let mut slow = Vec::new();
    let head = b"POST /Counter/slow/add HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let body = b"content-length: 30000000\r\n\r\n1";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (port, count) in [(ingress, tier(300, 800)), (admin, 40), (node, 20)] {
        for n in 0..count {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            match n % 4 {
                0 => {}
                1 => stream.write_all(head).await.unwrap(),
                2 => stream.write_all(&[&head[..], body].concat()).await.unwrap(),
                _ => stream.write_all(preface).await.unwrap(),
            }
            slow.push(stream);
        }
    }
    for round in 1..=tier(20, 100) {
        for stream in &mut slow {
            let _ = stream.try_write(b"1");
        }
        let answer = timeout(PATIENCE / 4, server.call("Counter/k/add", json!(1))).await.expect("in time");
        assert_eq!(answer.unwrap(), round);
        assert_eq!(server.admin.get("/health").await.unwrap().status, 200);
        assert_eq!(server.node.get("/health").await.unwrap().status, 200);
        pause(Duration::from_millis(20)).await;
    }
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes more for {} connections", slow.len());
    // None of them became an invocation, and none of them holds up the end for long.
    assert_eq!(server.query("Counter/slow/get").await.unwrap(), 0);
    server.allow("still under way at shutdown");
    assert!(server.stop().success());
}
