use http::StatusCode;
use millrace_admin::Operation;
use millrace_model::DeploymentId;
use serde_json::{Value, json};

use crate::support::{
    Api, COMPLETED, COUNTER, GREETER, INBOXED, LOST, PAUSED, RUN, RUNNING, UNKNOWN, WITHOUT_JOURNAL, id,
};

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
    check("twist", RUNNING, 404, "").await;
    check("kill", LOST, 503, "the outcome is not known").await;
    let (_, body) = api.patch(&format!("/invocations/{}/kill", id(LOST)), Value::Null).await;
    assert_eq!(body["metadata"], json!({"applied": "unknown"}));
}

#[tokio::test]
async fn another_deployment() {
    let api = Api::start().await;
    let patch =
        async |path: &str, kind: u128| api.patch(&format!("/invocations/{}/{path}", id(kind)), Value::Null).await;
    let asked = |expected: Option<DeploymentId>| {
        let last = api.asked.lock().unwrap().pop();
        assert_eq!(last, Some(Operation::Resume { deployment: expected }));
        assert!(api.asked.lock().unwrap().is_empty());
    };
    let missing = format!("The given deployment was not found when trying to resume the invocation '{}'.", id(PAUSED));
    for choice in ["latest", "dp_10000000000000000000000"] {
        let (status, body) = patch(&format!("resume?deployment={choice}"), PAUSED).await;
        assert_eq!((status, &body["message"]), (StatusCode::BAD_REQUEST, &json!(missing)), "{choice}");
    }
    let greeter: DeploymentId = api.register("http://greeter/", GREETER).await.parse().unwrap();
    assert_eq!(patch("resume?deployment=latest", PAUSED).await.0, StatusCode::OK);
    asked(Some(greeter));
    assert_eq!(patch(&format!("resume?deployment={greeter}"), PAUSED).await.0, StatusCode::OK);
    asked(Some(greeter));
    for path in ["resume", "resume?deployment=Keep"] {
        assert_eq!(patch(path, PAUSED).await.0, StatusCode::OK);
        asked(None);
    }
    let (status, body) = patch("resume?deployment=latest", RUNNING).await;
    let message = format!(
        "The invocation '{}' is still running or the deployment id is not pinned yet, deployment id cannot be changed.",
        id(RUNNING)
    );
    assert_eq!((status, &body["message"]), (StatusCode::CONFLICT, &json!(message)));
    asked(Some(greeter));

    // It has to serve the handler, and to speak what the journal is in.
    let counter = api.register("http://counter/", COUNTER).await;
    let (status, body) = patch(&format!("resume?deployment={counter}"), PAUSED).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["message"].as_str().unwrap().ends_with("which does not serve Greeter/greet."), "{body}");
    const NEWER: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":7,"maxProtocolVersion":7,"services":[
        {"name":"Greeter","ty":"SERVICE","handlers":[{"name":"greet"}]}]}"#;
    let newer = api.register("http://newer/", NEWER).await;
    for choice in ["latest", newer.as_str()] {
        let (status, body) = patch(&format!("resume?deployment={choice}"), PAUSED).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body["message"].as_str().unwrap().contains("is pinned to service protocol version 6"), "{body}");
    }
    assert_eq!(patch("resume?deployment=latest", UNKNOWN).await.0, StatusCode::NOT_FOUND);
    assert!(api.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn restarting_as_new() {
    let api = Api::start().await;
    let restart = async |query: &str, kind: u128| {
        let path = format!("/invocations/{}/restart-as-new{query}", id(kind));
        let (status, body) = api.patch(&path, Value::Null).await;
        (status.as_u16(), body["message"].as_str().unwrap_or_default().replace(&id(kind).to_string(), ".."))
    };
    let (status, body) = api.patch(&format!("/invocations/{}/restart-as-new", id(COMPLETED)), Value::Null).await;
    assert_eq!((status, body), (StatusCode::OK, json!({"new_invocation_id": id(100).to_string()})));
    for (kind, status, message) in [
        (RUNNING, 409, "The invocation '..' is still running."),
        (PAUSED, 409, "The invocation '..' is still running."),
        (INBOXED, 425, "The invocation '..' cannot be restarted because it's not running yet."),
        (UNKNOWN, 404, "The requested invocation '..' does not exist"),
        (RUN, 422, "Restarting the invocation '..' is not supported. Workflows cannot be restarted."),
    ] {
        assert_eq!(restart("", kind).await, (status, message.to_owned()));
    }
    let (status, message) = restart("", WITHOUT_JOURNAL).await;
    assert_eq!(status, 410);
    assert!(message.starts_with("The invocation '..' cannot be restarted because the input is not available."));
    let unresolved = "The prefix of the journal '..' up to 'from' (included) contains some Commands without respective \
        Completions.";
    assert_eq!(restart("?from=99", COMPLETED).await, (400, unresolved.to_owned()));
    assert_eq!(restart("?from=x", COMPLETED).await.0, 400);
    assert_eq!(restart("?deployment=x", COMPLETED).await.0, 400);

    let pinned = Some(DeploymentId(1));
    let greeter: DeploymentId = api.register("http://greeter/", GREETER).await.parse().unwrap();
    api.asked.lock().unwrap().clear();
    for (query, from, deployment) in [
        // A new invocation is pinned when it runs, unless there is a wish.
        ("", 0, None),
        ("?deployment=latest", 0, None),
        ("?deployment=keep", 0, pinned),
        (&format!("?deployment={greeter}"), 0, Some(greeter)),
        // What has a past needs a place from the start.
        ("?from=3", 3, Some(greeter)),
        ("?from=3&deployment=latest", 3, Some(greeter)),
        ("?from=3&deployment=keep", 3, pinned),
    ] {
        assert_eq!(restart(query, COMPLETED).await.0, 200, "{query}");
        let last = api.asked.lock().unwrap().pop();
        assert_eq!(last, Some(Operation::RestartAsNew { from, deployment }), "{query}");
    }
    // The newest code cannot go on with it: it stays where it was.
    api.register("http://counter/", COUNTER).await;
    api.delete(&format!("/deployments/{greeter}?force=true")).await;
    assert_eq!(restart("?from=3", COMPLETED).await.0, 200);
    let last = api.asked.lock().unwrap().pop();
    assert_eq!(last, Some(Operation::RestartAsNew { from: 3, deployment: None }));
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
    let (status, body) =
        api.post("/internal/invocations_batch_operations/restart-as-new", json!({"invocation_ids": ids})).await;
    let expected = json!({
        "succeeded": [{"old_invocation_id": ids[1], "new_invocation_id": id(100).to_string()}],
        "failed": [
            {"invocation_id": ids[0], "error": format!("Invocation '{}' is still running", ids[0])},
            {"invocation_id": ids[2], "error": format!("Invocation '{}' not found", ids[2])},
        ],
    });
    assert_eq!((status, body), (StatusCode::OK, expected));
    let (status, body) = api.post(path, json!({"invocation_ids": [ids[0]], "deployment": "Latest"})).await;
    let error = format!("The given deployment was not found when trying to resume the invocation '{}'", ids[0]);
    let expected = json!({"succeeded": [], "failed": [{"invocation_id": ids[0], "error": error}]});
    assert_eq!((status, body), (StatusCode::OK, expected));
    assert_eq!(api.post(path, json!({"invocation_ids": [], "deployment": "x"})).await.0, StatusCode::BAD_REQUEST);
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
