//! A leader, an endpoint and metadata, small enough to be seen through.

pub mod endpoint;
pub mod leader;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use millrace_invoker::{
    Address, AttemptPolicy, ClientConfig, DeploymentInfo, HandlerInfo, HttpInvoker, InvokerConfig, InvokerParts,
    OnMaxAttempts, Registry, Retention, RetryPolicy, TransportError, Wire,
};
use millrace_model::{
    DeploymentId, Env, TimestampMs,
    invocation::{HandlerKind, Target},
};
use millrace_protocol::Mode;
use parking_lot::Mutex;

use self::leader::Leader;

/// Nothing in these tests takes this long unless it hangs.
pub const HANG: Duration = Duration::from_secs(20);

/// Fails the test if `future` hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {HANG:?}"),
    }
}

/// Wall-clock time, and numbers that differ.
#[derive(Default)]
pub struct TestEnv(AtomicU64);

impl Env for TestEnv {
    fn now(&self) -> TimestampMs {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        TimestampMs(now.as_millis() as u64)
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// One deployment, some handlers, one policy.
pub struct TestRegistry {
    pub deployment: Option<Arc<DeploymentInfo>>,
    pub handlers: BTreeMap<(String, String), HandlerInfo>,
    pub policy: Mutex<AttemptPolicy>,
}

impl Registry for TestRegistry {
    fn deployment_for(&self, _service: &str) -> Option<Arc<DeploymentInfo>> {
        self.deployment.clone()
    }

    fn deployment(&self, id: DeploymentId) -> Option<Arc<DeploymentInfo>> {
        self.deployment.clone().filter(|deployment| deployment.id == id)
    }

    fn handler(&self, service: &str, handler: &str) -> Option<HandlerInfo> {
        self.handlers.get(&(service.to_owned(), handler.to_owned())).cloned()
    }

    fn policy(&self, _service: &str, _handler: &str) -> AttemptPolicy {
        *self.policy.lock()
    }
}

pub const DEPLOYMENT: DeploymentId = DeploymentId(7);

/// What a test can choose.
pub struct Setup {
    pub uri: String,
    pub wire: Wire,
    pub mode: Mode,
    pub max_version: u32,
    pub policy: AttemptPolicy,
    pub config: InvokerConfig,
    pub client: ClientConfig,
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    pub registered: bool,
}

impl Setup {
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            wire: Wire::Http2,
            mode: Mode::BidiStream,
            max_version: 7,
            policy: AttemptPolicy {
                retry: RetryPolicy {
                    initial_interval: Duration::from_millis(50),
                    max_attempts: Some(3),
                    on_max_attempts: OnMaxAttempts::Kill,
                    ..RetryPolicy::default()
                },
                ..AttemptPolicy::default()
            },
            config: InvokerConfig::default(),
            client: ClientConfig::default(),
            headers: Vec::new(),
            registered: true,
        }
    }

    /// The invoker and its leader.
    pub fn start(self) -> Node {
        self.try_start().unwrap()
    }

    pub fn try_start(self) -> Result<Node, TransportError> {
        let deployment = DeploymentInfo {
            id: DEPLOYMENT,
            endpoint: Address::parse(&self.uri, self.wire).unwrap().into(),
            mode: self.mode,
            min_version: 5,
            max_version: self.max_version,
            headers: self.headers,
        };
        let kept = |completion| Retention { completion, journal: 1 };
        let handler =
            |kind| HandlerInfo { kind, of_workflow: false, retention: kept(1), idempotent_retention: kept(2) };
        let registry = TestRegistry {
            deployment: self.registered.then(|| Arc::new(deployment)),
            handlers: BTreeMap::from([
                (("Greeter".into(), "greet".into()), handler(HandlerKind::Plain)),
                (("Counter".into(), "add".into()), handler(HandlerKind::Exclusive)),
            ]),
            policy: Mutex::new(self.policy),
        };
        let leader = Leader::default();
        let parts = InvokerParts {
            proposals: leader.clone(),
            registry: Arc::new(registry),
            env: Arc::new(TestEnv::default()),
            config: self.config,
            client: self.client,
            cluster_name: Some("test".to_owned()),
        };
        let invoker = HttpInvoker::new(parts, tokio::runtime::Handle::current())?;
        Ok(Node { leader, invoker })
    }
}

/// An invoker and its leader.
pub struct Node {
    pub leader: Leader,
    pub invoker: HttpInvoker<Leader>,
}

pub fn plain() -> Target {
    Target { service: "Greeter".into(), handler: "greet".into(), key: "".into(), kind: HandlerKind::Plain }
}

pub fn object(key: &str) -> Target {
    Target { service: "Counter".into(), handler: "add".into(), key: key.into(), kind: HandlerKind::Exclusive }
}

pub fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
