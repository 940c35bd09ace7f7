//! `/services/{service}/keys/{key}`: why is this key waiting?

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use millrace_cluster::meta::ServiceType;
use millrace_model::{codes, invocation::ObjectKey};
use serde_json::Value;

use super::Answer;
use crate::{error::ApiError, explain, router::Admin};

/// Also for services that are no longer registered: their keys may still have work.
pub(crate) async fn one(
    State(admin): State<Admin>,
    Path((service, key)): Path<(String, String)>,
) -> Answer<Json<Value>> {
    let schema = admin.metadata.schema();
    if schema.service(&service).is_some_and(|known| known.ty == ServiceType::Service) {
        let message = format!("'{service}' is of service type Service, which has no keys");
        return Err(ApiError::json(StatusCode::BAD_REQUEST, codes::ADM0001, message));
    }
    let object = ObjectKey { service: service.as_str().into(), key: key.as_str().into() };
    let look = admin.engine.key(object.clone()).await?;
    if look.lock.is_none() && schema.service(&service).is_none() {
        return Err(ApiError::not_found(format!("The requested service '{service}' does not exist")));
    }
    Ok(Json(explain::key(&object, &look)))
}
