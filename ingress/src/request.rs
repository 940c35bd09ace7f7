//! From a request's head to what an invocation carries.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use millrace_model::{Text, journal::Header};

use crate::error::Error;

/// The first header that a handler sees: path and query as sent.
const INGRESS_PATH: &str = "x-restate-ingress-path";
/// Bodies up to this size share the allocation of the headers, so that the connection's read buffer is free again.
const SMALL_BODY: usize = 4096;

/// Headers in the handler's order, and the body; at most one copy of each byte.
pub fn input(uri: &Uri, headers: &HeaderMap, body: Bytes) -> Result<(Vec<Header>, Bytes), Error> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let small = if body.len() <= SMALL_BODY { body.len() } else { 0 };
    let guess = INGRESS_PATH.len() + path.len() + headers.len() * 48 + small;
    let mut bytes = Vec::with_capacity(guess);
    bytes.extend_from_slice(path.as_bytes());
    for (name, value) in forwarded(headers) {
        let value = ascii(name, value)?;
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes.extend_from_slice(&body[..small]);

    let mut rest = Bytes::from(bytes);
    let mut take = |len: usize| Text::from_utf8(rest.split_to(len)).expect("names and values are ASCII");
    let mut list = Vec::with_capacity(1 + headers.len());
    list.push(Header { name: Text::constant(INGRESS_PATH), value: take(path.len()) });
    for (name, value) in forwarded(headers) {
        list.push(Header { name: take(name.as_str().len()), value: take(value.len()) });
    }
    Ok((list, if small == body.len() { rest } else { body }))
}

/// Each name once, with its first value.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let mut last = None;
    // All values of a name come one after the other.
    headers.iter().filter(move |(name, _)| last.replace(*name) != Some(*name) && !is_dropped(name))
}

fn is_dropped(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "connection" | "idempotency-key" | "idempotency-expires" | INGRESS_PATH)
}

fn ascii<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, Error> {
    value.to_str().map_err(|_| Error::Header(name.as_str().to_owned()))
}

/// First value of a header, if it is there.
pub fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Error> {
    headers.get(name).map(|value| ascii(name, value)).transpose()
}

/// The W3C parent, if it is one that can be continued.
pub fn traceparent(headers: &HeaderMap) -> Option<Text> {
    let text = headers.get("traceparent")?.to_str().ok()?.trim();
    is_traceparent(text).then(|| text.into())
}

fn is_traceparent(text: &str) -> bool {
    let bytes = text.as_bytes();
    // 00-<32 hex>-<16 hex>-<2 hex>; later versions may append to it.
    if bytes.len() < 55 || (bytes.len() > 55 && (bytes.starts_with(b"00") || bytes[55] != b'-')) {
        return false;
    }
    let hex = |range: std::ops::Range<usize>| bytes[range].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |range: std::ops::Range<usize>| bytes[range].iter().all(|byte| *byte == b'0');
    [2, 35, 52].iter().all(|i| bytes[*i] == b'-')
        && [0..2, 3..35, 36..52, 53..55].into_iter().all(hex)
        && !zero(3..35)
        && !zero(36..52)
        && !bytes.starts_with(b"ff")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    #[test]
    fn headers_in_order_first_value_only() {
        let headers = map(&[
            ("host", b"x"),
            ("content-type", b"a/b"),
            ("x-a", b"1"),
            ("connection", b"close"),
            ("cookie", b"a=b"),
            ("x-a", b"2"),
            ("idempotency-key", b"k"),
            ("idempotency-expires", b"k"),
            ("x-restate-ingress-path", b"/forged"),
            ("x-restate-id", b"foo"),
            ("x-empty", b""),
        ]);
        for len in [0, 1, SMALL_BODY, SMALL_BODY + 1] {
            let body = Bytes::from(vec![7; len]);
            let (list, value) = input(&"/G/h?foo=bar&a=b".parse().unwrap(), &headers, body.clone()).unwrap();
            let list: Vec<_> = list.iter().map(|h| (h.name.as_str(), h.value.as_str())).collect();
            assert_eq!(
                list,
                [
                    ("x-restate-ingress-path", "/G/h?foo=bar&a=b"),
                    ("content-type", "a/b"),
                    ("x-a", "1"),
                    ("cookie", "a=b"),
                    ("x-restate-id", "foo"),
                    ("x-empty", ""),
                ]
            );
            assert_eq!(value, body);
        }
    }

    #[test]
    fn a_value_that_is_not_ascii_is_refused() {
        let headers = map(&[("x-a", b"\xc3\xa9")]);
        let Err(error) = input(&"/G/h".parse().unwrap(), &headers, Bytes::new()) else { panic!() };
        assert_eq!(error.status(), 400);
        assert!(error.to_string().starts_with("bad header x-a: "), "{error}");
    }

    #[test]
    fn traceparents() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (text, ok) in [
            (good, true),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-4bf9-00f0-01", false),
            ("", false),
        ] {
            assert_eq!(is_traceparent(text), ok, "{text}");
        }
    }
}
