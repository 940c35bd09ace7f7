//! Deployments: registering, updating in place, removing. Pure: from a [`Schema`] to a [`Change`].

use std::{collections::BTreeMap, sync::Arc};

use millrace_model::{
    DeploymentId, TimestampMs,
    codes::{self, Code},
};

use super::{
    discovered::Endpoint,
    object::{Deployment, Object, ObjectRef, Properties, Revisions},
    record::{Change, Item},
    schema::Schema,
    service::ServiceSchema,
};

/// Deployments that a cluster keeps. Every registration of a new address makes one.
pub const DEPLOYMENTS_MAX: usize = 10_000;

/// Whether what is there may be overwritten or changed in ways that break callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaking {
    /// A service keeps its type.
    Refused,
    /// A service may become another type.
    Allowed,
}

/// An endpoint that is to be registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// If it is a new one.
    pub new_id: DeploymentId,
    /// Absolute, normalised.
    pub uri: String,
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
    /// A service of another type.
    #[error(
        "detected a new service revision for '{0}' changing the service type from previous revision. Service type cannot be changed across revisions."
    )]
    TypeChanged(String),
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

impl RegisterError {
    /// Its code; not found has none.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::ReservedName(_) => Some(codes::META0005),
            Self::TypeChanged(_) => Some(codes::META0006),
            Self::ProtocolRange { .. } => Some(codes::META0016),
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
        let latest = schema.service(&service.name);
        if breaking == Breaking::Refused && latest.is_some_and(|latest| latest.ty != service.ty) {
            return Err(RegisterError::TypeChanged(service.name.clone()));
        }
        let given_out = schema.state().revisions.get(&service.name).map_or(0, |slot| slot.value.last);
        let revision = given_out.saturating_add(1);
        let revisions = Revisions { service: service.name.clone(), last: revision };
        items.push(schema.state().put_item(Object::Revisions(revisions)));
        revised.push(ServiceSchema { revision, ..service.clone() });
    }
    Ok((revised, items))
}

/// What an operator changes of a deployment in place; `None` keeps what is there.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Another address of the same code.
    pub uri: Option<String>,
    /// Replaces all of them.
    pub additional_headers: Option<Properties>,
    /// Take the services as discovered instead of those that are registered.
    pub overwrite: bool,
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
    if !update.overwrite && (min, max) != (found_min, found_max) {
        return Err(RegisterError::ProtocolRange { min, max, found_min, found_max });
    }
    let mut deployment = Deployment {
        uri: update.uri.clone().unwrap_or_else(|| current.uri.clone()),
        http_version: endpoint.http_version,
        mode: endpoint.mode,
        additional_headers: update.additional_headers.clone().unwrap_or_else(|| current.additional_headers.clone()),
        min_protocol_version: found_min,
        max_protocol_version: found_max,
        sdk_version: endpoint.sdk_version.clone(),
        ..(**current).clone()
    };
    let mut items = Vec::new();
    if update.overwrite {
        (deployment.services, items) = revise(schema, &endpoint.services, Breaking::Allowed)?;
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
pub(crate) mod tests {
    use millrace_model::ClusterId;

    use super::*;
    use crate::meta::{
        apply::{Applied, State},
        object::{HttpVersion, ProtocolMode},
        record::{Body, Create, Record},
        service::{ServiceType, Settings},
    };

    /// A state machine without log.
    pub(crate) struct World(pub State);

    impl World {
        pub(crate) fn new() -> Self {
            let mut world = Self(State::default());
            let create = Create { name: "c".into(), partitions: 4 };
            world.apply(Body::Create(create));
            world
        }

        pub(crate) fn apply(&mut self, body: Body) -> Applied {
            self.0.apply(Record { v: 1, cluster: ClusterId(1), at: TimestampMs(0), body }).unwrap()
        }

        pub(crate) fn change(&mut self, change: Change) {
            assert_eq!(self.apply(Body::Change(change)), Applied::Done);
        }

        pub(crate) fn schema(&self) -> Schema {
            Schema::new(self.0.clone(), &Default::default(), None)
        }
    }

    pub(crate) fn service(name: &str, ty: ServiceType) -> ServiceSchema {
        ServiceSchema {
            name: name.into(),
            ty,
            revision: 0,
            handlers: vec![],
            documentation: None,
            metadata: Default::default(),
            settings: Settings::default(),
            public_override: None,
        }
    }

    pub(crate) fn endpoint(services: Vec<ServiceSchema>) -> Endpoint {
        Endpoint {
            http_version: HttpVersion::Http2,
            mode: ProtocolMode::BidiStream,
            min_protocol_version: 5,
            max_protocol_version: 7,
            sdk_version: None,
            services,
        }
    }

    pub(crate) fn registration(id: u128, uri: &str, endpoint: Endpoint) -> Registration {
        Registration {
            new_id: DeploymentId(id),
            uri: uri.into(),
            additional_headers: Default::default(),
            metadata: Default::default(),
            endpoint,
            now: TimestampMs(10),
        }
    }

    pub(crate) fn deployment(endpoint: Endpoint) -> Arc<Deployment> {
        let registration = registration(1, "http://h/", endpoint);
        register(&World::new().schema(), &registration, false, Breaking::Refused).unwrap().unwrap().deployment
    }

    fn names(schema: &Schema) -> Vec<(String, u32, DeploymentId)> {
        schema.services().map(|s| (s.name.to_string(), s.revision, s.deployment.id)).collect()
    }

    #[test]
    fn revisions_rise_and_fall_back_but_are_never_given_out_twice() {
        let mut world = World::new();
        let both = endpoint(vec![service("A", ServiceType::Service), service("B", ServiceType::Service)]);
        let only_a = endpoint(vec![service("A", ServiceType::Service)]);
        let add = |world: &mut World, id, uri: &str, endpoint: &Endpoint| {
            let registration = registration(id, uri, endpoint.clone());
            let registered = register(&world.schema(), &registration, false, Breaking::Refused).unwrap().unwrap();
            world.change(registered.change);
        };
        let (d1, d2, d3) = (DeploymentId(1), DeploymentId(2), DeploymentId(3));
        add(&mut world, 1, "http://1/", &both);
        add(&mut world, 2, "http://2/", &only_a);
        assert_eq!(names(&world.schema()), [("A".into(), 2, d2), ("B".into(), 1, d1)]);
        world.change(remove(&world.schema(), d2).unwrap());
        assert_eq!(names(&world.schema()), [("A".into(), 1, d1), ("B".into(), 1, d1)]);
        add(&mut world, 3, "http://3/", &only_a);
        assert_eq!(names(&world.schema()), [("A".into(), 3, d3), ("B".into(), 1, d1)]);
        world.change(remove(&world.schema(), d3).unwrap());
        world.change(remove(&world.schema(), d1).unwrap());
        assert_eq!(names(&world.schema()), []);
        assert_eq!(remove(&world.schema(), d1).unwrap_err(), RegisterError::NotFound(d1));
    }

    #[test]
    fn an_address_is_registered_once() {
        let mut world = World::new();
        let found = endpoint(vec![service("A", ServiceType::Service)]);
        let first = registration(1, "http://1/", found.clone());
        let registered = register(&world.schema(), &first, false, Breaking::Refused).unwrap().unwrap();
        assert!(registered.new);
        world.change(registered.change);
        let again = registration(2, "http://1/", found);
        assert!(register(&world.schema(), &again, false, Breaking::Refused).unwrap().is_none());
        let forced = register(&world.schema(), &again, true, Breaking::Refused).unwrap().unwrap();
        assert!(!forced.new);
        assert_eq!((forced.deployment.id, forced.deployment.services[0].revision), (DeploymentId(1), 2));
    }

    #[test]
    fn two_registrations_of_one_service_at_once_conflict() {
        let mut world = World::new();
        let schema = world.schema();
        let found = endpoint(vec![service("A", ServiceType::Service)]);
        let one = register(&schema, &registration(1, "http://1/", found.clone()), false, Breaking::Refused);
        let two = register(&schema, &registration(2, "http://2/", found), false, Breaking::Refused);
        world.change(one.unwrap().unwrap().change);
        let applied = world.apply(Body::Change(two.unwrap().unwrap().change));
        assert_eq!(applied, Applied::Stale { object: ObjectRef::Revisions("A".into()), was: 0, is: 1 });
    }

    #[test]
    fn types_stay_and_names_are_ours() {
        let mut world = World::new();
        let found = endpoint(vec![service("A", ServiceType::Service)]);
        let first = register(&world.schema(), &registration(1, "http://1/", found), false, Breaking::Refused);
        world.change(first.unwrap().unwrap().change);
        let object = registration(2, "http://2/", endpoint(vec![service("A", ServiceType::VirtualObject)]));
        let refused = register(&world.schema(), &object, false, Breaking::Refused).unwrap_err();
        assert_eq!(refused, RegisterError::TypeChanged("A".into()));
        assert!(register(&world.schema(), &object, false, Breaking::Allowed).is_ok());
        for name in ["restate", "ReStAtEful", "OpenAPI"] {
            let found = endpoint(vec![service(name, ServiceType::Service)]);
            let refused = register(&world.schema(), &registration(3, "http://3/", found), false, Breaking::Allowed);
            assert_eq!(refused.unwrap_err(), RegisterError::ReservedName(name.into()));
        }
        assert!(!is_reserved("openapis"));
    }

    #[test]
    fn an_update_keeps_the_services_unless_told_otherwise() {
        let mut world = World::new();
        let found = endpoint(vec![service("A", ServiceType::Service)]);
        let first = register(&world.schema(), &registration(1, "http://1/", found), false, Breaking::Refused);
        world.change(first.unwrap().unwrap().change);
        let id = DeploymentId(1);
        let other = endpoint(vec![service("B", ServiceType::Service)]);
        let moved = Update { uri: Some("http://2/".into()), ..Update::default() };
        world.change(update(&world.schema(), id, &moved, &other).unwrap().change);
        assert_eq!(world.schema().deployment(id).unwrap().uri, "http://2/");
        assert_eq!(names(&world.schema()), [("A".into(), 1, id)]);
        let all = Update { overwrite: true, ..Update::default() };
        world.change(update(&world.schema(), id, &all, &other).unwrap().change);
        assert_eq!(names(&world.schema()), [("B".into(), 1, id)]);
        let older = Endpoint { max_protocol_version: 6, ..other };
        let refused = update(&world.schema(), id, &moved, &older).unwrap_err();
        assert_eq!(refused.code(), Some(codes::META0016));
    }
}
