//! The manifest as JSON. Unknown fields are skipped; what is checked with a message of its own is read loosely.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{OnMaxAttempts, ServiceType};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) protocol_mode: Option<String>,
    pub(super) min_protocol_version: Option<i64>,
    pub(super) max_protocol_version: Option<i64>,
    /// What this server does not know it does not use.
    pub(super) lambda_compression: Option<Value>,
    pub(super) services: Vec<Service>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) ty: ServiceType,
    pub(super) handlers: Vec<Handler>,
    #[serde(flatten)]
    pub(super) common: Common,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Handler {
    pub(super) name: String,
    pub(super) ty: Option<HandlerType>,
    pub(super) input: Option<Input>,
    pub(super) output: Option<Output>,
    pub(super) workflow_completion_retention: Option<u64>,
    #[serde(flatten)]
    pub(super) common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum HandlerType {
    Workflow,
    Exclusive,
    Shared,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    pub(super) required: Option<bool>,
    pub(super) content_type: Option<String>,
    pub(super) json_schema: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Output {
    pub(super) content_type: Option<String>,
    pub(super) set_content_type_if_empty: Option<bool>,
    pub(super) json_schema: Option<Value>,
}

/// What services and handlers have alike.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Common {
    pub(super) documentation: Option<String>,
    pub(super) metadata: Option<BTreeMap<String, String>>,
    pub(super) inactivity_timeout: Option<u64>,
    pub(super) abort_timeout: Option<u64>,
    pub(super) journal_retention: Option<u64>,
    pub(super) idempotency_retention: Option<u64>,
    pub(super) enable_lazy_state: Option<bool>,
    pub(super) ingress_private: Option<bool>,
    pub(super) retry_policy_initial_interval: Option<u64>,
    pub(super) retry_policy_max_interval: Option<u64>,
    pub(super) retry_policy_max_attempts: Option<u64>,
    pub(super) retry_policy_exponentiation_factor: Option<f64>,
    pub(super) retry_policy_on_max_attempts: Option<OnMaxAttempts>,
}
