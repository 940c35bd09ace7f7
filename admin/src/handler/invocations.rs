//! `/invocations`: what operators do to them.

use axum::{
    Json,
    extract::{Path, Query, State},
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
    router::Admin,
};

/// Ids in one batch.
const BATCH_MAX: usize = 1000;
/// Commands of one batch that are under way at once.
const BATCH_IN_FLIGHT: usize = 64;

fn invocation_id(text: &str) -> Answer<InvocationId> {
    text.parse().map_err(|_| ApiError::field("invocation_id", "bad format"))
}

fn operation(name: &str) -> Answer<Operation> {
    Ok(match name {
        "kill" => Operation::Kill,
        "cancel" => Operation::Cancel,
        "purge" => Operation::Purge,
        "purge-journal" => Operation::PurgeJournal,
        "pause" => Operation::Pause,
        "resume" => Operation::Resume,
        "restart-as-new" => return Err(ApiError::unsupported("restart-as-new is not offered by this release")),
        _ => return Err(ApiError::Empty(StatusCode::NOT_FOUND)),
    })
}

/// What stands in the way, for the middle of a sentence, and the status.
fn refused(operation: Operation, refusal: Refusal) -> (StatusCode, &'static str) {
    let conflict = |text| (StatusCode::CONFLICT, text);
    match (operation, refusal) {
        (Operation::Kill | Operation::Cancel, Refusal::Ended) => conflict("was already completed."),
        (Operation::Pause, _) => conflict("is not running, cannot be paused."),
        (Operation::Resume, Refusal::NotStarted) => {
            (StatusCode::TOO_EARLY, "is either inboxed or scheduled, cannot be resumed.")
        }
        (Operation::Resume, _) => conflict("is completed, cannot be resumed."),
        (Operation::Purge | Operation::PurgeJournal, _) => conflict("is not yet completed."),
        (Operation::Kill | Operation::Cancel, _) => conflict("is in another state."),
    }
}

fn refusal(id: InvocationId, operation: Operation, refusal: Refusal) -> ApiError {
    if refusal == Refusal::NotFound {
        return no_invocation(id);
    }
    let (status, text) = refused(operation, refusal);
    ApiError::json(status, codes::ADM0003, format!("The invocation '{id}' {text}"))
}

fn no_invocation(id: InvocationId) -> ApiError {
    ApiError::not_found(format!("The requested invocation '{id}' does not exist"))
}

#[derive(Deserialize)]
pub(crate) struct OperateQuery {
    deployment: Option<String>,
}

/// Only `keep` is there yet: moving an invocation needs a command of its own.
fn keeps_deployment(deployment: Option<&str>) -> Answer<()> {
    match deployment {
        None | Some("keep" | "Keep") => Ok(()),
        Some(other)
            if other.eq_ignore_ascii_case("latest") || other.parse::<millrace_model::DeploymentId>().is_ok() =>
        {
            Err(ApiError::unsupported("resuming on another deployment is not offered by this release"))
        }
        Some(_) => Err(ApiError::parameter("deployment", "bad format")),
    }
}

pub(crate) async fn operate(
    State(admin): State<Admin>,
    Path((id, name)): Path<(String, String)>,
    Query(query): Query<OperateQuery>,
) -> Answer<StatusCode> {
    let operation = operation(&name)?;
    let id = invocation_id(&id)?;
    if operation == Operation::Resume {
        keeps_deployment(query.deployment.as_deref())?;
    }
    match admin.engine.operate(id, operation).await? {
        Ok(Done::Now) => Ok(StatusCode::OK),
        Ok(Done::Asynchronously) => Ok(StatusCode::ACCEPTED),
        Err(why) => Err(refusal(id, operation, why)),
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
    let look = admin.engine.invocation(id).await?.ok_or_else(|| no_invocation(id))?;
    Ok(Json(explain::invocation(id, &look)))
}

#[derive(Deserialize)]
pub(crate) struct BatchRequest {
    invocation_ids: Vec<Id<InvocationId>>,
    deployment: Option<String>,
}

pub(crate) async fn batch(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Json(request): Json<BatchRequest>,
) -> Answer<Json<Value>> {
    let operation = operation(&name)?;
    let count = request.invocation_ids.len();
    if count > BATCH_MAX {
        let message = format!("Batch size {count} exceeds maximum allowed size of {BATCH_MAX}");
        return Err(ApiError::json(StatusCode::BAD_REQUEST, codes::ADM0001, message));
    }
    if operation == Operation::Resume {
        keeps_deployment(request.deployment.as_deref())?;
    }
    let outcomes: Vec<_> = stream::iter(request.invocation_ids)
        .map(|Id(id)| {
            let engine = admin.engine.clone();
            async move {
                let failed = match engine.operate(id, operation).await {
                    Ok(Ok(_)) => None,
                    Ok(Err(Refusal::NotFound)) => Some(format!("Invocation '{id}' not found")),
                    Ok(Err(why)) => {
                        let text = refused(operation, why).1.trim_end_matches('.');
                        Some(format!("Invocation '{id}' {text}"))
                    }
                    Err(error) => Some(error.message),
                };
                (id, failed)
            }
        })
        .buffered(BATCH_IN_FLIGHT)
        .collect()
        .await;
    let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
    for (id, error) in outcomes {
        match error {
            None => succeeded.push(id.to_string()),
            Some(error) => failed.push(json!({"invocation_id": id.to_string(), "error": error})),
        }
    }
    Ok(Json(json!({"succeeded": succeeded, "failed": failed})))
}
