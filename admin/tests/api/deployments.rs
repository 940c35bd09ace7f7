use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Api, COUNTER, GREETER};

const URI: &str = "http://127.0.0.1:9080/";

fn fault(body: &Value) -> (&str, Option<&str>) {
    (body["message"].as_str().unwrap(), body["restate_code"].as_str())
}

#[tokio::test]
async fn life_of_a_deployment() {
    let api = Api::start().await;
    api.endpoint(URI, GREETER);
    // Without its slash, as people write it.
    let request = json!({"uri": "http://127.0.0.1:9080", "foo": 1, "additional_headers": {"X-Token": "t"}});
    let response = api.send(Method::POST, "/v4/deployments", Some("application/json"), &request.to_string()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let body: Value = serde_json::from_str(response.body()).unwrap();
    let id = body["id"].as_str().unwrap();
    assert_eq!(response.headers()["location"], format!("deployments/{id}").as_str());
    assert_eq!((&body["min_protocol_version"], &body["max_protocol_version"]), (&json!(5), &json!(7)));
    assert_eq!(body["services"][0]["name"], "Greeter");

    let listed = json!({"deployments": [{
        "id": id, "uri": URI, "protocol_type": "BidiStream", "http_version": "HTTP/2.0",
        "additional_headers": {"x-token": "***"},
        "created_at": "2026-11-22T16:36:14.574000000Z", "min_protocol_version": 5, "max_protocol_version": 7,
        "sdk_version": "restate-sdk-typescript/1.17.2", "services": [{"name": "Greeter", "revision": 1}],
    }]});
    assert_eq!(api.get("/deployments").await, (StatusCode::OK, listed));
    let (_, detailed) = api.get(&format!("/deployments/{id}")).await;
    assert_eq!(detailed["services"][0]["retry_policy"]["max_attempts"], 70);

    // Again: for the published client that is done already, for the documentation a mistake; nobody is asked.
    api.endpoints.lock().unwrap().clear();
    for version in ["/v3", "/v4"] {
        let (status, again) = api.post(&format!("{version}/deployments"), json!({"uri": URI})).await;
        assert_eq!((status, &again["id"]), (StatusCode::OK, &json!(id)));
    }
    for request in [json!({"uri": URI}), json!({"uri": URI, "force": false, "dry_run": true})] {
        let (status, again) = api.post("/deployments", request).await;
        assert_eq!((status, fault(&again).1), (StatusCode::CONFLICT, Some("META0004")));
    }
    let (status, again) = api.post("/v2/deployments", json!({"uri": URI, "force": false})).await;
    assert_eq!((status, fault(&again).1), (StatusCode::CONFLICT, Some("META0004")));
    api.endpoint(URI, GREETER);
    let (status, forced) = api.post("/deployments", json!({"uri": URI, "force": true})).await;
    assert_eq!((status, &forced["id"]), (StatusCode::OK, &json!(id)));
    assert_eq!(forced["services"][0]["revision"], 2);
    let (status, _) = api.post("/v2/deployments", json!({"uri": URI})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(api.get("/services/Greeter").await.1["revision"], 3);

    assert_eq!(api.delete(&format!("/deployments/{id}")).await, (StatusCode::NOT_IMPLEMENTED, Value::Null));
    assert_eq!(api.delete(&format!("/deployments/{id}?force=true")).await, (StatusCode::ACCEPTED, Value::Null));
    assert_eq!(api.get("/services/Greeter").await.0, StatusCode::NOT_FOUND);
    let (status, body) = api.get(&format!("/deployments/{id}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(fault(&body), (format!("The requested deployment '{id}' does not exist").as_str(), None));
    let (_, body) = api.delete(&format!("/deployments/{id}?force=true")).await;
    assert_eq!(fault(&body).0, format!("not found in the schema registry: deployment with id '{id}'"));
}

#[tokio::test]
async fn a_drained_deployment_goes_without_force() {
    let api = Api::start().await;
    let old = api.register("http://old/", GREETER).await;
    let new = api.register("http://new/", GREETER).await;
    assert_eq!(api.delete(&format!("/deployments/{old}")).await.0, StatusCode::ACCEPTED);
    assert_eq!(api.delete(&format!("/deployments/{new}")).await.0, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn a_dry_run_registers_nothing() {
    let api = Api::start().await;
    api.endpoint(URI, GREETER);
    let (status, body) = api.post("/deployments", json!({"uri": URI, "dry_run": true})).await;
    assert_eq!((status, &body["services"][0]["revision"]), (StatusCode::CREATED, &json!(1)));
    assert_eq!(api.get("/deployments").await.1, json!({"deployments": []}));
}

#[tokio::test]
async fn faults_are_those_of_the_spec() {
    let api = Api::start().await;
    api.register(URI, GREETER).await;
    let (status, body) = api.post("/deployments", json!({"uri": "http://127.0.0.1:1/"})).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        fault(&body),
        ("[META0003] error when calling 'http://127.0.0.1:1/': connection refused", Some("META0003"))
    );

    const OTHER_TYPE: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,
        "services":[{"name":"Greeter","ty":"VIRTUAL_OBJECT","handlers":[]}]}"#;
    api.endpoint("http://object/", OTHER_TYPE);
    let (status, body) = api.post("/deployments", json!({"uri": "http://object/"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let message = "[META0006] detected a new service revision for 'Greeter' changing the service type from previous \
        revision. Service type cannot be changed across revisions.";
    assert_eq!(fault(&body), (message, Some("META0006")));
    let (status, _) = api.post("/deployments", json!({"uri": "http://object/", "breaking": true})).await;
    assert_eq!(status, StatusCode::CREATED);

    const RESERVED: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,
        "services":[{"name":"restate","ty":"SERVICE","handlers":[]}]}"#;
    api.endpoint("http://reserved/", RESERVED);
    let (status, body) = api.post("/deployments", json!({"uri": "http://reserved/"})).await;
    assert_eq!((status, fault(&body).1), (StatusCode::BAD_REQUEST, Some("META0005")));

    let (status, body) = api.post("/deployments", json!({"uri": "127.0.0.1:28500"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = "The request field 'uri' is invalid. Reason: The provided uri 127.0.0.1:28500 is not absolute, \
        only absolute URIs can be used.";
    assert_eq!(fault(&body), (message, None));
    let arn = "arn:aws:lambda:eu-central-1:123456789012:function:name";
    let (status, body) = api.post("/deployments", json!({"arn": arn})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(fault(&body).0.starts_with("The request field 'arn' is invalid. Reason: A qualified ARN needs"), "{body}");
    let bad_header = json!({"uri": URI, "additional_headers": {"bad header": "x"}});
    assert_eq!(api.post("/deployments", bad_header).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

const TWO_HANDLERS: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[
    {"name":"Greeter","ty":"SERVICE","handlers":[{"name":"greet"},{"name":"wave"}]}]}"#;
const OTHER_VERSIONS: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":6,
    "services":[{"name":"Greeter","ty":"SERVICE","handlers":[{"name":"greet"},{"name":"wave"}]}]}"#;

#[tokio::test]
async fn a_new_revision_keeps_the_handlers() {
    let api = Api::start().await;
    api.register(URI, TWO_HANDLERS).await;
    api.endpoint("http://less/", GREETER);
    let (status, body) = api.post("/deployments", json!({"uri": "http://less/"})).await;
    assert_eq!((status, fault(&body).1), (StatusCode::CONFLICT, Some("META0006")));
    assert!(fault(&body).0.contains("'wave'"), "{body}");
    for request in [json!({"uri": "http://less/", "breaking": true}), json!({"uri": "http://less/", "force": true})] {
        assert!(api.post("/deployments", request).await.0.is_success());
    }
    let (status, _) = api.get("/services/Greeter/handlers/wave").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_endpoint_is_patched_with_what_is_alike() {
    let api = Api::start().await;
    let id = api.register(URI, TWO_HANDLERS).await;
    let path = format!("/deployments/{id}");
    let to = json!({"uri": "http://patched/"});
    for (found, message) in [
        (GREETER, "the service 'Greeter' lacks the handler 'wave'"),
        (COUNTER, "the service 'Greeter' is missing"),
        (OTHER_VERSIONS, "versions 5 to 6"),
    ] {
        api.endpoint("http://patched/", found);
        let (status, body) = api.put(&path, to.clone()).await;
        assert_eq!((status, fault(&body).1), (StatusCode::BAD_REQUEST, Some("META0016")));
        assert!(fault(&body).0.contains(message), "{body}");
    }
    assert_eq!(api.get(&path).await.1["uri"], URI);
    api.endpoint("http://patched/", TWO_HANDLERS);
    let mut dry = to.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(api.put(&path, dry).await.1["uri"], "http://patched/");
    assert_eq!(api.get(&path).await.1["uri"], URI);
    let (status, body) = api.put(&format!("/v2{path}"), to.clone()).await;
    assert_eq!(
        (status, &body["uri"], &body["services"][0]["revision"]),
        (StatusCode::OK, &json!("http://patched/"), &json!(1))
    );

    // Two may share an address for a while; then nobody knows which one force means.
    let other = api.register(URI, TWO_HANDLERS).await;
    assert_eq!(api.put(&format!("/deployments/{other}"), to.clone()).await.0, StatusCode::OK);
    let (status, body) = api.post("/deployments", json!({"uri": "http://patched/", "force": true})).await;
    assert_eq!((status, fault(&body).1), (StatusCode::CONFLICT, Some("META0017")));
    assert_eq!(api.delete(&format!("{path}?force=true")).await.0, StatusCode::ACCEPTED);
    assert_eq!(api.post("/deployments", json!({"uri": "http://patched/", "force": true})).await.0, StatusCode::OK);

    let (status, body) = api.put(&format!("/v4/deployments/{other}"), to).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(fault(&body).0, "PUT deployment is deprecated, use PATCH instead");
}

#[tokio::test]
async fn an_update_in_place() {
    let api = Api::start().await;
    let id = api.register(URI, GREETER).await;
    let path = format!("/deployments/{id}");
    let moved = json!({"uri": "http://elsewhere/", "additional_headers": {"a": "b"}});
    assert_eq!(api.patch(&path, moved.clone()).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(api.get(&path).await.1["uri"], URI);
    api.endpoint("http://elsewhere/", COUNTER);
    let (status, body) = api.patch(&path, moved.clone()).await;
    assert_eq!((status, fault(&body).1), (StatusCode::BAD_REQUEST, Some("META0016")));
    // More than what was there is not taken either, unless told so.
    api.endpoint("http://elsewhere/", TWO_HANDLERS);
    let (status, body) = api.patch(&path, moved.clone()).await;
    assert_eq!((status, &body["uri"]), (StatusCode::OK, &json!("http://elsewhere/")));
    let handlers = body["services"][0]["handlers"].as_array().unwrap().len();
    assert_eq!((handlers, &body["additional_headers"]), (1, &json!({"a": "***"})));
    api.endpoint("http://elsewhere/", COUNTER);
    let (_, body) = api.patch(&path, json!({"overwrite": true})).await;
    assert_eq!(body["services"][0]["name"], "Counter");
}
