//! The metadata as ingress and invoker look at it: tables made once for every version of the schema.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use millrace_cluster::{
    Metadata, Schema,
    meta::{
        Function, HttpVersion, Subscription, SubscriptionOptions,
        object::{Deployment, ProtocolMode},
        options::OnFailure as Wanted,
        schema::{Handler, Service},
        service::{Defaults, OnMaxAttempts as Stored, ServiceType, Settings},
    },
};
use millrace_ingress::{HandlerRoute, Routes, ServiceRoute, routes::Retention};
use millrace_invoker::{
    Address, AttemptPolicy, DeploymentInfo, Endpoint, HandlerInfo, LambdaFunction, OnFailure, OnMaxAttempts, Registry,
    Retention as Kept, RetryPolicy, Wire,
};
use millrace_model::{DeploymentId, SubscriptionId, source::FailurePolicy};
use millrace_protocol::Mode;
use tracing::error;

struct Table {
    version: u64,
    routes: HashMap<String, Arc<ServiceRoute>>,
    deployments: HashMap<DeploymentId, Arc<DeploymentInfo>>,
    on_failure: HashMap<SubscriptionId, OnFailure>,
    schema: Arc<Schema>,
}

/// Looks things up in the newest schema. Cheap to clone.
#[derive(Clone)]
pub struct Catalog(Arc<Inner>);

struct Inner {
    metadata: Metadata,
    defaults: Arc<Defaults>,
    table: ArcSwap<Table>,
}

impl Catalog {
    /// `defaults`: what the configuration says where neither handler nor service does.
    pub fn new(metadata: Metadata, defaults: Arc<Defaults>) -> Self {
        let table = ArcSwap::from_pointee(table(metadata.schema(), &defaults, None));
        Self(Arc::new(Inner { metadata, defaults, table }))
    }

    /// The table of the newest schema: whoever was told that a change is done finds it here.
    fn table(&self) -> Arc<Table> {
        let known = self.0.table.load_full();
        let schema = self.0.metadata.schema();
        if known.version == schema.version() {
            return known;
        }
        let new = Arc::new(table(schema, &self.0.defaults, Some(&known)));
        self.0.table.store(Arc::clone(&new));
        new
    }
}

fn table(schema: Arc<Schema>, defaults: &Defaults, before: Option<&Table>) -> Table {
    let routes = schema.services().map(|service| {
        // One that has not changed keeps its metrics.
        let same = before.and_then(|table| {
            let was = table.schema.service(&service.name)?;
            Arc::ptr_eq(was, service).then(|| table.routes.get(&*service.name).cloned()).flatten()
        });
        (service.name.to_string(), same.unwrap_or_else(|| Arc::new(route(service, defaults))))
    });
    let routes = routes.collect();
    let deployments = schema.deployments().filter_map(|deployment| Some((deployment.id, info(deployment)?)));
    let deployments = deployments.collect();
    let on_failure = schema.subscriptions().filter_map(|it| Some((it.id, on_failure(it)?))).collect();
    Table { version: schema.version(), routes, deployments, on_failure, schema }
}

/// Options were checked when the subscription was made.
fn on_failure(subscription: &Subscription) -> Option<OnFailure> {
    let options = SubscriptionOptions::parse(&subscription.options).ok()?;
    Some(match options.on_failure? {
        Wanted::Retry => OnFailure::Retry,
        Wanted::Park => OnFailure::Settle(FailurePolicy::Park),
        Wanted::Skip => OnFailure::Settle(FailurePolicy::Skip),
        Wanted::DeadLetter => OnFailure::Settle(FailurePolicy::DeadLetter {
            cluster: subscription.cluster.as_str().into(),
            topic: options.dead_letter_topic?.into(),
        }),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn route(service: &Service, defaults: &Defaults) -> ServiceRoute {
    let handlers = service.handlers().map(|handler| {
        let idempotent = handler.settings.retention(handler.kind, true, defaults);
        let plain = handler.settings.retention(handler.kind, false, defaults);
        let retention = Retention { completion: millis(idempotent.completion), journal: millis(plain.journal) };
        HandlerRoute::new(
            &handler.name,
            handler.kind,
            handler.public,
            handler.input.clone(),
            &handler.output,
            retention,
        )
    });
    let keyed = service.handlers().any(|handler| handler.kind.is_keyed());
    // A handler knows by itself whether it is public: its own word counts before that of its service.
    ServiceRoute::new(&service.name, keyed, true, handlers)
}

fn info(deployment: &Deployment) -> Option<Arc<DeploymentInfo>> {
    let wire = match deployment.http_version {
        HttpVersion::Http11 => Wire::Http1,
        HttpVersion::Http2 => Wire::Http2,
    };
    let endpoint = match &deployment.function {
        None => Address::parse(&deployment.uri, wire).map(Endpoint::from).map_err(|error| error.to_string()),
        Some(Function { assume_role_arn, zstd }) => {
            LambdaFunction::new(&deployment.uri, assume_role_arn.clone(), *zstd)
                .map(Endpoint::from)
                .map_err(|error| error.to_string())
        }
    };
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => {
            error!(deployment_id = %deployment.id, error, "a registered address cannot be used");
            return None;
        }
    };
    let header = |(name, value): (&String, &String)| {
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    Some(Arc::new(DeploymentInfo {
        id: deployment.id,
        endpoint,
        mode: match deployment.mode {
            ProtocolMode::BidiStream => Mode::BidiStream,
            ProtocolMode::RequestResponse => Mode::RequestResponse,
        },
        min_version: deployment.min_protocol_version,
        max_version: deployment.max_protocol_version,
        headers: deployment.additional_headers.iter().filter_map(header).collect(),
    }))
}

impl Routes for Catalog {
    fn service(&self, name: &str) -> Option<Arc<ServiceRoute>> {
        self.table().routes.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.table().routes.keys().cloned().collect()
    }
}

impl Catalog {
    fn handler<T>(&self, service: &str, handler: &str, f: impl FnOnce(&Handler) -> T) -> Option<T> {
        let schema = self.0.metadata.schema();
        schema.service(service)?.handler(handler).map(f)
    }
}

fn policy(settings: &Settings, defaults: &Defaults) -> AttemptPolicy {
    let retry = settings.retry_policy(defaults);
    AttemptPolicy {
        inactivity_timeout: settings.inactivity_timeout(defaults),
        abort_timeout: settings.abort_timeout(defaults),
        retry: RetryPolicy {
            initial_interval: retry.initial_interval,
            factor: retry.factor,
            max_interval: retry.max_interval,
            max_attempts: retry.max_attempts,
            on_max_attempts: match retry.on_max_attempts {
                Stored::Pause => OnMaxAttempts::Pause,
                Stored::Kill => OnMaxAttempts::Kill,
            },
        },
        lazy_state: settings.lazy_state(defaults),
    }
}

impl Registry for Catalog {
    fn deployment_for(&self, service: &str) -> Option<Arc<DeploymentInfo>> {
        let table = self.table();
        let id = table.schema.service(service)?.deployment.id;
        table.deployments.get(&id).cloned()
    }

    fn deployment(&self, id: DeploymentId) -> Option<Arc<DeploymentInfo>> {
        self.table().deployments.get(&id).cloned()
    }

    fn handler(&self, service: &str, handler: &str) -> Option<HandlerInfo> {
        let defaults = &self.0.defaults;
        let schema = self.0.metadata.schema();
        let service = schema.service(service)?;
        let handler = service.handler(handler)?;
        let retention = |idempotent| {
            let kept = handler.settings.retention(handler.kind, idempotent, defaults);
            Kept { completion: millis(kept.completion), journal: millis(kept.journal) }
        };
        Some(HandlerInfo {
            kind: handler.kind,
            of_workflow: service.ty == ServiceType::Workflow,
            retention: retention(false),
            idempotent_retention: retention(true),
        })
    }

    fn policy(&self, service: &str, handler: &str) -> AttemptPolicy {
        let defaults = &self.0.defaults;
        let policy = self.handler(service, handler, |handler| policy(&handler.settings, defaults));
        policy.unwrap_or_else(|| self::policy(&Settings::default(), defaults))
    }

    fn on_failure(&self, subscription: SubscriptionId) -> Option<OnFailure> {
        self.table().on_failure.get(&subscription).cloned()
    }
}
