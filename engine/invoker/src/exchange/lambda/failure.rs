//! What can go wrong between a request and a function's answer.

use std::time::Duration;

use http::HeaderMap;
use millrace_model::codes;
use serde::Deserialize;

use crate::trouble::{Trouble, Wish};

/// A function was not called, or did not answer. Texts come from AWS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LambdaError {
    /// Nothing to sign with.
    #[error("there are no AWS credentials to call the function with: {0}")]
    Credentials(String),
    /// The API refused the call, or could not make it.
    #[error("the Lambda API answered {status} {kind}: {message}")]
    Api {
        /// Of HTTP.
        status: u16,
        /// Such as `TooManyRequestsException`.
        kind: String,
        /// In words.
        message: String,
        /// Not before.
        retry_after: Option<Duration>,
    },
    /// The function began and did not return.
    #[error("the function failed with {kind}: {message}")]
    Function {
        /// Such as `Runtime.ExitError`.
        kind: String,
        /// In words.
        message: String,
    },
    /// The function returned something that is no answer.
    #[error("{0}")]
    Answer(String),
    /// More than one call can take.
    #[error("the request is larger than {limit} bytes, more than a function can be called with")]
    RequestTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The answer is out of all proportion.
    #[error("the function's answer is larger than {limit} bytes")]
    AnswerTooLarge {
        /// The limit.
        limit: usize,
    },
}

/// Longest text of AWS that is shown.
const TEXT_CHARS_MAX: usize = 1000;
/// The API cannot ask for a longer pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

fn text(text: impl AsRef<str>) -> String {
    text.as_ref().chars().take(TEXT_CHARS_MAX).collect()
}

/// Both spellings are in use.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ApiBody {
    #[serde(alias = "Message")]
    message: String,
    #[serde(rename = "Type")]
    ty: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FunctionBody {
    error_type: String,
    error_message: String,
}

impl LambdaError {
    /// Reads an answer of the API that is no success.
    pub(super) fn api(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let read: ApiBody = serde_json::from_slice(body).unwrap_or_default();
        // `TooManyRequestsException:http://internal.amazon.com/…`
        let kind = header("x-amzn-errortype").and_then(|kind| kind.split(':').next()).unwrap_or(&read.ty);
        let kind = if kind.is_empty() { "an error" } else { kind };
        let seconds = header("retry-after").and_then(|text| text.trim().parse::<u64>().ok());
        Self::Api {
            status,
            kind: text(kind),
            message: text(if read.message.is_empty() { String::from_utf8_lossy(body).into() } else { read.message }),
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
        }
    }

    /// Reads what comes in the place of a function's result.
    pub(super) fn function(kind: &str, body: &[u8]) -> Self {
        let read: FunctionBody = serde_json::from_slice(body).unwrap_or_default();
        let kind = if read.error_type.is_empty() { kind } else { &read.error_type };
        let message = match read.error_message.is_empty() {
            true => String::from_utf8_lossy(body),
            false => read.error_message.as_str().into(),
        };
        Self::Function { kind: text(kind), message: text(message) }
    }

    /// The same call may do better a little later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Credentials(_) => true,
            Self::Api { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// The function cannot be called at all. One that is throttled, or that failed, is there.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Credentials(_) => true,
            Self::Api { status, .. } => !matches!(status, 413 | 429),
            _ => false,
        }
    }

    /// User code may have run.
    pub(crate) fn may_have_run(&self) -> bool {
        match self {
            Self::Function { .. } | Self::Answer(_) | Self::AnswerTooLarge { .. } => true,
            // 502 is the platform's own trouble with starting the function.
            Self::Api { status, .. } => *status >= 500 && *status != 502,
            Self::Credentials(_) | Self::RequestTooLarge { .. } => false,
        }
    }
}

impl From<LambdaError> for Trouble {
    fn from(error: LambdaError) -> Self {
        let mut trouble = Self::new(codes::RT0010, error.to_string());
        trouble.counts = error.may_have_run();
        match error {
            LambdaError::Api { status, retry_after, .. } => {
                trouble.status = status.into();
                match status {
                    413 => trouble.code = codes::RT0019,
                    429 => {
                        trouble.code = codes::RT0023;
                        trouble.wish = retry_after.map_or(Wish::None, Wish::SlowDown);
                    }
                    _ => {}
                }
            }
            LambdaError::RequestTooLarge { .. } => trouble.code = codes::RT0019,
            LambdaError::Answer(_) => trouble.code = codes::RT0012,
            LambdaError::AnswerTooLarge { .. } => trouble.code = codes::RT0003,
            LambdaError::Credentials(_) | LambdaError::Function { .. } => {}
        }
        trouble
    }
}
