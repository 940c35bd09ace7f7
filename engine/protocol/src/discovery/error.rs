//! What can be wrong with a discovery answer.

use millrace_model::codes::{self, Code};

use super::{HANDLERS_MAX, NAME_BYTES_MAX, SERVICES_MAX, ServiceType};
use crate::version::VersionError;

/// Why an endpoint cannot be registered. None of these goes away by asking again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    #[error("discovery answered with content-type {found:?}, which is no endpoint manifest")]
    ContentType { found: Option<String> },
    #[error("the manifest is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the manifest does not parse: {0}")]
    Json(#[source] serde_json::Error),
    #[error("protocolMode must be BIDI_STREAM or REQUEST_RESPONSE")]
    ProtocolMode,
    #[error("minProtocolVersion and maxProtocolVersion must be 1 to 2147483647, the first not above the second")]
    ProtocolRange,
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error("more than {SERVICES_MAX} services")]
    TooManyServices,
    #[error("service {service} has more than {HANDLERS_MAX} handlers")]
    TooManyHandlers { service: String },
    #[error("'{name}' is not a name of a service: letters, digits and ._- are allowed, at most {NAME_BYTES_MAX}")]
    ServiceName { name: String },
    #[error("the service name '{name}' is reserved: it must not start with 'restate' or be 'openapi'")]
    ReservedName { name: String },
    #[error(
        "service {service}: '{name}' is not a name of a handler: letters, digits and _ are allowed, at most {NAME_BYTES_MAX}"
    )]
    HandlerName { service: String, name: String },
    #[error("service {service} is there twice")]
    SameService { service: String },
    #[error("{service}/{handler} is there twice")]
    SameHandler { service: String, handler: String },
    #[error("{service}/{handler}: a {ty:?} cannot have a handler of type {handler_ty}")]
    HandlerKind { service: String, handler: String, ty: ServiceType, handler_ty: &'static str },
    #[error("{service}/{handler}: {option} may not be set on a handler of this kind")]
    OptionNotAllowed { service: String, handler: String, option: &'static str },
    #[error("{at}: {option} is out of range")]
    OptionRange { at: String, option: &'static str },
    #[error("{service}/{handler}: '{content_type}' is not a media type")]
    MediaType { service: String, handler: String, content_type: String },
}

impl DiscoveryError {
    /// Its published code; what is a manifest, and asks for what cannot be, has none.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Version(_) => Some(codes::META0012),
            Self::ReservedName { .. } => Some(codes::META0005),
            Self::HandlerKind { .. } | Self::OptionNotAllowed { .. } => None,
            _ => Some(codes::META0013),
        }
    }

    /// The admin API's answer to the registration.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::ReservedName { .. } | Self::HandlerKind { .. } | Self::OptionNotAllowed { .. } => 400,
            _ => 500,
        }
    }
}
