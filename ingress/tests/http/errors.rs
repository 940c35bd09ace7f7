//! Requests that are refused: status, source and message of each row of the tables.

use crate::support::Door;

const JSON: (&str, &str) = ("content-type", "application/json");
const TARGET: &str = "bad path, expected either /:service-name/:handler or /:object-name/:object-key/:handler";
const RESERVED: &str = "bad path, expected /restate/call/:service/:handler, /restate/send/:service/:handler, \
    /restate/scope/:scope/call/:service/:handler, /restate/attach/:invocation_id, /restate/output/:invocation_id, \
    or /restate/lookup";
const WORKFLOW_KEY: &str = "cannot use the idempotency key with workflow handlers. The handler invocation will \
    already be idempotent by the workflow key itself.";
const HANDLER: &str = "the service 'Greeter' exists, but the handler 'nope' was not found, check that the handler \
    exists in the latest registered service version.";
const SERVICE: &str = "service 'Nope' not found, make sure to register the service before calling it.";

#[tokio::test]
async fn paths_and_targets() {
    let door = Door::open().await;
    for (path, status, message) in [
        ("/Nope/nope", 404, SERVICE),
        ("/restate/call/Nope/x", 404, SERVICE),
        ("/Greeter/nope", 404, HANDLER),
        ("/restate/nope", 404, "not found"),
        ("/openapi/x", 404, "not found"),
        ("/", 400, "bad path: /"),
        ("/Greeter", 400, "bad path: /Greeter"),
        ("/a/b/c/d/e/f/g/h", 400, "bad path: /a/b/c/d/e/f/g/h"),
        ("/Private/greet", 400, "the invoked service is not public"),
        ("/Greeter/hidden", 400, "the invoked service is not public"),
        ("/Counter/add", 400, TARGET),
        ("/Greeter/greet/x", 400, TARGET),
        ("/restate/send/Greeter/greet/send", 400, RESERVED),
        ("/restate/lookup/x", 400, RESERVED),
        ("/Counter/%ff/add", 400, "bad path, cannot decode key: …"),
        ("/restate/awakeables/x", 400, "bad path, expected either /restate/awakeables/…"),
        ("/restate/awakeables/x/nope", 404, "not found"),
        ("/restate/awakeables/bad/resolve", 400, "bad awakeable id 'bad': bad format"),
        ("/restate/signals/x/y", 404, "not found"),
        ("/restate/scope/s1/call/Greeter/greet", 400, "scoped invocations require vqueues to be enabled"),
        ("/restate/scope/s%21/call/Greeter/greet", 400, "bad scope value: value contains characters outside the …"),
        ("/Greeter/greet?limit-key=a", 400, "limit-key requires a scope to be set"),
    ] {
        door.post(path, "1").await.refused(status, "ingress", message);
    }
    assert!(door.engine.seen().is_empty());
}

#[tokio::test]
async fn methods() {
    let door = Door::open().await;
    let awakeable = "/restate/awakeables/sign_1CJyyJkeozQfdqa8J9PVTSnhhwVLEEFncAAAAEQ/resolve";
    for (method, path) in [
        ("PUT", "/Greeter/greet"),
        ("DELETE", "/Counter/k/add/send"),
        ("POST", "/restate/health"),
        ("POST", "/restate/invocation/x/attach"),
        ("POST", "/restate/workflow/Wf/w/output"),
        ("POST", "/restate/invocation/Greeter/greet/ik/output"),
        ("GET", "/restate/attach"),
        ("GET", "/restate/output"),
        ("GET", "/restate/lookup"),
        ("GET", awakeable),
    ] {
        door.http1(method, path, &[], "").await.refused(405, "ingress", "method not allowed");
    }
    let head = door.http1("HEAD", "/Greeter/greet", &[], "").await;
    assert_eq!((head.status, head.body.len()), (405, 0));
    // What is called is looked at before how.
    door.http1("PUT", "/Greeter/nope", &[], "").await.refused(404, "ingress", HANDLER);
    door.http1("PUT", "/Greeter/hidden", &[], "").await.refused(400, "ingress", "the invoked service is not public");
    door.http1("PUT", "/Wf/w/run", &[("idempotency-key", "x")], "").await.refused(400, "ingress", WORKFLOW_KEY);
}

#[tokio::test]
async fn bodies_and_content_types() {
    let mismatch = "input validation error: Content-type 'text/plain' does not match 'application/json'";
    let not_empty = "input validation error: Expected body and content-type to be empty, \
        but wasn't with content-type 'Some(\"application/json\")'";
    let door = Door::open().await;
    for (path, content_type, body, message) in [
        ("/Greeter/greet", Some("text/plain"), "Ann", mismatch),
        ("/Greeter/greet", None, "Ann", "input validation error: Empty content-type"),
        ("/Greeter/noInput", Some("application/json"), "{}", not_empty),
        ("/Greeter/noInput", Some("application/json"), "", not_empty),
    ] {
        let headers: Vec<_> = content_type.iter().map(|value| ("content-type", *value)).collect();
        door.http1("POST", path, &headers, body).await.refused(400, "ingress", message);
    }
    for content_type in ["application/json; charset=utf-8", "APPLICATION/JSON"] {
        let reply = door.http1("POST", "/Greeter/greet", &[("content-type", content_type)], "1").await;
        assert_eq!(reply.status, 200, "{content_type}");
    }
}

#[tokio::test]
async fn delays() {
    let door = Door::open().await;
    for delay in ["", "10", "1M", "1e3s", "abc", "-5s", "P1M", "1y", "99999999999999999999s", "999999999w"] {
        for path in ["/Greeter/greet/send", "/Greeter/greet"] {
            let reply = door.post(&format!("{path}?delay={delay}"), "1").await;
            reply.refused(400, "ingress", "bad delay query parameter, must be a ISO8601 duration: …");
        }
    }
    let message = "cannot use the delay query parameter with calls. The delay is supported only with sends";
    door.post("/Greeter/greet?delay=10s", "1").await.refused(400, "ingress", message);
    // Representable, but in no calendar.
    let reply = door.post("/Greeter/greet/send?delay=631107417600s", "1").await;
    reply.refused(400, "ingress", "bad delay query parameter, …");
    assert!(door.engine.seen().is_empty());
}

#[tokio::test]
async fn headers() {
    let door = Door::open().await;
    let headers = [JSON, ("x-restate-limit-key", "a")];
    let reply = door.http1("POST", "/Greeter/greet", &headers, "1").await;
    reply.refused(400, "ingress", "limit-key requires a scope to be set");
    let reply = door.http1("POST", "/Greeter/greet", &[JSON, ("x-a", "é")], "1").await;
    reply.refused(400, "ingress", "bad header x-a: …");
    let reply = door.http1("POST", "/Greeter/greet", &[JSON, ("idempotency-key", "é")], "1").await;
    reply.refused(400, "ingress", "bad header idempotency-key: …");
}

#[tokio::test]
async fn the_engines_refusals() {
    let door = Door::open().await;
    for (handler, status, code, applied) in [
        ("overloaded", 429, "ENG0001", None),
        ("full", 503, "LOG0004", None),
        ("unknown", 503, "ENG0002", Some("unknown")),
        ("stopped", 503, "ENG0003", None),
    ] {
        for path in [format!("/Greeter/{handler}"), format!("/Greeter/{handler}/send")] {
            let reply = door.post(&path, "1").await;
            reply.refused(status, "ingress", "…");
            let json = reply.json();
            assert_eq!((json["error_code"].as_str(), json["applied"].as_str()), (Some(code), applied), "{json}");
        }
    }
}
