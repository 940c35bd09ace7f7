//! Questions and requests to a cluster: topics, offsets, groups.
//!
//! Every call is librdkafka's admin API with a private queue, whose callback wakes the waiting task: nothing here
//! blocks a thread or needs one.

mod call;
mod groups;
mod offsets;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use crate::config::ClusterConfig;
use crate::context::Trouble;
use crate::error::ClientError;
use crate::handle::{Handle, Kind, millis};
use crate::options::Properties;

pub use groups::GroupState;
pub use offsets::{Commit, Committed, OffsetQuery, PartitionOffset};
pub use topics::{TopicDescription, TopicInfo};

/// How long a call may take unless [`Admin::with_limit`] says otherwise.
const LIMIT: Duration = Duration::from_secs(10);

/// Between two requests to a coordinator that is not ready.
const COORDINATOR_PAUSE: Duration = Duration::from_millis(100);

/// [`Route`] not yet known.
const ROUTE_UNKNOWN: i32 = -2;
/// Requests that need the controller go where librdkafka sends them.
const ROUTE_CONTROLLER: i32 = -1;

/// One client for all questions to one cluster. Clones are the same client. Dropping the last never blocks.
#[derive(Clone)]
pub struct Admin {
    handle: Arc<Handle>,
    limit: Duration,
    /// `ROUTE_*`, or the id of the broker that gets what the controller should get: the development broker has none.
    route: Arc<AtomicI32>,
}

impl Admin {
    /// Makes the client; does not wait for a connection. Must be called within a tokio runtime.
    pub async fn connect(cluster: &ClusterConfig) -> Result<Self, ClientError> {
        let mut client = cluster.client(&[], &Properties::new());
        // A group would make the client look for its coordinator.
        client.remove("group.id");
        let handle = Handle::open(client, Kind::Consumer, "admin".to_owned()).await?;
        Ok(Self { handle, limit: LIMIT, route: Arc::new(AtomicI32::new(ROUTE_UNKNOWN)) })
    }

    /// The same client, with another time limit for each call.
    pub fn with_limit(&self, limit: Duration) -> Self {
        Self { limit, ..self.clone() }
    }

    /// Makes a request to a group's coordinator again while that is still loading or moving, for `limit` in all: a
    /// broker that has just started, or a group that is the first, is no error for who asks.
    async fn once_coordinated<T, F>(&self, request: impl Fn() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let deadline = Instant::now() + self.limit;
        loop {
            match request().await {
                Err(error) if error.is_uncoordinated() && Instant::now() + COORDINATOR_PAUSE < deadline => {
                    tokio::time::sleep(COORDINATOR_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// The client's last trouble with its brokers; see [`Reader::trouble`](crate::Reader::trouble).
    pub fn trouble(&self) -> Option<Trouble> {
        self.handle.health().last()
    }

    /// The cluster's id. An identity on a real Kafka; on the development broker it changes with every start.
    pub async fn cluster_id(&self) -> Result<String, ClientError> {
        let limit = self.limit;
        let id = self
            .blocking(move |handle| {
                // SAFETY: the client is alive; the string is ours and freed by librdkafka's allocator.
                unsafe {
                    let id = sys::rd_kafka_clusterid(handle.native(), millis(limit));
                    let text = crate::record::text(id);
                    sys::rd_kafka_mem_free(handle.native(), id.cast());
                    text
                }
            })
            .await?;
        if id.is_empty() { Err(ClientError::TimedOut { operation: "cluster id", limit }) } else { Ok(id) }
    }

    /// Lets go of the client and waits until it is gone. Resolves only after all clones are dropped.
    pub async fn close(self) {
        let closed = self.handle.closed();
        drop(self);
        closed.await;
    }

    /// Where to send what only a controller answers: `None` is to the controller.
    ///
    /// Asked once per client, and again after [`forget_route`](Self::forget_route).
    async fn controller_route(&self) -> Result<Option<i32>, ClientError> {
        let known = self.route.load(Ordering::Relaxed);
        if known != ROUTE_UNKNOWN {
            return Ok((known != ROUTE_CONTROLLER).then_some(known));
        }
        let limit = self.limit;
        let route = self.blocking(move |handle| find_route(&handle, limit)).await??;
        self.route.store(route, Ordering::Relaxed);
        Ok((route != ROUTE_CONTROLLER).then_some(route))
    }

    fn forget_route(&self) {
        self.route.store(ROUTE_UNKNOWN, Ordering::Relaxed);
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Handle>) -> T + Send + 'static,
    ) -> Result<T, ClientError> {
        let handle = self.handle.clone();
        tokio::task::spawn_blocking(move || work(handle)).await.map_err(crate::handle::stopped)
    }
}

fn find_route(handle: &Handle, limit: Duration) -> Result<i32, ClientError> {
    let operation = "cluster metadata";
    let mut metadata = std::ptr::null();
    // SAFETY: the client is alive; on success `metadata` is ours until it is destroyed below. No topics are asked for.
    unsafe {
        let client = handle.native();
        let code = sys::rd_kafka_metadata(client, 0, std::ptr::null_mut(), &mut metadata, millis(limit));
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            let code = rdkafka::error::RDKafkaErrorCode::from(code);
            let reason = handle.health().last().map_or_else(|| code.to_string(), |trouble| trouble.reason);
            return Err(ClientError::of(operation, code, reason, limit));
        }
        let listed = call::list((*metadata).brokers, usize::try_from((*metadata).broker_cnt).unwrap_or(0));
        let brokers: Vec<i32> = listed.iter().map(|broker| broker.id).collect();
        sys::rd_kafka_metadata_destroy(metadata);
        // The development broker names a controller that does not exist.
        let controller = sys::rd_kafka_controllerid(client, 0);
        match brokers.first() {
            _ if brokers.contains(&controller) => Ok(ROUTE_CONTROLLER),
            Some(&broker) => Ok(broker),
            None => Err(ClientError::Unreachable { operation, reason: "the metadata names no broker".into() }),
        }
    }
}
