//! Asking an endpoint what it serves (`spec/service-protocol.md` sections 1.1, 1.2 and 1.5).

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use millrace_model::{
    TimestampMs,
    codes::{self, Code, Coded},
};
use millrace_protocol::discovery;
use tokio::runtime::Handle as Runtime;

use crate::{
    address::{Address, AddressError, Wire},
    config::ClientConfig,
    exchange::{Exchange, Functions, LambdaError, LambdaFunction, Lease},
    identity::Identity,
    pool::{Group, Pool},
    servers::SERVER,
    shared::{fixed_headers, identity},
    transport::TransportError,
};

/// Delays between tries: about two seconds in all.
const DELAYS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600), Duration::from_secs(1)];
/// One try, from the connection to the end of the body.
const TRY_MAX: Duration = Duration::from_secs(15);

/// An endpoint's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// For [`discovery::Manifest::parse`].
    pub body: Bytes,
    /// For [`discovery::check_content_type`].
    pub content_type: Option<String>,
    /// `x-restate-server`: SDK and version.
    pub server: Option<String>,
    /// The HTTP that was spoken, which is that of every invocation.
    pub wire: Wire,
}

/// No manifest was got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nobody answered.
    #[error("the endpoint cannot be reached: {}", crate::trouble::chain(.0))]
    Transport(TransportError),
    /// Something else answered, or not in time.
    #[error("the endpoint did not answer within {TRY_MAX:?}")]
    Timeout,
    /// It speaks HTTP/1.1 only.
    #[error("the endpoint seems to speak HTTP/1.1 only: register it with use_http_11")]
    Http1Only,
    /// It answered with an error.
    #[error("the endpoint answered {0} to the discovery request")]
    Status(StatusCode),
    /// The manifest is too large.
    #[error("the manifest is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

impl Coded for DiscoverError {
    fn code(&self) -> Code {
        match self {
            Self::Http1Only => codes::META0014,
            Self::TooLarge { .. } | Self::Transport(TransportError::Lambda(LambdaError::Answer(_))) => codes::META0013,
            Self::Address(_) | Self::Transport(_) | Self::Timeout | Self::Status(_) => codes::META0003,
        }
    }
}

impl DiscoverError {
    /// Asking again may help.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(TransportError::Tls(_) | TransportError::Request(_)) => false,
            Self::Transport(TransportError::Lambda(error)) => error.may_pass(),
            Self::Transport(_) | Self::Timeout => true,
            Self::Status(status) => matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

impl From<TransportError> for DiscoverError {
    fn from(error: TransportError) -> Self {
        if error.looks_like_http1() { Self::Http1Only } else { Self::Transport(error) }
    }
}

/// Discovers endpoints, with connections of its own: registering is rare, and what it asks may be broken.
pub struct Discoverer {
    client: ClientConfig,
    fixed: HeaderMap,
    identity: Option<Identity>,
    runtime: Runtime,
}

/// What is asked.
enum Target {
    Http(Arc<Pool>, Address),
    Function(Arc<Functions>, Arc<LambdaFunction>),
}

impl Discoverer {
    /// Its tasks run on `runtime`.
    pub fn new(client: ClientConfig, cluster_name: Option<&str>, runtime: Runtime) -> Result<Self, TransportError> {
        let (fixed, identity) = (fixed_headers(&client, cluster_name)?, identity(&client)?);
        Ok(Self { client, fixed, identity, runtime })
    }

    /// Asks, and asks again for about two seconds while that may help.
    ///
    /// * `http1`: speak HTTP/1.1, also where the endpoint could do otherwise.
    /// * `headers`: the deployment's own.
    pub async fn discover(
        &self,
        uri: &str,
        http1: bool,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Discovered, DiscoverError> {
        let address = Address::parse(uri, if http1 { Wire::Http1 } else { Wire::Negotiate })?;
        let pool = Pool::new(&self.client, self.runtime.clone())?;
        self.ask(&Target::Http(pool, address), headers).await
    }

    /// The same for a function.
    pub async fn discover_function(
        &self,
        function: LambdaFunction,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Discovered, DiscoverError> {
        let functions = Functions::new(&self.client, self.runtime.clone());
        self.ask(&Target::Function(Arc::new(functions), Arc::new(function)), headers).await
    }

    async fn ask(&self, target: &Target, headers: &[(HeaderName, HeaderValue)]) -> Result<Discovered, DiscoverError> {
        let mut delays = DELAYS.into_iter();
        loop {
            let tried = match tokio::time::timeout(TRY_MAX, self.once(target, headers)).await {
                Ok(tried) => tried,
                Err(_) => return Err(DiscoverError::Timeout),
            };
            match (tried, delays.next()) {
                (Err(error), Some(delay)) if error.is_retryable() => {
                    tracing::debug!(error = %error, "discovery is tried again");
                    tokio::time::sleep(delay).await;
                }
                (tried, _) => return tried,
            }
        }
    }

    async fn once(&self, target: &Target, headers: &[(HeaderName, HeaderValue)]) -> Result<Discovered, DiscoverError> {
        let mut request = Request::new(());
        *request.method_mut() = Method::GET;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = match target {
            Target::Http(_, address) => {
                address.discover().map_err(|error| TransportError::Request(error.to_string()))?
            }
            Target::Function(..) => Uri::from_static("/discover"),
        };
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(discovery::ACCEPT));
        let all = self.fixed.iter().chain(headers.iter().map(|(name, value)| (name, value)));
        all.for_each(|(name, value)| drop(request.headers_mut().insert(name.clone(), value.clone())));
        if let Some(identity) = &self.identity {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            identity.sign(request.headers_mut(), "/discover", None, TimestampMs(since.as_millis() as u64));
        }
        let (mut exchange, wire) = match target {
            Target::Http(pool, address) => {
                let lease = pool.acquire(&address.origin, Group::NONE).await?;
                let wire = match &lease {
                    Lease::H2(_) => Wire::Http2,
                    Lease::H1(_) => Wire::Http1,
                };
                (Exchange::start(lease, request, true)?, wire)
            }
            Target::Function(functions, function) => {
                (Exchange::function(functions, function, request, true), Wire::Http1)
            }
        };
        let head = poll_fn(|cx| exchange.poll_head(cx)).await?;
        if !head.status.is_success() {
            return Err(DiscoverError::Status(head.status));
        }
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let limit = discovery::MANIFEST_BYTES_MAX;
        let mut body = BytesMut::new();
        while let Some(data) = poll_fn(|cx| exchange.poll_data(cx)).await {
            let data = data?;
            if body.len() + data.len() > limit {
                exchange.reset();
                return Err(DiscoverError::TooLarge { limit });
            }
            body.extend_from_slice(&data);
            exchange.consumed(data.len());
        }
        let (content_type, server) = (text(header::CONTENT_TYPE), text(SERVER));
        Ok(Discovered { body: body.freeze(), content_type, server, wire })
    }
}
