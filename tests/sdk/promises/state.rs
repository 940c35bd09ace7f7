//! Objects with state.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::stage::Stage;

pub async fn state_is_kept_per_key(stage: Arc<Stage>) {
    let (a, b) = (stage.key(), stage.key());
    let server = &stage.server;
    assert_eq!(server.query(&format!("Counter/{a}/get")).await.unwrap(), 0);
    assert_eq!(server.query(&format!("Counter/{a}/keys")).await.unwrap(), json!([]));
    assert_eq!(server.call(&format!("Counter/{a}/add"), json!(3)).await.unwrap(), 3);
    assert_eq!(server.call(&format!("Counter/{b}/add"), json!(40)).await.unwrap(), 40);
    assert_eq!(server.call(&format!("Counter/{a}/add"), json!(-1)).await.unwrap(), 2);
    assert_eq!(server.query(&format!("Counter/{b}/get")).await.unwrap(), 40);
    for seq in [7, 5] {
        server.call(&format!("Counter/{a}/appendSeq"), json!({"seq": seq})).await.unwrap();
    }
    assert_eq!(server.query(&format!("Counter/{a}/keys")).await.unwrap(), json!(["count", "seqs"]));
    assert_eq!(server.query(&format!("Counter/{a}/seqs")).await.unwrap(), json!([7, 5]));
    let cleared = server.ingress.post_empty(&format!("/Counter/{a}/clear")).await.unwrap();
    assert_eq!(cleared.status, 200, "{}", cleared.text());
    assert_eq!(server.query(&format!("Counter/{a}/keys")).await.unwrap(), json!([]));
    assert_eq!(server.query(&format!("Counter/{b}/get")).await.unwrap(), 40);
}

pub async fn any_text_is_a_key(stage: Arc<Stage>) {
    // Nothing at all; a slash, a blank and a letter beyond ASCII; one that looks like another segment.
    for (n, key) in ["", "a%2Fb%20%C3%A9", "send", "%E2%82%AC%00x"].into_iter().enumerate() {
        let n = n as i64 + 1;
        assert_eq!(stage.server.call(&format!("Counter/{key}/add"), json!(n)).await.unwrap(), n, "{key:?}");
        assert_eq!(stage.server.query(&format!("Counter/{key}/get")).await.unwrap(), n, "{key:?}");
    }
}

pub async fn a_large_value_is_kept(stage: Arc<Stage>) {
    let key = stage.key();
    let body: Vec<u8> = (0..1_500_000u32).map(|n| (n.wrapping_mul(40_503) >> 8) as u8).collect();
    let headers = [("content-type", "application/octet-stream"), ("x-of", "record")];
    let path = format!("/Events/{key}/onRaw");
    let answer = stage.server.ingress.request(Method::POST, &path, &headers, body.clone()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let kept = stage.server.ingress.post_empty(&format!("/Events/{key}/raw")).await.unwrap();
    assert!(kept.body == body, "{} bytes came back as {}", body.len(), kept.body.len());
    let headers = stage.server.query(&format!("Events/{key}/headers")).await.unwrap();
    assert_eq!(headers["x-of"], "record");
}

pub async fn one_at_a_time_per_key_however_often_it_fails(stage: Arc<Stage>) {
    let key = stage.key();
    let path = format!("Counter/{key}/flakyAdd");
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (stage, path) = (Arc::clone(&stage), path.clone());
            tokio::spawn(async move { stage.server.call(&path, json!({"n": 1, "failPercent": 15})).await })
        })
        .collect();
    let mut sums = Vec::new();
    for call in calls {
        sums.push(call.await.unwrap().unwrap());
    }
    sums.sort_by_key(Value::as_i64);
    // Each saw the work of the one before it, and nobody's twice.
    assert_eq!(sums, (1..=8).map(Value::from).collect::<Vec<_>>());
}

pub async fn lists_grow(stage: Arc<Stage>) {
    let path = format!("ListObject/{}", stage.key());
    assert_eq!(stage.server.query(&format!("{path}/get")).await.unwrap(), json!([]));
    for (n, text) in ["", "ä\u{1f600}", "\n"].into_iter().enumerate() {
        assert_eq!(stage.server.call(&format!("{path}/append"), json!(text)).await.unwrap(), n + 1);
    }
    assert_eq!(stage.server.query(&format!("{path}/clear")).await.unwrap(), json!(["", "ä\u{1f600}", "\n"]));
    assert_eq!(stage.server.query(&format!("{path}/get")).await.unwrap(), json!([]));
}

pub async fn every_access_to_state_works_eager_and_lazy(stage: Arc<Stage>) {
    let server = &stage.server;
    for service in ["MapObject", "LazyMap"] {
        let path = format!("{service}/{}", stage.key());
        assert_eq!(server.query(&format!("{path}/keys")).await.unwrap(), json!([]), "{service}");
        assert_eq!(server.call(&format!("{path}/get"), json!("a")).await.unwrap(), Value::Null, "{service}");
        stage.tell(&format!("{path}/set"), json!({"name": "ü ", "value": ""})).await;
        let many: Vec<_> = (0..5).map(|n| json!({"name": format!("n{n}"), "value": n.to_string()})).collect();
        stage.tell(&format!("{path}/setMany"), json!(many)).await;
        for read in ["get", "getExclusive"] {
            assert_eq!(server.call(&format!("{path}/{read}"), json!("n3")).await.unwrap(), "3", "{service}");
            assert_eq!(server.call(&format!("{path}/{read}"), json!("ü ")).await.unwrap(), "", "{service}");
            assert_eq!(server.call(&format!("{path}/{read}"), json!("no")).await.unwrap(), Value::Null, "{service}");
        }
        stage.tell(&format!("{path}/clear"), json!("n3")).await;
        let entries = json!({"n0": "0", "n1": "1", "n2": "2", "n4": "4", "ü ": ""});
        assert_eq!(server.query(&format!("{path}/entries")).await.unwrap(), entries, "{service}");
        let names = json!(["n0", "n1", "n2", "n4", "ü "]);
        assert_eq!(server.query(&format!("{path}/clearAll")).await.unwrap(), names, "{service}");
        assert_eq!(server.query(&format!("{path}/keys")).await.unwrap(), json!([]), "{service}");
    }
}

pub async fn a_handler_sees_its_own_changes_eager_and_lazy(stage: Arc<Stage>) {
    for service in ["MapObject", "LazyMap"] {
        let path = format!("{service}/{}", stage.key());
        let churn = async || stage.server.call(&format!("{path}/churn"), json!("x")).await;
        assert_eq!(churn().await.unwrap(), json!([null, "1", null, null, []]), "{service}");
        assert_eq!(churn().await.unwrap(), json!(["3", "1", null, null, []]), "{service}");
        assert_eq!(stage.server.query(&format!("{path}/entries")).await.unwrap(), json!({"x": "3"}), "{service}");
    }
}

/// Also while it is suspended. Shared handlers go on, and see what is committed.
pub async fn a_key_stays_locked_while_its_handler_sleeps(stage: Arc<Stage>) {
    let key = stage.key();
    let path = format!("Interpreter/{key}/run");
    let program = json!([
        {"op": "set", "name": "a", "value": 1},
        {"op": "sleep", "ms": 1500},
        {"op": "add", "name": "a", "value": 1},
    ]);
    let first = stage.begin(&path, program);
    stage.until(&format!("Interpreter/{key}/state"), json!({"a": 1})).await;
    let second = stage.begin(&path, json!([{"op": "get", "name": "a"}]));
    assert_eq!(second.await.unwrap().unwrap(), 2);
    assert_eq!(first.await.unwrap().unwrap(), 0);
}
