//! A small HTTP client.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// One request with its answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Talks to one address over HTTP/1.1, with connections that are kept.
#[derive(Clone)]
pub struct Http {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Response {
    /// The body as JSON; an empty one is null, which is how some SDKs say that there is nothing.
    pub fn json(&self) -> anyhow::Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {}", self.status, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Itself if the status is a success.
    pub fn ok(self) -> anyhow::Result<Self> {
        if !self.status.is_success() {
            bail!("{}: {}", self.status, self.text());
        }
        Ok(self)
    }
}

impl Http {
    /// `base`: such as `http://127.0.0.1:8080`.
    pub fn new(base: impl Into<String>) -> Self {
        Self { base: base.into(), client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The same over HTTP/2 with prior knowledge.
    pub fn h2(base: impl Into<String>) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { base: base.into(), client }
    }

    /// Any request. An error: no answer came.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Response> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let exchange = async {
            let answer = self.client.request(request).await?;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Response { status: parts.status, headers: parts.headers, body })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.with_context(|| format!("no answer to {path} in {TIMEOUT:?}"))?
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Response> {
        self.request(Method::DELETE, path, &[], Bytes::new()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Response> {
        self.request(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Response> {
        self.request(Method::PATCH, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A POST without body or content type.
    pub async fn post_empty(&self, path: &str) -> anyhow::Result<Response> {
        self.request(Method::POST, path, &[], Bytes::new()).await
    }
}
