use millrace_model::{ClusterId, invocation::HandlerKind};
use millrace_protocol::{InputRule, OutputRule};

use super::*;
use crate::meta::{
    apply::{Applied, State},
    object::{HttpVersion, ProtocolMode},
    record::{Body, Create, Record},
    service::{HandlerSchema, ServiceType, Settings},
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
        zstd: false,
        sdk_version: None,
        services,
    }
}

pub(crate) fn registration(id: u128, uri: &str, endpoint: Endpoint) -> Registration {
    Registration {
        new_id: DeploymentId(id),
        uri: uri.into(),
        function: None,
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
    let more = endpoint(vec![service("A", ServiceType::Service), service("B", ServiceType::Service)]);
    world.change(update(&world.schema(), id, &moved, &more).unwrap().change);
    assert_eq!(world.schema().deployment(id).unwrap().uri, "http://2/");
    assert_eq!(names(&world.schema()), [("A".into(), 1, id)]);
    let all = Update { services: Services::Overwrite, ..Update::default() };
    world.change(update(&world.schema(), id, &all, &other).unwrap().change);
    assert_eq!(names(&world.schema()), [("B".into(), 1, id)]);
    let older = Endpoint { max_protocol_version: 6, ..other };
    let refused = update(&world.schema(), id, &moved, &older).unwrap_err();
    assert!(matches!(refused, RegisterError::ProtocolRange { .. }), "{refused}");
}

/// A service with these handlers.
fn with_handlers(name: &str, ty: ServiceType, handlers: &[&str]) -> ServiceSchema {
    let handlers = handlers.iter().map(|name| HandlerSchema {
        name: (*name).to_owned(),
        kind: HandlerKind::Plain,
        input: InputRule { required: false, content_type: None },
        output: OutputRule::default(),
        input_json_schema: None,
        output_json_schema: None,
        documentation: None,
        metadata: Default::default(),
        settings: Settings::default(),
    });
    ServiceSchema { handlers: handlers.collect(), ..service(name, ty) }
}

#[test]
fn a_revision_keeps_the_handlers_unless_it_may_break_callers() {
    let mut world = World::new();
    let two = endpoint(vec![with_handlers("A", ServiceType::Service, &["f", "g"])]);
    let first = register(&world.schema(), &registration(1, "http://1/", two), false, Breaking::Refused);
    world.change(first.unwrap().unwrap().change);
    let one = registration(2, "http://2/", endpoint(vec![with_handlers("A", ServiceType::Service, &["g", "h"])]));
    let refused = register(&world.schema(), &one, false, Breaking::Refused).unwrap_err();
    assert_eq!(refused, RegisterError::HandlerRemoved { service: "A".into(), handler: "f".into() });
    assert_eq!(refused.code(), Some(codes::META0006));
    assert!(register(&world.schema(), &one, false, Breaking::Allowed).is_ok());
}

#[test]
fn a_patched_endpoint_is_alike() {
    let mut world = World::new();
    let a = || with_handlers("A", ServiceType::Service, &["f"]);
    let b = || service("B", ServiceType::VirtualObject);
    let first =
        register(&world.schema(), &registration(1, "http://1/", endpoint(vec![a(), b()])), false, Breaking::Refused);
    world.change(first.unwrap().unwrap().change);
    let id = DeploymentId(1);
    let to = |uri: &str, services| Update { uri: Some(uri.into()), services, ..Update::default() };
    for (found, unlike) in [
        (vec![a()], Unlike::Service("B".into())),
        (vec![a(), service("B", ServiceType::Workflow)], Unlike::Type("B".into())),
        (vec![with_handlers("A", ServiceType::Service, &["g"]), b()], Unlike::Handler("A".into(), "f".into())),
    ] {
        for services in [Services::Keep, Services::Alike] {
            let refused = update(&world.schema(), id, &to("http://2/", services), &endpoint(found.clone()));
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), Some(codes::META0016));
            assert_eq!(refused, RegisterError::Unlike(unlike.clone()));
        }
    }
    let older = Endpoint { min_protocol_version: 6, ..endpoint(vec![a(), b()]) };
    assert!(matches!(
        update(&world.schema(), id, &to("http://2/", Services::Alike), &older),
        Err(RegisterError::ProtocolRange { .. })
    ));
    // More than there was: what is new gets a revision of its own, what was there keeps its.
    let more =
        endpoint(vec![with_handlers("A", ServiceType::Service, &["f", "g"]), b(), service("C", ServiceType::Service)]);
    world.change(update(&world.schema(), id, &to("http://2/", Services::Alike), &more).unwrap().change);
    let schema = world.schema();
    assert_eq!(names(&schema), [("A".into(), 1, id), ("B".into(), 1, id), ("C".into(), 1, id)]);
    assert!(schema.service("A").unwrap().handler("g").is_some());
    assert_eq!(schema.deployment(id).unwrap().uri, "http://2/");
}
