//! Bodies as they are on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Answer to a send.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SendResponse {
    pub invocation_id: String,
    /// UTC with nanosecond digits; only for what is delayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_time: Option<String>,
    pub status: SendStatus,
}

/// Whether the send made the invocation.
#[derive(Debug, Serialize)]
pub enum SendStatus {
    Accepted,
    PreviouslyAccepted,
}

/// Answer to a lookup.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LookupResponse {
    pub invocation_id: String,
}

/// Answer to a health check.
#[derive(Debug, Serialize)]
pub struct HealthResponse {
    pub services: Vec<String>,
}

/// Names an invocation in a body.
#[derive(Debug, Deserialize)]
#[serde(tag = "target", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Target {
    Invocation {
        invocation_id: String,
    },
    IdempotentInvocation {
        service: String,
        handler: String,
        idempotency_key: String,
        key: Option<String>,
        scope: Option<String>,
    },
    Workflow {
        workflow_name: String,
        workflow_key: String,
        scope: Option<String>,
    },
}

/// Every error. `error_code` and `applied` are ours.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    pub code: u32,
    pub message: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<&'a str, &'a str>,
    pub source: &'static str,
    /// A permanent code with a page of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'static str>,
    /// `unknown`: the request may have had its effect, or may still have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<&'static str>,
}
