//! The TypeScript services as an AWS Lambda function, with the SDK's own handler for that, behind a stand-in for AWS.

use serde_json::{Value, json};

use crate::{
    promises::ALL,
    stage::{Stage, check},
    support::{
        PATIENCE, Response, Server, Service, eventually, free_port,
        lambda::{ARN, Lambda, OWN_KEY, ROLE_KEY, Refusal},
    },
};

const ROLE: &str = "arn:aws:iam::123456789012:role/caller";

async fn register(server: &Server, body: Value) -> Response {
    server.admin.post("/deployments", &body).await.expect("an answer")
}

/// The function, what stands in for AWS, and a server that has registered it.
async fn start(env: &[(&str, &str)]) -> (Server, Lambda, Service) {
    let service = Service::start("typescript-lambda");
    let lambda = Lambda::start(&service.uri()).await;
    let options = env.iter().fold(lambda.options(), |options, (name, value)| options.env(name, value));
    let server = Server::start(options).await;
    let made = register(&server, json!({"arn": ARN})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    (server, lambda, service)
}

/// What a service can do it can do as a function: everything goes through suspensions.
#[tokio::test]
async fn a_function_keeps_every_promise() {
    let (server, _lambda, service) = start(&[]).await;
    check(Stage { language: service.language().to_owned(), server, service, proxy: None }, ALL).await;
}

#[tokio::test]
async fn a_function_is_registered_by_its_qualified_name() {
    let (server, lambda, _service) = start(&[]).await;
    let listed = server.admin.get("/deployments").await.unwrap().json().unwrap();
    let shown = &listed["deployments"][0];
    assert_eq!((&shown["arn"], &shown["compression"]), (&json!(ARN), &json!("Zstd")), "{shown:#}");
    assert!(shown.get("uri").is_none() && shown.get("http_version").is_none(), "{shown:#}");
    let discovery = &lambda.calls("/discover")[0];
    assert!(discovery.headers["accept"].contains("endpointmanifest.v4+json"), "{discovery:?}");
    assert!(discovery.api["authorization"].to_str().unwrap().contains(&format!("Credential={OWN_KEY}/")));

    let unqualified = ARN.trim_end_matches(":1");
    for (arn, what) in
        [(unqualified, "A qualified ARN needs a version or alias suffix"), ("arn:aws:s3:::b", "not the ARN")]
    {
        let refused = register(&server, json!({"arn": arn})).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains(what), "{}", refused.text());
    }
    let role = register(&server, json!({"arn": ARN, "assume_role_arn": "admin", "force": true})).await;
    assert_eq!(role.status, 400, "{}", role.text());
    let missing = register(&server, json!({"arn": format!("{ARN}7")})).await;
    assert_eq!((missing.status.as_u16(), &missing.json().unwrap()["restate_code"]), (500, &json!("META0003")));
    assert!(missing.text().contains("ResourceNotFoundException"), "{}", missing.text());
}

#[tokio::test]
async fn a_function_is_called_once_for_each_time_it_gets_on() {
    let (mut server, lambda, service) = start(&[]).await;
    assert_eq!(server.call("Steps/run", json!(3)).await.unwrap(), 3);
    let calls = lambda.calls("/invoke/Steps/run");
    assert_eq!(calls.len(), 4, "a suspension behind each step");
    assert!(
        calls.iter().all(|call| call.headers["x-restate-invocation-id"] == calls[0].headers["x-restate-invocation-id"])
    );
    assert_eq!(server.call("Counter/a%2Fb/add", json!(2)).await.unwrap(), 2);
    assert_eq!(lambda.calls("/invoke/Counter/add")[0].headers["x-restate-service-key"], "a%2Fb");
    // Nothing of it is in memory only.
    let sleeper = server.send("Sleeper/sleepThenStep", json!(1500)).await.unwrap();
    eventually(PATIENCE, "it sleeps", async || {
        let look = server.admin.get(&format!("/invocations/{sleeper}")).await?.ok()?.json()?;
        anyhow::ensure!(look["status"] == "suspended", "{look:#}");
        Ok(())
    })
    .await;
    server.crash().await;
    let end = server.ingress.get(&format!("/restate/invocation/{sleeper}/attach")).await.unwrap();
    assert_eq!(end.json().unwrap(), format!("slept {sleeper}"));
    assert_eq!(service.steps().iter().filter(|line| line.starts_with("slept")).count(), 1);
}

#[tokio::test]
async fn refusals_of_the_api_are_tried_again_with_their_codes() {
    let (server, lambda, _service) = start(&[("MILLRACE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL", "300ms")]).await;
    let throttled = Refusal {
        status: 429,
        headers: vec![("x-amzn-errortype", "TooManyRequestsException"), ("retry-after", "1")],
        body: json!({"Type": "User", "message": "Rate exceeded"}),
    };
    let failed = Refusal {
        status: 200,
        headers: vec![("x-amz-function-error", "Unhandled")],
        body: json!({"errorType": "Runtime.ExitError", "errorMessage": "exit status 1"}),
    };
    let down = Refusal { status: 503, body: json!({"message": "Service Unavailable"}), ..Refusal::default() };
    let large = Refusal { status: 413, body: json!({"message": "too large"}), ..Refusal::default() };
    let garbage = Refusal { status: 200, body: json!({"a": 1}), ..Refusal::default() };
    for (n, (refusal, code, what)) in [
        (throttled, "RT0023", "TooManyRequestsException: Rate exceeded"),
        (failed, "RT0010", "the function failed with Runtime.ExitError: exit status 1"),
        (down, "RT0010", "503"),
        (large, "RT0019", "413"),
        (garbage, "RT0012", "not the answer of an SDK"),
    ]
    .into_iter()
    .enumerate()
    {
        lambda.refuse([refusal]);
        let id = server.send(&format!("Counter/k{n}/add"), json!(1)).await.unwrap();
        eventually(PATIENCE, "the failed attempt shows", async || {
            let look = server.admin.get(&format!("/invocations/{id}")).await?.ok()?.json()?;
            let failure = &look["last_failure"];
            let message = failure["message"].as_str().unwrap_or_default();
            anyhow::ensure!(failure["code"] == code && message.contains(what), "not {code}, {what}: {look:#}");
            Ok(())
        })
        .await;
        let end = server.ingress.get(&format!("/restate/invocation/{id}/attach")).await.unwrap();
        assert_eq!(end.json().unwrap(), 1);
    }
}

#[tokio::test]
async fn a_role_is_assumed_once_for_many_calls() {
    let (server, lambda, _service) = start(&[("AWS_EXTERNAL_ID", "hunter2")]).await;
    let made = register(&server, json!({"arn": ARN, "assume_role_arn": ROLE, "force": true})).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let shown = server.admin.get("/deployments").await.unwrap().json().unwrap();
    assert_eq!(shown["deployments"][0]["assume_role_arn"], ROLE);
    for n in 0..5 {
        assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), n + 1);
    }
    let roles = lambda.roles();
    // One of discovery, one of all calls.
    assert_eq!(roles.len(), 2, "{roles:?}");
    for role in &roles {
        let said = ["Action", "RoleArn", "ExternalId", "RoleSessionName"].map(|name| role[name].as_str());
        assert_eq!(said, ["AssumeRole", ROLE, "hunter2", "millrace"]);
    }
    for call in lambda.calls("/invoke/Counter/add") {
        assert!(call.api["authorization"].to_str().unwrap().contains(&format!("Credential={ROLE_KEY}/")), "{call:?}");
        assert_eq!(call.api["x-amz-security-token"], "role-token");
    }
}

#[tokio::test]
async fn large_bodies_are_compressed_both_ways() {
    let (server, lambda, _service) = start(&[("MILLRACE_REQUEST_COMPRESSION_THRESHOLD", "64KiB")]).await;
    let echo = async |body: Vec<u8>| {
        let headers = [("content-type", "application/octet-stream")];
        let answer = server.ingress.request(http::Method::POST, "/Greeter/echoBytes", &headers, body).await.unwrap();
        answer.ok().unwrap().body
    };
    assert_eq!(echo(vec![7u8; 1000]).await, vec![7u8; 1000]);
    let large: Vec<u8> = (0..4u32 << 20).map(|n| (n % 251) as u8).collect();
    assert!(echo(large.clone()).await == large);
    let [small, large] = &lambda.calls("/invoke/Greeter/echoBytes")[..] else { panic!("two calls") };
    assert_eq!(small.headers.get("content-encoding"), None);
    assert_eq!(small.headers["accept-encoding"], "zstd");
    assert_eq!(large.headers["content-encoding"], "zstd");
    assert!(large.body.len() < 1 << 20, "{} bytes", large.body.len());
}

/// Headers of a deployment go with every request, and nobody is shown their values again.
#[tokio::test]
async fn headers_of_a_deployment_are_sent_and_not_shown() {
    let (mut server, lambda, _service) = start(&[]).await;
    let headers = json!({"X-Vercel-Protection-Bypass": "hunter2", "x-tenant": "hunter3"});
    let made = register(&server, json!({"arn": ARN, "force": true, "additional_headers": headers})).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let id = made.json().unwrap()["id"].as_str().unwrap().to_owned();
    server.crash().await;
    server.call("Greeter/greet", json!("x")).await.unwrap();
    for call in [lambda.calls("/discover").pop().unwrap(), lambda.calls("/invoke/Greeter/greet").pop().unwrap()] {
        let sent = [&call.headers["x-vercel-protection-bypass"], &call.headers["x-tenant"]];
        assert_eq!(sent, ["hunter2", "hunter3"], "{}", call.path);
    }
    let mut shown = made.text();
    for path in ["/deployments".to_owned(), format!("/deployments/{id}")] {
        shown += &server.admin.get(&path).await.unwrap().text();
    }
    let moved = server.admin.patch(&format!("/deployments/{id}"), &json!({})).await.unwrap();
    assert_eq!(moved.status, 200, "{}", moved.text());
    shown += &moved.text();
    assert!(shown.contains("x-vercel-protection-bypass") && !shown.contains("hunter"), "{shown}");
    assert!(!server.log.text().contains("hunter"));
    // They are kept as they are until others come.
    server.call("Greeter/greet", json!("y")).await.unwrap();
    assert_eq!(lambda.calls("/invoke/Greeter/greet").pop().unwrap().headers["x-tenant"], "hunter3");
}

/// Nobody listens where functions should be: attempts wait, registrations fail.
#[tokio::test]
async fn no_credentials_and_no_api_are_named() {
    let (mut server, lambda, _service) = start(&[]).await;
    server.options_mut().env.retain(|(name, _)| name != "AWS_ACCESS_KEY_ID");
    assert!(server.stop().success());
    server.start_again().await;
    let id = server.send("Counter/k/add", json!(1)).await.unwrap();
    eventually(PATIENCE, "the failed attempt shows", async || {
        let look = server.admin.get(&format!("/invocations/{id}")).await?.ok()?.json()?;
        let message = look["last_failure"]["message"].as_str().unwrap_or_default();
        anyhow::ensure!(message.contains("no AWS credentials"), "{look:#}");
        Ok(())
    })
    .await;
    assert_eq!(lambda.calls("/invoke/Counter/add").len(), 0);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    server.options_mut().env.push(("AWS_ACCESS_KEY_ID".to_owned(), OWN_KEY.to_owned()));
    server.options_mut().env.retain(|(name, _)| name != "AWS_ENDPOINT_URL_LAMBDA");
    server.options_mut().env.push(("AWS_ENDPOINT_URL_LAMBDA".to_owned(), nobody));
    server.crash().await;
    let refused = register(&server, json!({"arn": format!("{ARN}2")})).await;
    assert_eq!((refused.status.as_u16(), &refused.json().unwrap()["restate_code"]), (500, &json!("META0003")));
}
