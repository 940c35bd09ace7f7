//! Deployments that are functions.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::Api;

const ARN: &str = "arn:aws:lambda:eu-central-1:123456789012:function:f:1";
const OTHER: &str = "arn:aws:lambda:eu-central-1:123456789012:function:f:2";
const ROLE: &str = "arn:aws:iam::123456789012:role/invokers/caller";
const MANIFEST: &str = r#"{"protocolMode":"REQUEST_RESPONSE","minProtocolVersion":5,"maxProtocolVersion":7,
    "lambdaCompression":"zstd","services":[{"name":"Greeter","ty":"SERVICE","handlers":[{"name":"greet"}]}]}"#;
const PLAIN: &str = r#"{"protocolMode":"REQUEST_RESPONSE","minProtocolVersion":5,"maxProtocolVersion":7,
    "services":[{"name":"Greeter","ty":"SERVICE","handlers":[{"name":"greet"}]}]}"#;

fn address(deployment: &Value) -> [Option<&str>; 4] {
    ["uri", "arn", "assume_role_arn", "compression"].map(|name| deployment[name].as_str())
}

#[tokio::test]
async fn a_function_is_shown_by_its_name() {
    let api = Api::start().await;
    api.endpoint(ARN, MANIFEST);
    let (status, tried) = api.post("/deployments", json!({"arn": ARN, "dry_run": true})).await;
    assert_eq!(status, StatusCode::CREATED, "{tried}");
    let request = json!({"arn": ARN, "assume_role_arn": ROLE, "metadata": {"a": "b"}});
    let (status, made) = api.post("/deployments", request).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let path = format!("/deployments/{}", made["id"].as_str().unwrap());
    let shown = api.get(&path).await.1;
    assert_eq!(address(&shown), [None, Some(ARN), Some(ROLE), Some("Zstd")]);
    assert!(shown.get("protocol_type").is_none() && shown.get("http_version").is_none(), "{shown}");
    assert_eq!(shown["metadata"], json!({"a": "b"}));
    let (status, again) = api.post("/deployments", json!({"arn": ARN})).await;
    assert_eq!((status, &again["restate_code"]), (StatusCode::CONFLICT, &json!("META0004")));

    // A version after it, without the role and without what the first one could do.
    api.endpoint(OTHER, PLAIN);
    let (status, moved) = api.patch(&path, json!({"arn": OTHER})).await;
    assert_eq!(status, StatusCode::OK, "{moved}");
    assert_eq!(address(&moved), [None, Some(OTHER), None, None]);
    let (status, moved) = api.patch(&path, json!({"assume_role_arn": ROLE})).await;
    assert_eq!(status, StatusCode::OK, "{moved}");
    assert_eq!(address(&moved), [None, Some(OTHER), Some(ROLE), None]);
    let (_, same) = api.patch(&path, json!({})).await;
    assert_eq!(address(&same), address(&moved));

    // It may become a server, and a function again.
    api.endpoint("http://h/", MANIFEST);
    let (status, served) = api.patch(&path, json!({"uri": "http://h/"})).await;
    assert_eq!(status, StatusCode::OK, "{served}");
    assert_eq!(address(&served), [Some("http://h/"), None, None, None]);
    let (_, back) = api.patch(&path, json!({"arn": ARN})).await;
    assert_eq!(address(&back), [None, Some(ARN), None, Some("Zstd")]);
}

#[tokio::test]
async fn names_are_checked_before_anybody_is_asked() {
    let api = Api::start().await;
    api.endpoint(ARN, MANIFEST);
    for (request, field) in [
        (json!({"arn": "f"}), "arn"),
        (json!({"arn": "arn:aws:lambda:eu-central-1:123456789012:function:f"}), "arn"),
        (json!({"arn": ARN, "assume_role_arn": "admin"}), "assume_role_arn"),
        (json!({"arn": ARN, "assume_role_arn": "arn:aws:iam::123456789012:user/x"}), "assume_role_arn"),
    ] {
        let (status, body) = api.post("/deployments", request).await;
        let message = body["message"].as_str().unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(message.starts_with(&format!("The request field '{field}' is invalid.")), "{message}");
    }
    let (_, made) = api.post("/deployments", json!({"arn": ARN})).await;
    let path = format!("/deployments/{}", made["id"].as_str().unwrap());
    let (status, both) = api.patch(&path, json!({"arn": ARN, "uri": "http://h/"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{both}");
}
