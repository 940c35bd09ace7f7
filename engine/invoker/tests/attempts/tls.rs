//! Endpoints behind TLS: what is spoken, and whom we believe. The certificates of `tests/data` are of an authority of
//! their own, whose key is gone: to make others, make all of them anew.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use millrace_invoker::{ClientConfig, Wire};
use millrace_model::{Coded, command::Action};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    discovery::{V4, discover, discoverer, manifest},
    support::{
        Setup,
        endpoint::{Call, serve},
    },
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn trusting() -> ClientConfig {
    ClientConfig { extra_ca_file: Some(data("ca.pem")), ..ClientConfig::default() }
}

/// A TLS endpoint that offers these protocols; HTTP/1.1 is answered with one text.
async fn tls(certificate: &str, protocols: &[&[u8]]) -> String {
    let chain = CertificateDer::pem_file_iter(data(certificate)).unwrap().map(Result::unwrap).collect();
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
    let good = async |protocols: &[&[u8]]| tls("server.pem", protocols).await;
    let both = good(&[b"h2", b"http/1.1"]).await;
    let wire = async |uri: &str, http1| discoverer.discover(uri, http1, &[]).await.unwrap().wire;
    assert_eq!(wire(&both, false).await, Wire::Http2);
    assert_eq!(wire(&both, true).await, Wire::Http1);
    assert_eq!(wire(&good(&[b"http/1.1"]).await, false).await, Wire::Http1);
    assert_eq!(wire(&good(&[]).await, false).await, Wire::Http1);
    let mut setup = Setup::new(both);
    setup.client = trusting();
    let node = setup.start();
    let id = node.run_new().await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

#[tokio::test]
async fn a_certificate_of_nobody_is_not_trusted() {
    let error = discover(&tls("server.pem", &[b"h2"]).await, false).await.unwrap_err();
    assert_eq!(error.code().id, "META0003");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    for file in ["server.key", "missing.pem"] {
        let client = ClientConfig { extra_ca_file: Some(data(file)), ..ClientConfig::default() };
        let mut setup = Setup::new("http://localhost");
        setup.client = client;
        assert!(setup.try_start().is_err(), "{file}");
    }
}

/// An authority that is trusted does not vouch for everything: attempts fail, and say why.
#[tokio::test]
async fn a_certificate_must_be_for_this_host_and_this_day() {
    for (certificate, what) in [
        ("expired.pem", "certificate expired"),
        ("future.pem", "certificate not valid yet"),
        ("other-host.pem", "certificate not valid for name \"localhost\""),
    ] {
        let uri = tls(certificate, &[b"h2"]).await;
        let error = discoverer(trusting()).discover(&uri, false, &[]).await.unwrap_err();
        assert_eq!(error.code().id, "META0003");
        assert!(error.to_string().contains(what), "{certificate}: {error}");
        let mut setup = Setup::new(uri);
        setup.client = trusting();
        let node = setup.start();
        let id = node.run_new().await;
        let (_, error, counts) = node.leader.failure(id);
        assert_eq!((error.code.as_str(), counts), ("RT0010", false), "{certificate}");
        assert!(error.message.contains(what), "{certificate}: {}", error.message.as_str());
    }
}
