//! From an endpoint's manifest to the services that are stored.

use millrace_protocol::discovery::{self, HandlerManifest, Manifest, Options, ServiceManifest};

use super::{
    object::{HttpVersion, ProtocolMode},
    service::{HandlerSchema, Millis, OnMaxAttempts, RetrySettings, ServiceSchema, ServiceType, Settings},
};

/// What discovery found, ready to be registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// How to speak to it.
    pub http_version: HttpVersion,
    /// How it streams.
    pub mode: ProtocolMode,
    /// Service protocol.
    pub min_protocol_version: u32,
    /// Service protocol.
    pub max_protocol_version: u32,
    /// It takes and gives bodies compressed with zstd. Of functions only.
    pub zstd: bool,
    /// `name/version`, for display.
    pub sdk_version: Option<String>,
    /// With revision 0: registration gives them out.
    pub services: Vec<ServiceSchema>,
}

impl Endpoint {
    /// What was found at an endpoint that answered with `http_version`.
    pub fn new(manifest: Manifest, http_version: HttpVersion, sdk_version: Option<String>) -> Self {
        Self {
            http_version,
            mode: match manifest.protocol_mode {
                discovery::ProtocolMode::BidiStream => ProtocolMode::BidiStream,
                discovery::ProtocolMode::RequestResponse => ProtocolMode::RequestResponse,
            },
            min_protocol_version: manifest.min_protocol_version,
            max_protocol_version: manifest.max_protocol_version,
            zstd: manifest.lambda_zstd,
            sdk_version,
            services: manifest.services.into_iter().map(service).collect(),
        }
    }
}

fn service(service: ServiceManifest) -> ServiceSchema {
    let ty = match service.ty {
        discovery::ServiceType::Service => ServiceType::Service,
        discovery::ServiceType::VirtualObject => ServiceType::VirtualObject,
        discovery::ServiceType::Workflow => ServiceType::Workflow,
    };
    ServiceSchema {
        name: service.name,
        ty,
        revision: 0,
        handlers: service.handlers.into_iter().map(handler).collect(),
        documentation: service.documentation,
        metadata: service.metadata,
        settings: settings(service.options),
        public_override: None,
    }
}

fn handler(handler: HandlerManifest) -> HandlerSchema {
    let mut settings = settings(handler.options);
    settings.workflow_retention = handler.workflow_completion_retention_ms.map(Millis);
    HandlerSchema {
        name: handler.name,
        kind: handler.kind,
        input: handler.input,
        output: handler.output,
        input_json_schema: handler.input_json_schema,
        output_json_schema: handler.output_json_schema,
        documentation: handler.documentation,
        metadata: handler.metadata,
        settings,
    }
}

fn settings(options: Options) -> Settings {
    Settings {
        public: options.ingress_private.map(|private| !private),
        idempotency_retention: options.idempotency_retention_ms.map(Millis),
        workflow_retention: None,
        journal_retention: options.journal_retention_ms.map(Millis),
        inactivity_timeout: options.inactivity_timeout_ms.map(Millis),
        abort_timeout: options.abort_timeout_ms.map(Millis),
        lazy_state: options.enable_lazy_state,
        retry: RetrySettings {
            initial_interval: options.retry_initial_interval_ms.map(Millis),
            max_interval: options.retry_max_interval_ms.map(Millis),
            max_attempts: options.retry_max_attempts,
            factor: options.retry_exponentiation_factor,
            on_max_attempts: options.retry_on_max_attempts.map(|what| match what {
                discovery::OnMaxAttempts::Pause => OnMaxAttempts::Pause,
                discovery::OnMaxAttempts::Kill => OnMaxAttempts::Kill,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::schema::Service;

    #[test]
    fn settings_of_handler_and_service_resolve_field_by_field() {
        let manifest = Manifest::parse(
            br#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[{
                "name":"Flow","ty":"WORKFLOW","ingressPrivate":true,"retryPolicyMaxAttempts":3,
                "inactivityTimeout":1000,"idempotencyRetention":5000,"handlers":[
                    {"name":"run","ty":"WORKFLOW","workflowCompletionRetention":7000},
                    {"name":"peek","ty":"SHARED","ingressPrivate":false,"retryPolicyExponentiationFactor":1.5}]}]}"#,
        )
        .unwrap();
        let endpoint = Endpoint::new(manifest, HttpVersion::Http2, None);
        let deployment = crate::meta::register::tests::deployment(endpoint);
        let service = Service::of(&deployment, "Flow").unwrap();
        assert_eq!((service.ty, service.public), (ServiceType::Workflow, false));
        let run = service.handler("run").unwrap();
        assert!(!run.public);
        assert_eq!(run.settings.workflow_retention, Some(Millis(7000)));
        assert_eq!(run.settings.retry.max_attempts, Some(3));
        let peek = service.handler("peek").unwrap();
        assert!(peek.public);
        assert_eq!(peek.settings.retry.factor, Some(1.5));
        assert_eq!(peek.settings.inactivity_timeout, Some(Millis(1000)));
        assert!(service.handler("nope").is_none());
    }
}
