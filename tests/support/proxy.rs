//! A proxy between the server and a service: claims less than the service can do, and counts.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the proxy changes in the manifest that the service answers discovery with.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// `maxProtocolVersion`.
    pub version: Option<u32>,
    /// `protocolMode` becomes `REQUEST_RESPONSE`: one request for each time the handler gets on.
    pub request_response: bool,
    /// Set in every service, such as `retryPolicyMaxAttempts`.
    pub service: BTreeMap<String, Value>,
}

/// Passes HTTP/2 streams on as they come, both ways. Stops when dropped.
pub struct Proxy {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Seen(Mutex<Vec<(String, String)>>);

struct Upstream {
    address: String,
    client: Client<HttpConnector, Incoming>,
    claim: Claim,
    seen: Arc<Seen>,
}

type Body = Either<Incoming, Full<Bytes>>;

impl Proxy {
    /// In front of the service at `uri`, such as `http://127.0.0.1:9080`.
    pub async fn start(uri: &str, claim: Claim) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Seen::default());
        let upstream = Arc::new(Upstream {
            address: uri.to_owned(),
            client: Client::builder(TokioExecutor::new()).http2_only(true).build_http(),
            claim,
            seen: Arc::clone(&seen),
        });
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let upstream = Arc::clone(&upstream);
                connections.spawn(async move {
                    let pass = service_fn(move |request| pass(Arc::clone(&upstream), request));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    // A connection that ends in an error is the server's or the service's affair.
                    let _ = server.serve_connection(TokioIo::new(socket), pass).await;
                });
            }
        });
        Self { address, seen, accepting }
    }

    /// What `POST /deployments` gets.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Attempts of a handler so far. `handler`: such as `Greeter/greet`.
    pub fn attempts(&self, handler: &str) -> usize {
        let path = format!("/invoke/{handler}");
        self.seen.0.lock().expect("nobody panics with it").iter().filter(|(seen, _)| *seen == path).count()
    }

    /// Content types of all attempts so far, each once.
    pub fn content_types(&self) -> Vec<String> {
        let seen = self.seen.0.lock().expect("nobody panics with it");
        let mut types: Vec<_> = seen.iter().map(|(_, content_type)| content_type.clone()).collect();
        types.sort();
        types.dedup();
        types
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(upstream: Arc<Upstream>, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    head.uri = format!("{}{path}", upstream.address).parse::<Uri>()?;
    if path.starts_with("/invoke/") {
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        upstream.seen.0.lock().expect("nobody panics with it").push((path.clone(), content_type.to_owned()));
    }
    let (mut head, body) = upstream.client.request(Request::from_parts(head, body)).await?.into_parts();
    if path != "/discover" {
        return Ok(Response::from_parts(head, Either::Left(body)));
    }
    let mut manifest: Value = serde_json::from_slice(&body.collect().await?.to_bytes())?;
    upstream.claim.put(&mut manifest);
    head.headers.remove(http::header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Either::Right(Full::new(manifest.to_string().into()))))
}

impl Claim {
    fn put(&self, manifest: &mut Value) {
        if let Some(version) = self.version {
            manifest["maxProtocolVersion"] = json!(version);
        }
        if self.request_response {
            manifest["protocolMode"] = json!("REQUEST_RESPONSE");
        }
        for service in manifest["services"].as_array_mut().into_iter().flatten() {
            for (name, value) in &self.service {
                service[name] = value.clone();
            }
        }
    }
}
