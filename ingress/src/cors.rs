//! Cross-origin headers: every origin is welcome, none is remembered.

use http::{
    HeaderMap, HeaderValue, Response,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

const VARY_BY: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");

/// Answers a preflight request.
pub fn preflight<B: Default>(request: &HeaderMap) -> Response<B> {
    let mut response = Response::new(B::default());
    for (asked, allowed) in [
        (ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
        (ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(value) = request.get(asked) {
            response.headers_mut().insert(allowed, value.clone());
        }
    }
    response
}

/// Adds to any answer what a browser wants to see; `origin` is the request's.
pub fn apply(origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    headers.insert(VARY, VARY_BY);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// The request's origin, if a browser sent it.
pub fn origin(request: &HeaderMap) -> Option<HeaderValue> {
    request.get(ORIGIN).cloned()
}
