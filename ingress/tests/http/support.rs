//! A server on a free port, an engine that keeps invocations in a map, and a client for both HTTP versions.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use millrace_ingress::routes::Retention;
use millrace_ingress::{Backend, HandlerRoute, IngressConfig, RouteTable, Server, ServiceRoute, SharedRoutes};
use millrace_machine::Refusal;
use millrace_model::{
    AwakeableId, Env, InvocationId, PartitionKey, TimestampMs,
    command::Known,
    invocation::{HandlerKind, NewInvocation, Target},
    journal::{Completion, Failure, NotificationId, NotificationResult},
};
use millrace_partition::{Accepted, Ended, Output, ProposeError};
use millrace_protocol::{InputRule, OutputRule, rule::MediaPattern};
use tokio::{
    net::TcpStream,
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// 2026-11-22T16:33:32.687Z.
pub const NOW: u64 = 1_795_365_212_687;
pub const DAY: u64 = 86_400_000;

/// The clock stands still, and "random" numbers count.
struct Fixed(AtomicU64);

impl Env for Fixed {
    fn now(&self) -> TimestampMs {
        TimestampMs(NOW)
    }
    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

struct Known1 {
    target: Target,
    execute_at: Option<TimestampMs>,
    result: watch::Sender<Option<Completion>>,
}

/// What a handler does is in its name.
#[derive(Default)]
pub struct Engine {
    known: Mutex<HashMap<InvocationId, Known1>>,
    seen: Mutex<Vec<(NewInvocation, Known)>>,
    signals: Mutex<Vec<(NotificationId, NotificationResult)>>,
}

/// Awakeables by the invocation in their ids.
pub fn awakeable(invocation: u128) -> String {
    let invocation = InvocationId { key: PartitionKey(7), unique: invocation };
    AwakeableId { invocation, signal: 17 }.to_string()
}
pub const WAITING: u128 = 1;
pub const UNKNOWN: u128 = 2;
pub const ENDED: u128 = 3;
pub const COMPLETED: u128 = 4;
pub const LOST: u128 = 5;

impl Engine {
    /// What was proposed so far.
    pub fn seen(&self) -> Vec<(NewInvocation, Known)> {
        self.seen.lock().unwrap().clone()
    }

    /// The only thing proposed so far.
    pub fn only(&self) -> (NewInvocation, Known) {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }

    /// Signals that were taken.
    pub fn signals(&self) -> Vec<(NotificationId, NotificationResult)> {
        self.signals.lock().unwrap().clone()
    }

    /// Ends all that hang.
    pub fn release(&self) {
        for known in self.known.lock().unwrap().values() {
            known.result.send_if_modified(|result| {
                let hangs = result.is_none();
                if hangs {
                    *result = Some(Completion::Success("\"released\"".into()));
                }
                hangs
            });
        }
    }

    fn make(&self, invocation: NewInvocation, known: Known) -> Result<Accepted, ProposeError> {
        match &*invocation.target.handler {
            "overloaded" => return Err(ProposeError::Overloaded),
            "full" => return Err(ProposeError::StorageFull),
            "unknown" => return Err(ProposeError::Unknown),
            "stopped" => return Err(ProposeError::Stopped),
            _ => {}
        }
        let mut all = self.known.lock().unwrap();
        if let Some(old) = all.get(&invocation.id) {
            assert_eq!(known, Known::Maybe, "a fresh id is used once");
            return Ok(Accepted { known: true, execute_at: old.execute_at });
        }
        let result = match &*invocation.target.handler {
            "hang" | "run" => None,
            "fail" => Some(Completion::Failure(Failure {
                code: std::str::from_utf8(&invocation.value).unwrap().parse().unwrap(),
                message: "no way".into(),
                metadata: vec![("a".into(), "b".into())],
            })),
            "silent" => Some(Completion::Success(Bytes::new())),
            _ => Some(Completion::Success(invocation.value.clone())),
        };
        let execute_at = invocation.execute_at;
        all.insert(
            invocation.id,
            Known1 { target: invocation.target.clone(), execute_at, result: watch::Sender::new(result) },
        );
        self.seen.lock().unwrap().push((invocation, known));
        Ok(Accepted { known: false, execute_at })
    }

    async fn wait(&self, id: InvocationId) -> Option<(Target, Completion, bool)> {
        let (target, mut result) = {
            let all = self.known.lock().unwrap();
            let known = all.get(&id)?;
            (known.target.clone(), known.result.subscribe())
        };
        let before = result.borrow().is_some();
        let ended = result.wait_for(|result| result.is_some()).await.unwrap().clone().unwrap();
        Some((target, ended, before))
    }
}

#[derive(Clone)]
pub struct Fake(pub Arc<Engine>);

impl Backend for Fake {
    async fn call(&self, invocation: NewInvocation, known: Known) -> Result<Ended, ProposeError> {
        let id = invocation.id;
        let accepted = self.0.make(invocation, known)?;
        let (target, result, before) = self.0.wait(id).await.unwrap();
        let ended_before = (accepted.known && before).then_some(TimestampMs(NOW + DAY));
        Ok(Ended { target, result, known: accepted.known, ended_before })
    }
    async fn invoke(&self, invocation: NewInvocation, known: Known) -> Result<Accepted, ProposeError> {
        self.0.make(invocation, known)
    }
    async fn attach(&self, id: InvocationId) -> Result<Option<Ended>, ProposeError> {
        let ended = self.0.wait(id).await;
        Ok(ended.map(|(target, result, before)| Ended {
            target,
            result,
            known: true,
            ended_before: before.then_some(TimestampMs(NOW + DAY)),
        }))
    }
    async fn output(&self, id: InvocationId) -> Result<Output, ProposeError> {
        let all = self.0.known.lock().unwrap();
        let Some(known) = all.get(&id) else { return Ok(Output::NotFound) };
        let result = known.result.borrow().clone();
        Ok(match result {
            None => Output::NotReady,
            Some(result) => {
                let target = known.target.clone();
                Output::Ended { target, result, result_until: TimestampMs(NOW + DAY) }
            }
        })
    }
    async fn signal(
        &self,
        id: InvocationId,
        signal: NotificationId,
        result: NotificationResult,
    ) -> Result<Result<(), Refusal>, ProposeError> {
        Ok(match id.unique {
            WAITING => {
                self.0.signals.lock().unwrap().push((signal, result));
                Ok(())
            }
            UNKNOWN => Err(Refusal::NotFound),
            ENDED => Err(Refusal::Ended),
            COMPLETED => Err(Refusal::AlreadyCompleted),
            _ => return Err(ProposeError::Unknown),
        })
    }
}

fn input(content_type: Option<&str>) -> InputRule {
    let content_type = content_type.map(|text| MediaPattern::try_from(text.to_owned()).unwrap());
    InputRule { required: false, content_type }
}

fn handler(name: &str, kind: HandlerKind) -> HandlerRoute {
    let retention = Retention { completion: 2 * DAY, journal: 3 * DAY };
    HandlerRoute::new(name, kind, true, input(Some("application/json")), &OutputRule::default(), retention)
}

fn plain(name: &str) -> HandlerRoute {
    handler(name, HandlerKind::Plain)
}

fn special(name: &str, public: bool, content_type: Option<&str>, output: &OutputRule) -> HandlerRoute {
    HandlerRoute::new(name, HandlerKind::Plain, public, input(content_type), output, Retention::default())
}

fn catalogue() -> RouteTable {
    let binary =
        OutputRule { content_type: Some("application/octet-stream".to_owned()), set_content_type_if_empty: true };
    let unlabelled = OutputRule { content_type: None, set_content_type_if_empty: false };
    let greeter = ["greet", "hang", "fail", "silent", "overloaded", "full", "unknown", "stopped"].map(plain);
    let specials = [
        special("noInput", true, None, &unlabelled),
        special("binary", true, Some("*/*"), &binary),
        special("text", true, Some("text/*"), &unlabelled),
        special("hidden", false, Some("*/*"), &unlabelled),
    ];
    let exclusive = |name| handler(name, HandlerKind::Exclusive);
    [
        ServiceRoute::new("Greeter", false, true, greeter.into_iter().chain(specials)),
        ServiceRoute::new("Counter", true, true, ["add", "hang"].map(exclusive)),
        ServiceRoute::new(
            "Wf",
            true,
            true,
            [handler("run", HandlerKind::Workflow), handler("peek", HandlerKind::Shared)],
        ),
        ServiceRoute::new("Private", false, false, [plain("greet")]),
    ]
    .into_iter()
    .collect()
}

/// A running server.
pub struct Door {
    pub address: SocketAddr,
    pub engine: Arc<Engine>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Door {
    pub async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut IngressConfig)) -> Self {
        let mut config = IngressConfig { bind_address: ([127, 0, 0, 1], 0).into(), ..IngressConfig::default() };
        change(&mut config);
        let engine = Arc::new(Engine::default());
        let routes = SharedRoutes::default();
        routes.replace(catalogue());
        let env = Arc::new(Fixed(AtomicU64::new(1)));
        let server = Server::bind(config, Fake(engine.clone()), routes, env).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self { address, engine, stop: Some(stop), task }
    }

    /// Begins to stop.
    pub fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until it has stopped.
    pub async fn stopped(self) {
        self.task.await.unwrap();
    }

    pub async fn send(&self, version: Version, request: Request<Full<Bytes>>) -> Reply {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let response = if version == Version::HTTP_2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        let (parts, body) = response.into_parts();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = request.header("host", "localhost");
        request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
    }

    pub async fn http1(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send(Version::HTTP_11, self.request(method, path, headers, body)).await
    }

    /// A call with a JSON body.
    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.http1("POST", path, &[("content-type", "application/json")], body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.http1("GET", path, &[], "").await
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks a refusal.
    pub fn refused(&self, status: u16, source: &str, message: &str) {
        let json = self.json();
        assert_eq!(self.status, status, "{json}");
        assert_eq!(json["code"], status, "{json}");
        assert_eq!(json["source"], source, "{json}");
        assert_eq!(self.header("x-restate-error-source"), Some(source));
        assert_eq!(self.header("content-type"), Some("application/json"));
        let text = json["message"].as_str().unwrap();
        // A trailing `…` stands for detail that is not promised.
        match message.strip_suffix('…') {
            Some(prefix) => assert!(text.starts_with(prefix), "{text}"),
            None => assert_eq!(text, message),
        }
    }
}
