use http::{Method, StatusCode};
use millrace_admin::AdminConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Api, COUNTER};

#[tokio::test]
async fn versions_and_prefixes() {
    let api = Api::start().await;
    for prefix in ["", "/v2", "/v3", "/v4"] {
        assert_eq!(api.get(&format!("{prefix}/health")).await, (StatusCode::OK, Value::Null));
        let (status, version) = api.get(&format!("{prefix}/version")).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!((&version["min_admin_api_version"], &version["max_admin_api_version"]), (&json!(2), &json!(4)));
        assert_eq!(version["ingress_endpoint"], "http://127.0.0.1:8080/");
    }
    let old = "Unsupported Admin API version V1. This server supports versions between V2 and V4.";
    assert_eq!(api.get("/v1/services").await, (StatusCode::BAD_REQUEST, json!(old)));
    assert_eq!(api.get("/v5/services").await, (StatusCode::NOT_FOUND, Value::Null));
    let (_, health) = api.get("/cluster-health").await;
    assert_eq!(health, json!({"cluster_name": "localcluster", "metadata_cluster_health": {"members": [1]}}));
}

#[tokio::test]
async fn shapes_that_are_wrong() {
    let api = Api::start().await;
    assert_eq!(api.get("/nope").await, (StatusCode::NOT_FOUND, Value::Null));
    assert_eq!(api.get("/services/").await, (StatusCode::NOT_FOUND, Value::Null));
    let response = api.send(Method::POST, "/services", None, "").await;
    assert_eq!((response.status(), response.body().as_str()), (StatusCode::METHOD_NOT_ALLOWED, ""));
    assert!(response.headers()["allow"].to_str().unwrap().contains("GET"));
    assert_eq!(api.send(Method::HEAD, "/services", None, "").await.status(), StatusCode::OK);

    let text = "Invalid URL: Cannot parse `deployment` with value `nope`: bad format";
    assert_eq!(api.get("/deployments/nope").await, (StatusCode::BAD_REQUEST, json!(text)));
    let id = "dp_1".to_owned() + &"0".repeat(22);
    let text = "Failed to deserialize query string: force: provided string was not `true` or `false`";
    assert_eq!(api.delete(&format!("/deployments/{id}?force=maybe")).await, (StatusCode::BAD_REQUEST, json!(text)));

    let json_type = Some("application/json");
    let response = api.send(Method::POST, "/deployments", json_type, "{").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(response.body().starts_with("Failed to parse the request body as JSON: "), "{}", response.body());
    let response = api.send(Method::POST, "/deployments", json_type, "{}").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        response.body(),
        "Failed to deserialize the JSON body into the target type: \
            data did not match any variant of untagged enum RegisterDeploymentRequest"
    );
    let response = api.send(Method::POST, "/deployments", Some("text/plain"), "{}").await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(response.body(), "Expected request with `Content-Type: application/json`");
    let large = format!("\"{}\"", "x".repeat(5 << 20));
    let response = api.send(Method::POST, "/deployments", json_type, &large).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);

    let (status, body) = api.post("/query", json!({"query": "SELECT 1"})).await;
    assert_eq!((status, &body["code"]), (StatusCode::NOT_IMPLEMENTED, &json!("ADM0004")));
}

#[tokio::test]
async fn garbage_on_the_port_costs_a_connection_only() {
    let api = Api::start().await;
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0\0\0", b"GET\r\n\r\n", &[0xff; 9000]]
    {
        let mut stream = tokio::net::TcpStream::connect(api.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
    }
    assert_eq!(api.get("/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn more_than_the_limit_is_answered_at_once() {
    let api = Api::with(AdminConfig { concurrent_api_requests_limit: Some(0), ..AdminConfig::default() }).await;
    assert_eq!(api.get("/services").await, (StatusCode::TOO_MANY_REQUESTS, Value::Null));
}

#[tokio::test]
async fn services_and_handlers() {
    let api = Api::start().await;
    let id = api.register("http://127.0.0.1:9080/", COUNTER).await;
    let (status, service) = api.get("/v4/services/Counter").await;
    let expected = json!({
        "name": "Counter", "ty": "VirtualObject",
        "handlers": [
            {"name": "add", "ty": "Exclusive", "public": true, "input_description": "application/json",
             "output_description": "application/json", "retry_policy": {"max_attempts": null}},
            {"name": "hidden", "ty": "Shared", "public": false, "input_description": "*/*",
             "output_description": "application/json", "retry_policy": {"max_attempts": null}},
        ],
        "deployment_id": id, "revision": 1, "public": true,
        "idempotency_retention": "1d", "journal_retention": "1d", "inactivity_timeout": "1m", "abort_timeout": "1m",
        "enable_lazy_state": false,
        "retry_policy": {"initial_interval": "500ms", "exponentiation_factor": 2.0, "max_attempts": 70,
                         "max_interval": "1m", "on_max_attempts": "Pause"},
    });
    assert_eq!((status, service), (StatusCode::OK, expected.clone()));
    assert_eq!(api.get("/services").await.1, json!({"services": [expected]}));
    assert_eq!(api.get("/services/Counter/handlers").await.1, json!({"handlers": expected["handlers"]}));
    assert_eq!(api.get("/services/Counter/handlers/add").await.1, expected["handlers"][0]);

    let message = |body: Value| body["message"].as_str().unwrap().to_owned();
    let (status, body) = api.get("/services/Nope").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        body,
        json!({"message": "The requested service 'Nope' does not exist", "restate_code": null,
               "code": "ADM0002", "metadata": {}})
    );
    let (_, body) = api.get("/services/Counter/handlers/nope").await;
    assert_eq!(message(body), "The requested handler 'nope' on service 'Counter' does not exist");
    let (_, body) = api.get("/services/Nope/handlers/x").await;
    assert_eq!(message(body), "The requested handler 'x' on service 'Nope' does not exist");
    let (_, body) = api.get("/services/Nope/handlers").await;
    assert_eq!(message(body), "The requested service 'Nope' does not exist");

    let patch = json!({"public": false, "inactivity_timeout": "2 hours", "abort_timeout": null, "foo": 1});
    let (status, service) = api.patch("/services/Counter", patch).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&service["public"], &service["inactivity_timeout"]), (&json!(false), &json!("2h")));
    assert_eq!((&service["handlers"][0]["public"], &service["abort_timeout"]), (&json!(false), &json!("1m")));
    assert_eq!(api.patch("/services/Counter", json!([])).await.0, StatusCode::OK);
    let (status, _) = api.patch("/services/Counter", json!({"abort_timeout": "1 month"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, body) = api.patch("/services/Counter", json!({"workflow_completion_retention": "1d"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(message(body), "modifying retention time for service type VirtualObject is unsupported");
    let (status, body) = api.patch("/services/Nope", json!({"public": true})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(message(body), "not found in the schema registry: service with name 'Nope'");
}
