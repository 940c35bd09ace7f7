//! A deployment without an SDK: answers discovery with the manifest of a test, and attempts with whatever bytes it likes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{Request, Response, response::Builder};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The media type that goes with [`manifest`].
pub const MANIFEST_TYPE: &str = "application/vnd.restate.endpointmanifest.v4+json";

/// A manifest of one service with one handler `on`, which takes and gives anything. A failed attempt ends the invocation.
pub fn manifest(service: &str) -> Value {
    json!({
        "protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 7,
        "services": [{
            "name": service, "ty": "SERVICE",
            "retryPolicyMaxAttempts": 1, "retryPolicyOnMaxAttempts": "KILL",
            "handlers": [{"name": "on"}],
        }],
    })
}

/// One attempt.
pub struct Attempt {
    pub request: RecvStream,
    content_type: String,
    respond: SendResponse<Bytes>,
}

impl Attempt {
    /// Reads the request until nothing more comes at once: Start and the replay, in one write of the server.
    pub async fn first_bytes(&mut self) -> Bytes {
        let data = self.request.data().await.and_then(Result::ok).unwrap_or_default();
        let _ = self.request.flow_control().release_capacity(data.len());
        data
    }

    /// Reads the request to its end, or to its reset.
    pub async fn rest(&mut self) {
        while let Some(Ok(data)) = self.request.data().await {
            let _ = self.request.flow_control().release_capacity(data.len());
        }
    }

    /// Answers 200 with the content type that was asked for.
    pub fn accept(&mut self) -> SendStream<Bytes> {
        let content_type = self.content_type.clone();
        self.answer(Response::builder().header("content-type", content_type))
    }

    /// Answers with another head.
    pub fn answer(&mut self, head: Builder) -> SendStream<Bytes> {
        self.respond.send_response(head.body(()).expect("a head"), false).expect("the request is open")
    }

    /// Resets the stream.
    pub fn reset(&mut self, reason: h2::Reason) {
        self.respond.send_reset(reason);
    }

    /// Accepts, sends these bytes, ends the answer and reads the request to its end.
    pub async fn say(mut self, bytes: Bytes) {
        self.first_bytes().await;
        let mut answer = self.accept();
        // A server that has had enough resets the stream.
        let _ = answer.send_data(bytes, true);
        self.rest().await;
    }
}

/// Listens while it lives.
pub struct Endpoint {
    address: SocketAddr,
    attempts: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Endpoint {
    /// Answers discovery with `manifest`, and every attempt by `on`.
    pub async fn start<F>(manifest: Value, on: impl Fn(Attempt) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let manifest = Bytes::from(manifest.to_string());
        Self::raw(Response::builder().header("content-type", MANIFEST_TYPE), manifest, on).await
    }

    /// Answers discovery with this head and body.
    pub async fn raw<F>(
        discovery: Builder,
        body: Bytes,
        on: impl Fn(Attempt) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let discovery = Arc::new(discovery.body(()).expect("a head"));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (discovery, body, on, counted) = (discovery.clone(), body.clone(), on.clone(), counted.clone());
                connections.spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
                    let mut streams = tokio::task::JoinSet::new();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        if request.uri().path() == "/discover" {
                            let head = Response::clone(&discovery);
                            if let Ok(mut answer) = respond.send_response(head, false) {
                                let _ = answer.send_data(body.clone(), true);
                            }
                        } else {
                            counted.fetch_add(1, Ordering::Relaxed);
                            streams.spawn(on(attempt(request, respond)));
                        }
                    }
                });
            }
        });
        Self { address, attempts, accepting }
    }

    /// What `POST /deployments` gets.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Attempts so far.
    pub fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn attempt(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Attempt {
    let content_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    Attempt { request: request.into_body(), content_type, respond }
}
