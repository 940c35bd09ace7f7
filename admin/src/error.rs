//! What goes wrong, as the API says it.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use millrace_cluster::meta::{
    ChangeError, clusters::KafkaClusterError, configure::ConfigureError, register::RegisterError,
    subscribe::SubscribeError,
};
use millrace_model::{
    Code, Coded,
    codes::{self, Applied},
};
use serde_json::{Map, Value, json};

use crate::{discover::DiscoverError, engine::EngineError};

/// An answer that is an error.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// `{"message", "restate_code", "code", "metadata"}`.
    Json {
        status: StatusCode,
        message: String,
        /// Codes of the product documentation; in a field of their own, for its clients.
        documented: bool,
        code: Code,
        metadata: Map<String, Value>,
    },
    /// Shape faults: as plain text.
    Text { status: StatusCode, message: String },
    /// Nothing but the status.
    Empty(StatusCode),
}

impl ApiError {
    pub(crate) fn json(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self::Json { status, message: message.into(), documented: false, code, metadata: Map::new() }
    }

    /// With the code in the message and in the field of the product documentation.
    fn documented(status: StatusCode, code: Code, message: impl std::fmt::Display) -> Self {
        let (prefix, message) = (format!("[{}] ", code.id), message.to_string());
        // Messages of others may begin with it already.
        let message = if message.starts_with(&prefix) { message } else { prefix + &message };
        Self::Json { status, message, documented: true, code, metadata: Map::new() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::json(StatusCode::NOT_FOUND, codes::ADM0002, message)
    }

    /// 400 about one field of the request.
    pub(crate) fn field(field: &str, reason: impl std::fmt::Display) -> Self {
        let message = format!("The request field '{field}' is invalid. Reason: {reason}");
        Self::json(StatusCode::BAD_REQUEST, codes::ADM0001, message)
    }

    /// 400 about one query parameter.
    pub(crate) fn parameter(parameter: &str, reason: impl std::fmt::Display) -> Self {
        let message = format!("The query parameter '{parameter}' is invalid. Reason: {reason}");
        Self::json(StatusCode::BAD_REQUEST, codes::ADM0001, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::json(StatusCode::NOT_IMPLEMENTED, codes::ADM0004, message)
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Self::Json { metadata, .. } = &mut self {
            metadata.insert(key.to_owned(), value.into());
        }
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Json { status, message, documented, code, metadata } => {
                let restate_code = documented.then_some(code.id);
                let body = json!({
                    "message": message, "restate_code": restate_code, "code": code.id, "metadata": metadata,
                });
                (status, Json(body)).into_response()
            }
            Self::Text { status, message } => (status, message).into_response(),
            Self::Empty(status) => status.into_response(),
        }
    }
}

fn status_of(code: Code) -> StatusCode {
    StatusCode::from_u16(code.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What may have happened although it failed.
fn with_applied(error: ApiError, code: Code) -> ApiError {
    match code.applied {
        Applied::No => error,
        Applied::Unknown => error.with("applied", "unknown"),
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let code = error.code();
        with_applied(Self::json(status_of(code), code, error.to_string()), code)
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let code = error.code;
        with_applied(Self::json(status_of(code), code, error.message), code)
    }
}

impl From<DiscoverError> for ApiError {
    fn from(error: DiscoverError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match error.code {
            Some(code) => Self::documented(status, code, error.message),
            None => Self::json(status, codes::ADM0001, error.message),
        }
    }
}

impl From<RegisterError> for ApiError {
    fn from(error: RegisterError) -> Self {
        match error.code() {
            None => Self::not_found(error.to_string()),
            Some(code) if code == codes::META0018 => Self::json(status_of(code), code, error.to_string()),
            Some(code) => Self::documented(status_of(code), code, error),
        }
    }
}

impl From<ConfigureError> for ApiError {
    fn from(error: ConfigureError) -> Self {
        match error {
            ConfigureError::NotFound(_) => Self::not_found(error.to_string()),
            _ => Self::json(StatusCode::BAD_REQUEST, codes::ADM0001, error.to_string()),
        }
    }
}

impl From<SubscribeError> for ApiError {
    fn from(error: SubscribeError) -> Self {
        match &error {
            SubscribeError::Malformed { .. } => {
                let message = format!("Failed to deserialize the JSON body into the target type: {error}");
                Self::Text { status: StatusCode::UNPROCESSABLE_ENTITY, message }
            }
            SubscribeError::NotFound(_) => Self::not_found(error.to_string()),
            SubscribeError::TooMany => Self::json(status_of(codes::META0018), codes::META0018, error.to_string()),
            // The one message that clients know without its code in front.
            SubscribeError::UnknownCluster { .. } => Self::Json {
                status: StatusCode::BAD_REQUEST,
                message: error.to_string(),
                documented: true,
                code: codes::META0009,
                metadata: Map::new(),
            },
            SubscribeError::Options(faults) => {
                let options: Vec<_> = faults.iter().map(|fault| fault.key.clone()).collect();
                Self::documented(StatusCode::BAD_REQUEST, codes::META0009, &error).with("options", options)
            }
            _ => Self::documented(StatusCode::BAD_REQUEST, codes::META0009, error),
        }
    }
}

impl From<KafkaClusterError> for ApiError {
    fn from(error: KafkaClusterError) -> Self {
        match &error {
            KafkaClusterError::Name(_) => {
                let message = format!("Failed to deserialize the JSON body into the target type: {error}");
                Self::Text { status: StatusCode::UNPROCESSABLE_ENTITY, message }
            }
            KafkaClusterError::NotFound(name) => {
                Self::not_found(format!("The requested Kafka cluster '{name}' does not exist"))
            }
            _ => {
                let code = error.code().unwrap_or(codes::ADM0001);
                Self::json(status_of(code), code, error.to_string())
            }
        }
    }
}
