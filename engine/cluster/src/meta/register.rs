//! Deployments: registering, updating in place, removing. Pure: from a [`Schema`] to a [`Change`].

use std::{collections::BTreeMap, sync::Arc};

use millrace_model::{
    DeploymentId, TimestampMs,
    codes::{self, Code},
};

use super::{
    discovered::Endpoint,
    object::{Deployment, Function, Object, ObjectRef, Properties, Revisions},
    record::{Change, Item},
    schema::Schema,
    service::ServiceSchema,
};

/// Deployments that a cluster keeps. Every registration of a new address makes one.
pub const DEPLOYMENTS_MAX: usize = 10_000;

/// Whether a new revision of a service may break its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaking {
    /// A service keeps its type and its handlers.
    Refused,
    /// A service may become another type and lose handlers.
    Allowed,
}

/// An endpoint that is to be registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// If it is a new one.
    pub new_id: DeploymentId,
    /// Absolute, normalised; of a function its qualified ARN.
    pub uri: String,
    /// It is a function.
    pub function: Option<Function>,
    /// Sent with every request.
    pub additional_headers: Properties,
    /// Free-form.
    pub metadata: BTreeMap<String, String>,
    /// What discovery found.
    pub endpoint: Endpoint,
    /// The proposer's clock.
    pub now: TimestampMs,
}

/// What registering does.
#[derive(Clone, Debug)]
pub struct Registered {
    /// To be made.
    pub change: Change,
    /// As it is afterwards.
    pub deployment: Arc<Deployment>,
    /// Nothing was registered at this address before.
    pub new: bool,
}

/// Why a deployment cannot be registered or changed. Has a code, and is shown as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// A name that belongs to the server.
    #[error("cannot insert/modify service '{0}' as it contains a reserved name")]
    ReservedName(String),
    /// What is registered stays as it is.
    #[error(
        "the deployment {id} is registered with the uri '{uri}' already, and deployments are immutable: register new \
         code with another uri, or use 'force' to overwrite it"
    )]
    Known {
        /// Which.
        id: DeploymentId,
        /// Its address.
        uri: String,
    },
    /// A service of another type.
    #[error(
        "detected a new service revision for '{0}' changing the service type from previous revision. Service type cannot be changed across revisions."
    )]
    TypeChanged(String),
    /// A service that lost a handler.
    #[error(
        "detected a new service revision for '{service}' removing the handler '{handler}' of the previous revision. \
         A revision contains at least the handlers of the previous one, unless 'breaking' or 'force' is set."
    )]
    HandlerRemoved {
        /// Its name.
        service: String,
        /// What it had.
        handler: String,
    },
    /// An update in place with something else.
    #[error("the endpoint is not similar enough to the deployment that is to be updated: {0}")]
    Unlike(Unlike),
    /// An update in place with another range.
    #[error(
        "the endpoint speaks protocol versions {found_min} to {found_max}, the deployment was registered with {min} to {max}"
    )]
    ProtocolRange {
        /// Registered.
        min: u32,
        /// Registered.
        max: u32,
        /// Discovered.
        found_min: u32,
        /// Discovered.
        found_max: u32,
    },
    /// Which one is to be overwritten?
    #[error("the deployments {0} and {1} share this uri: update one of them by its id")]
    SharedUri(DeploymentId, DeploymentId),
    /// Nothing by that id.
    #[error("not found in the schema registry: deployment with id '{0}'")]
    NotFound(DeploymentId),
    /// Too many.
    #[error("{DEPLOYMENTS_MAX} deployments are registered, remove some")]
    TooMany,
}

/// What an update in place may not lose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unlike {
    /// A service is missing.
    #[error("the service '{0}' is missing")]
    Service(String),
    /// A service is of another type.
    #[error("the service '{0}' has another type")]
    Type(String),
    /// A handler is missing.
    #[error("the service '{0}' lacks the handler '{1}'")]
    Handler(String, String),
}

impl RegisterError {
    /// Its code; not found has none.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Known { .. } => Some(codes::META0004),
            Self::ReservedName(_) => Some(codes::META0005),
            Self::TypeChanged(_) | Self::HandlerRemoved { .. } => Some(codes::META0006),
            Self::Unlike(_) | Self::ProtocolRange { .. } => Some(codes::META0016),
            Self::SharedUri(..) => Some(codes::META0017),
            Self::NotFound(_) => None,
            Self::TooMany => Some(codes::META0018),
        }
    }
}

/// Names that begin paths of the server's own APIs.
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("restate") || name == "openapi"
}

/// All deployments at an address, oldest first.
pub fn at_uri<'a>(schema: &'a Schema, uri: &'a str) -> impl Iterator<Item = &'a Arc<Deployment>> {
    schema.deployments().filter(move |deployment| deployment.uri == uri)
}

/// Registers an endpoint, or overwrites what is registered at its address: who does not want that has looked before,
/// with [`at_uri`]. `overwrite: None`: the address must still be free, else `Ok(None)`.
pub fn register(
    schema: &Schema,
    registration: &Registration,
    overwrite: bool,
    breaking: Breaking,
) -> Result<Option<Registered>, RegisterError> {
    let mut existing = at_uri(schema, &registration.uri);
    let first = existing.next();
    match (first, existing.next()) {
        (Some(_), _) if !overwrite => return Ok(None),
        (Some(first), Some(second)) => return Err(RegisterError::SharedUri(first.id, second.id)),
        (None, _) if schema.deployments().len() >= DEPLOYMENTS_MAX => return Err(RegisterError::TooMany),
        _ => {}
    }
    drop(existing);
    let endpoint = &registration.endpoint;
    let (services, mut items) = revise(schema, &endpoint.services, breaking)?;
    let deployment = Deployment {
        id: first.map_or(registration.new_id, |first| first.id),
        uri: registration.uri.clone(),
        function: registration.function.clone().map(|function| Function { zstd: endpoint.zstd, ..function }),
        http_version: endpoint.http_version,
        mode: endpoint.mode,
        additional_headers: registration.additional_headers.clone(),
        metadata: registration.metadata.clone(),
        created_at: registration.now,
        min_protocol_version: endpoint.min_protocol_version,
        max_protocol_version: endpoint.max_protocol_version,
        sdk_version: endpoint.sdk_version.clone(),
        services,
    };
    items.push(schema.state().put_item(Object::Deployment(Box::new(deployment.clone()))));
    Ok(Some(Registered { change: Change { items }, deployment: Arc::new(deployment), new: first.is_none() }))
}

/// The services with their next revisions, and the items that give these out.
fn revise(
    schema: &Schema,
    services: &[ServiceSchema],
    breaking: Breaking,
) -> Result<(Vec<ServiceSchema>, Vec<Item>), RegisterError> {
    let mut revised = Vec::with_capacity(services.len());
    let mut items = Vec::with_capacity(services.len() + 1);
    for service in services {
        if is_reserved(&service.name) {
            return Err(RegisterError::ReservedName(service.name.clone()));
        }
        if breaking == Breaking::Refused
            && let Some(latest) = schema.service(&service.name)
        {
            if latest.ty != service.ty {
                return Err(RegisterError::TypeChanged(service.name.clone()));
            }
            if let Some(handler) = lost_handler(latest.stored(), service) {
                return Err(RegisterError::HandlerRemoved {
                    service: service.name.clone(),
                    handler: handler.to_owned(),
                });
            }
        }
        revised.push(next_revision(schema, service, &mut items));
    }
    Ok((revised, items))
}

/// A handler that `after` has no more.
fn lost_handler<'a>(before: &'a ServiceSchema, after: &ServiceSchema) -> Option<&'a str> {
    let mut names = before.handlers.iter().map(|handler| handler.name.as_str());
    names.find(|name| after.handlers.iter().all(|handler| handler.name != *name))
}

/// The service with the next revision of its name, and the item that gives it out.
fn next_revision(schema: &Schema, service: &ServiceSchema, items: &mut Vec<Item>) -> ServiceSchema {
    let given_out = schema.state().revisions.get(&service.name).map_or(0, |slot| slot.value.last);
    let revision = given_out.saturating_add(1);
    let revisions = Revisions { service: service.name.clone(), last: revision };
    items.push(schema.state().put_item(Object::Revisions(revisions)));
    ServiceSchema { revision, ..service.clone() }
}

/// What becomes of a deployment's services in an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Services {
    /// They stay as they are registered, if what is found is alike.
    #[default]
    Keep,
    /// As found, if that is alike; those that were there keep their revisions.
    Alike,
    /// As found, whatever that is, each with its next revision.
    Overwrite,
}

/// What an operator changes of a deployment in place; `None` keeps what is there.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Another address of the same code.
    pub uri: Option<String>,
    /// That address is one of a function.
    pub function: Option<Function>,
    /// Replaces all of them.
    pub additional_headers: Option<Properties>,
    /// What becomes of its services.
    pub services: Services,
}

/// Is everything there that was, and of the same types? Invocations under way rely on it.
fn compare(current: &Deployment, found: &[ServiceSchema]) -> Result<(), Unlike> {
    for before in &current.services {
        match found.iter().find(|service| service.name == before.name) {
            None => return Err(Unlike::Service(before.name.clone())),
            Some(after) if after.ty != before.ty => return Err(Unlike::Type(before.name.clone())),
            Some(after) => {
                if let Some(handler) = lost_handler(before, after) {
                    return Err(Unlike::Handler(before.name.clone(), handler.to_owned()));
                }
            }
        }
    }
    Ok(())
}

/// The found services with the revisions of those that are there already.
fn patched(
    schema: &Schema,
    current: &Deployment,
    found: &[ServiceSchema],
) -> Result<(Vec<ServiceSchema>, Vec<Item>), RegisterError> {
    let (known, new): (Vec<_>, Vec<_>) =
        found.iter().cloned().partition(|service| current.service(&service.name).is_some());
    // What is new here may be known elsewhere.
    let (new, items) = revise(schema, &new, Breaking::Refused)?;
    let known = known.into_iter().filter_map(|service| {
        let revision = current.service(&service.name)?.revision;
        Some(ServiceSchema { revision, ..service })
    });
    Ok((known.chain(new).collect(), items))
}

/// Points a deployment somewhere else, after discovery there.
pub fn update(
    schema: &Schema,
    id: DeploymentId,
    update: &Update,
    endpoint: &Endpoint,
) -> Result<Registered, RegisterError> {
    let current = schema.deployment(id).ok_or(RegisterError::NotFound(id))?;
    let (min, max) = (current.min_protocol_version, current.max_protocol_version);
    let (found_min, found_max) = (endpoint.min_protocol_version, endpoint.max_protocol_version);
    if update.services != Services::Overwrite {
        compare(current, &endpoint.services).map_err(RegisterError::Unlike)?;
        if (min, max) != (found_min, found_max) {
            return Err(RegisterError::ProtocolRange { min, max, found_min, found_max });
        }
    }
    let (uri, function) = match &update.uri {
        Some(uri) => (uri.clone(), update.function.clone()),
        None => (current.uri.clone(), current.function.clone()),
    };
    let mut deployment = Deployment {
        uri,
        function: function.map(|function| Function { zstd: endpoint.zstd, ..function }),
        http_version: endpoint.http_version,
        mode: endpoint.mode,
        additional_headers: update.additional_headers.clone().unwrap_or_else(|| current.additional_headers.clone()),
        min_protocol_version: found_min,
        max_protocol_version: found_max,
        sdk_version: endpoint.sdk_version.clone(),
        ..(**current).clone()
    };
    let mut items = Vec::new();
    match update.services {
        Services::Keep => {}
        Services::Alike => (deployment.services, items) = patched(schema, current, &endpoint.services)?,
        Services::Overwrite => (deployment.services, items) = revise(schema, &endpoint.services, Breaking::Allowed)?,
    }
    items.push(schema.state().put_item(Object::Deployment(Box::new(deployment.clone()))));
    Ok(Registered { change: Change { items }, deployment: Arc::new(deployment), new: false })
}

/// Removes a deployment; its services fall back to their previous revision elsewhere, or disappear.
pub fn remove(schema: &Schema, id: DeploymentId) -> Result<Change, RegisterError> {
    schema.deployment(id).ok_or(RegisterError::NotFound(id))?;
    Ok(Change { items: vec![schema.state().remove_item(ObjectRef::Deployment(id))] })
}

#[cfg(test)]
pub(crate) mod tests;
