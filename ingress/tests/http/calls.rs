//! Calls and sends that are taken.

use http::Version;
use millrace_model::{
    PartitionKey, TimestampMs,
    command::Known,
    invocation::{HandlerKind, Source},
    key,
};

use crate::support::{DAY, Door, NOW};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_call_answers_with_the_result_over_both_versions() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let door = Door::open().await;
        let reply = door.send(version, door.request("POST", "/Greeter/greet?a=b", &[JSON], "\"Ann\"")).await;
        assert_eq!((reply.status, reply.text()), (200, "\"Ann\""));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let (made, known) = door.engine.only();
        assert_eq!(reply.header("x-restate-id"), Some(made.id.to_string().as_str()));
        assert_eq!(reply.header("idempotency-expires"), None);
        assert_eq!((&*made.target.service, &*made.target.handler, &*made.target.key), ("Greeter", "greet", ""));
        assert_eq!((made.target.kind, known, made.source), (HandlerKind::Plain, Known::Fresh, Source::Ingress));
        assert_eq!((made.created_at, made.execute_at), (TimestampMs(NOW), None));
        assert_eq!((made.completion_retention, made.journal_retention), (0, 3 * DAY));
        assert_eq!(&made.value[..], b"\"Ann\"");
        let first = &made.headers[0];
        assert_eq!((&*first.name, &*first.value), ("x-restate-ingress-path", "/Greeter/greet?a=b"));
        assert!(made.headers.iter().all(|header| &*header.name != "host"));
    }
}

#[tokio::test]
async fn keys_and_forms_of_paths() {
    let door = Door::open().await;
    for path in ["/Counter/k%2F1/add", "/restate/call/Counter/k%2F1/add/", "/Counter/k%2F1/add/send"] {
        assert!(door.post(path, "1").await.status < 300, "{path}");
    }
    for (made, known) in door.engine.seen() {
        assert_eq!((&*made.target.key, made.target.kind, known), ("k/1", HandlerKind::Exclusive, Known::Fresh));
        assert_eq!(made.id.key, PartitionKey::new("Counter", b"k/1"));
    }
    assert_eq!(door.post("/Counter//add", "1").await.status, 200);
}

#[tokio::test]
async fn get_calls_handlers_without_input() {
    let door = Door::open().await;
    for path in ["/Greeter/noInput", "/Greeter/greet"] {
        let reply = door.get(path).await;
        assert_eq!((reply.status, reply.text(), reply.header("content-type")), (200, "", None), "{path}");
    }
}

#[tokio::test]
async fn content_types_of_answers_follow_the_rule() {
    let door = Door::open().await;
    for (path, body, expected) in [
        ("/Greeter/binary", "x", Some("application/octet-stream")),
        ("/Greeter/binary", "", Some("application/octet-stream")),
        ("/Greeter/silent", "1", None),
    ] {
        let reply = door.post(path, body).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, expected), "{path} {body:?}");
    }
    let reply = door.http1("POST", "/Greeter/text", &[("content-type", "text/csv; charset=x")], "a,b").await;
    assert_eq!((reply.status, reply.text(), reply.header("content-type")), (200, "a,b", None));
}

#[tokio::test]
async fn headers_are_forwarded_and_the_trace_continues() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let door = Door::open().await;
    let headers = [JSON, ("X-Foo", "bar"), ("x-foo", "again"), ("traceparent", parent), ("authorization", "Bearer t")];
    assert_eq!(door.http1("POST", "/Greeter/greet", &headers, "1").await.status, 200);
    let (made, _) = door.engine.only();
    let values = |name: &str| -> Vec<String> {
        made.headers.iter().filter(|h| &*h.name == name).map(|h| h.value.to_string()).collect()
    };
    assert_eq!(values("x-foo"), ["bar"]);
    assert_eq!(values("authorization"), ["Bearer t"]);
    assert_eq!(values("traceparent"), [parent]);
    assert_eq!(made.traceparent.as_deref(), Some(parent));
}

#[tokio::test]
async fn sends_are_accepted() {
    let door = Door::open().await;
    let reply = door.post("/Greeter/greet/send", "1").await;
    let (made, known) = door.engine.only();
    assert_eq!((reply.status, known, made.execute_at), (202, Known::Fresh, None));
    let id = made.id.to_string();
    assert_eq!(reply.header("x-restate-id"), Some(id.as_str()));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.text(), format!("{{\"invocationId\":\"{id}\",\"status\":\"Accepted\"}}"));
}

#[tokio::test]
async fn delayed_sends_say_when() {
    for (delay, at, text) in [
        ("10s", Some(NOW + 10_000), "2026-11-22T16:33:42.687000000Z"),
        ("PT10S", Some(NOW + 10_000), "2026-11-22T16:33:42.687000000Z"),
        ("1%20day", Some(NOW + DAY), "2026-11-23T16:33:32.687000000Z"),
        ("1+day", Some(NOW + DAY), "2026-11-23T16:33:32.687000000Z"),
        ("0", None, "2026-11-22T16:33:32.687000000Z"),
    ] {
        let door = Door::open().await;
        let reply = door.post(&format!("/Wf/w1/run/send?DELAY={delay}"), "1").await;
        assert_eq!(reply.status, 202, "{delay}: {reply:?}");
        assert_eq!(reply.json()["executionTime"], text, "{delay}");
        assert_eq!(door.engine.only().0.execute_at, at.map(TimestampMs), "{delay}");
        // A repeat tells the first one's time.
        let reply = door.post("/Wf/w1/run/send?delay=5h", "1").await;
        assert_eq!((reply.status, &reply.json()["status"]), (202, &"PreviouslyAccepted".into()));
        let again = reply.json()["executionTime"].as_str().map(str::to_owned);
        assert_eq!(again.as_deref(), at.map(|_| text), "{delay}");
    }
}

#[tokio::test]
async fn idempotent_calls_share_one_invocation() {
    let door = Door::open().await;
    let headers = [JSON, ("idempotency-key", "ik")];
    let first = door.http1("POST", "/Counter/k1/add", &headers, "1").await;
    let again = door.http1("POST", "/Counter/k1/add", &headers, "2").await;
    assert_eq!((first.status, first.text(), first.header("idempotency-expires")), (200, "1", None));
    assert_eq!((again.status, again.text()), (200, "1"));
    assert_eq!(again.header("idempotency-expires"), Some("2026-11-23T16:33:32.687+00:00"));
    assert_eq!(first.header("x-restate-id"), again.header("x-restate-id"));
    let (made, known) = door.engine.only();
    assert_eq!(made.id, key::idempotent_invocation("Counter", Some("k1"), "add", "ik", ""));
    assert_eq!((known, made.completion_retention), (Known::Maybe, 2 * DAY));
    assert_eq!(made.idempotency_key.as_deref(), Some("ik"));
    assert!(made.headers.iter().all(|header| &*header.name != "idempotency-key"));
}

#[tokio::test]
async fn a_workflow_runs_once() {
    let door = Door::open().await;
    assert_eq!(door.post("/Wf/w1/run/send", "1").await.status, 202);
    // It still runs: the second caller is not kept waiting for its end.
    let second = door.post("/Wf/w1/run", "1").await;
    second.refused(409, "invocation", "the workflow method was already invoked");
    let id = key::workflow_invocation("Wf", "w1", "").to_string();
    assert_eq!(second.header("x-restate-id"), Some(id.as_str()));
    let (made, known) = door.engine.only();
    assert_eq!((known, made.completion_retention, made.target.kind), (Known::Maybe, 2 * DAY, HandlerKind::Workflow));
    // A shared handler may have an idempotency key.
    let reply = door.http1("POST", "/Wf/w1/peek", &[JSON, ("idempotency-key", "")], "1").await;
    assert_eq!((reply.status, reply.text()), (200, "1"));
}

#[tokio::test]
async fn terminal_errors_reach_the_caller() {
    let door = Door::open().await;
    for (code, status) in [(401, 401), (418, 418), (500, 500), (200, 200), (0, 500), (99, 500), (1234, 500)] {
        let reply = door.post("/Greeter/fail", &code.to_string()).await;
        assert_eq!(reply.status, status, "{code}");
        let expected = format!(r#"{{"code":{code},"message":"no way","metadata":{{"a":"b"}},"source":"invocation"}}"#);
        assert_eq!(reply.text(), expected);
        assert_eq!(reply.header("x-restate-error-source"), Some("invocation"));
        assert!(reply.header("x-restate-id").is_some());
    }
}
