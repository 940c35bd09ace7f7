//! Registering a deployment asks its endpoint through the invoker's client.

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use millrace_admin::{DiscoverError, DiscoverRequest, Discovered, Discoverer};
use millrace_cluster::meta::HttpVersion;
use millrace_invoker::Wire;
use millrace_model::Coded;

/// See the module.
pub struct EndpointDiscoverer(pub millrace_invoker::Discoverer);

#[async_trait]
impl Discoverer for EndpointDiscoverer {
    async fn discover(&self, request: DiscoverRequest) -> Result<Discovered, DiscoverError> {
        let headers = headers(&request)?;
        let found = self.0.discover(&request.uri, request.use_http_11, &headers).await.map_err(|error| {
            let code = error.code();
            let message = format!("[{}] error when calling '{}': {error}", code.id, request.uri);
            DiscoverError { code: Some(code), status: 500, message }
        })?;
        let version = match found.wire {
            Wire::Http1 => HttpVersion::Http11,
            Wire::Http2 | Wire::Negotiate => HttpVersion::Http2,
        };
        Discovered::from_answer(found.content_type.as_deref(), &found.body, version, found.server)
    }
}

fn headers(request: &DiscoverRequest) -> Result<Vec<(HeaderName, HeaderValue)>, DiscoverError> {
    let header = |(name, value): (&String, &String)| {
        let pair = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::from_str(value).ok());
        pair.ok_or_else(|| DiscoverError {
            code: None,
            status: 400,
            message: format!("the header '{name}' cannot be sent"),
        })
    };
    request.additional_headers.iter().map(header).collect()
}
