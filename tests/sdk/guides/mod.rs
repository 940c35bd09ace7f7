//! The examples of the documentation's guides, F455 to F464, with the requests that the guides have their readers send.
//!
//! The services are in `services/`, in TypeScript: own writing of the same structure. What they do to the world outside is
//! a line in the step log, which is what the tests look at. Everything that waits waits side by side.

mod events;
mod orchestration;
mod patterns;
mod restarts;
mod workflows;

use std::pin::Pin;

use serde_json::{Value, json};

use crate::{
    stage::{Promise, Stage, check},
    support::{PATIENCE, Response, Server, ServerOptions, Service, eventually},
};

macro_rules! examples {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), |stage| Box::pin($module::$name(stage)) as Pin<Box<dyn Future<Output = ()>>>)),*]
    };
}

/// What needs no broker and no restart.
const EXAMPLES: &[Promise] = examples![
    patterns::the_quickstart_greets_and_retries,
    patterns::a_saga_gives_back_in_reverse_when_a_booking_fails,
    patterns::a_saga_gives_back_in_reverse_when_it_is_cancelled,
    patterns::a_cron_job_runs_until_it_is_cancelled,
    patterns::a_limiter_of_one_a_second_keeps_one_a_second,
    patterns::work_fans_out_and_in,
    patterns::webhooks_are_routed_once,
    orchestration::subscriptions_are_added_one_after_the_other,
    orchestration::a_saga_undoes_what_was_paid,
    orchestration::an_object_keeps_subscriptions,
    orchestration::a_ticket_is_bought_mailed_and_remembered,
    orchestration::an_idempotency_key_buys_once,
    orchestration::a_payment_waits_for_its_confirmation,
    orchestration::a_payment_times_out,
    orchestration::subscriptions_are_added_side_by_side,
    workflows::a_signup_runs_once_per_user,
    workflows::a_signup_can_start_later,
    workflows::a_program_submits_a_signup,
    workflows::a_signup_calls_an_activity,
    workflows::a_signup_can_be_asked,
    workflows::a_signup_waits_for_a_click,
    workflows::a_signup_says_that_the_user_is_there,
    workflows::a_signup_sends_reminders_until_the_click,
    workflows::a_signup_gives_up_on_a_mail,
    workflows::a_signup_undoes_itself,
    workflows::a_signup_can_be_cancelled,
];

#[tokio::test]
async fn the_guides_do_what_they_say() {
    check(start(ServerOptions::default()).await, EXAMPLES).await;
}

async fn start(options: ServerOptions) -> Stage {
    let service = Service::start("guides");
    let server = Server::start(options).await;
    server.register(&service).await;
    Stage { language: "guides".to_owned(), server, service, proxy: None }
}

/// What happened outside for somebody, in order: the lines `<who>: <what>`, each without `<who>`.
fn happened(stage: &Stage, who: &str) -> Vec<String> {
    let lines = stage.service.steps();
    lines.iter().filter_map(|line| Some(line.strip_prefix(who)?.strip_prefix(": ")?.to_owned())).collect()
}

/// Waits until something happened for somebody that starts like this; the rest of the line.
async fn until_happened(stage: &Stage, who: &str, what: &str) -> String {
    eventually(PATIENCE, what, async || {
        let lines = happened(stage, who);
        let found = lines.iter().find_map(|line| line.strip_prefix(what));
        found.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{who}: {lines:#?}"))
    })
    .await
}

/// Sends a request and waits for its answer.
async fn post(stage: &Stage, path: &str, body: Value) -> Response {
    stage.server.ingress.post(path, &body).await.expect("an answer")
}

/// A request of which only the success counts.
async fn post_ok(stage: &Stage, path: &str, body: Value) {
    let answer = post(stage, path, body).await;
    assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text());
}

async fn get(stage: &Stage, path: &str) -> Response {
    stage.server.ingress.get(path).await.expect("an answer")
}

/// Waits for the end of an invocation.
async fn attach(stage: &Stage, id: &str) -> Response {
    get(stage, &format!("/restate/invocation/{id}/attach")).await
}

/// Waits until what the admin API shows of an invocation satisfies `look`.
async fn until(stage: &Stage, id: &str, what: &str, look: impl Fn(&Value) -> bool) {
    eventually(PATIENCE, what, async || {
        let shown = stage.server.admin.get(&format!("/invocations/{id}")).await?.ok()?.json()?;
        anyhow::ensure!(look(&shown), "{shown:#}");
        Ok(())
    })
    .await;
}

async fn cancel(stage: &Stage, id: &str) {
    let answer = stage.server.admin.patch(&format!("/invocations/{id}/cancel"), &json!({})).await.expect("an answer");
    assert!(answer.status.is_success(), "{} {}", answer.status, answer.text());
}
