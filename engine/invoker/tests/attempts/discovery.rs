//! Asking endpoints what they serve.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::Response;
use millrace_invoker::{ClientConfig, DiscoverError, Discovered, Discoverer, Wire};
use millrace_model::Coded;
use millrace_protocol::{Manifest, discovery};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
};

use crate::support::endpoint::{Call, Endpoint};

const MANIFEST: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[]}"#;
pub const V4: &str = "application/vnd.restate.endpointmanifest.v4+json";

pub async fn manifest(mut call: Call) {
    assert_eq!(call.head.method, "GET");
    assert_eq!(call.head.headers["accept"], discovery::ACCEPT);
    assert_eq!(call.head.headers["x-restate-cluster-name"], "test");
    let head = Response::builder().header("content-type", V4).header("x-restate-server", "sdk/1.0");
    call.answer_with(head, Bytes::from_static(MANIFEST.as_bytes()));
}

pub fn discoverer(client: ClientConfig) -> Discoverer {
    Discoverer::new(client, Some("test"), Handle::current()).unwrap()
}

pub async fn discover(uri: &str, http1: bool) -> Result<Discovered, DiscoverError> {
    discoverer(ClientConfig::default()).discover(uri, http1, &[]).await
}

#[tokio::test]
async fn a_manifest_is_found_under_the_prefix() {
    let endpoint = Endpoint::start(|call: Call| async move {
        assert_eq!(call.head.uri.path_and_query().unwrap(), "/a/b/discover?c=d");
        assert_eq!(call.head.headers["x-token"], "secret");
        manifest(call).await;
    })
    .await;
    let headers = [("x-token".parse().unwrap(), "secret".parse().unwrap())];
    let uri = format!("{}/a/b/?c=d", endpoint.uri());
    let found = discoverer(ClientConfig::default()).discover(&uri, false, &headers).await.unwrap();
    assert_eq!((found.wire, found.server.as_deref()), (Wire::Http2, Some("sdk/1.0")));
    discovery::check_content_type(found.content_type.as_deref()).unwrap();
    assert_eq!(Manifest::parse(&found.body).unwrap().max_protocol_version, 7);
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let endpoint = Endpoint::start(move |mut call: Call| {
        let first = count.fetch_add(1, Ordering::SeqCst) < 2;
        async move {
            match first {
                true => call.answer(Response::builder().status(503)),
                false => manifest(call).await,
            }
        }
    })
    .await;
    discover(&endpoint.uri(), false).await.unwrap();
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_will_not_pass_is_told_at_once() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let endpoint = Endpoint::start(move |mut call: Call| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { call.answer(Response::builder().status(404)) }
    })
    .await;
    let error = discover(&endpoint.uri(), false).await.unwrap_err();
    assert!(matches!(error, DiscoverError::Status(status) if status == 404));
    assert_eq!((error.code().id, tries.load(Ordering::SeqCst)), ("META0003", 1));
    assert!(matches!(discover("nonsense", false).await, Err(DiscoverError::Address(_))));
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = discover(&uri, false).await.unwrap_err();
    assert_eq!(error.code().id, "META0003");
    assert!(error.to_string().contains("could not connect"), "{error}");
}

#[tokio::test]
async fn a_manifest_has_a_largest_size() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept_any();
        loop {
            let stream = call.stream();
            stream.reserve_capacity(64 << 10);
            let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
            if stream.send_data(vec![b' '; room].into(), false).is_err() {
                return;
            }
        }
    })
    .await;
    let error = discover(&endpoint.uri(), false).await.unwrap_err();
    assert!(matches!(error, DiscoverError::TooLarge { .. }), "{error}");
    assert_eq!(error.code().id, "META0013");
}

/// A server that answers every connection with one text.
async fn text_server(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 1024]).await;
                let _ = socket.write_all(text.as_bytes()).await;
                let _ = socket.shutdown().await;
                let _ = socket.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    uri
}

#[tokio::test]
async fn an_http1_server_is_recognised_and_spoken_to() {
    let uri = text_server("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let error = discover(&uri, false).await.unwrap_err();
    assert_eq!(error.code().id, "META0014", "{error}");
    let uri = text_server(
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.restate.endpointmanifest.v2+json\r\n\
         content-length: 2\r\n\r\n{}",
    )
    .await;
    let found = discover(&uri, true).await.unwrap();
    assert_eq!((found.wire, &found.body[..]), (Wire::Http1, &b"{}"[..]));
}
