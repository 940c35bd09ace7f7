//! From JSON to a [`Manifest`], rule by rule (`spec/service-protocol.md` sections 1.3 and 1.4).

use std::collections::BTreeSet;

use millrace_model::invocation::HandlerKind;

use super::{
    DURATION_MS_MAX, DiscoveryError, HANDLERS_MAX, HandlerManifest, Manifest, NAME_BYTES_MAX, Options, ProtocolMode,
    SERVICES_MAX, ServiceManifest, ServiceType,
    raw::{self, HandlerType},
};
use crate::{
    rule::{InputRule, MediaPattern, OutputRule},
    version::ProtocolVersion,
};

pub(super) fn manifest(raw: raw::Manifest) -> Result<Manifest, DiscoveryError> {
    let protocol_mode = match raw.protocol_mode.as_deref() {
        Some("BIDI_STREAM") => ProtocolMode::BidiStream,
        Some("REQUEST_RESPONSE") => ProtocolMode::RequestResponse,
        _ => return Err(DiscoveryError::ProtocolMode),
    };
    let min_protocol_version = version(raw.min_protocol_version)?;
    let max_protocol_version = version(raw.max_protocol_version)?;
    if max_protocol_version < min_protocol_version {
        return Err(DiscoveryError::ProtocolRange);
    }
    ProtocolVersion::check_registration(min_protocol_version, max_protocol_version)?;
    if raw.services.len() > SERVICES_MAX {
        return Err(DiscoveryError::TooManyServices);
    }
    let services = raw.services.into_iter().map(service).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = services.iter().find(|service| !names.insert(&service.name)) {
        return Err(DiscoveryError::SameService { service: twice.name.clone() });
    }
    let lambda_zstd = raw.lambda_compression.is_some_and(|kind| kind == "zstd");
    Ok(Manifest { protocol_mode, min_protocol_version, max_protocol_version, lambda_zstd, services })
}

fn version(number: Option<i64>) -> Result<u32, DiscoveryError> {
    let number = number.filter(|number| (1..=i64::from(i32::MAX)).contains(number));
    number.and_then(|number| u32::try_from(number).ok()).ok_or(DiscoveryError::ProtocolRange)
}

fn service(raw: raw::Service) -> Result<ServiceManifest, DiscoveryError> {
    let raw::Service { name, ty, handlers, common } = raw;
    if !is_name(&name, b"._-") {
        return Err(DiscoveryError::ServiceName { name: shown(name) });
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("restate") || lower == "openapi" {
        return Err(DiscoveryError::ReservedName { name });
    }
    if handlers.len() > HANDLERS_MAX {
        return Err(DiscoveryError::TooManyHandlers { service: name });
    }
    let handlers = handlers.into_iter().map(|raw| handler(&name, ty, raw)).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = handlers.iter().find(|handler| !names.insert(&handler.name)) {
        return Err(DiscoveryError::SameHandler { service: name, handler: twice.name.clone() });
    }
    let options = options(&common, || name.clone())?;
    let metadata = common.metadata.unwrap_or_default();
    Ok(ServiceManifest { name, ty, handlers, documentation: common.documentation, metadata, options })
}

fn handler(service: &str, ty: ServiceType, raw: raw::Handler) -> Result<HandlerManifest, DiscoveryError> {
    let raw::Handler { name, ty: handler_ty, input, output, workflow_completion_retention, common } = raw;
    if !is_name(&name, b"_") {
        return Err(DiscoveryError::HandlerName { service: service.to_owned(), name: shown(name) });
    }
    let kind = kind(ty, handler_ty).map_err(|handler_ty| DiscoveryError::HandlerKind {
        service: service.to_owned(),
        handler: name.clone(),
        ty,
        handler_ty,
    })?;
    let not_allowed =
        |option| Err(DiscoveryError::OptionNotAllowed { service: service.to_owned(), handler: name.clone(), option });
    if kind != HandlerKind::Workflow && workflow_completion_retention.is_some() {
        return not_allowed("workflowCompletionRetention");
    }
    if kind == HandlerKind::Workflow && common.idempotency_retention.is_some() {
        return not_allowed("idempotencyRetention");
    }
    let media_type = |content_type: String| {
        MediaPattern::try_from(content_type.clone()).map_err(|_| DiscoveryError::MediaType {
            service: service.to_owned(),
            handler: name.clone(),
            content_type: shown(content_type),
        })
    };
    let (input, input_json_schema) = match input {
        None => (InputRule::default(), None),
        Some(raw) => {
            let content_type = raw.content_type.map(&media_type).transpose()?;
            (InputRule { required: raw.required.unwrap_or(false), content_type }, raw.json_schema)
        }
    };
    let (output, output_json_schema) = match output {
        None => (OutputRule::default(), None),
        Some(raw) => {
            if let Some(content_type) = &raw.content_type {
                media_type(content_type.clone())?;
                // It becomes a header of answers; a parameter may have any text in it.
                if !content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                    return Err(DiscoveryError::MediaType {
                        service: service.to_owned(),
                        handler: name,
                        content_type: shown(content_type.clone()),
                    });
                }
            }
            let set_content_type_if_empty = raw.set_content_type_if_empty.unwrap_or(false);
            (OutputRule { content_type: raw.content_type, set_content_type_if_empty }, raw.json_schema)
        }
    };
    let options = options(&common, || format!("{service}/{name}"))?;
    Ok(HandlerManifest {
        name,
        kind,
        input,
        output,
        input_json_schema,
        output_json_schema,
        workflow_completion_retention_ms: workflow_completion_retention.map(duration),
        documentation: common.documentation,
        metadata: common.metadata.unwrap_or_default(),
        options,
    })
}

/// A letter, or `_` and a letter or digit; then letters, digits and `more`.
fn is_name(name: &str, more: &[u8]) -> bool {
    let start = match name.as_bytes() {
        [first, ..] if first.is_ascii_alphabetic() => true,
        [b'_', second, ..] => second.is_ascii_alphanumeric(),
        _ => false,
    };
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || more.contains(&byte);
    start && name.len() <= NAME_BYTES_MAX && name.bytes().all(rest)
}

/// The table of section 1.4; an error names the type that does not go with the service's.
fn kind(ty: ServiceType, handler_ty: Option<HandlerType>) -> Result<HandlerKind, &'static str> {
    match (ty, handler_ty) {
        (ServiceType::Service, None | Some(HandlerType::Shared)) => Ok(HandlerKind::Plain),
        (ServiceType::VirtualObject, None | Some(HandlerType::Exclusive)) => Ok(HandlerKind::Exclusive),
        (ServiceType::VirtualObject, Some(HandlerType::Shared)) => Ok(HandlerKind::Shared),
        (ServiceType::Workflow, Some(HandlerType::Workflow)) => Ok(HandlerKind::Workflow),
        (ServiceType::Workflow, None | Some(HandlerType::Shared)) => Ok(HandlerKind::Shared),
        (_, Some(HandlerType::Workflow)) => Err("WORKFLOW"),
        (_, Some(HandlerType::Exclusive)) => Err("EXCLUSIVE"),
    }
}

fn options(raw: &raw::Common, at: impl Fn() -> String) -> Result<Options, DiscoveryError> {
    let factor = raw.retry_policy_exponentiation_factor;
    if factor.is_some_and(|factor| !(factor.is_finite() && factor > 0.0)) {
        return Err(DiscoveryError::OptionRange { at: at(), option: "retryPolicyExponentiationFactor" });
    }
    Ok(Options {
        inactivity_timeout_ms: raw.inactivity_timeout.map(duration),
        abort_timeout_ms: raw.abort_timeout.map(duration),
        journal_retention_ms: raw.journal_retention.map(duration),
        idempotency_retention_ms: raw.idempotency_retention.map(duration),
        enable_lazy_state: raw.enable_lazy_state,
        ingress_private: raw.ingress_private,
        retry_initial_interval_ms: raw.retry_policy_initial_interval.map(duration),
        retry_max_interval_ms: raw.retry_policy_max_interval.map(duration),
        retry_max_attempts: raw.retry_policy_max_attempts.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        retry_exponentiation_factor: factor,
        retry_on_max_attempts: raw.retry_policy_on_max_attempts,
    })
}

fn duration(ms: u64) -> u64 {
    ms.min(DURATION_MS_MAX)
}

/// Part of a text that is wrong, for a message.
fn shown(text: String) -> String {
    crate::command::shorten(text, NAME_BYTES_MAX)
}
