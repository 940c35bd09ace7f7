//! What operators change of a service until its next revision. Pure.

use millrace_model::invocation::HandlerKind;

use super::{
    object::Object,
    record::Change,
    schema::Schema,
    service::{Millis, ServiceType},
};

/// What an operator changes of a service; `None` keeps what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePatch {
    /// Of the service and all its handlers.
    pub public: Option<bool>,
    /// Where a handler does not say otherwise.
    pub idempotency_retention: Option<Millis>,
    /// Of the run handler of a workflow.
    pub workflow_retention: Option<Millis>,
    /// Where a handler does not say otherwise.
    pub journal_retention: Option<Millis>,
    /// Where a handler does not say otherwise.
    pub inactivity_timeout: Option<Millis>,
    /// Where a handler does not say otherwise.
    pub abort_timeout: Option<Millis>,
}

/// Why a service cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// Nothing by that name.
    #[error("not found in the schema registry: service with name '{0}'")]
    NotFound(String),
    /// Only workflows have runs.
    #[error("modifying retention time for service type {0:?} is unsupported")]
    NoRuns(ServiceType),
}

/// Changes the latest revision of a service.
pub fn configure(schema: &Schema, name: &str, patch: &ServicePatch) -> Result<Change, ConfigureError> {
    let service = schema.service(name).ok_or_else(|| ConfigureError::NotFound(name.to_owned()))?;
    if patch.workflow_retention.is_some() && service.ty != ServiceType::Workflow {
        return Err(ConfigureError::NoRuns(service.ty));
    }
    if *patch == ServicePatch::default() {
        return Ok(Change::default());
    }
    let mut deployment = (*service.deployment).clone();
    let stored = deployment.services.iter_mut().find(|stored| stored.name == name).expect("it is exposed here");
    stored.public_override = patch.public.or(stored.public_override);
    let settings = &mut stored.settings;
    settings.idempotency_retention = patch.idempotency_retention.or(settings.idempotency_retention);
    settings.journal_retention = patch.journal_retention.or(settings.journal_retention);
    settings.inactivity_timeout = patch.inactivity_timeout.or(settings.inactivity_timeout);
    settings.abort_timeout = patch.abort_timeout.or(settings.abort_timeout);
    if let Some(retention) = patch.workflow_retention {
        settings.workflow_retention = Some(retention);
        // The manifest says it at the run handler only, so that is what an operator means to change.
        for handler in stored.handlers.iter_mut().filter(|handler| handler.kind == HandlerKind::Workflow) {
            handler.settings.workflow_retention = Some(retention);
        }
    }
    Ok(Change { items: vec![schema.state().put_item(Object::Deployment(Box::new(deployment)))] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::register::{
        Breaking, register,
        tests::{World, endpoint, registration, service},
    };

    #[test]
    fn patches_hold_until_the_next_revision() {
        let mut world = World::new();
        let found = || endpoint(vec![service("A", ServiceType::Service), service("B", ServiceType::Service)]);
        let first = register(&world.schema(), &registration(1, "http://1/", found()), false, Breaking::Refused);
        world.change(first.unwrap().unwrap().change);
        let patch =
            ServicePatch { public: Some(false), inactivity_timeout: Some(Millis(5)), ..ServicePatch::default() };
        world.change(configure(&world.schema(), "A", &patch).unwrap());
        let schema = world.schema();
        let (a, b) = (schema.service("A").unwrap(), schema.service("B").unwrap());
        assert_eq!((a.public, a.revision, b.public), (false, 1, true));
        assert_eq!(a.stored().settings.inactivity_timeout, Some(Millis(5)));

        let again = register(&schema, &registration(1, "http://1/", found()), true, Breaking::Refused);
        world.change(again.unwrap().unwrap().change);
        assert!(world.schema().service("A").unwrap().public);
    }

    #[test]
    fn faults() {
        let mut world = World::new();
        let found = endpoint(vec![service("A", ServiceType::Service)]);
        let first = register(&world.schema(), &registration(1, "http://1/", found), false, Breaking::Refused);
        world.change(first.unwrap().unwrap().change);
        let runs = ServicePatch { workflow_retention: Some(Millis(1)), ..ServicePatch::default() };
        let refused = configure(&world.schema(), "A", &runs).unwrap_err();
        assert_eq!(refused.to_string(), "modifying retention time for service type Service is unsupported");
        let refused = configure(&world.schema(), "Nope", &ServicePatch::default()).unwrap_err();
        assert_eq!(refused.to_string(), "not found in the schema registry: service with name 'Nope'");
        assert_eq!(configure(&world.schema(), "A", &ServicePatch::default()), Ok(Change::default()));
    }
}
