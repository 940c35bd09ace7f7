//! Our connections as the HTTP client of the AWS libraries: one TLS, one set of trusted authorities.

use std::{fmt, sync::Arc, time::Duration};

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use super::fetch::fetch;
use crate::pool::Pool;

/// Credentials and metadata are small.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Where the library has no limit of its own.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const READ_MAX: Duration = Duration::from_secs(15);

#[derive(Clone)]
pub(super) struct PoolClient {
    pool: Arc<Pool>,
    limit: Duration,
}

impl PoolClient {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, limit: CONNECT_MAX + READ_MAX }
    }
}

impl fmt::Debug for PoolClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolClient").finish_non_exhaustive()
    }
}

impl HttpClient for PoolClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let connect = settings.connect_timeout().unwrap_or(CONNECT_MAX);
        let read = settings.read_timeout().unwrap_or(READ_MAX);
        SharedHttpConnector::new(Self { pool: Arc::clone(&self.pool), limit: connect + read })
    }
}

impl HttpConnector for PoolClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { pool, limit } = self.clone();
        HttpConnectorFuture::new(async move {
            match tokio::time::timeout(limit, call(&pool, request)).await {
                Ok(answer) => answer,
                Err(late) => Err(ConnectorError::timeout(late.into())),
            }
        })
    }
}

async fn call(pool: &Pool, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (head, body) = request.into_parts();
    let body = body.bytes().map(Bytes::copy_from_slice);
    let body = body.ok_or_else(|| ConnectorError::user("a body that is a stream".into()))?;
    let answer = fetch(pool, http::Request::from_parts(head, body), ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|error| ConnectorError::io(error.into()))?;
    HttpResponse::try_from(answer.map(SdkBody::from)).map_err(|error| ConnectorError::other(error.into(), None))
}
