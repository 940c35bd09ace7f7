//! What operators ask for, decided before the leaders are asked, and how refusals are said. Pure.

use http::StatusCode;
use millrace_cluster::Schema;
use millrace_machine::Refusal;
use millrace_model::{DeploymentId, InvocationId, codes};

use crate::{
    engine::{Operation, Place},
    error::ApiError,
};

/// A verb of the API. Each is one [`Operation`] once its parameters are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Kill,
    Cancel,
    Purge,
    PurgeJournal,
    Pause,
    Resume,
    RestartAsNew,
}

impl Verb {
    /// By its name in paths.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "kill" => Self::Kill,
            "cancel" => Self::Cancel,
            "purge" => Self::Purge,
            "purge-journal" => Self::PurgeJournal,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "restart-as-new" => Self::RestartAsNew,
            _ => return None,
        })
    }
}

/// Where an invocation is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Where it is pinned.
    Keep,
    /// Where its service is served now.
    Latest,
    /// There.
    This(DeploymentId),
}

impl Choice {
    /// `keep`, `latest` or an id.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            _ if text.eq_ignore_ascii_case("keep") => Ok(Self::Keep),
            _ if text.eq_ignore_ascii_case("latest") => Ok(Self::Latest),
            _ => text.parse().map(Self::This).map_err(|_| ApiError::parameter("deployment", "bad format")),
        }
    }
}

/// What a request says besides its verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// `deployment`.
    pub(crate) deployment: Option<Choice>,
    /// `from`.
    pub(crate) from: u32,
}

/// The operation, if that can be said without a look at the invocation.
pub(crate) fn plain(verb: Verb, wish: Wish) -> Option<Operation> {
    Some(match (verb, wish.deployment) {
        (Verb::Kill, _) => Operation::Kill,
        (Verb::Cancel, _) => Operation::Cancel,
        (Verb::Purge, _) => Operation::Purge,
        (Verb::PurgeJournal, _) => Operation::PurgeJournal,
        (Verb::Pause, _) => Operation::Pause,
        (Verb::Resume, None | Some(Choice::Keep)) => Operation::Resume { deployment: None },
        // With nothing but its input, a new invocation starts where its service is served when it starts.
        (Verb::RestartAsNew, None | Some(Choice::Latest)) if wish.from == 0 => {
            Operation::RestartAsNew { from: 0, deployment: None }
        }
        (Verb::Resume | Verb::RestartAsNew, _) => return None,
    })
}

/// The operation, once it is known where the invocation is.
pub(crate) fn moved(
    verb: Verb,
    wish: Wish,
    id: InvocationId,
    place: &Place,
    schema: &Schema,
) -> Result<Operation, ApiError> {
    let latest = || schema.service(&place.target.service).map(|service| service.deployment.id);
    let checked = |deployment| suits(verb, id, deployment, place, schema).map(|()| deployment);
    let chosen = match wish.deployment {
        Some(Choice::Keep) => place.pin.map(|pin| pin.deployment),
        Some(Choice::This(deployment)) => Some(checked(deployment)?),
        Some(Choice::Latest) => Some(checked(latest().ok_or_else(|| no_deployment(verb, id))?)?),
        // What it has done so far goes on with the newest code that can take it, else where it was done.
        None => latest().and_then(|deployment| checked(deployment).ok()),
    };
    Ok(match verb {
        Verb::RestartAsNew => Operation::RestartAsNew { from: wish.from, deployment: chosen },
        _ => Operation::Resume { deployment: chosen },
    })
}

/// Can the invocation run there?
fn suits(
    verb: Verb,
    id: InvocationId,
    deployment: DeploymentId,
    place: &Place,
    schema: &Schema,
) -> Result<(), ApiError> {
    let found = schema.deployment(deployment).ok_or_else(|| no_deployment(verb, id))?;
    let target = &place.target;
    let service = found.service(&target.service);
    if !service.is_some_and(|service| service.handlers.iter().any(|handler| handler.name == *target.handler)) {
        return Err(bad(format!(
            "The invocation '{id}' cannot go on at deployment '{deployment}', which does not serve {}/{}.",
            target.service, target.handler
        )));
    }
    let (min, max) = (found.min_protocol_version, found.max_protocol_version);
    match place.pin {
        Some(pin) if !(min..=max).contains(&pin.protocol_version) => Err(bad(format!(
            "The invocation '{id}' is pinned to service protocol version {}, and deployment '{deployment}' speaks \
             versions {min} to {max}.",
            pin.protocol_version
        ))),
        _ => Ok(()),
    }
}

fn bad(message: String) -> ApiError {
    ApiError::json(StatusCode::BAD_REQUEST, codes::ADM0001, message)
}

fn no_deployment(verb: Verb, id: InvocationId) -> ApiError {
    let verb = if verb == Verb::RestartAsNew { "restart" } else { "resume" };
    bad(format!("The given deployment was not found when trying to {verb} the invocation '{id}'."))
}

/// What stands in the way, for the middle of a sentence, and the status.
fn refused(verb: Verb, refusal: Refusal) -> (StatusCode, &'static str) {
    let conflict = |text| (StatusCode::CONFLICT, text);
    match (verb, refusal) {
        (Verb::Kill | Verb::Cancel, Refusal::Ended) => conflict("was already completed."),
        (Verb::Kill | Verb::Cancel, _) => conflict("is in another state."),
        (Verb::Pause, _) => conflict("is not running, cannot be paused."),
        (Verb::Resume, Refusal::NotStarted) => {
            (StatusCode::TOO_EARLY, "is either inboxed or scheduled, cannot be resumed.")
        }
        (Verb::Resume, Refusal::NotPinned) => {
            conflict("is still running or the deployment id is not pinned yet, deployment id cannot be changed.")
        }
        (Verb::Resume, Refusal::StillCalling) => conflict("has calls of its failed run that have not ended yet."),
        (Verb::Resume, _) => conflict("is completed, cannot be resumed."),
        (Verb::Purge | Verb::PurgeJournal, _) => conflict("is not yet completed."),
        (Verb::RestartAsNew, Refusal::NotStarted) => {
            (StatusCode::TOO_EARLY, "cannot be restarted because it's not running yet.")
        }
        (Verb::RestartAsNew, Refusal::NotPinned) => {
            conflict("has never run on a deployment, deployment id cannot be changed.")
        }
        (Verb::RestartAsNew, Refusal::NoInput) => (
            StatusCode::GONE,
            "cannot be restarted because the input is not available. In order to restart an invocation, the journal \
             must be available: it may have been purged, or its retention is over.",
        ),
        (Verb::RestartAsNew, _) => conflict("is still running."),
    }
}

/// The answer to one request that was refused.
pub(crate) fn refusal(id: InvocationId, verb: Verb, refusal: Refusal) -> ApiError {
    match (verb, refusal) {
        (_, Refusal::NotFound) => no_invocation(id),
        (Verb::RestartAsNew, Refusal::Workflow) => {
            let message = format!("Restarting the invocation '{id}' is not supported. Workflows cannot be restarted.");
            ApiError::json(StatusCode::UNPROCESSABLE_ENTITY, codes::ADM0003, message)
        }
        (Verb::RestartAsNew, Refusal::Unresolved) => bad(unresolved(id)),
        _ => {
            let (status, text) = refused(verb, refusal);
            ApiError::json(status, codes::ADM0003, format!("The invocation '{id}' {text}"))
        }
    }
}

fn unresolved(id: InvocationId) -> String {
    format!(
        "The prefix of the journal '{id}' up to 'from' (included) contains some Commands without respective Completions."
    )
}

/// The same, as one of a batch is told.
pub(crate) fn refusal_in_batch(id: InvocationId, verb: Verb, refusal: Refusal) -> String {
    match (verb, refusal) {
        (_, Refusal::NotFound) => not_found_in_batch(id),
        (Verb::RestartAsNew, Refusal::Workflow) => format!("Restarting the invocation '{id}' is not supported"),
        (Verb::RestartAsNew, Refusal::Unresolved) => unresolved(id).trim_end_matches('.').to_owned(),
        _ => format!("Invocation '{id}' {}", refused(verb, refusal).1.trim_end_matches('.')),
    }
}

pub(crate) fn not_found_in_batch(id: InvocationId) -> String {
    format!("Invocation '{id}' not found")
}

pub(crate) fn no_invocation(id: InvocationId) -> ApiError {
    ApiError::not_found(format!("The requested invocation '{id}' does not exist"))
}
