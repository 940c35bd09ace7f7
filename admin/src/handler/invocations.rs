//! `/invocations`: what operators do to them.

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use http::StatusCode;
use millrace_machine::Refusal;
use millrace_model::{InvocationId, codes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Id};
use crate::{
    engine::{Done, Operation},
    error::ApiError,
    explain,
    operate::{self, Choice, Verb, Wish},
    router::Admin,
};

/// Ids in one batch.
const BATCH_MAX: usize = 1000;
/// Commands of one batch that are under way at once.
const BATCH_IN_FLIGHT: usize = 64;

fn invocation_id(text: &str) -> Answer<InvocationId> {
    text.parse().map_err(|_| ApiError::field("invocation_id", "bad format"))
}

fn verb(name: &str) -> Answer<Verb> {
    Verb::parse(name).ok_or(ApiError::Empty(StatusCode::NOT_FOUND))
}

impl Admin {
    /// Looks where the invocation is if that matters, and asks its leader.
    async fn operate(&self, id: InvocationId, verb: Verb, wish: Wish) -> Answer<Result<Done, Refusal>> {
        let operation = match operate::plain(verb, wish) {
            Some(operation) => operation,
            None => match self.engine.place(id).await? {
                Some(place) => operate::moved(verb, wish, id, &place, &self.metadata.schema())?,
                None => return Ok(Err(Refusal::NotFound)),
            },
        };
        Ok(self.engine.operate(id, operation).await?)
    }
}

#[derive(Deserialize)]
pub(crate) struct OperateQuery {
    deployment: Option<String>,
    #[serde(default)]
    from: u32,
}

pub(crate) async fn operate(
    State(admin): State<Admin>,
    Path((id, name)): Path<(String, String)>,
    Query(query): Query<OperateQuery>,
) -> Answer<Response> {
    let verb = verb(&name)?;
    let id = invocation_id(&id)?;
    let deployment = query.deployment.as_deref().map(Choice::parse).transpose()?;
    match admin.operate(id, verb, Wish { deployment, from: query.from }).await? {
        Ok(Done::Now) => Ok(StatusCode::OK.into_response()),
        Ok(Done::Asynchronously) => Ok(StatusCode::ACCEPTED.into_response()),
        Ok(Done::Made(new)) => Ok(Json(json!({"new_invocation_id": new.to_string()})).into_response()),
        Err(why) => Err(operate::refusal(id, verb, why)),
    }
}

#[derive(Deserialize)]
pub(crate) struct TerminateQuery {
    #[serde(default)]
    mode: Mode,
}

#[derive(Clone, Copy, Default, Deserialize)]
enum Mode {
    #[default]
    #[serde(alias = "cancel")]
    Cancel,
    #[serde(alias = "kill")]
    Kill,
    #[serde(alias = "purge")]
    Purge,
}

/// The old way: accepted whatever comes of it.
pub(crate) async fn terminate(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    Query(query): Query<TerminateQuery>,
) -> Answer<StatusCode> {
    let id = invocation_id(&id)?;
    let operation = match query.mode {
        Mode::Cancel => Operation::Cancel,
        Mode::Kill => Operation::Kill,
        Mode::Purge => Operation::Purge,
    };
    let _refused = admin.engine.operate(id, operation).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(crate) async fn one(State(admin): State<Admin>, Path(id): Path<String>) -> Answer<Json<Value>> {
    let id = invocation_id(&id)?;
    let look = admin.engine.invocation(id).await?.ok_or_else(|| operate::no_invocation(id))?;
    Ok(Json(explain::invocation(id, &look)))
}

#[derive(Deserialize)]
pub(crate) struct BatchRequest {
    invocation_ids: Vec<Id<InvocationId>>,
    deployment: Option<String>,
}

/// One of a batch failed: what it is told.
fn failure(id: InvocationId, error: ApiError) -> String {
    match error {
        ApiError::Json { message, .. } | ApiError::Text { message, .. } => message.trim_end_matches('.').to_owned(),
        ApiError::Empty(status) => format!("Invocation '{id}' failed with status {status}"),
    }
}

pub(crate) async fn batch(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Json(request): Json<BatchRequest>,
) -> Answer<Json<Value>> {
    let verb = verb(&name)?;
    let count = request.invocation_ids.len();
    if count > BATCH_MAX {
        let message = format!("Batch size {count} exceeds maximum allowed size of {BATCH_MAX}");
        return Err(ApiError::json(StatusCode::BAD_REQUEST, codes::ADM0001, message));
    }
    let deployment = request.deployment.as_deref().map(Choice::parse).transpose()?;
    let wish = Wish { deployment, from: 0 };
    let outcomes: Vec<_> = stream::iter(request.invocation_ids)
        .map(|Id(id)| {
            let admin = &admin;
            async move {
                let outcome = match admin.operate(id, verb, wish).await {
                    Ok(Ok(done)) => Ok(done),
                    Ok(Err(why)) => Err(operate::refusal_in_batch(id, verb, why)),
                    Err(error) => Err(failure(id, error)),
                };
                (id, outcome)
            }
        })
        .buffered(BATCH_IN_FLIGHT)
        .collect()
        .await;
    let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
    for (id, outcome) in outcomes {
        match outcome {
            Ok(Done::Made(new)) => {
                succeeded.push(json!({"old_invocation_id": id.to_string(), "new_invocation_id": new.to_string()}));
            }
            Ok(_) => succeeded.push(id.to_string().into()),
            Err(error) => failed.push(json!({"invocation_id": id.to_string(), "error": error})),
        }
    }
    Ok(Json(json!({"succeeded": succeeded, "failed": failed})))
}
