//! What registering a deployment wants of whoever speaks to endpoints. Implemented with the invoker in the wiring.

use std::collections::BTreeMap;

use async_trait::async_trait;
use millrace_cluster::meta::{HttpVersion, discovered::Endpoint};
use millrace_model::Code;

/// An endpoint to be asked what it serves.
#[derive(Clone, Debug)]
pub struct DiscoverRequest {
    /// Absolute, normalised; http or https.
    pub uri: String,
    /// Only HTTP/1.1; otherwise HTTP/2 with prior knowledge, or what ALPN says.
    pub use_http_11: bool,
    /// Sent along; names in lower case, checked.
    pub additional_headers: BTreeMap<String, String>,
}

/// What was found. [`Endpoint::new`] makes one of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    /// Ready to be registered.
    pub endpoint: Endpoint,
}

impl Discovered {
    /// Of an answer.
    pub fn new(
        manifest: millrace_cluster::meta::discovered::Manifest,
        http_version: HttpVersion,
        sdk_version: Option<String>,
    ) -> Self {
        Self { endpoint: Endpoint::new(manifest, http_version, sdk_version) }
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

/// Asks endpoints.
#[async_trait]
pub trait Discoverer: Send + Sync {
    /// Asks one, a few times if it does not answer. Takes some seconds at most.
    async fn discover(&self, request: DiscoverRequest) -> Result<Discovered, DiscoverError>;
}
