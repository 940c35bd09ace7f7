//! The protocols themselves: versions, keep-alive, pipelining, garbage.

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::Door;

async fn exchange(door: &Door, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    // The other side may hang up in the middle of nonsense.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn http_1_0_and_keep_alive() {
    let door = Door::open().await;
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    stream.write_all(b"GET /Greeter/noInput HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");

    // `Upgrade: h2c` is ignored; two requests at once are answered in order.
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let request = |body: u8, more: &str| {
        let head = "POST /Greeter/binary HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\ncontent-type: a/b\r\ncontent-length: 1";
        format!("{head}\r\n{more}\r\n{}", char::from(body))
    };
    let both = request(b'1', "") + &request(b'2', "connection: close\r\n");
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{answer}");
    assert!(answer.ends_with("\r\n\r\n2"), "{answer}");
}

#[tokio::test]
async fn long_headers_are_taken() {
    let door = Door::open().await;
    let long = "x".repeat(20_000);
    for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
        let request = door.request("GET", "/Greeter/noInput", &[("x-long", &long)], "");
        assert_eq!(door.send(version, request).await.status, 200, "{version:?}");
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_without_a_body() {
    let door = Door::open().await;
    for request in ["\r\n\r\nnonsense\r\n\r\n", "GET\r\n\r\n", "GET /x HTTP/9.9\r\n\r\n", "G\0T / HTTP/1.1\r\n\r\n"] {
        let answer = exchange(&door, request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let door = Door::open().await;
    let mut random = StdRng::seed_from_u64(7);
    let starts: [&[u8]; 4] = [
        b"",
        b"POST /Greeter/greet HTTP/1.1\r\ncontent-length: ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /Greeter/greet HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
    ];
    for round in 0..200 {
        let mut bytes = starts[round % starts.len()].to_vec();
        bytes.extend((0..random.random_range(0..600)).map(|_| random.random::<u8>()));
        exchange(&door, &bytes).await;
    }
    assert_eq!(door.post("/Counter/k/add", "1").await.status, 200);
}
