use bytes::Bytes;
use http::StatusCode;
use millrace_model::{invocation::ObjectKey, state::StateVersion};
use serde_json::{Value, json};

use crate::support::{Api, COUNTER, GREETER};

const PATH: &str = "/services/Counter/state";

#[tokio::test]
async fn all_state_of_a_key_is_replaced() {
    let api = Api::start().await;
    api.register("http://counter/", COUNTER).await;
    let version = StateVersion::of([(&b"count"[..], &b"5"[..])]);
    for body in [
        json!({"object_key": "k", "new_state": {"count": [53], "text": "ä", "none": []}, "version": version.to_string()}),
        json!({"object_key": "", "new_state": {}}),
        json!({"object_key": "k", "new_state": {}, "version": null, "scope": null}),
    ] {
        assert_eq!(api.post(PATH, body.clone()).await, (StatusCode::ACCEPTED, Value::Null), "{body}");
    }
    // Of a service that is not there any more.
    let gone = json!({"object_key": "k", "new_state": {}});
    assert_eq!(api.post("/services/Gone/state", gone).await.0, StatusCode::ACCEPTED);
    let entries = [("count", "5"), ("none", ""), ("text", "ä")];
    let entries = entries.map(|(key, value)| (Bytes::from(key), Bytes::from(value))).to_vec();
    let object = |service: &'static str, key: &'static str| ObjectKey { service: service.into(), key: key.into() };
    let expected = [
        (object("Counter", "k"), Some(version), entries),
        (object("Counter", ""), None, vec![]),
        (object("Counter", "k"), None, vec![]),
        (object("Gone", "k"), None, vec![]),
    ];
    assert_eq!(*api.edits.lock().unwrap(), expected);
}

#[tokio::test]
async fn what_is_no_state() {
    let api = Api::start().await;
    api.register("http://greeter/", GREETER).await;
    let body = json!({"object_key": "k", "new_state": {}});
    let (status, answer) = api.post("/services/Greeter/state", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["message"], "Cannot modify state for service type Service");
    for (body, status) in [
        (json!({"object_key": "k"}), 422),
        (json!({"new_state": {}}), 422),
        (json!({"object_key": "k", "new_state": {"a": [256]}}), 422),
        (json!({"object_key": "k", "new_state": {"a": null}}), 422),
        (json!({"object_key": "k", "new_state": {"a": 1}}), 422),
        (json!({"object_key": "k", "new_state": {}, "version": "x"}), 400),
        (json!({"object_key": "k", "new_state": {}, "scope": "s"}), 400),
    ] {
        assert_eq!(api.post(PATH, body.clone()).await.0.as_u16(), status, "{body}");
    }
    // Larger than other bodies may be, within a limit of its own.
    let large = json!({"object_key": "k", "new_state": {"a": "x".repeat(5 << 20)}});
    assert_eq!(api.post(PATH, large).await.0, StatusCode::ACCEPTED);
    let too_large = json!({"object_key": "k", "new_state": {"a": "x".repeat(33 << 20)}});
    assert_eq!(api.post(PATH, too_large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(api.edits.lock().unwrap().len(), 1);
}
