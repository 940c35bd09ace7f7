//! Asking endpoints what they serve, and TLS.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::Response;
use millrace_invoker::{ClientConfig, DiscoverError, Discovered, Discoverer, Wire};
use millrace_model::{Coded, command::Action};
use millrace_protocol::{Manifest, discovery};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    Setup,
    endpoint::{Call, Endpoint, serve},
};

const MANIFEST: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[]}"#;
const V4: &str = "application/vnd.restate.endpointmanifest.v4+json";

async fn manifest(mut call: Call) {
    assert_eq!(call.head.method, "GET");
    assert_eq!(call.head.headers["accept"], discovery::ACCEPT);
    assert_eq!(call.head.headers["x-restate-cluster-name"], "test");
    let head = Response::builder().header("content-type", V4).header("x-restate-server", "sdk/1.0");
    call.answer_with(head, Bytes::from_static(MANIFEST.as_bytes()));
}

fn discoverer(client: ClientConfig) -> Discoverer {
    Discoverer::new(client, Some("test"), Handle::current()).unwrap()
}

async fn discover(uri: &str, http1: bool) -> Result<Discovered, DiscoverError> {
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

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn trusting() -> ClientConfig {
    ClientConfig { extra_ca_file: Some(data("ca.pem")), ..ClientConfig::default() }
}

/// A TLS endpoint that offers these protocols; HTTP/1.1 is answered with one text.
async fn tls(protocols: &[&[u8]]) -> String {
    let chain = CertificateDer::pem_file_iter(data("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(data("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let handler = |call: Call| async move {
                if call.head.method == "GET" { manifest(call).await } else { call.noop().await }
            };
            if socket.get_ref().1.alpn_protocol() == Some(b"h2") {
                tokio::spawn(serve(socket, h2::server::Builder::new(), 0, handler));
            } else {
                tokio::spawn(async move {
                    let _ = socket.read(&mut [0; 1024]).await;
                    let text = format!("HTTP/1.1 200 OK\r\ncontent-type: {V4}\r\ncontent-length: 2\r\n\r\n{{}}");
                    let _ = socket.write_all(text.as_bytes()).await;
                    let _ = socket.shutdown().await;
                });
            }
        }
    });
    uri
}

#[tokio::test]
async fn alpn_decides_what_is_spoken() {
    let discoverer = discoverer(trusting());
    let both = tls(&[b"h2", b"http/1.1"]).await;
    let wire = async |uri: &str, http1| discoverer.discover(uri, http1, &[]).await.unwrap().wire;
    assert_eq!(wire(&both, false).await, Wire::Http2);
    assert_eq!(wire(&both, true).await, Wire::Http1);
    assert_eq!(wire(&tls(&[b"http/1.1"]).await, false).await, Wire::Http1);
    assert_eq!(wire(&tls(&[]).await, false).await, Wire::Http1);
    let mut setup = Setup::new(both);
    setup.client = trusting();
    let node = setup.start();
    let id = node.run_new().await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

#[tokio::test]
async fn a_certificate_of_nobody_is_not_trusted() {
    let error = discover(&tls(&[b"h2"]).await, false).await.unwrap_err();
    assert_eq!(error.code().id, "META0003");
    assert!(error.to_string().contains("certificate"), "{error}");
    for file in ["server.key", "missing.pem"] {
        let client = ClientConfig { extra_ca_file: Some(data(file)), ..ClientConfig::default() };
        let mut setup = Setup::new("http://localhost");
        setup.client = client;
        assert!(setup.try_start().is_err(), "{file}");
    }
}
