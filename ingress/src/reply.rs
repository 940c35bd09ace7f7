//! Answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use jiff::Timestamp;
use millrace_model::{
    InvocationId, TimestampMs,
    journal::{Completion, Failure},
};
use serde::Serialize;

use crate::{api::ErrorBody, error::Error, metrics::Outcome, routes::HandlerRoute};

const ID: HeaderName = HeaderName::from_static("x-restate-id");
const ERROR_SOURCE: HeaderName = HeaderName::from_static("x-restate-error-source");
const EXPIRES: HeaderName = HeaderName::from_static("idempotency-expires");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The terminal codes that are an HTTP status as they are. Those below are interim answers, which end nothing.
const STATUS: std::ops::RangeInclusive<u32> = 200..=999;

/// What a request is answered with, and how that counts.
pub struct Answer {
    pub response: Response<Full<Bytes>>,
    pub outcome: Outcome,
}

impl Answer {
    fn completed(response: Response<Full<Bytes>>) -> Self {
        Self { response, outcome: Outcome::Completed }
    }
}

/// An invocation has ended. `handler`: who made the result, if that is still registered. `expires`: until when it is kept, of a
/// result that was there before.
pub fn ended(
    id: InvocationId,
    result: Completion,
    handler: Option<&HandlerRoute>,
    expires: Option<TimestampMs>,
) -> Answer {
    let mut answer = match result {
        Completion::Success(value) => {
            let content_type = match handler {
                Some(handler) => handler.output_content_type(value.len()).cloned(),
                // Of a handler that is gone: what most of them declare.
                None => (!value.is_empty()).then_some(JSON),
            };
            let mut response = Response::new(Full::new(value));
            if let Some(content_type) = content_type {
                response.headers_mut().insert(CONTENT_TYPE, content_type);
            }
            Answer::completed(response)
        }
        Completion::Failure(failure) => Answer { response: failed(&failure), outcome: Outcome::InvocationError },
    };
    let headers = answer.response.headers_mut();
    headers.insert(ID, id_value(id));
    if let Some(at) = expires.and_then(|at| time(at, "%Y-%m-%dT%H:%M:%S%.3f+00:00")) {
        headers.insert(EXPIRES, HeaderValue::try_from(at).expect("digits and signs"));
    }
    answer
}

fn failed(failure: &Failure) -> Response<Full<Bytes>> {
    let body = ErrorBody {
        code: failure.code,
        message: &failure.message,
        metadata: failure.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        source: "invocation",
        error_code: None,
        applied: None,
    };
    let status = if STATUS.contains(&failure.code) { failure.code as u16 } else { 500 };
    error_response(status, &body)
}

/// A request that is not answered with a result.
pub fn refused(error: &Error) -> Answer {
    let status = error.status();
    let message = error.to_string();
    let body = ErrorBody {
        code: status.into(),
        message: &message,
        metadata: BTreeMap::new(),
        source: error.source(),
        error_code: error.code().map(|code| code.id),
        applied: error.applied_unknown().then_some("unknown"),
    };
    let mut response = error_response(status, &body);
    if let Some(id) = error.invocation() {
        response.headers_mut().insert(ID, id_value(id));
    }
    Answer { response, outcome: Outcome::of_error(status) }
}

fn error_response(status: u16, body: &ErrorBody<'_>) -> Response<Full<Bytes>> {
    let mut response = json(status, body);
    response.headers_mut().insert(ERROR_SOURCE, HeaderValue::from_static(body.source));
    response
}

/// Taken, with nothing to say about it.
pub fn taken() -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::ACCEPTED;
    Answer::completed(response)
}

/// A JSON answer about an invocation.
pub fn accepted(id: InvocationId, body: &impl Serialize) -> Answer {
    let mut response = json(202, body);
    response.headers_mut().insert(ID, id_value(id));
    Answer::completed(response)
}

/// A JSON answer.
pub fn ok(body: &impl Serialize) -> Answer {
    Answer::completed(json(200, body))
}

fn json(status: u16, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("plain structs with string keys serialize");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn id_value(id: InvocationId) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).expect("ids are ASCII")
}

/// `executionTime` of a send; `None` beyond the calendar.
pub fn execution_time(at: TimestampMs) -> Option<String> {
    time(at, "%Y-%m-%dT%H:%M:%S%.9fZ")
}

fn time(at: TimestampMs, format: &str) -> Option<String> {
    let at = Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    Some(at.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_codes_become_statuses() {
        for (code, status) in
            [(0, 500), (99, 500), (100, 500), (199, 500), (200, 200), (401, 401), (418, 418), (500, 500), (999, 999)]
        {
            assert_eq!(failed(&Failure::new(code, "x")).status().as_u16(), status, "{code}");
        }
        assert_eq!(failed(&Failure::new(1234, "x")).status().as_u16(), 500);
    }

    #[test]
    fn times() {
        let at = TimestampMs(1_795_365_222_687);
        assert_eq!(execution_time(at).unwrap(), "2026-11-22T16:33:42.687000000Z");
        assert_eq!(time(at, "%Y-%m-%dT%H:%M:%S%.3f+00:00").unwrap(), "2026-11-22T16:33:42.687+00:00");
        assert_eq!(execution_time(TimestampMs(u64::MAX)), None);
    }
}
