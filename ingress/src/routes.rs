//! What can be called: a view of the metadata, made for one look per request.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use millrace_model::{Text, invocation::HandlerKind};
use millrace_protocol::{InputRule, OutputRule};

use crate::metrics::ServiceMetrics;

/// The catalogue of services, as of now. One call per request.
pub trait Routes: Send + Sync + 'static {
    /// The latest revision of a service.
    fn service(&self, name: &str) -> Option<Arc<ServiceRoute>>;

    /// Names of all services, private ones included.
    fn names(&self) -> Vec<String>;
}

/// A service, object or workflow.
pub struct ServiceRoute {
    name: Text,
    keyed: bool,
    public: bool,
    handlers: HashMap<String, Arc<HandlerRoute>>,
    metrics: OnceLock<ServiceMetrics>,
}

/// A handler of it.
#[derive(Debug)]
pub struct HandlerRoute {
    name: Text,
    kind: HandlerKind,
    public: bool,
    input: InputRule,
    output_content_type: Option<HeaderValue>,
    output_content_type_if_empty: bool,
    retention: Retention,
}

/// How long results and journals of a handler are kept, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Results of idempotent calls; of workflow runs for a workflow's main handler.
    pub completion: u64,
    /// Journals.
    pub journal: u64,
}

impl Default for Retention {
    /// A day each.
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        Self { completion: DAY, journal: DAY }
    }
}

impl HandlerRoute {
    /// `public`: may be called over HTTP, if its service may.
    pub fn new(
        name: &str,
        kind: HandlerKind,
        public: bool,
        input: InputRule,
        output: &OutputRule,
        retention: Retention,
    ) -> Self {
        let content_type = output.content_type.as_deref().and_then(|value| HeaderValue::from_str(value).ok());
        Self {
            name: name.into(),
            kind,
            public,
            input,
            output_content_type: content_type,
            output_content_type_if_empty: output.set_content_type_if_empty,
            retention,
        }
    }

    pub(crate) fn name(&self) -> &Text {
        &self.name
    }

    pub(crate) fn kind(&self) -> HandlerKind {
        self.kind
    }

    pub(crate) fn is_public(&self) -> bool {
        self.public
    }

    pub(crate) fn input(&self) -> &InputRule {
        &self.input
    }

    pub(crate) fn retention(&self) -> Retention {
        self.retention
    }

    /// Of a result with a body of `len` bytes.
    pub(crate) fn output_content_type(&self, len: usize) -> Option<&HeaderValue> {
        if len == 0 && !self.output_content_type_if_empty { None } else { self.output_content_type.as_ref() }
    }
}

impl ServiceRoute {
    /// `keyed`: an object or a workflow. `public`: may be called over HTTP.
    pub fn new(name: &str, keyed: bool, public: bool, handlers: impl IntoIterator<Item = HandlerRoute>) -> Self {
        let handlers = handlers.into_iter().map(|handler| (handler.name.to_string(), Arc::new(handler))).collect();
        Self { name: name.into(), keyed, public, handlers, metrics: OnceLock::new() }
    }

    pub(crate) fn name(&self) -> &Text {
        &self.name
    }

    pub(crate) fn is_keyed(&self) -> bool {
        self.keyed
    }

    pub(crate) fn is_public(&self) -> bool {
        self.public
    }

    pub(crate) fn handler(&self, name: &str) -> Option<&Arc<HandlerRoute>> {
        self.handlers.get(name)
    }

    pub(crate) fn metrics(&self) -> &ServiceMetrics {
        self.metrics.get_or_init(|| ServiceMetrics::new(&self.name))
    }
}

impl fmt::Debug for ServiceRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceRoute").field("name", &self.name).field("handlers", &self.handlers).finish()
    }
}

/// All services at one version of the metadata.
#[derive(Debug, Default)]
pub struct RouteTable {
    services: HashMap<String, Arc<ServiceRoute>>,
}

impl FromIterator<ServiceRoute> for RouteTable {
    fn from_iter<I: IntoIterator<Item = ServiceRoute>>(services: I) -> Self {
        let services = services.into_iter().map(|service| (service.name.to_string(), Arc::new(service))).collect();
        Self { services }
    }
}

/// A [`RouteTable`] that is replaced whenever the metadata changes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SharedRoutes(Arc<ArcSwap<RouteTable>>);

impl SharedRoutes {
    /// Requests that come from now on see `table`.
    pub fn replace(&self, table: RouteTable) {
        self.0.store(Arc::new(table));
    }
}

impl Routes for SharedRoutes {
    fn service(&self, name: &str) -> Option<Arc<ServiceRoute>> {
        self.0.load().services.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.load().services.keys().cloned().collect()
    }
}
