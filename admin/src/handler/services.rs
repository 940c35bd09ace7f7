//! `/services`.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
};
use millrace_cluster::{
    Schema,
    meta::{
        Defaults, HandlerSchema, Millis, OnMaxAttempts, Service, ServiceSchema, ServiceType, Settings,
        configure::{ConfigureError, ServicePatch, configure},
    },
};
use millrace_model::invocation::HandlerKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Answer;
use crate::{error::ApiError, router::Admin, text::ApiDuration};

#[derive(Serialize)]
pub(crate) struct ServiceView {
    name: String,
    ty: ServiceType,
    handlers: Vec<HandlerView>,
    deployment_id: String,
    revision: u32,
    public: bool,
    idempotency_retention: ApiDuration,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow_completion_retention: Option<ApiDuration>,
    journal_retention: ApiDuration,
    inactivity_timeout: ApiDuration,
    abort_timeout: ApiDuration,
    enable_lazy_state: bool,
    retry_policy: RetryPolicyView,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RetryPolicyView {
    initial_interval: ApiDuration,
    exponentiation_factor: f64,
    max_attempts: Option<u32>,
    max_interval: ApiDuration,
    on_max_attempts: OnMaxAttempts,
}

/// With what the handler itself says; the service has the rest.
#[derive(Serialize)]
pub(crate) struct HandlerView {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ty: Option<&'static str>,
    public: bool,
    input_description: String,
    output_description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_json_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_json_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_retention: Option<ApiDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow_completion_retention: Option<ApiDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal_retention: Option<ApiDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inactivity_timeout: Option<ApiDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abort_timeout: Option<ApiDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_lazy_state: Option<bool>,
    retry_policy: HandlerRetryPolicyView,
}

#[derive(Serialize)]
struct HandlerRetryPolicyView {
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_interval: Option<ApiDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exponentiation_factor: Option<f64>,
    /// Always there, as clients know it.
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_interval: Option<ApiDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_max_attempts: Option<OnMaxAttempts>,
}

impl ServiceView {
    pub(crate) fn new(service: &Service, defaults: &Defaults) -> Self {
        let stored = service.stored();
        let settings = &stored.settings;
        let retry = settings.retry_policy(defaults);
        Self {
            name: stored.name.clone(),
            ty: stored.ty,
            handlers: stored.handlers.iter().map(|handler| HandlerView::new(service, handler, defaults)).collect(),
            deployment_id: service.deployment.id.to_string(),
            revision: stored.revision,
            public: service.public,
            idempotency_retention: or(settings.idempotency_retention, defaults.idempotency_retention),
            workflow_completion_retention: (stored.ty == ServiceType::Workflow)
                .then(|| or(run_settings(stored).workflow_retention, defaults.workflow_retention)),
            journal_retention: ApiDuration(settings.journal_retention(defaults)),
            inactivity_timeout: ApiDuration(settings.inactivity_timeout(defaults)),
            abort_timeout: ApiDuration(settings.abort_timeout(defaults)),
            enable_lazy_state: settings.lazy_state.unwrap_or(false),
            retry_policy: RetryPolicyView {
                initial_interval: ApiDuration(retry.initial_interval),
                exponentiation_factor: retry.factor,
                max_attempts: retry.max_attempts,
                max_interval: ApiDuration(retry.max_interval),
                on_max_attempts: retry.on_max_attempts,
            },
            documentation: stored.documentation.clone(),
            metadata: stored.metadata.clone(),
        }
    }
}

/// What the run of a workflow goes by: the manifest says it at the handler.
fn run_settings(service: &ServiceSchema) -> Settings {
    let run = service.handlers.iter().find(|handler| handler.kind == HandlerKind::Workflow);
    run.map_or_else(|| service.settings.clone(), |handler| handler.settings.or(&service.settings))
}

fn or(said: Option<Millis>, default: std::time::Duration) -> ApiDuration {
    said.map_or(ApiDuration(default), ApiDuration::from)
}

impl HandlerView {
    fn new(service: &Service, handler: &HandlerSchema, defaults: &Defaults) -> Self {
        let settings = &handler.settings;
        Self {
            name: handler.name.clone(),
            ty: match handler.kind {
                HandlerKind::Plain => None,
                HandlerKind::Exclusive => Some("Exclusive"),
                HandlerKind::Shared => Some("Shared"),
                HandlerKind::Workflow => Some("Workflow"),
            },
            public: service.handler(&handler.name).is_some_and(|handler| handler.public),
            input_description: handler.input.description().to_owned(),
            output_description: handler.output.description().to_owned(),
            input_json_schema: handler.input_json_schema.clone(),
            output_json_schema: handler.output_json_schema.clone(),
            documentation: handler.documentation.clone(),
            metadata: handler.metadata.clone(),
            idempotency_retention: settings.idempotency_retention.map(ApiDuration::from),
            workflow_completion_retention: settings.workflow_retention.map(ApiDuration::from),
            journal_retention: settings.journal_retention.map(|_| ApiDuration(settings.journal_retention(defaults))),
            inactivity_timeout: settings.inactivity_timeout.map(ApiDuration::from),
            abort_timeout: settings.abort_timeout.map(ApiDuration::from),
            enable_lazy_state: settings.lazy_state,
            retry_policy: HandlerRetryPolicyView {
                initial_interval: settings.retry.initial_interval.map(ApiDuration::from),
                exponentiation_factor: settings.retry.factor,
                max_attempts: settings.retry.max_attempts,
                max_interval: settings.retry.max_interval.map(ApiDuration::from),
                on_max_attempts: settings.retry.on_max_attempts,
            },
        }
    }
}

fn no_service(name: &str) -> ApiError {
    ApiError::not_found(format!("The requested service '{name}' does not exist"))
}

fn no_handler(service: &str, handler: &str) -> ApiError {
    ApiError::not_found(format!("The requested handler '{handler}' on service '{service}' does not exist"))
}

pub(crate) async fn list(State(admin): State<Admin>) -> Json<Value> {
    let schema = admin.metadata.schema();
    let services: Vec<_> = schema.services().map(|service| ServiceView::new(service, &admin.defaults)).collect();
    Json(json!({"services": services}))
}

pub(crate) async fn one(State(admin): State<Admin>, Path(name): Path<String>) -> Answer<Json<ServiceView>> {
    let schema = admin.metadata.schema();
    let service = schema.service(&name).ok_or_else(|| no_service(&name))?;
    Ok(Json(ServiceView::new(service, &admin.defaults)))
}

pub(crate) async fn handlers(State(admin): State<Admin>, Path(name): Path<String>) -> Answer<Json<Value>> {
    let schema = admin.metadata.schema();
    let service = schema.service(&name).ok_or_else(|| no_service(&name))?;
    let stored = service.stored().handlers.iter();
    let handlers: Vec<_> = stored.map(|handler| HandlerView::new(service, handler, &admin.defaults)).collect();
    Ok(Json(json!({"handlers": handlers})))
}

pub(crate) async fn handler(
    State(admin): State<Admin>,
    Path((name, handler)): Path<(String, String)>,
) -> Answer<Json<HandlerView>> {
    let schema = admin.metadata.schema();
    let service = schema.service(&name).ok_or_else(|| no_handler(&name, &handler))?;
    let stored = service.stored().handlers.iter().find(|stored| stored.name == handler);
    let stored = stored.ok_or_else(|| no_handler(&name, &handler))?;
    Ok(Json(HandlerView::new(service, stored, &admin.defaults)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct PatchRequest {
    public: Option<bool>,
    idempotency_retention: Option<ApiDuration>,
    workflow_completion_retention: Option<ApiDuration>,
    journal_retention: Option<ApiDuration>,
    inactivity_timeout: Option<ApiDuration>,
    abort_timeout: Option<ApiDuration>,
}

pub(crate) async fn change(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Json(request): Json<PatchRequest>,
) -> Answer<Json<ServiceView>> {
    let patch = ServicePatch {
        public: request.public,
        idempotency_retention: request.idempotency_retention.map(ApiDuration::millis),
        workflow_retention: request.workflow_completion_retention.map(ApiDuration::millis),
        journal_retention: request.journal_retention.map(ApiDuration::millis),
        inactivity_timeout: request.inactivity_timeout.map(ApiDuration::millis),
        abort_timeout: request.abort_timeout.map(ApiDuration::millis),
    };
    let service = name.clone();
    let decide = move |schema: &Schema| Ok::<_, ConfigureError>((configure(schema, &service, &patch)?, ()));
    admin.metadata.change(decide).await??;
    one(State(admin), Path(name)).await
}
