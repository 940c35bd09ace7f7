//! The invoker of a node: what all its attempts share.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use millrace_model::{
    DeploymentId, Env, InvocationId,
    command::Attempt,
    invocation::{ObjectKey, Target},
};
use millrace_partition::{AttemptJob, Handle, Invoker, ProposeError};
use tokio::runtime::Handle as Runtime;

use crate::{
    attempt,
    budget::Budget,
    config::{ClientConfig, InvokerConfig},
    exchange::Functions,
    health::Health,
    identity::Identity,
    metrics::Metrics,
    pool::Pool,
    registry::Registry,
    servers::Servers,
    slots::Slots,
    throttle::Throttle,
    transport::TransportError,
};

const CLUSTER_NAME: HeaderName = HeaderName::from_static("x-restate-cluster-name");

/// The leader takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partition has stopped")]
pub struct ProposalsStopped;

/// Resolves with how many commands of the invocation are stored, when a proposal is applied; 0: nobody can tell.
pub type Stored = Pin<Box<dyn Future<Output = u32> + Send>>;

/// Resolves with what keys hold, in their order.
pub type Values = Pin<Box<dyn Future<Output = Result<Vec<Option<Bytes>>, ProposeError>> + Send>>;

/// Where attempts bring what happened: the leader of their partition.
pub trait Proposals: Send + Sync + 'static {
    /// Hands a proposal over; proposals of one attempt stay in order. Waits while too much waits at the leader.
    /// `lazy`: it needs no batch of the log of its own. `bytes`: its payload.
    fn propose(
        &self,
        attempt: Attempt,
        lazy: bool,
        bytes: usize,
    ) -> impl Future<Output = Result<(), ProposalsStopped>> + Send;

    /// As [`Proposals::propose`], never lazy. What it resolves with tells once it is durable.
    fn propose_told(
        &self,
        attempt: Attempt,
        bytes: usize,
    ) -> impl Future<Output = Result<Stored, ProposalsStopped>> + Send;

    /// What keys of an object hold now, as far as it is committed: of the first of `keys`, until their values are
    /// `bytes_max`; of one at least. `id`: an invocation of it.
    fn state(&self, id: InvocationId, object: ObjectKey, keys: Vec<Bytes>, bytes_max: usize) -> Values;

    /// The attempt is over, behind its last proposal. Exactly once for every attempt.
    fn closed(&self, id: InvocationId, attempt: u32);
}

impl Proposals for Handle {
    async fn propose(&self, attempt: Attempt, lazy: bool, bytes: usize) -> Result<(), ProposalsStopped> {
        self.attempt(attempt, lazy, bytes).await.map_err(|_| ProposalsStopped)
    }

    async fn propose_told(&self, attempt: Attempt, bytes: usize) -> Result<Stored, ProposalsStopped> {
        let stored = self.attempt_told(attempt, bytes).await.map_err(|_| ProposalsStopped)?;
        Ok(Box::pin(stored))
    }

    fn state(&self, id: InvocationId, object: ObjectKey, keys: Vec<Bytes>, bytes_max: usize) -> Values {
        let handle = self.clone();
        Box::pin(async move { Handle::state(&handle, id, object, keys, bytes_max).await })
    }

    fn closed(&self, id: InvocationId, attempt: u32) {
        self.attempt_closed(id, attempt);
    }
}

/// What all attempts of a node share.
pub(crate) struct Shared<P> {
    pub(crate) proposals: P,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) config: InvokerConfig,
    pub(crate) slots: Slots,
    pub(crate) budget: Budget,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) servers: Servers,
    /// How often attempts start.
    pub(crate) starts: Option<Throttle>,
    /// How often handlers do something.
    pub(crate) actions: Option<Throttle>,
    /// Headers of every request.
    pub(crate) headers: HeaderMap,
    /// Signs every request.
    pub(crate) identity: Option<Identity>,
    pub(crate) functions: Arc<Functions>,
    /// Attempts that are over and whose answers are still read to their ends.
    pub(crate) draining: AtomicUsize,
}

/// Everything an invoker is made of.
pub struct InvokerParts<P> {
    /// Where attempts propose.
    pub proposals: P,
    /// The metadata.
    pub registry: Arc<dyn Registry>,
    /// Time and randomness.
    pub env: Arc<dyn Env>,
    /// Attempts.
    pub config: InvokerConfig,
    /// Connections.
    pub client: ClientConfig,
    /// Told to every endpoint.
    pub cluster_name: Option<String>,
}

/// Runs the attempts of a node over HTTP.
pub struct HttpInvoker<P> {
    shared: Arc<Shared<P>>,
    runtime: Runtime,
}

impl<P: Proposals> HttpInvoker<P> {
    /// Its tasks run on `runtime`. Fails if the TLS settings cannot be used.
    pub fn new(parts: InvokerParts<P>, runtime: Runtime) -> Result<Self, TransportError> {
        let InvokerParts { proposals, registry, env, config, client, cluster_name } = parts;
        let shared = Shared {
            proposals,
            registry,
            env,
            pool: Pool::new(&client, runtime.clone())?,
            slots: Slots::new(config.concurrent_invocations_limit),
            budget: Budget::new(config.memory_limit),
            metrics: Metrics::new(),
            health: Health::default(),
            servers: Servers::default(),
            starts: Throttle::new(&config.invocation_throttling),
            actions: Throttle::new(&config.action_throttling),
            headers: fixed_headers(&client, cluster_name.as_deref())?,
            identity: identity(&client)?,
            functions: Arc::new(Functions::new(&client, runtime.clone())),
            draining: AtomicUsize::new(0),
            config,
        };
        if let (Some(identity), Some(path)) = (&shared.identity, &client.request_identity_private_key_pem_file) {
            tracing::info!(kid = identity.key_id(), path = %path.display(), "requests to services are signed");
        }
        Ok(Self { shared: Arc::new(shared), runtime })
    }

    /// SDK and version that a deployment answered with last, since the start of this node.
    pub fn last_server(&self, deployment: DeploymentId) -> Option<Arc<str>> {
        self.shared.servers.get(deployment)
    }
}

/// What requests are signed with, if they are.
pub(crate) fn identity(client: &ClientConfig) -> Result<Option<Identity>, TransportError> {
    let path = client.request_identity_private_key_pem_file.as_deref();
    Ok(path.map(Identity::load).transpose()?)
}

/// Headers of every request: those that an operator set, or the name of the cluster.
pub(crate) fn fixed_headers(client: &ClientConfig, cluster_name: Option<&str>) -> Result<HeaderMap, TransportError> {
    if let Some(headers) = &client.additional_request_headers {
        return Ok(headers.0.clone());
    }
    let mut headers = HeaderMap::new();
    if let Some(name) = cluster_name {
        let value = HeaderValue::from_str(name)
            .map_err(|_| TransportError::Request("the cluster name does not fit into a header".to_owned()))?;
        headers.insert(CLUSTER_NAME, value);
    }
    Ok(headers)
}

impl<P: Proposals> Invoker for HttpInvoker<P> {
    fn try_reserve(&self) -> bool {
        self.shared.slots.try_reserve()
    }

    fn release(&self) {
        self.shared.slots.release();
    }

    fn wants_state(&self, target: &Target) -> bool {
        !self.shared.registry.policy(&target.service, &target.handler).lazy_state
    }

    fn start(&self, job: AttemptJob) {
        self.runtime.spawn(attempt::run(self.shared.clone(), job));
    }
}
