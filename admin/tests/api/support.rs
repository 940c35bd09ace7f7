//! A server over metadata in memory, with endpoints and leaders that do as they are told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use millrace_admin::{
    Admin, AdminConfig, DiscoverError, DiscoverRequest, Discovered, Discoverer, Engine, EngineError, InvocationLook,
    KeyLook, Operation, Place, Server, StatusReport, SubscriptionStatus, engine::Done,
};
use millrace_cluster::{
    Metadata,
    meta::{
        Create, Defaults, HttpVersion, OpenOptions,
        log::MemoryLog,
        options::{OptionCheck, OptionFault},
    },
};
use millrace_machine::Refusal;
use millrace_model::{
    DeploymentId, Env, InvocationId, SubscriptionId, TimestampMs, codes,
    invocation::{HandlerKind, ObjectKey, Pin, Target},
    state::StateVersion,
};
use serde_json::Value;
use tokio::sync::oneshot;

/// 2026-11-22T16:36:14.574Z, and always the same random numbers in the same order.
struct Fixed(AtomicU64);

impl Env for Fixed {
    fn now(&self) -> TimestampMs {
        TimestampMs(1_795_365_374_574)
    }
    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What endpoints answer, by uri.
pub type Endpoints = Arc<std::sync::Mutex<BTreeMap<String, &'static str>>>;

/// What the leaders were asked to do, in order.
pub type Asked = Arc<std::sync::Mutex<Vec<Operation>>>;
/// Edits of state.
pub type Edits = Arc<std::sync::Mutex<Vec<(ObjectKey, Option<StateVersion>, Vec<(Bytes, Bytes)>)>>>;

struct Fake {
    endpoints: Endpoints,
    asked: Asked,
    edits: Edits,
}

#[async_trait]
impl Discoverer for Fake {
    async fn discover(&self, request: DiscoverRequest) -> Result<Discovered, DiscoverError> {
        let manifest = self.endpoints.lock().unwrap().get(&request.uri).copied();
        let Some(manifest) = manifest else {
            let message = format!("error when calling '{}': connection refused", request.uri);
            return Err(DiscoverError { code: Some(codes::META0003), status: 500, message });
        };
        let version = if request.use_http_11 { HttpVersion::Http11 } else { HttpVersion::Http2 };
        let content_type = "application/vnd.restate.endpointmanifest.v3+json";
        let server = Some("restate-sdk-typescript/1.17.2".into());
        Discovered::from_answer(Some(content_type), manifest.as_bytes(), version, server)
    }
}

/// Invocations by the last digit of what is unique: see [`id`].
pub fn id(kind: u128) -> InvocationId {
    InvocationId { key: millrace_model::PartitionKey(7), unique: kind }
}
pub const COMPLETED: u128 = 1;
pub const RUNNING: u128 = 2;
pub const PAUSED: u128 = 3;
pub const INBOXED: u128 = 4;
pub const UNKNOWN: u128 = 5;
pub const LOST: u128 = 6;
pub const RUN: u128 = 7;
pub const WITHOUT_JOURNAL: u128 = 8;

/// What all invocations run.
pub fn place() -> Place {
    let target =
        Target { service: "Greeter".into(), handler: "greet".into(), key: "".into(), kind: HandlerKind::Plain };
    Place { target, pin: Some(Pin { deployment: DeploymentId(1), protocol_version: 6 }) }
}

#[async_trait]
impl Engine for Fake {
    async fn operate(&self, id: InvocationId, operation: Operation) -> Result<Result<Done, Refusal>, EngineError> {
        use Operation::*;
        self.asked.lock().unwrap().push(operation);
        if id.unique == LOST {
            return Err(EngineError { code: codes::ENG0002, message: "the outcome is not known".into() });
        }
        Ok(match (id.unique, operation) {
            (COMPLETED, Purge | PurgeJournal) => Ok(Done::Now),
            (COMPLETED, RestartAsNew { from: 99, .. }) => Err(Refusal::Unresolved),
            (COMPLETED, RestartAsNew { .. }) => Ok(Done::Made(crate::support::id(100))),
            (RUN, RestartAsNew { .. }) => Err(Refusal::Workflow),
            (WITHOUT_JOURNAL, RestartAsNew { .. }) => Err(Refusal::NoInput),
            (COMPLETED, _) => Err(Refusal::Ended),
            (UNKNOWN, _) => Err(Refusal::NotFound),
            (INBOXED, Pause) => Err(Refusal::NotRunning),
            (INBOXED, Resume { .. } | RestartAsNew { .. }) => Err(Refusal::NotStarted),
            (RUNNING, Resume { deployment: Some(_) }) => Err(Refusal::NotPinned),
            (_, Purge | PurgeJournal | RestartAsNew { .. }) => Err(Refusal::NotEnded),
            (RUNNING | PAUSED, Cancel) | (RUNNING, Pause) => Ok(Done::Asynchronously),
            _ => Ok(Done::Now),
        })
    }

    async fn place(&self, id: InvocationId) -> Result<Option<Place>, EngineError> {
        Ok((id.unique != UNKNOWN).then(place))
    }

    async fn edit_state(
        &self,
        object: ObjectKey,
        expected: Option<StateVersion>,
        entries: Vec<(Bytes, Bytes)>,
    ) -> Result<(), EngineError> {
        self.edits.lock().unwrap().push((object, expected, entries));
        Ok(())
    }

    async fn invocation(&self, id: InvocationId) -> Result<Option<InvocationLook>, EngineError> {
        assert_eq!(id.unique, UNKNOWN, "the rows are tested beside the code that explains them");
        Ok(None)
    }

    async fn key(&self, _: ObjectKey) -> Result<KeyLook, EngineError> {
        Ok(KeyLook::default())
    }

    async fn pinned(&self, _: DeploymentId, _: usize) -> Result<usize, EngineError> {
        Ok(0)
    }
}

#[async_trait]
impl SubscriptionStatus for Fake {
    async fn status(&self, _: SubscriptionId) -> Option<StatusReport> {
        Some(StatusReport { state: "running".into(), lag_records: Some(3), ..StatusReport::default() })
    }
}

impl OptionCheck for Fake {
    fn subscription(&self, options: &BTreeMap<String, String>) -> Vec<OptionFault> {
        options.keys().filter(|key| *key == "bogus").map(|key| OptionFault::new(key, "no such property")).collect()
    }
    fn cluster(&self, _: &BTreeMap<String, String>) -> Vec<OptionFault> {
        vec![]
    }
}

/// A running server. Stops when it is dropped.
pub struct Api {
    pub address: SocketAddr,
    pub metadata: Metadata,
    pub endpoints: Endpoints,
    pub asked: Asked,
    pub edits: Edits,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    _stop: (oneshot::Sender<()>, oneshot::Sender<()>),
    _folder: tempfile::TempDir,
}

impl Api {
    pub async fn start() -> Self {
        Self::with(AdminConfig::default()).await
    }

    pub async fn with(config: AdminConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env: Arc<dyn Env> = Arc::new(Fixed(AtomicU64::new(1)));
        let options = OpenOptions {
            folder: folder.path().join("meta"),
            create: Create { name: "localcluster".into(), partitions: 4 },
            node: "n1".into(),
            kafka_clusters: vec![],
            env: env.clone(),
        };
        let (metadata, task) = Metadata::open(Box::new(MemoryLog::default()), options).await.unwrap();
        let (stop_metadata, stopped_metadata) = oneshot::channel::<()>();
        tokio::spawn(task.run(async move { drop(stopped_metadata.await) }));

        let (endpoints, asked, edits) = (Endpoints::default(), Asked::default(), Edits::default());
        let fake = Arc::new(Fake { endpoints: endpoints.clone(), asked: asked.clone(), edits: edits.clone() });
        let admin = Admin {
            metadata: metadata.clone(),
            discoverer: fake.clone(),
            engine: fake.clone(),
            subscriptions: fake.clone(),
            options: fake,
            env,
            defaults: Arc::new(Defaults::default()),
            ingress_endpoint: Some("http://127.0.0.1:8080/".into()),
        };
        let config = AdminConfig { bind_address: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let server = Server::bind(&config, admin).await.unwrap();
        let address = server.local_addr();
        let (stop_server, stopped_server) = oneshot::channel::<()>();
        tokio::spawn(server.run(async move { drop(stopped_server.await) }));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            address,
            metadata,
            endpoints,
            asked,
            edits,
            client,
            _stop: (stop_metadata, stop_server),
            _folder: folder,
        }
    }

    /// Makes an endpoint answer.
    pub fn endpoint(&self, uri: &str, manifest: &'static str) {
        self.endpoints.lock().unwrap().insert(uri.to_owned(), manifest);
    }

    pub async fn send(&self, method: Method, path: &str, content_type: Option<&str>, body: &str) -> Response<String> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(bytes::Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, Value::Null).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, body).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::DELETE, path, Value::Null).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::PATCH, path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::PUT, path, body).await
    }

    /// A body that is not JSON comes as a string.
    async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let response = match body {
            Value::Null => self.send(method, path, None, "").await,
            body => self.send(method, path, Some("application/json"), &body.to_string()).await,
        };
        let text = response.body();
        let value = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        (response.status(), value)
    }

    /// Registers an endpoint and returns its id.
    pub async fn register(&self, uri: &str, manifest: &'static str) -> String {
        self.endpoint(uri, manifest);
        let (status, body) = self.post("/deployments", serde_json::json!({"uri": uri})).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["id"].as_str().unwrap().to_owned()
    }
}

pub const COUNTER: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[
    {"name":"Counter","ty":"VIRTUAL_OBJECT","handlers":[
        {"name":"add","ty":"EXCLUSIVE","input":{"required":true,"contentType":"application/json"},
         "output":{"contentType":"application/json"}},
        {"name":"hidden","ty":"SHARED","ingressPrivate":true}]}]}"#;

pub const GREETER: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[
    {"name":"Greeter","ty":"SERVICE","handlers":[{"name":"greet"}]}]}"#;
