use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Api, COMPLETED, COUNTER, INBOXED, LOST, PAUSED, RUNNING, UNKNOWN, id};

#[tokio::test]
async fn operations_answer_as_the_spec_says() {
    let api = Api::start().await;
    let check = async |operation: &str, kind: u128, status: u16, message: &str| {
        let (found, body) = api.patch(&format!("/invocations/{}/{operation}", id(kind)), Value::Null).await;
        let text = body["message"].as_str().unwrap_or_default();
        let expected = message.replace("..", &id(kind).to_string());
        assert_eq!((found.as_u16(), text), (status, expected.as_str()), "{operation} {kind}");
    };
    let unknown = "The requested invocation '..' does not exist";
    for operation in ["kill", "cancel"] {
        check(operation, COMPLETED, 409, "The invocation '..' was already completed.").await;
        check(operation, INBOXED, 200, "").await;
        check(operation, UNKNOWN, 404, unknown).await;
    }
    check("kill", RUNNING, 200, "").await;
    check("cancel", RUNNING, 202, "").await;
    check("cancel", PAUSED, 202, "").await;
    for operation in ["purge", "purge-journal"] {
        check(operation, COMPLETED, 200, "").await;
        check(operation, RUNNING, 409, "The invocation '..' is not yet completed.").await;
    }
    let not_running = "The invocation '..' is not running, cannot be paused.";
    check("pause", COMPLETED, 409, not_running).await;
    check("pause", INBOXED, 409, not_running).await;
    check("pause", RUNNING, 202, "").await;
    check("pause", PAUSED, 200, "").await;
    check("resume", COMPLETED, 409, "The invocation '..' is completed, cannot be resumed.").await;
    check("resume", INBOXED, 425, "The invocation '..' is either inboxed or scheduled, cannot be resumed.").await;
    check("resume", PAUSED, 200, "").await;
    check("resume?deployment=keep", PAUSED, 200, "").await;
    let garbage = "The query parameter 'deployment' is invalid. Reason: bad format";
    check("resume?deployment=garbage", PAUSED, 400, garbage).await;
    check("resume?deployment=latest", PAUSED, 501, "resuming on another deployment is not offered by this release")
        .await;
    check("restart-as-new", COMPLETED, 501, "restart-as-new is not offered by this release").await;
    check("twist", RUNNING, 404, "").await;
    check("kill", LOST, 503, "the outcome is not known").await;
    let (_, body) = api.patch(&format!("/invocations/{}/kill", id(LOST)), Value::Null).await;
    assert_eq!(body["metadata"], json!({"applied": "unknown"}));
}

#[tokio::test]
async fn ids_and_modes() {
    let api = Api::start().await;
    let (status, body) = api.patch("/invocations/xyz/kill", Value::Null).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["message"], "The request field 'invocation_id' is invalid. Reason: bad format");
    for (query, kind, status) in
        [("", RUNNING, 202), ("?mode=Kill", UNKNOWN, 202), ("?mode=purge", RUNNING, 202), ("?mode=twist", RUNNING, 400)]
    {
        let (found, _) = api.delete(&format!("/invocations/{}{query}", id(kind))).await;
        assert_eq!(found.as_u16(), status, "{query}");
    }
    assert_eq!(api.delete("/invocations/xyz").await.0, StatusCode::BAD_REQUEST);
    let (status, body) = api.get(&format!("/invocations/{}", id(UNKNOWN))).await;
    assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("ADM0002")));
}

#[tokio::test]
async fn batches() {
    let api = Api::start().await;
    let path = "/internal/invocations_batch_operations/resume";
    let ids = [id(PAUSED), id(COMPLETED), id(UNKNOWN)].map(|id| id.to_string());
    let (status, body) = api.post(path, json!({"invocation_ids": ids})).await;
    let expected = json!({
        "succeeded": [ids[0]],
        "failed": [
            {"invocation_id": ids[1], "error": format!("Invocation '{}' is completed, cannot be resumed", ids[1])},
            {"invocation_id": ids[2], "error": format!("Invocation '{}' not found", ids[2])},
        ],
    });
    assert_eq!((status, body), (StatusCode::OK, expected));
    let many = vec![ids[0].clone(); 1001];
    let (status, body) = api.post(path, json!({"invocation_ids": many})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["message"], "Batch size 1001 exceeds maximum allowed size of 1000");
    let malformed = json!({"invocation_ids": ["xyz"]});
    assert_eq!(api.post(path, malformed).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn keys() {
    let api = Api::start().await;
    api.register("http://127.0.0.1:9080/", COUNTER).await;
    let (status, body) = api.get("/services/Counter/keys/a%2Fb").await;
    assert_eq!((status, &body["key"], &body["state"]), (StatusCode::OK, &json!("a/b"), &json!("free")));
    assert_eq!(api.get("/services/Nope/keys/a").await.0, StatusCode::NOT_FOUND);
}
