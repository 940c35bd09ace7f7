//! `/kafka-clusters`.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::LOCATION};
use millrace_cluster::{
    Schema,
    meta::{KafkaCluster, clusters, clusters::KafkaClusterError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, subscriptions::SubscriptionView};
use crate::{error::ApiError, router::Admin, text::ApiTime};

#[derive(Serialize)]
struct KafkaClusterView {
    name: String,
    properties: BTreeMap<String, String>,
    created_at: ApiTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions: Option<Vec<SubscriptionView>>,
}

impl KafkaClusterView {
    fn new(cluster: &KafkaCluster) -> Self {
        Self {
            name: cluster.name.clone(),
            properties: cluster.properties.masked(),
            created_at: ApiTime(cluster.created_at),
            subscriptions: None,
        }
    }

    fn with_subscriptions(mut self, schema: &Schema, include: bool) -> Self {
        let of_it = schema.subscriptions().filter(|subscription| include && subscription.cluster == self.name);
        self.subscriptions = Some(of_it.map(|subscription| SubscriptionView::new(subscription, None)).collect());
        self
    }
}

pub(crate) async fn list(State(admin): State<Admin>) -> Json<Value> {
    let schema = admin.metadata.schema();
    let clusters: Vec<_> = schema.kafka_clusters().map(|cluster| KafkaClusterView::new(cluster)).collect();
    Json(json!({"clusters": clusters}))
}

#[derive(Deserialize)]
pub(crate) struct CreateRequest {
    name: String,
    properties: BTreeMap<String, String>,
}

pub(crate) async fn create(State(admin): State<Admin>, Json(request): Json<CreateRequest>) -> Answer<Response> {
    let (now, check) = (admin.env.now(), admin.options.clone());
    let decide =
        move |schema: &Schema| clusters::create(schema, &request.name, request.properties.clone(), now, &*check);
    let created = admin.metadata.change(decide).await??;
    let location = [(LOCATION, format!("kafka-clusters/{}", created.name))];
    Ok((StatusCode::CREATED, location, Json(KafkaClusterView::new(&created))).into_response())
}

#[derive(Deserialize)]
pub(crate) struct OneQuery {
    #[serde(default)]
    include_subscriptions: bool,
}

pub(crate) async fn one(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Query(query): Query<OneQuery>,
) -> Answer<Response> {
    let schema = admin.metadata.schema();
    let cluster = schema.kafka_cluster(&name).ok_or_else(|| ApiError::from(KafkaClusterError::NotFound(name)))?;
    let view = KafkaClusterView::new(cluster).with_subscriptions(&schema, query.include_subscriptions);
    Ok(Json(view).into_response())
}

#[derive(Deserialize)]
pub(crate) struct UpdateRequest {
    properties: BTreeMap<String, String>,
}

pub(crate) async fn update(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Json(request): Json<UpdateRequest>,
) -> Answer<Response> {
    let check = admin.options.clone();
    let decide = move |schema: &Schema| clusters::update(schema, &name, request.properties.clone(), &*check);
    let updated = admin.metadata.change(decide).await??;
    Ok(Json(KafkaClusterView::new(&updated)).into_response())
}

#[derive(Deserialize)]
pub(crate) struct RemoveQuery {
    #[serde(default)]
    force: bool,
}

pub(crate) async fn remove(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Answer<StatusCode> {
    let decide = move |schema: &Schema| Ok::<_, KafkaClusterError>((clusters::remove(schema, &name, query.force)?, ()));
    admin.metadata.change(decide).await??;
    Ok(StatusCode::ACCEPTED)
}
