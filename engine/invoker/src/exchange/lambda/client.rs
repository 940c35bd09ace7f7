//! Function calls through the Invoke API of AWS Lambda.

use std::{
    io::Read,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use millrace_protocol::lambda::{ArnError, FunctionArn, decode_answer, encode_request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime::Handle as Runtime;

use super::{
    access::{Access, AwsOptions},
    failure::LambdaError,
    fetch::fetch,
    smithy::PoolClient,
};
use crate::{config::ClientConfig, pool::Pool, transport::TransportError};

const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
/// A function's result on the wire; the API's own limit is 6 MiB.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// And decompressed.
const INFLATED_BYTES_MAX: usize = 64 << 20;
/// The libraries' default: about as small as it gets for little time.
const ZSTD_LEVEL: i32 = 3;
/// All but the unreserved characters of RFC 3986.
const PATH_SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A function that serves handlers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaFunction {
    /// One version of it.
    pub(super) arn: FunctionArn,
    /// The role to call it as.
    pub(super) assume_role_arn: Option<String>,
    /// It takes and gives bodies compressed with zstd.
    zstd: bool,
}

impl LambdaFunction {
    /// * `arn`: with version or alias.
    /// * `zstd`: as its manifest says.
    pub fn new(arn: &str, assume_role_arn: Option<String>, zstd: bool) -> Result<Self, ArnError> {
        Ok(Self { arn: FunctionArn::parse(arn)?, assume_role_arn, zstd })
    }

    /// Its qualified ARN.
    pub fn name(&self) -> &str {
        self.arn.as_str()
    }
}

/// Calls functions.
pub(crate) struct Functions {
    client: ClientConfig,
    runtime: Runtime,
    /// Made when the first function is called.
    aws: OnceLock<Result<Aws, TransportError>>,
}

struct Aws {
    pool: Arc<Pool>,
    access: Access,
}

impl Functions {
    pub(crate) fn new(client: &ClientConfig, runtime: Runtime) -> Self {
        // Machines have their credentials under addresses that no proxy can reach.
        let client = ClientConfig { http_proxy: None, ..client.clone() };
        Self { client, runtime, aws: OnceLock::new() }
    }

    fn aws(&self) -> Result<&Aws, TransportError> {
        let make = || -> Result<Aws, TransportError> {
            let pool = Pool::new(&self.client, self.runtime.clone())?;
            let options = AwsOptions {
                profile: self.client.aws_profile.clone(),
                external_id: self.client.aws_assume_role_external_id.clone(),
            };
            let access = Access::new(options, PoolClient::new(Arc::clone(&pool)));
            Ok(Aws { pool, access })
        };
        self.aws.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// * `request`: of the protocol; its address is a path.
    pub(super) async fn call(
        &self,
        function: &LambdaFunction,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, TransportError> {
        let Aws { pool, access } = self.aws()?;
        let payload = self.payload(function, request).await;
        let endpoint = access.endpoint(&function.arn).await;
        let credentials = access.credentials(function).await?;
        let signed = signed(&endpoint, &function.arn, credentials, payload, SystemTime::now())?;
        let answer = fetch(pool, signed, ANSWER_BYTES_MAX).await?;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            return Err(LambdaError::api(head.status.as_u16(), &head.headers, &body).into());
        }
        if let Some(kind) = head.headers.get(FUNCTION_ERROR) {
            return Err(LambdaError::function(&String::from_utf8_lossy(kind.as_bytes()), &body).into());
        }
        Ok(unpack(body).await?)
    }

    async fn payload(&self, function: &LambdaFunction, request: Request<Bytes>) -> Vec<u8> {
        let (mut head, mut body) = request.into_parts();
        if function.zstd {
            head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("zstd"));
            if body.len() as u64 >= self.client.request_compression_threshold
                && let Some(compressed) = compress(body.clone()).await
            {
                body = compressed.into();
                head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
            }
        }
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())));
        encode_request(head.method.as_str(), head.uri.path(), headers, &body)
    }
}

/// Megabytes at a time: not on a thread that serves sockets.
async fn compress(body: Bytes) -> Option<Vec<u8>> {
    tokio::task::spawn_blocking(move || zstd::bulk::compress(&body, ZSTD_LEVEL).ok()).await.ok().flatten()
}

fn inflate(body: &[u8]) -> Result<Bytes, LambdaError> {
    let bad = |error: std::io::Error| LambdaError::Answer(format!("the function's answer is not zstd: {error}"));
    let mut inflated = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(bad)?;
    decoder.take(INFLATED_BYTES_MAX as u64 + 1).read_to_end(&mut inflated).map_err(bad)?;
    if inflated.len() > INFLATED_BYTES_MAX {
        return Err(LambdaError::AnswerTooLarge { limit: INFLATED_BYTES_MAX });
    }
    Ok(inflated.into())
}

/// The call as the API takes it.
pub(super) fn signed(
    endpoint: &str,
    arn: &FunctionArn,
    credentials: Credentials,
    payload: Vec<u8>,
    now: SystemTime,
) -> Result<Request<Bytes>, TransportError> {
    let bad = |error: &dyn std::error::Error| TransportError::Request(crate::trouble::chain(error));
    let name = utf8_percent_encode(arn.as_str(), PATH_SET);
    let uri = format!("{endpoint}/2015-03-31/functions/{name}/invocations");
    let content_type = "application/json";
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(arn.region())
        .name("lambda")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| bad(&error))?
        .into();
    let headers = [("content-type", content_type)].into_iter();
    let signable = SignableRequest::new("POST", uri.as_str(), headers, SignableBody::Bytes(&payload));
    let signable = signable.map_err(|error| bad(&error))?;
    let (instructions, _) = sign(signable, &params).map_err(|error| bad(&error))?.into_parts();
    let request = Request::post(&uri).header(header::CONTENT_TYPE, content_type).body(Bytes::from(payload));
    let mut request = request.map_err(|error| bad(&error))?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

/// The answer that is in a function's result.
async fn unpack(payload: Bytes) -> Result<Response<Bytes>, LambdaError> {
    let answer = decode_answer(&payload).map_err(|error| LambdaError::Answer(crate::trouble::chain(&error)))?;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let bad = |error: http::Error| LambdaError::Answer(format!("the function's answer has a bad head: {error}"));
    let mut response = response.body(answer.body).map_err(bad)?;
    if response.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "zstd") {
        let body = std::mem::take(response.body_mut());
        let inflated = tokio::task::spawn_blocking(move || inflate(&body)).await;
        *response.body_mut() =
            inflated.unwrap_or_else(|_| Err(LambdaError::Answer("the server is stopping".to_owned())))?;
    }
    Ok(response)
}
