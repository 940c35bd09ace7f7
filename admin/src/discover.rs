//! What registering a deployment wants of whoever speaks to endpoints. Implemented with the invoker in the wiring.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use millrace_cluster::meta::{Function, HttpVersion, discovered::Endpoint};
use millrace_model::Code;
use millrace_protocol::discovery::{Manifest, check_content_type};

/// An endpoint to be asked what it serves.
#[derive(Clone, Debug)]
pub struct DiscoverRequest {
    /// Absolute, normalised; http or https. Of a function its qualified ARN.
    pub uri: String,
    /// It is a function.
    pub function: Option<Function>,
    /// Only HTTP/1.1; otherwise HTTP/2 with prior knowledge, or what ALPN says.
    pub use_http_11: bool,
    /// Sent along; names in lower case, checked.
    pub additional_headers: BTreeMap<String, String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    /// Ready to be registered.
    pub endpoint: Endpoint,
}

impl Discovered {
    /// What a manifest says that was judged already.
    pub fn new(manifest: Manifest, http_version: HttpVersion, server: Option<String>) -> Self {
        Self { endpoint: Endpoint::new(manifest, http_version, server) }
    }

    /// Judges an endpoint's answer to the discovery request.
    ///
    /// * `body`: at most [`MANIFEST_BYTES_MAX`](millrace_protocol::discovery::MANIFEST_BYTES_MAX).
    /// * `server`: its `x-restate-server`.
    pub fn from_answer(
        content_type: Option<&str>,
        body: &[u8],
        http_version: HttpVersion,
        server: Option<String>,
    ) -> Result<Self, DiscoverError> {
        let manifest = check_content_type(content_type).and_then(|()| Manifest::parse(body));
        let manifest = manifest.map_err(|error| DiscoverError {
            code: error.code(),
            status: error.http_status(),
            message: error.to_string(),
        })?;
        Ok(Self::new(manifest, http_version, server))
    }
}

/// Why nothing was found, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DiscoverError {
    /// META0003, META0005, META0012 to META0015, or none.
    pub code: Option<Code>,
    /// The answer's status: 500, or 400 for what the manifest says of its services.
    pub status: u16,
    /// What happened.
    pub message: String,
}

/// Longest discovery that a registration waits for.
pub const DISCOVERY_MAX: Duration = Duration::from_secs(45);

/// Asks endpoints.
#[async_trait]
pub trait Discoverer: Send + Sync {
    /// Asks one, a few times if it does not answer. Given up by the caller after [`DISCOVERY_MAX`].
    async fn discover(&self, request: DiscoverRequest) -> Result<Discovered, DiscoverError>;
}
