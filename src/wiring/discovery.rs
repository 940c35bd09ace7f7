//! Registering a deployment asks its endpoint through the invoker's client.

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use millrace_admin::{DiscoverError, DiscoverRequest, Discovered, Discoverer};
use millrace_cluster::meta::{HttpVersion, ProtocolMode};
use millrace_invoker::{LambdaFunction, Wire};
use millrace_model::{Coded, codes};

/// See the module.
pub struct EndpointDiscoverer(pub millrace_invoker::Discoverer);

#[async_trait]
impl Discoverer for EndpointDiscoverer {
    async fn discover(&self, request: DiscoverRequest) -> Result<Discovered, DiscoverError> {
        let headers = headers(&request)?;
        let found = match &request.function {
            None => self.0.discover(&request.uri, request.use_http_11, &headers).await,
            Some(how) => {
                let function = LambdaFunction::new(&request.uri, how.assume_role_arn.clone(), how.zstd);
                let function =
                    function.map_err(|error| DiscoverError { code: None, status: 400, message: error.to_string() })?;
                self.0.discover_function(function, &headers).await
            }
        };
        let found = found.map_err(|error| {
            let code = error.code();
            let message = format!("[{}] error when calling '{}': {error}", code.id, request.uri);
            DiscoverError { code: Some(code), status: 500, message }
        })?;
        let version = match found.wire {
            Wire::Http1 => HttpVersion::Http11,
            Wire::Http2 | Wire::Negotiate => HttpVersion::Http2,
        };
        let found = Discovered::from_answer(found.content_type.as_deref(), &found.body, version, found.server)?;
        if request.function.is_some() && found.endpoint.mode == ProtocolMode::BidiStream {
            let code = codes::META0015;
            let message = format!("[{}] the function '{}' announces bidirectional streaming", code.id, request.uri);
            return Err(DiscoverError { code: Some(code), status: 500, message });
        }
        Ok(found)
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
