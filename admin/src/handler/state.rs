//! `/services/{service}/state`: editing the state of a key from outside.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
};
use bytes::Bytes;
use http::StatusCode;
use millrace_cluster::meta::ServiceType;
use millrace_model::{codes, invocation::ObjectKey, state::StateVersion};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::Answer;
use crate::{error::ApiError, router::Admin};

#[derive(Deserialize)]
pub(crate) struct StateRequest {
    object_key: String,
    new_state: BTreeMap<String, Value>,
    version: Option<String>,
    scope: Option<String>,
}

/// An array of bytes, or a text that stands for its UTF-8.
struct Value(Bytes);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Bytes(Vec<u8>),
            Text(String),
        }
        match Form::deserialize(from) {
            Ok(Form::Bytes(bytes)) => Ok(Self(bytes.into())),
            Ok(Form::Text(text)) => Ok(Self(text.into())),
            Err(_) => Err(D::Error::custom("a value of the state is an array of bytes or a string")),
        }
    }
}

/// Replaces all state of a key, in turn with what waits for the key. Against another version than the one named it does
/// nothing, which nobody is told: the edit may only be looked at long after this answer.
pub(crate) async fn edit(
    State(admin): State<Admin>,
    Path(service): Path<String>,
    Json(request): Json<StateRequest>,
) -> Answer<StatusCode> {
    // A service that is not registered, or no longer, may have state all the same.
    if admin.metadata.schema().service(&service).is_some_and(|known| known.ty == ServiceType::Service) {
        let message = "Cannot modify state for service type Service";
        return Err(ApiError::json(StatusCode::BAD_REQUEST, codes::ADM0001, message));
    }
    if request.scope.is_some_and(|scope| !scope.is_empty()) {
        return Err(ApiError::field("scope", "scopes are not offered by this release"));
    }
    let expected = request.version.as_deref().map(str::parse::<StateVersion>).transpose();
    let expected = expected.map_err(|error| ApiError::field("version", error))?;
    let object = ObjectKey { service: service.into(), key: request.object_key.into() };
    let entries = request.new_state.into_iter().map(|(key, Value(value))| (Bytes::from(key), value)).collect();
    admin.engine.edit_state(object, expected, entries).await?;
    Ok(StatusCode::ACCEPTED)
}
