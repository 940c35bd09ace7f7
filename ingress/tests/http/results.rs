//! Attach, output, lookup, health and preflight requests.

use std::collections::BTreeSet;

use millrace_model::key;

use crate::support::Door;

const JSON: (&str, &str) = ("content-type", "application/json");
const NOT_READY: &str = "the invocation exists but has not completed yet";

#[tokio::test]
async fn results_of_a_workflow() {
    let door = Door::open().await;
    let none = door.get("/restate/workflow/Wf/w1/output").await;
    none.refused(404, "ingress", "invocation not found");
    let none = door.get("/restate/workflow/Wf/w1/attach").await;
    none.refused(404, "invocation", "not found");
    let id = key::workflow_invocation("Wf", "w1", "").to_string();
    assert_eq!(none.header("x-restate-id"), Some(id.as_str()));
    door.get("/restate/workflow/Nope/w1/output").await.refused(404, "ingress", "invocation not found");

    assert_eq!(door.post("/Wf/w1/run/send", "1").await.status, 202);
    for path in ["/restate/workflow/Wf/w1", &format!("/restate/invocation/{id}")] {
        door.get(&format!("{path}/output")).await.refused(470, "ingress", NOT_READY);
    }
    door.get(&format!("/restate/output/{id}")).await.refused(470, "ingress", NOT_READY);

    let door = std::sync::Arc::new(door);
    let waiter = tokio::spawn({
        let door = door.clone();
        async move { door.get("/restate/workflow/Wf/w1/attach").await }
    });
    // Whether the waiter is there before or after the end, it gets the result.
    door.engine.release();
    let reply = waiter.await.unwrap();
    assert_eq!((reply.status, reply.text()), (200, "\"released\""));

    let by_id = format!("/restate/attach/{id}");
    for path in ["/restate/workflow/Wf/w1/output", "/restate/workflow/Wf/w1/attach", &by_id] {
        let reply = door.get(path).await;
        assert_eq!((reply.status, reply.text()), (200, "\"released\""), "{path}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("idempotency-expires"), Some("2026-11-23T16:33:32.687+00:00"));
        assert_eq!(reply.header("x-restate-id"), Some(id.as_str()));
    }
}

#[tokio::test]
async fn results_of_idempotent_calls() {
    let door = Door::open().await;
    let headers = [JSON, ("idempotency-key", "ik")];
    assert_eq!(door.http1("POST", "/Greeter/greet", &headers, "1").await.status, 200);
    // Keys are written as they are in headers, and encoded in paths.
    let odd = [JSON, ("idempotency-key", "a/b c%")];
    assert_eq!(door.http1("POST", "/Greeter/greet", &odd, "3").await.status, 200);
    assert_eq!(door.http1("POST", "/Counter/k%201/add", &headers, "2").await.status, 200);
    for (path, result) in [
        ("/restate/invocation/Greeter/greet/ik/output", "1"),
        ("/restate/invocation/Greeter/greet/ik/attach", "1"),
        ("/restate/invocation/Counter/k%201/add/ik/output", "2"),
        ("/restate/invocation/Greeter/greet/a%2Fb%20c%25/output", "3"),
    ] {
        let reply = door.get(path).await;
        assert_eq!((reply.status, reply.text()), (200, result), "{path}");
    }
    for (path, status, message) in [
        ("/restate/invocation/Greeter/nope/ik/output", 404, "invocation not found"),
        ("/restate/invocation/Nope/x/ik/output", 404, "service 'Nope' not found, …"),
        ("/restate/invocation/Counter/add/ik/output", 400, "bad path, expected either /restate/invocation/…"),
        ("/restate/invocation/Greeter/greet/%ff/output", 400, "bad path, cannot decode key: …"),
        ("/restate/invocation/xyz/output", 400, "bad invocation id 'xyz': bad format"),
        ("/restate/invocation/inv_1x/attach", 400, "bad invocation id 'inv_1x': bad length"),
    ] {
        door.get(path).await.refused(status, "ingress", message);
    }
    for (body, path, result) in [
        (
            r#"{"target":"idempotentInvocation","service":"Greeter","handler":"greet","idempotencyKey":"ik"}"#,
            "attach",
            "1",
        ),
        (
            r#"{"target":"idempotentInvocation","service":"Counter","key":"k 1","handler":"add","idempotencyKey":"ik"}"#,
            "output",
            "2",
        ),
    ] {
        let reply = door.http1("POST", &format!("/restate/{path}"), &[], body).await;
        assert_eq!((reply.status, reply.text()), (200, result), "{body}");
    }
    let unknown = r#"{"target":"workflow","workflowName":"Nope","workflowKey":"k"}"#;
    door.post("/restate/attach", unknown).await.refused(404, "invocation", "not found");
    door.post("/restate/output", unknown).await.refused(404, "ingress", "invocation not found");
}

#[tokio::test]
async fn a_result_by_its_id_is_labelled_as_its_handler_says() {
    let door = Door::open().await;
    for (path, body, expected) in [
        ("/Greeter/binary/send", "x", Some("application/octet-stream")),
        ("/Greeter/binary/send", "", Some("application/octet-stream")),
        ("/Greeter/text/send", "a,b", None),
        ("/Greeter/greet/send", "1", Some("application/json")),
        ("/Greeter/silent/send", "1", None),
    ] {
        let kind = if path.contains("text") { "text/csv" } else { "application/json" };
        let sent = door.http1("POST", path, &[("content-type", kind)], body).await;
        let id = sent.json()["invocationId"].as_str().unwrap().to_owned();
        let target = format!(r#"{{"target":"invocation","invocationId":"{id}"}}"#);
        for reply in [
            door.get(&format!("/restate/invocation/{id}/output")).await,
            door.get(&format!("/restate/attach/{id}")).await,
            door.post("/restate/output", &target).await,
        ] {
            assert_eq!((reply.status, reply.header("content-type")), (200, expected), "{path} {body:?}");
        }
    }
}

#[tokio::test]
async fn lookups() {
    let door = Door::open().await;
    let id = key::idempotent_invocation("Counter", Some("k1"), "add", "ck", "").to_string();
    let body =
        r#"{"target":"idempotentInvocation","service":"Counter","key":"k1","handler":"add","idempotencyKey":"ck"}"#;
    let reply = door.http1("POST", "/restate/lookup", &[], body).await;
    assert_eq!((reply.status, reply.text()), (200, format!("{{\"invocationId\":\"{id}\"}}").as_str()));
    let body = format!(r#"{{"target":"invocation","invocationId":"{id}"}}"#);
    assert_eq!(door.post("/restate/lookup", &body).await.json()["invocationId"], id.as_str());
    for body in ["", "{", "{}", r#"{"target":"nope"}"#, r#"{"target":"workflow"}"#] {
        door.post("/restate/lookup", body).await.refused(400, "ingress", "cannot read body: …");
    }
    let body = r#"{"target":"invocation","invocationId":"xyz"}"#;
    door.post("/restate/lookup", body).await.refused(400, "ingress", "bad invocation id 'xyz': bad format");
}

#[tokio::test]
async fn health_names_the_services() {
    let door = Door::open().await;
    let reply = door.get("/restate/health").await;
    let json = reply.json();
    let names: BTreeSet<_> = json["services"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!((reply.status, names), (200, ["Counter", "Greeter", "Private", "Wf"].into()));
}

#[tokio::test]
async fn browsers_are_welcome() {
    let door = Door::open().await;
    let headers = [
        ("origin", "http://a.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-a,x-b"),
    ];
    for path in ["/Greeter/greet", "/anything"] {
        let reply = door.http1("OPTIONS", path, &headers, "").await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("http://a.example"));
        assert_eq!(reply.header("access-control-allow-methods"), Some("PUT"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("x-a,x-b"));
    }
    for reply in [door.get("/Nope/nope").await, door.post("/Greeter/greet", "1").await] {
        assert_eq!(reply.header("vary"), Some("origin, access-control-request-method, access-control-request-headers"));
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}
