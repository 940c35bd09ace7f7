//! About the server itself, and what it does not offer yet.

use axum::{Json, extract::State};
use http::StatusCode;
use serde_json::{Value, json};

use super::Answer;
use crate::{error::ApiError, router::Admin};

pub(crate) async fn health() -> StatusCode {
    StatusCode::OK
}

pub(crate) async fn version(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "min_admin_api_version": 2,
        "max_admin_api_version": 4,
        "ingress_endpoint": admin.ingress_endpoint,
        "features": {},
    }))
}

/// One node for now, and it answers.
pub(crate) async fn cluster_health(State(admin): State<Admin>) -> Json<Value> {
    let schema = admin.metadata.schema();
    Json(json!({"cluster_name": schema.cluster_name(), "metadata_cluster_health": {"members": [1]}}))
}

pub(crate) async fn query() -> Answer<()> {
    let message = "POST /query is not offered by this release; \
        GET /invocations/{id} and GET /services/{service}/keys/{key} show single invocations and keys";
    Err(ApiError::unsupported(message))
}
