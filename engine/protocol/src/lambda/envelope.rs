//! Requests and answers of HTTP as the payloads of function calls.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Headers of one answer.
const HEADERS_MAX: usize = 200;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    path: &'a str,
    http_method: &'a str,
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    body: String,
    is_base64_encoded: bool,
}

/// The payload for a request. There is always a body, as some SDKs take it for granted.
///
/// * `headers`: names in lower case; of two with one name the last counts.
pub fn encode_request<'a>(
    method: &'a str,
    path: &'a str,
    headers: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
    body: &[u8],
) -> Vec<u8> {
    let body = STANDARD.encode(body);
    let request = Request { path, http_method: method, headers: headers.collect(), body, is_base64_encoded: true };
    serde_json::to_vec(&request).expect("texts can be written")
}

/// What a function returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP, not checked.
    pub status: u16,
    /// In no order.
    pub headers: Vec<(String, String)>,
    /// Decoded from base64, not from its `content-encoding`.
    pub body: Bytes,
}

/// A function returned something else.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the function's payload is not the answer of an SDK: {0}")]
    Json(#[source] serde_json::Error),
    #[error("the body of the function's answer is not base64")]
    Base64,
    #[error("the function's answer has more than {HEADERS_MAX} headers")]
    Headers,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAnswer {
    status_code: u16,
    #[serde(default)]
    headers: Option<BTreeMap<String, HeaderText>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Libraries for headers write one that is repeated as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderText {
    One(String),
    Many(Vec<String>),
}

/// Reads what a function returned.
pub fn decode_answer(payload: &[u8]) -> Result<Answer, EnvelopeError> {
    let raw: RawAnswer = serde_json::from_slice(payload).map_err(EnvelopeError::Json)?;
    let mut headers = Vec::new();
    for (name, text) in raw.headers.unwrap_or_default() {
        match text {
            HeaderText::One(value) => headers.push((name, value)),
            HeaderText::Many(values) => headers.extend(values.into_iter().map(|value| (name.clone(), value))),
        }
        if headers.len() > HEADERS_MAX {
            return Err(EnvelopeError::Headers);
        }
    }
    let body = raw.body.unwrap_or_default();
    let body = match raw.is_base64_encoded {
        true => STANDARD.decode(body.as_bytes()).map_err(|_| EnvelopeError::Base64)?.into(),
        false => Bytes::from(body),
    };
    Ok(Answer { status: raw.status_code, headers, body })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_request_is_written_as_sdks_read_it() {
        let headers = [("accept", "a".into()), ("x-k", "\"ü\"".into())];
        let payload = encode_request("POST", "/invoke/S/h", headers.into_iter(), &[0, 255, 1]);
        let expected = json!({
            "path": "/invoke/S/h", "httpMethod": "POST", "headers": {"accept": "a", "x-k": "\"ü\""},
            "body": "AP8B", "isBase64Encoded": true,
        });
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), expected);
        let payload = encode_request("GET", "/discover", [].into_iter(), &[]);
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap()["body"], "");
    }

    fn decode(value: &Value) -> Result<Answer, String> {
        decode_answer(value.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn answers_come_in_several_forms() {
        let answer = |headers: &[(&str, &str)], body: &'static [u8]| Answer {
            status: 200,
            headers: headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            body: Bytes::from_static(body),
        };
        for (value, expected) in [
            (json!({"statusCode": 200}), answer(&[], b"")),
            (json!({"statusCode": 200, "headers": null, "body": null}), answer(&[], b"")),
            (json!({"statusCode": 200, "body": "a\n\u{fc}", "x": 1}), answer(&[], "a\nü".as_bytes())),
            (
                json!({"statusCode": 200, "body": "AP8B", "isBase64Encoded": true, "headers": {"a": "b"}}),
                answer(&[("a", "b")], &[0, 255, 1]),
            ),
            (json!({"statusCode": 200, "headers": {"a": ["b", "c"]}}), answer(&[("a", "b"), ("a", "c")], b"")),
        ] {
            assert_eq!(decode(&value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn other_payloads_are_named() {
        for (value, expected) in [
            (json!({}), "not the answer of an SDK"),
            (json!(null), "not the answer of an SDK"),
            (json!({"errorMessage": "boom", "errorType": "Error"}), "not the answer of an SDK"),
            (json!({"statusCode": 70000}), "not the answer of an SDK"),
            (json!({"statusCode": 200, "body": "%", "isBase64Encoded": true}), "not base64"),
            (json!({"statusCode": 200, "headers": {"a": vec!["b"; 300]}}), "more than 200 headers"),
        ] {
            let error = decode(&value).unwrap_err();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_answer(&payload);
        }
    }
}
