//! Opening connections: TCP, TLS, and the first bytes of either HTTP.

mod prompt;

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig as TlsConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use self::prompt::Prompt;
use crate::{
    address::{Origin, Wire},
    config::{ClientConfig, NoProxy, ProxyUri},
    exchange::RequestBody,
    transport::TransportError,
};

/// What one stream may send us before we have looked at it.
const STREAM_WINDOW: u32 = 2 << 20;
/// What all streams of a connection together may.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Heads of answers are small.
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;
/// Streams that we reset and whose last frames are still to come.
const RESET_STREAMS_MAX: usize = 128;
/// What h2 keeps of a stream that the endpoint does not take.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// A byte stream of either kind.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

pub(crate) type H2Connection = Connection<Box<dyn Socket>, Bytes>;
pub(crate) type H1Connection = http1::Connection<TokioIo<Box<dyn Socket>>, RequestBody>;

/// A connection that is ready for requests. Its second half must be driven.
pub(crate) enum Opened {
    H2(SendRequest<Bytes>, Box<H2Connection>),
    H1(http1::SendRequest<RequestBody>, Box<H1Connection>),
}

/// Opens connections.
pub(crate) struct Connector {
    timeout: Duration,
    /// Offers HTTP/2, HTTP/1.1, or both.
    tls: [Arc<TlsConfig>; 3],
    proxy: Option<ProxyUri>,
    no_proxy: NoProxy,
}

impl Connector {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, TransportError> {
        let roots = Arc::new(roots(config.extra_ca_file.as_deref())?);
        let tls = |protocols: &[&[u8]]| -> Result<Arc<TlsConfig>, TransportError> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut tls = TlsConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| TransportError::Tls(error.to_string()))?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Ok(Arc::new(tls))
        };
        Ok(Self {
            timeout: config.connect_timeout,
            tls: [tls(&[b"h2"])?, tls(&[b"http/1.1"])?, tls(&[b"h2", b"http/1.1"])?],
            proxy: config.http_proxy.clone(),
            no_proxy: config.no_proxy.clone(),
        })
    }

    /// Where requests to an origin are sent in its place. What is encrypted up to the endpoint is not.
    pub(crate) fn proxy(&self, origin: &Origin) -> Option<&ProxyUri> {
        self.proxy.as_ref().filter(|_| !origin.tls && !self.no_proxy.lists(origin.host()))
    }

    /// * `streams`: how many the endpoint will take, until it says so itself.
    pub(crate) async fn open(&self, origin: &Origin, streams: usize) -> Result<Opened, TransportError> {
        match tokio::time::timeout(self.timeout, self.connect(origin, streams)).await {
            Ok(opened) => opened,
            Err(_) => Err(TransportError::ConnectTimeout { origin: origin.to_string(), timeout: self.timeout }),
        }
    }

    async fn connect(&self, origin: &Origin, streams: usize) -> Result<Opened, TransportError> {
        let hop = match self.proxy(origin) {
            Some(proxy) => &Origin { tls: proxy.tls, authority: proxy.authority.clone(), wire: origin.wire },
            None => origin,
        };
        let failed = |source: io::Error| TransportError::Connect { origin: hop.to_string(), source: source.into() };
        let tcp = TcpStream::connect((hop.host(), hop.port())).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let tcp = Prompt(tcp);
        if !hop.tls {
            return handshake(Box::new(tcp), hop.wire != Wire::Http1, streams).await;
        }
        let name = ServerName::try_from(hop.host().to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let config = match hop.wire {
            Wire::Http2 => &self.tls[0],
            Wire::Http1 => &self.tls[1],
            Wire::Negotiate => &self.tls[2],
        };
        let tls = TlsConnector::from(config.clone()).connect(name, tcp).await.map_err(failed)?;
        let negotiated = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let http2 = match (negotiated.as_deref(), hop.wire) {
            (Some(b"h2"), _) => true,
            // A server without ALPN may speak HTTP/2 all the same, if that was found before.
            (None, Wire::Http2) => true,
            _ => false,
        };
        handshake(Box::new(tls), http2, streams).await
    }
}

async fn handshake(socket: Box<dyn Socket>, http2: bool, streams: usize) -> Result<Opened, TransportError> {
    if !http2 {
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        return Ok(Opened::H1(sender, Box::new(connection)));
    }
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .initial_max_send_streams(streams)
        .enable_push(false)
        .handshake(socket)
        .await?;
    Ok(Opened::H2(sender, Box::new(connection)))
}

/// The authorities that this machine trusts. An image with nothing but the server in it has none: then Mozilla's.
fn well_known() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "certificates of this machine cannot be read");
    }
    let mut roots = RootCertStore::empty();
    // Old ones of an odd form are left out, as everywhere.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn roots(extra: Option<&Path>) -> Result<RootCertStore, TransportError> {
    let mut roots = well_known();
    if let Some(path) = extra {
        let bad = |error: &dyn std::fmt::Display| TransportError::Tls(format!("{}: {error}", path.display()));
        let mut found = false;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
            roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
            found = true;
        }
        if !found {
            return Err(bad(&"no certificate in it"));
        }
    }
    Ok(roots)
}
