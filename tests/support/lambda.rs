//! A stand-in for what AWS puts around functions: the Invoke API of Lambda, and STS for roles.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::ServerOptions;

/// The function behind the stand-in.
pub const ARN: &str = "arn:aws:lambda:eu-central-1:123456789012:function:services:1";
/// Who the server is.
pub const OWN_KEY: &str = "AKIDEXAMPLE";
/// Who it is in a role.
pub const ROLE_KEY: &str = "ASIAROLEEXAMPLE";

/// One function call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Such as `/invoke/Greeter/greet`.
    pub path: String,
    /// Of the event: what the service sees.
    pub headers: BTreeMap<String, String>,
    /// Of the API call.
    pub api: HeaderMap,
    /// Of the event, decoded from base64.
    pub body: Vec<u8>,
}

/// What the API says in place of a result.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Value,
}

#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    /// Forms that STS was sent.
    roles: Vec<BTreeMap<String, String>>,
    refusals: VecDeque<Refusal>,
}

struct Inside {
    function: String,
    client: Client<HttpConnector, Full<Bytes>>,
    seen: Mutex<Seen>,
}

/// Listens while it lives.
pub struct Lambda {
    address: SocketAddr,
    inside: Arc<Inside>,
    accepting: JoinHandle<()>,
}

impl Lambda {
    /// `function`: where events are posted.
    pub async fn start(function: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let inside = Arc::new(Inside { function: function.to_owned(), client, seen: Mutex::default() });
        let shared = Arc::clone(&inside);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let inside = Arc::clone(&shared);
                connections.spawn(async move {
                    let answer = service_fn(move |request| answer(Arc::clone(&inside), request));
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server.serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        Self { address, inside, accepting }
    }

    /// A server that takes this for AWS.
    pub fn options(&self) -> ServerOptions {
        let endpoint = format!("http://{}", self.address);
        ServerOptions::default()
            .env("AWS_ENDPOINT_URL_LAMBDA", &endpoint)
            .env("AWS_ENDPOINT_URL_STS", &endpoint)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_ACCESS_KEY_ID", OWN_KEY)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
    }

    /// The next calls fail so, in this order.
    pub fn refuse(&self, refusals: impl IntoIterator<Item = Refusal>) {
        self.seen(|seen| seen.refusals.extend(refusals));
    }

    /// Calls of a path so far, refused ones included.
    pub fn calls(&self, path: &str) -> Vec<Call> {
        self.seen(|seen| seen.calls.iter().filter(|call| call.path == path).cloned().collect())
    }

    /// Forms that STS was sent so far.
    pub fn roles(&self) -> Vec<BTreeMap<String, String>> {
        self.seen(|seen| seen.roles.clone())
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.inside.seen.lock().expect("nobody panics with it"))
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

async fn answer(inside: Arc<Inside>, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if !head.headers.contains_key("authorization") || !head.headers.contains_key("content-length") {
        return Ok(plain(StatusCode::FORBIDDEN, json!({"message": "not signed"}).to_string()));
    }
    let path = decoded(head.uri.path());
    if path == "/" {
        return Ok(plain(StatusCode::OK, inside.assume_role(&body)));
    }
    if path != format!("/2015-03-31/functions/{ARN}/invocations") {
        let missing = json!({"Type": "User", "Message": format!("Function not found: {path}")});
        let mut response = plain(StatusCode::NOT_FOUND, missing.to_string());
        response.headers_mut().insert("x-amzn-errortype", "ResourceNotFoundException".parse()?);
        return Ok(response);
    }
    inside.invoke(head, body).await
}

impl Inside {
    fn assume_role(&self, body: &[u8]) -> String {
        let body = String::from_utf8_lossy(body).into_owned();
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        let form = pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
        self.seen.lock().expect("nobody panics with it").roles.push(form);
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser>\
             <Credentials><AccessKeyId>{ROLE_KEY}</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
             <SessionToken>role-token</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>\
             </AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"
        )
    }

    async fn invoke(&self, head: Parts, body: Bytes) -> anyhow::Result<Response<Full<Bytes>>> {
        let event: Value = serde_json::from_slice(&body)?;
        let refusal = {
            let mut seen = self.seen.lock().expect("nobody panics with it");
            seen.calls.push(Call {
                path: event["path"].as_str().unwrap_or_default().to_owned(),
                headers: serde_json::from_value(event["headers"].clone())?,
                api: head.headers,
                body: STANDARD.decode(event["body"].as_str().unwrap_or_default())?,
            });
            seen.refusals.pop_front()
        };
        if let Some(refusal) = refusal {
            let mut response = plain(StatusCode::from_u16(refusal.status)?, refusal.body.to_string());
            for (name, value) in refusal.headers {
                response.headers_mut().insert(name, value.parse()?);
            }
            return Ok(response);
        }
        let answer = self.client.request(Request::post(&self.function).body(Full::new(body))?).await?;
        let failed = !answer.status().is_success();
        let mut response = plain(StatusCode::OK, answer.into_body().collect().await?.to_bytes());
        if failed {
            response.headers_mut().insert("x-amz-function-error", "Unhandled".parse()?);
        }
        Ok(response)
    }
}
