//! The tour of workflows.

use std::{
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};

use super::{Stage, attach, cancel, get, happened, post, post_ok, until, until_happened};

fn user(name: &str) -> Value {
    json!({"name": name, "email": format!("{}@mail.com", name.to_lowercase())})
}

fn success() -> Value {
    json!({"success": true})
}

pub async fn a_signup_runs_once_per_user(stage: Arc<Stage>) {
    let answer = post(&stage, "/SignupWorkflow/johndoe/run", user("John")).await;
    assert_eq!(answer.json().unwrap(), success());
    let again = post(&stage, "/SignupWorkflow/johndoe/run", user("John")).await;
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(again.headers["x-restate-id"], answer.headers["x-restate-id"]);
    assert_eq!(happened(&stage, "johndoe"), ["created", "activated", "welcomed"]);
    let attached = get(&stage, "/restate/workflow/SignupWorkflow/johndoe/attach").await;
    assert_eq!(attached.json().unwrap(), success());
}

pub async fn a_signup_can_start_later(stage: Arc<Stage>) {
    let answer = post(&stage, "/SignupWorkflow/petewhite/run/send?delay=5m", user("Pete")).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json().unwrap()["invocationId"].as_str().unwrap().to_owned();
    until(&stage, &id, "it is scheduled", |shown| shown["status"] == "scheduled").await;
    let output = get(&stage, "/restate/workflow/SignupWorkflow/petewhite/output").await;
    assert_eq!(output.status, 470, "{}", output.text());
}

/// With the published client library.
pub async fn a_program_submits_a_signup(stage: Arc<Stage>) {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/services/run");
    let mut command = tokio::process::Command::new(run);
    command.args(["guides-client", &stage.server.ingress_uri(), "from-a-program"]).stdin(Stdio::null());
    let output = command.kill_on_drop(true).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let said: Value = serde_json::from_slice(&output.stdout).expect(&text);
    assert_eq!(said, json!({"status": "Accepted", "result": success()}));
}

pub async fn a_signup_calls_an_activity(stage: Arc<Stage>) {
    let answer = post(&stage, "/SignupWithActivitiesWorkflow/carl/run", user("Carl")).await;
    assert_eq!(answer.json().unwrap(), success());
    assert_eq!(happened(&stage, "carl"), ["created", "activated", "welcomed"]);
}

pub async fn a_signup_can_be_asked(stage: Arc<Stage>) {
    let answer = post(&stage, "/SignupWithQueriesWorkflow/janedoe/run", user("Jane")).await;
    assert_eq!(answer.json().unwrap(), success());
    let shown = get(&stage, "/SignupWithQueriesWorkflow/janedoe/getStatus").await;
    assert_eq!(shown.json().unwrap(), json!({"status": "created", "user": user("Jane")}));
}

pub async fn a_signup_waits_for_a_click(stage: Arc<Stage>) {
    for (id, click, expected) in [("clicker", None, true), ("guesser", Some("wrong"), false)] {
        let invocation = stage.server.send(&format!("SignupWithSignalsWorkflow/{id}/run"), user("John")).await.unwrap();
        let secret = until_happened(&stage, id, "secret ").await;
        let body = json!({"secret": click.unwrap_or(&secret)});
        post_ok(&stage, &format!("/SignupWithSignalsWorkflow/{id}/verifyEmail"), body).await;
        assert_eq!(attach(&stage, &invocation).await.json().unwrap(), json!({ "success": expected }));
    }
}

pub async fn a_signup_says_that_the_user_is_there(stage: Arc<Stage>) {
    // Asked before it is there: the request waits.
    let waiting = {
        let ingress = stage.server.ingress.clone();
        tokio::spawn(async move { ingress.get("/SignupWithEventsWorkflow/early/waitForUserCreation").await })
    };
    let id = stage.server.send("SignupWithEventsWorkflow/early/run", user("John")).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().json().unwrap(), "User created.");
    assert_eq!(attach(&stage, &id).await.json().unwrap(), success());
    let later = get(&stage, "/SignupWithEventsWorkflow/early/waitForUserCreation").await;
    assert_eq!(later.json().unwrap(), "User created.");
}

pub async fn a_signup_sends_reminders_until_the_click(stage: Arc<Stage>) {
    let started = Instant::now();
    let id = stage.server.send("SignupWithTimersWorkflow/slowpoke/run", user("John")).await.unwrap();
    let secret = until_happened(&stage, "slowpoke", "secret ").await;
    until_happened(&stage, "slowpoke", "reminded").await;
    assert!(started.elapsed() >= Duration::from_secs(15), "{:?}", started.elapsed());
    post_ok(&stage, "/SignupWithTimersWorkflow/slowpoke/verifyEmail", json!({ "secret": secret })).await;
    assert_eq!(attach(&stage, &id).await.json().unwrap(), success());
}

pub async fn a_signup_gives_up_on_a_mail(stage: Arc<Stage>) {
    let started = Instant::now();
    let answer = post(&stage, "/SignupWithRetriesWorkflow/alice-retries/run", user("Alice")).await;
    assert_eq!(answer.json().unwrap(), success());
    let expected = ["created", "activated", "welcome tried", "welcome tried", "welcome tried", "no welcome"];
    assert_eq!(happened(&stage, "alice-retries"), expected);
    // One second, then two.
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
}

pub async fn a_signup_undoes_itself(stage: Arc<Stage>) {
    let answer = post(&stage, "/SignupWithSagasWorkflow/alice-saga/run", user("Alice")).await;
    assert_eq!(answer.json().unwrap(), json!({"success": false}));
    let expected = ["created", "activated", "unsubscribed", "deactivated", "deleted"];
    assert_eq!(happened(&stage, "alice-saga"), expected);
    let answer = post(&stage, "/SignupWithSagasWorkflow/bob-saga/run", user("Bob")).await;
    assert_eq!(answer.json().unwrap(), success());
}

pub async fn a_signup_can_be_cancelled(stage: Arc<Stage>) {
    let id = stage.server.send("SignupWithSignalsWorkflow/eve/run", user("Eve")).await.unwrap();
    until_happened(&stage, "eve", "secret ").await;
    cancel(&stage, &id).await;
    let answer = attach(&stage, &id).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    let output = stage.server.ingress.request(
        Method::GET,
        "/restate/workflow/SignupWithSignalsWorkflow/eve/output",
        &[],
        bytes::Bytes::new(),
    );
    assert_eq!(output.await.unwrap().status, 409);
}
