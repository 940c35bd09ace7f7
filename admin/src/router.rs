//! Paths, API versions and limits.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, delete, get, patch, post},
};
use http::StatusCode;
use millrace_cluster::{
    Metadata,
    meta::{Defaults, options::OptionCheck},
};
use millrace_model::Env;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    config::{AdminConfig, BODY_BYTES_MAX, STATE_BODY_BYTES_MAX},
    discover::Discoverer,
    engine::Engine,
    handler::{deployments, invocations, kafka_clusters, keys, node, services, state, subscriptions},
    metrics,
    status::SubscriptionStatus,
};

/// Longest service of one request; discovery gives up well before.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What the API stands on.
#[derive(Clone)]
pub struct Admin {
    /// What is registered.
    pub metadata: Metadata,
    /// Asks endpoints.
    pub discoverer: Arc<dyn Discoverer>,
    /// Reaches the leaders.
    pub engine: Arc<dyn Engine>,
    /// Knows what subscriptions do.
    pub subscriptions: Arc<dyn SubscriptionStatus>,
    /// Knows Kafka's options.
    pub options: Arc<dyn OptionCheck>,
    /// Time and random numbers.
    pub env: Arc<dyn Env>,
    /// Shown where neither handler nor service says anything.
    pub defaults: Arc<Defaults>,
    /// Where callers reach the ingress, if it is known.
    pub ingress_endpoint: Option<String>,
}

/// Which API a path belongs to. They differ in how deployments are registered and updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiVersion {
    /// Without prefix: the product documentation's.
    Documented,
    /// Overwrites what is registered at an address unless told otherwise.
    V2,
    /// Registering what is registered is no error, and changes nothing.
    V3,
    /// As before; what the published client speaks.
    V4,
}

/// Requests that may still be served at once; `None`: no limit.
type Places = Option<Arc<Semaphore>>;

/// The whole API, for any connection.
pub fn router(admin: Admin, config: &AdminConfig) -> Router {
    let places: Places = config.concurrent_api_requests_limit.map(|limit| {
        // More than the semaphore can count is as good as no limit.
        Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)))
    });
    let of = |version: ApiVersion| routes().layer(Extension(version));
    let v1 = || any(old_version);
    Router::new()
        .merge(of(ApiVersion::Documented))
        .nest("/v4", of(ApiVersion::V4))
        .nest("/v3", of(ApiVersion::V3))
        .nest("/v2", of(ApiVersion::V2))
        .route("/v1", v1())
        .route("/v1/{*rest}", v1())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(places, guard))
        .with_state(admin)
}

fn routes() -> Router<Admin> {
    Router::new()
        .route("/health", get(node::health))
        .route("/version", get(node::version))
        .route("/cluster-health", get(node::cluster_health))
        .route("/query", post(node::query))
        .route("/deployments", get(deployments::list).post(deployments::register))
        .route(
            "/deployments/{deployment}",
            get(deployments::one).patch(deployments::update).delete(deployments::remove).put(deployments::put),
        )
        .route("/services", get(services::list))
        .route("/services/{service}", get(services::one).patch(services::change))
        .route("/services/{service}/handlers", get(services::handlers))
        .route("/services/{service}/handlers/{handler}", get(services::handler))
        .route("/services/{service}/state", post(state::edit).layer(DefaultBodyLimit::max(STATE_BODY_BYTES_MAX)))
        .route("/services/{service}/keys/{key}", get(keys::one))
        .route("/invocations/{invocation_id}", get(invocations::one).delete(invocations::terminate))
        .route("/invocations/{invocation_id}/{operation}", patch(invocations::operate))
        .route("/internal/invocations_batch_operations/{operation}", post(invocations::batch))
        .route("/subscriptions", get(subscriptions::list).post(subscriptions::create))
        .route("/subscriptions/{subscription}", get(subscriptions::one).delete(subscriptions::remove))
        .route("/kafka-clusters", get(kafka_clusters::list).post(kafka_clusters::create))
        .route(
            "/kafka-clusters/{name}",
            get(kafka_clusters::one).patch(kafka_clusters::update).merge(delete(kafka_clusters::remove)),
        )
}

async fn old_version() -> Response {
    let message = "Unsupported Admin API version V1. This server supports versions between V2 and V4.";
    (StatusCode::BAD_REQUEST, message).into_response()
}

/// Limits every request in number and time, and counts it.
async fn guard(State(places): State<Places>, request: Request, next: Next) -> Response {
    let place = places.as_ref().map(|places| places.try_acquire());
    let response = match place {
        Some(Err(_)) => StatusCode::TOO_MANY_REQUESTS.into_response(),
        _ => match timeout(REQUEST_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
        },
    };
    metrics::answered(response.status());
    response
}
