//! Requests, and the commands that do the same.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

/// Longest answer that is read: far above what the tour asks for.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longest wait for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// A request: with a body it is a POST of JSON.
pub struct Call {
    pub url: String,
    pub body: Option<String>,
}

/// A piece of a command. A line may be broken before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub text: String,
    /// Whether it begins inside quotes: then a line before it is broken by a newline alone.
    pub quoted: bool,
}

impl Call {
    pub fn get(url: String) -> Self {
        Self { url, body: None }
    }

    /// Errors: never for what the tour sends.
    pub fn post(url: String, body: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self { url, body: Some(serde_json::to_string(body).context("the body is not JSON")?) })
    }

    /// The same with curl.
    pub fn curl(&self) -> Vec<Part> {
        let mut parts = vec![plain(&format!("curl {}", self.url))];
        if let Some(body) = &self.body {
            parts.push(plain("-H 'content-type: application/json'"));
            let body = format!("-d {}", quoted(body));
            // A comma in front of a name: whitespace there means nothing to JSON.
            for (number, text) in body.replace(",\"", ",\n\"").lines().enumerate() {
                parts.push(Part { text: text.to_owned(), quoted: number > 0 });
            }
        }
        parts
    }
}

/// A piece outside of quotes.
pub fn plain(text: &str) -> Part {
    Part { text: text.to_owned(), quoted: false }
}

/// As one word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Talks to the server like everybody else.
pub struct Http(Client<HttpConnector, Full<Bytes>>);

impl Http {
    pub fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// The answer's JSON. Errors: everything but success, with what the server said.
    pub async fn send(&self, call: &Call) -> anyhow::Result<Value> {
        let request = match &call.body {
            None => Request::get(&call.url).body(Full::default()),
            Some(body) => Request::builder()
                .method(Method::POST)
                .uri(&call.url)
                .header(CONTENT_TYPE, "application/json")
                .body(Full::from(body.clone())),
        };
        let request = request.with_context(|| format!("{} is no address", call.url))?;
        let answered = async {
            let response = self.0.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
            Ok::<_, anyhow::Error>((status, body))
        };
        let answered = timeout(ANSWER_WAIT, answered).await;
        let (status, body) = match answered {
            Ok(answered) => answered.with_context(|| format!("no answer from {}", call.url))?,
            Err(_) => bail!("no answer from {} within {ANSWER_WAIT:?}", call.url),
        };
        if !status.is_success() {
            bail!("{} answered {status}: {}", call.url, String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).with_context(|| format!("{} did not answer with JSON", call.url))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let text = |call: Call| call.curl().into_iter().map(|part| part.text).collect::<Vec<_>>();
        assert_eq!(text(Call::get("h:1/a".to_owned())), ["curl h:1/a"]);
        let call = Call::post("h:1/a".to_owned(), &json!({"b": "it's", "c": 1})).unwrap();
        let expected = ["curl h:1/a", "-H 'content-type: application/json'", r#"-d '{"b":"it'\''s","#, r#""c":1}'"#];
        assert_eq!(text(call), expected);
    }
}
