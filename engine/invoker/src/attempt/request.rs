//! The beginning of an attempt: where it goes, at which version, and the request's head
//! (`spec/service-protocol.md` sections 2.1 to 2.3).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header, response::Parts};
use millrace_model::{
    InvocationId, TimestampMs, codes,
    invocation::{Invocation, Pin},
};
use millrace_protocol::{Mode, ProtocolVersion};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    config::InvokerConfig,
    identity::Identity,
    registry::{AttemptPolicy, DeploymentInfo, Registry},
    trouble::{Trouble, Wish},
};

const INVOCATION_ID: HeaderName = HeaderName::from_static("x-restate-invocation-id");
const SERVICE_KEY: HeaderName = HeaderName::from_static("x-restate-service-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// All but the unreserved characters of RFC 3986.
const KEY_SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An endpoint cannot ask for a longer pause.
const RETRY_AFTER_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// Where an attempt goes.
pub(super) struct Choice {
    pub(super) deployment: Arc<DeploymentInfo>,
    pub(super) version: ProtocolVersion,
    pub(super) mode: Mode,
    /// To be proposed with its first durable effect.
    pub(super) pin: Option<Pin>,
}

pub(super) fn choose(
    registry: &dyn Registry,
    invocation: &Invocation,
    policy: &AttemptPolicy,
    config: &InvokerConfig,
) -> Result<Choice, Trouble> {
    let service = &*invocation.target.service;
    let missing = |what: String| Trouble::new(codes::RT0011, what).before_user_code();
    let mode = |deployment: &DeploymentInfo| {
        if policy.inactivity_timeout.is_zero() { Mode::RequestResponse } else { deployment.mode }
    };
    let (deployment, version, pin) = match invocation.pin {
        Some(pin) => {
            let deployment = registry.deployment(pin.deployment);
            let gone = || missing(format!("deployment {}, on which the invocation began, is gone", pin.deployment));
            (deployment.ok_or_else(gone)?, ProtocolVersion::pinned(pin.protocol_version)?, None)
        }
        None => {
            let deployment = registry.deployment_for(service);
            let deployment = deployment.ok_or_else(|| missing(format!("no deployment serves {service}")))?;
            let newest = config.newest_version(mode(&deployment));
            let version = ProtocolVersion::choose(deployment.min_version, deployment.max_version, newest)?;
            let pin = Pin { deployment: deployment.id, protocol_version: version.number() };
            (deployment, version, Some(pin))
        }
    };
    let mode = mode(&deployment);
    Ok(Choice { deployment, version, mode, pin })
}

/// * `fixed`: headers of every request of this node.
pub(super) fn head(
    choice: &Choice,
    id: InvocationId,
    invocation: &Invocation,
    fixed: &HeaderMap,
) -> Result<Request<()>, Trouble> {
    let bad = |what: &str| Trouble::new(codes::RT0010, format!("the request has no valid {what}")).before_user_code();
    let target = &invocation.target;
    let uri = choice.deployment.endpoint.invoke(&target.service, &target.handler).map_err(|_| bad("path"))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    let headers = request.headers_mut();
    headers.reserve(6 + fixed.len() + choice.deployment.headers.len());
    let content_type = HeaderValue::from_static(choice.version.content_type());
    headers.insert(header::CONTENT_TYPE, content_type.clone());
    headers.insert(header::ACCEPT, content_type);
    let value = |text: String, what| HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).map_err(|_| bad(what));
    headers.insert(INVOCATION_ID, value(id.to_string(), "invocation id")?);
    if target.kind.is_keyed() {
        headers.insert(SERVICE_KEY, value(utf8_percent_encode(&target.key, KEY_SET).to_string(), "key")?);
    }
    if let Some(traceparent) = &invocation.traceparent {
        // It came from a header, and is of no use if it does not fit into one.
        if let Ok(traceparent) = HeaderValue::from_maybe_shared(traceparent.bytes().clone()) {
            headers.insert(TRACEPARENT, traceparent);
        }
    }
    for (name, value) in fixed {
        headers.insert(name.clone(), value.clone());
    }
    for (name, value) in &choice.deployment.headers {
        headers.insert(name.clone(), value.clone());
    }
    Ok(request)
}

/// Proves that the request is ours, behind all its other headers.
pub(super) fn sign(request: &mut Request<()>, identity: &Identity, invocation: &Invocation, now: TimestampMs) {
    let target = &invocation.target;
    let path = format!("/invoke/{}/{}", target.service, target.handler);
    let key = target.kind.is_keyed().then_some(&*target.key);
    identity.sign(request.headers_mut(), &path, key, now);
}

/// Judges the answer's head.
pub(super) fn check(head: &Parts, version: ProtocolVersion, now: TimestampMs) -> Result<(), Trouble> {
    if head.status.is_success() {
        return check_content_type(head, version);
    }
    let status = head.status;
    let answered = |code, what: &str| Trouble {
        status: status.as_u16().into(),
        ..Trouble::new(code, format!("the endpoint answered {status}{what}"))
    };
    Err(match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            answered(codes::RT0015, ": it does not speak the version that its deployment was registered with")
                .before_user_code()
        }
        StatusCode::PAYLOAD_TOO_LARGE => answered(codes::RT0019, "").before_user_code(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let wish = retry_after(head, now).map_or(Wish::None, Wish::SlowDown);
            Trouble { wish, ..answered(codes::RT0023, "").before_user_code() }
        }
        StatusCode::NOT_FOUND => answered(codes::RT0010, ": it does not serve this handler").before_user_code(),
        StatusCode::UNAUTHORIZED => {
            let what = ": it takes only requests with credentials (additional_headers of its deployment), or signed with \
                a key that it knows (request-identity-private-key-pem-file)";
            answered(codes::RT0010, what).before_user_code()
        }
        StatusCode::FORBIDDEN => answered(codes::RT0010, "").before_user_code(),
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => answered(codes::RT0010, ""),
        _ => answered(codes::RT0006, ""),
    })
}

fn check_content_type(head: &Parts, version: ProtocolVersion) -> Result<(), Trouble> {
    let found = head.headers.get(header::CONTENT_TYPE);
    if found.is_some_and(|found| found.as_bytes() == version.content_type().as_bytes()) {
        return Ok(());
    }
    let found = found.map_or("none".into(), |found| String::from_utf8_lossy(found.as_bytes()).into_owned());
    let what = format!("the answer's content-type is {found:.100}, not {}", version.content_type());
    Err(Trouble { status: head.status.as_u16().into(), ..Trouble::new(codes::RT0012, what) })
}

/// Seconds, or a date.
fn retry_after(head: &Parts, now: TimestampMs) -> Option<std::time::Duration> {
    let text = head.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let millis = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1000),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
            u64::try_from(date).ok()?.saturating_sub(now.0)
        }
    };
    Some(std::time::Duration::from_millis(millis.min(RETRY_AFTER_MAX_MS)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millrace_model::Code;

    use super::*;

    fn parts(status: u16, headers: &[(&'static str, &str)]) -> Parts {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    fn refused(status: u16, headers: &[(&'static str, &str)]) -> (Code, bool, Wish) {
        let trouble = check(&parts(status, headers), ProtocolVersion::V6, TimestampMs(0)).unwrap_err();
        (trouble.code, trouble.counts, trouble.wish)
    }

    #[test]
    fn every_status_has_its_code() {
        for (status, code, counts) in [
            (415, codes::RT0015, false),
            (413, codes::RT0019, false),
            (429, codes::RT0023, false),
            (503, codes::RT0023, false),
            (502, codes::RT0010, true),
            (504, codes::RT0010, true),
            (500, codes::RT0006, true),
            (404, codes::RT0010, false),
            (401, codes::RT0010, false),
            (302, codes::RT0006, true),
        ] {
            assert_eq!(refused(status, &[]), (code, counts, Wish::None), "{status}");
        }
    }

    #[test]
    fn the_content_type_must_be_the_same() {
        let check = |status, content_type: &[(&'static str, &str)]| {
            check(&parts(status, content_type), ProtocolVersion::V6, TimestampMs(0)).map_err(|t| t.code.id)
        };
        let same = ("content-type", "application/vnd.restate.invocation.v6");
        assert_eq!(check(200, &[same]), Ok(()));
        assert_eq!(check(204, &[same]), Ok(()));
        for other in ["application/vnd.restate.invocation.v6; charset=utf-8", "text/html", ""] {
            assert_eq!(check(200, &[("content-type", other)]), Err("RT0012"), "{other}");
        }
        assert_eq!(check(200, &[]), Err("RT0012"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let slow_down = |text| refused(429, &[("retry-after", text)]).2;
        assert_eq!(slow_down("2"), Wish::SlowDown(Duration::from_secs(2)));
        assert_eq!(slow_down("Thu, 01 Jan 1970 00:00:07 GMT"), Wish::SlowDown(Duration::from_secs(7)));
        assert_eq!(slow_down("99999999999999999999"), Wish::None);
        assert_eq!(slow_down("9999999999999"), Wish::SlowDown(Duration::from_millis(RETRY_AFTER_MAX_MS)));
        assert_eq!(slow_down("soon"), Wish::None);
    }
}
