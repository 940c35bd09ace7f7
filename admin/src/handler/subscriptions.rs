//! `/subscriptions`.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::LOCATION};
use millrace_cluster::meta::{
    Subscription,
    subscribe::{Asked, SubscribeError, subscribe, unsubscribe},
};
use millrace_model::SubscriptionId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use super::{Answer, Id};
use crate::{error::ApiError, router::Admin, status::StatusReport, text::ApiTime};

#[derive(Deserialize)]
pub(crate) struct CreateRequest {
    source: String,
    sink: String,
    options: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
pub(crate) struct SubscriptionView {
    id: String,
    source: String,
    sink: String,
    options: BTreeMap<String, String>,
    created_at: ApiTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusReport>,
}

impl SubscriptionView {
    pub(crate) fn new(subscription: &Subscription, status: Option<StatusReport>) -> Self {
        Self {
            id: subscription.id.to_string(),
            source: subscription.source(),
            sink: subscription.sink(),
            options: subscription.options.masked(),
            created_at: ApiTime(subscription.created_at),
            status,
        }
    }
}

pub(crate) async fn create(State(admin): State<Admin>, Json(request): Json<CreateRequest>) -> Answer<Response> {
    let now = admin.env.now();
    let asked = Asked {
        id: SubscriptionId::from_parts(now.0, admin.env.random_unique()),
        source: request.source,
        sink: request.sink,
        options: request.options.unwrap_or_default(),
        now,
    };
    let check = admin.options.clone();
    let created = admin.metadata.change(move |schema| subscribe(schema, &asked, &*check)).await??;
    info!(subscription = %created.id, topic = created.topic, "subscription created");
    let view = SubscriptionView::new(&created, None);
    let location = [(LOCATION, format!("subscriptions/{}", created.id))];
    Ok((StatusCode::CREATED, location, Json(view)).into_response())
}

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    source: Option<String>,
    sink: Option<String>,
}

pub(crate) async fn list(State(admin): State<Admin>, Query(query): Query<ListQuery>) -> Json<Value> {
    let schema = admin.metadata.schema();
    let mut subscriptions = Vec::new();
    for subscription in schema.subscriptions() {
        let wanted = |filter: &Option<String>, is: String| filter.as_ref().is_none_or(|filter| *filter == is);
        if wanted(&query.source, subscription.source()) && wanted(&query.sink, subscription.sink()) {
            let status = admin.subscriptions.status(subscription.id).await;
            subscriptions.push(SubscriptionView::new(subscription, status));
        }
    }
    Json(json!({"subscriptions": subscriptions}))
}

#[derive(Deserialize)]
pub(crate) struct OnePath {
    subscription: Id<SubscriptionId>,
}

pub(crate) async fn one(State(admin): State<Admin>, Path(path): Path<OnePath>) -> Answer<Json<SubscriptionView>> {
    let id = path.subscription.0;
    let schema = admin.metadata.schema();
    let subscription = schema
        .subscription(id)
        .ok_or_else(|| ApiError::not_found(format!("The requested subscription '{id}' does not exist")))?;
    let status = admin.subscriptions.status(id).await;
    Ok(Json(SubscriptionView::new(subscription, status)))
}

pub(crate) async fn remove(State(admin): State<Admin>, Path(path): Path<OnePath>) -> Answer<StatusCode> {
    let id = path.subscription.0;
    admin.metadata.change(move |schema| Ok::<_, SubscribeError>((unsubscribe(schema, id)?, ()))).await??;
    info!(subscription = %id, "subscription removed");
    Ok(StatusCode::ACCEPTED)
}
