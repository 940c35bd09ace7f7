//! Discovery: what an endpoint says about itself (`spec/service-protocol.md` section 1).
//!
//! The driver sends the request with [`ACCEPT`], gives the answer's content type to [`check_content_type`] and its
//! body, of at most [`MANIFEST_BYTES_MAX`], to [`Manifest::parse`]. Unknown fields are skipped; everything else is
//! checked here, so that a [`Manifest`] can be stored and acted upon as it is.

mod check;
mod error;
mod raw;

use std::collections::BTreeMap;

use millrace_model::invocation::HandlerKind;
use serde::{Deserialize, Serialize};

pub use error::DiscoveryError;

use crate::rule::{InputRule, OutputRule};

/// `accept` of the discovery request. One header: SDKs search it for the highest version they know.
pub const ACCEPT: &str = "application/vnd.restate.endpointmanifest.v1+json, \
    application/vnd.restate.endpointmanifest.v2+json, \
    application/vnd.restate.endpointmanifest.v3+json, \
    application/vnd.restate.endpointmanifest.v4+json";

/// Largest manifest that is read.
pub const MANIFEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Services of one endpoint.
pub const SERVICES_MAX: usize = 1000;

/// Handlers of one service.
pub const HANDLERS_MAX: usize = 1000;

/// Length of a service's or handler's name: they are part of paths and of stored keys.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest duration that a manifest can ask for, 1000 years. Longer ones are cut to it, so that clocks can be added.
pub const DURATION_MS_MAX: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// The answer's content type must be exactly one of those asked for. It says only which fields *may* be present.
pub fn check_content_type(content_type: Option<&str>) -> Result<(), DiscoveryError> {
    match content_type {
        Some(content_type) if ACCEPT.split(", ").any(|known| known == content_type) => Ok(()),
        found => Err(DiscoveryError::ContentType { found: found.map(str::to_owned) }),
    }
}

/// What an endpoint serves, checked.
///
/// Stored with the deployment: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub protocol_mode: ProtocolMode,
    /// Service protocol versions, both ends included; at least one of them is spoken here. The upper end may be
    /// beyond what this server knows.
    pub min_protocol_version: u32,
    pub max_protocol_version: u32,
    /// It takes and gives bodies that are compressed with zstd. Of functions only.
    #[serde(default)]
    pub lambda_zstd: bool,
    /// In the order of the manifest; names are unique. May be empty.
    pub services: Vec<ServiceManifest>,
}

impl Manifest {
    /// Parses and checks a discovery answer's body.
    pub fn parse(body: &[u8]) -> Result<Self, DiscoveryError> {
        if body.len() > MANIFEST_BYTES_MAX {
            return Err(DiscoveryError::TooLarge { limit: MANIFEST_BYTES_MAX });
        }
        check::manifest(serde_json::from_slice(body).map_err(DiscoveryError::Json)?)
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&ServiceManifest> {
        self.services.iter().find(|service| service.name == name)
    }
}

/// How the endpoint streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProtocolMode {
    /// Both ways at once.
    BidiStream,
    /// The answer follows the whole request.
    RequestResponse,
}

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServiceType {
    /// No key, no state.
    Service,
    /// State and a queue per key.
    VirtualObject,
    /// One run per key.
    Workflow,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceManifest {
    pub name: String,
    pub ty: ServiceType,
    /// In the order of the manifest; names are unique.
    pub handlers: Vec<HandlerManifest>,
    #[serde(default)]
    pub documentation: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub options: Options,
}

impl ServiceManifest {
    /// The handler of that name.
    pub fn handler(&self, name: &str) -> Option<&HandlerManifest> {
        self.handlers.iter().find(|handler| handler.name == name)
    }

    /// The options of one of its handlers, field by field: the handler's, else the service's. What is then `None` is
    /// the server's configuration to decide.
    pub fn options_of(&self, handler: &HandlerManifest) -> Options {
        let mut options = handler.options.or(&self.options);
        if handler.kind == HandlerKind::Workflow {
            // A run is idempotent by its key; the service's value is meant for the shared handlers.
            options.idempotency_retention_ms = None;
        }
        options
    }
}

/// One handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandlerManifest {
    pub name: String,
    #[serde(with = "kind")]
    pub kind: HandlerKind,
    #[serde(default)]
    pub input: InputRule,
    #[serde(default)]
    pub output: OutputRule,
    /// For display; nothing is checked against it.
    #[serde(default)]
    pub input_json_schema: Option<serde_json::Value>,
    /// For display.
    #[serde(default)]
    pub output_json_schema: Option<serde_json::Value>,
    /// Only of a workflow's run handler.
    #[serde(default)]
    pub workflow_completion_retention_ms: Option<u64>,
    #[serde(default)]
    pub documentation: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Its own; see [`ServiceManifest::options_of`].
    #[serde(default)]
    pub options: Options,
}

/// What a service or handler sets. `None` is "not said".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    pub inactivity_timeout_ms: Option<u64>,
    pub abort_timeout_ms: Option<u64>,
    pub journal_retention_ms: Option<u64>,
    pub idempotency_retention_ms: Option<u64>,
    /// State is fetched when read.
    pub enable_lazy_state: Option<bool>,
    /// Not callable from HTTP or Kafka.
    pub ingress_private: Option<bool>,
    pub retry_initial_interval_ms: Option<u64>,
    pub retry_max_interval_ms: Option<u64>,
    /// Counts the first attempt; 0 and 1 both mean "no retry".
    pub retry_max_attempts: Option<u32>,
    /// Finite and above 0.
    pub retry_exponentiation_factor: Option<f64>,
    pub retry_on_max_attempts: Option<OnMaxAttempts>,
}

impl Options {
    /// These, and where they say nothing, `others`.
    pub fn or(&self, others: &Options) -> Options {
        Options {
            inactivity_timeout_ms: self.inactivity_timeout_ms.or(others.inactivity_timeout_ms),
            abort_timeout_ms: self.abort_timeout_ms.or(others.abort_timeout_ms),
            journal_retention_ms: self.journal_retention_ms.or(others.journal_retention_ms),
            idempotency_retention_ms: self.idempotency_retention_ms.or(others.idempotency_retention_ms),
            enable_lazy_state: self.enable_lazy_state.or(others.enable_lazy_state),
            ingress_private: self.ingress_private.or(others.ingress_private),
            retry_initial_interval_ms: self.retry_initial_interval_ms.or(others.retry_initial_interval_ms),
            retry_max_interval_ms: self.retry_max_interval_ms.or(others.retry_max_interval_ms),
            retry_max_attempts: self.retry_max_attempts.or(others.retry_max_attempts),
            retry_exponentiation_factor: self.retry_exponentiation_factor.or(others.retry_exponentiation_factor),
            retry_on_max_attempts: self.retry_on_max_attempts.or(others.retry_on_max_attempts),
        }
    }
}

/// What happens to an invocation whose attempts are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnMaxAttempts {
    /// It waits for an operator.
    Pause,
    /// It ends with the last error.
    Kill,
}

/// [`HandlerKind`] belongs to a crate without serde.
mod kind {
    use super::HandlerKind;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const NAMES: [(HandlerKind, &str); 4] = [
        (HandlerKind::Plain, "PLAIN"),
        (HandlerKind::Exclusive, "EXCLUSIVE"),
        (HandlerKind::Shared, "SHARED"),
        (HandlerKind::Workflow, "WORKFLOW"),
    ];

    pub(super) fn serialize<S: Serializer>(kind: &HandlerKind, serializer: S) -> Result<S::Ok, S::Error> {
        let (_, name) = NAMES.iter().find(|(known, _)| known == kind).expect("all four are listed");
        serializer.serialize_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HandlerKind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(kind, _)| *kind).ok_or_else(|| D::Error::custom("unknown handler kind"))
    }
}

#[cfg(test)]
mod tests;
