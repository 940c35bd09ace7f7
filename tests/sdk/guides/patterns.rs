//! Quickstart, sagas, cron, rate limiting, parallelizing work, durable webhooks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Stage, attach, cancel, eventually, get, happened, post, post_ok, until_happened};
use crate::support::{PATIENCE, ServerOptions, pause, tier};

pub async fn the_quickstart_greets_and_retries(stage: Arc<Stage>) {
    for name in ["Sarah", "Alice"] {
        let answer = post(&stage, "/Greeter/greet", json!({ "name": name })).await;
        assert_eq!(answer.json().unwrap(), json!({"result": format!("You said hi to {name}!")}));
        let lines = stage.service.steps();
        for line in [format!("notification for {name}"), format!("reminder for {name}")] {
            assert_eq!(lines.iter().filter(|seen| **seen == line).count(), 1, "{line}");
        }
    }
}

fn journey(customer: &str) -> serde_json::Value {
    json!({
        "customerId": customer,
        "flight": {"flightId": "12345", "passengerName": "John Doe"},
        "car": {"pickupLocation": "Airport", "rentalDate": "2024-12-16"},
        "hotel": {"arrivalDate": "2024-12-16", "departureDate": "2024-12-20"}
    })
}

fn assert_given_back(stage: &Stage, customer: &str) {
    let mut lines = happened(stage, customer);
    // A hotel that does not answer is asked again.
    lines.dedup();
    let expected = [
        "flight 12345 booked",
        "car at Airport booked",
        "hotel asked",
        "hotel given back",
        "car given back",
        "flight given back",
    ];
    assert_eq!(lines, expected);
}

pub async fn a_saga_gives_back_in_reverse_when_a_booking_fails(stage: Arc<Stage>) {
    let answer = post(&stage, "/BookingWorkflow/run", journey("hasty")).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("No rooms left"), "{}", answer.text());
    assert_given_back(&stage, "hasty");
}

pub async fn a_saga_gives_back_in_reverse_when_it_is_cancelled(stage: Arc<Stage>) {
    let id = stage.server.send("BookingWorkflow/run", journey("patient")).await.unwrap();
    until_happened(&stage, "patient", "hotel asked").await;
    cancel(&stage, &id).await;
    assert_eq!(attach(&stage, &id).await.status, 409);
    assert_given_back(&stage, "patient");
}

pub async fn a_cron_job_runs_until_it_is_cancelled(stage: Arc<Stage>) {
    cron_job(&stage, "* * * * * *", 3, Duration::from_secs(3)).await;
}

/// The guide's own job, every minute, fires twice in three minutes at most.
#[tokio::test]
async fn a_cron_job_runs_every_minute_in_full() {
    if !tier(false, true) {
        return;
    }
    let mut stage = super::start(ServerOptions::default()).await;
    cron_job(&stage, "* * * * *", 2, Duration::from_secs(70)).await;
    assert!(stage.server.stop().success());
}

/// `rest`: a while that is longer than the job's interval.
async fn cron_job(stage: &Stage, expression: &str, runs: usize, rest: Duration) {
    let request = json!({
        "cronExpression": expression, "service": "TaskService", "method": "executeTask", "payload": "Hello!"
    });
    let answer = post(stage, "/CronJobInitiator/create", request.clone()).await.json().unwrap();
    let text = answer.as_str().unwrap();
    let (id, next) = text.strip_prefix("Job created with ID ").and_then(|rest| rest.split_once(' ')).expect(text);
    assert!(next.starts_with("and next execution time "), "{text}");
    let count = || stage.service.steps().iter().filter(|line| *line == "task Hello!").count();
    eventually(PATIENCE + rest * runs as u32, "the job runs", async || {
        anyhow::ensure!(count() >= runs, "{} times", count());
        Ok(())
    })
    .await;

    let info = get(stage, &format!("/CronJob/{id}/getInfo")).await.json().unwrap();
    assert_eq!(info["request"], request);
    assert!(info["next_execution_id"].as_str().unwrap().starts_with("inv_"), "{info}");

    let cancelled = get(stage, &format!("/CronJob/{id}/cancel")).await;
    assert!(cancelled.status.is_success(), "{}", cancelled.text());
    let before = count();
    pause(rest).await;
    // What was on its way to the task when the job was cancelled arrives.
    assert!(count() <= before + 1, "{before} runs became {}", count());
    let info = get(stage, &format!("/CronJob/{id}/getInfo")).await;
    assert!(matches!(info.text().as_str(), "" | "null"), "{}", info.text());

    let bad = json!({"cronExpression": "often", "service": "TaskService", "method": "executeTask"});
    let answer = post(stage, "/CronJobInitiator/create", bad).await;
    assert!(answer.status == 500 && answer.text().contains("Invalid cron expression"), "{}", answer.text());
}

pub async fn a_limiter_of_one_a_second_keeps_one_a_second(stage: Arc<Stage>) {
    let calls = tier(5, 30);
    post_ok(&stage, "/limiter/myService-expensiveMethod/setRate", json!({"newLimit": 1, "newBurst": 1})).await;
    let started = Instant::now();
    for _ in 0..calls {
        let answer = get(&stage, "/myService/expensiveMethod").await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    // The first may find a token; timers have milliseconds.
    let least = Duration::from_millis(995) * (calls - 1);
    assert!(started.elapsed() >= least, "{calls} calls in {:?}", started.elapsed());
    assert!(started.elapsed() <= Duration::from_secs(u64::from(calls) + 10), "{:?}", started.elapsed());
    let answer = post(&stage, "/myService/expensiveMethodBatch", json!(20)).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
}

pub async fn work_fans_out_and_in(stage: Arc<Stage>) {
    let parts = ["get out of bed", "shower", "make coffee", "have breakfast"];
    let answer = post(&stage, "/worker/run", json!({"description": parts.join(",")})).await;
    assert_eq!(answer.json().unwrap(), json!({"results": parts.map(|part| format!("{part}: DONE"))}));
    let lines = stage.service.steps();
    let place = |what: &str, part: &str| {
        lines.iter().position(|line| *line == format!("{what} {part}")).unwrap_or_else(|| panic!("{what} {part}"))
    };
    let last_start = parts.map(|part| place("started", part)).into_iter().max();
    let first_end = parts.map(|part| place("finished", part)).into_iter().min();
    assert!(last_start < first_end, "not side by side: {lines:#?}");
}

pub async fn webhooks_are_routed_once(stage: Arc<Stage>) {
    let event = |kind: &str| json!({"type": kind, "data": {"object": {"id": "invoice-1"}}}).to_string();
    let look = async || get(&stage, "/PaymentTracker/invoice-1/look").await.json();
    // A provider that heard no answer sends its event again.
    for _ in 0..3 {
        let headers = [("content-type", "application/json"), ("idempotency-key", "evt-1")];
        let path = "/WebhookCallbackRouter/onStripeEvent";
        let ingress = &stage.server.ingress;
        let answer =
            ingress.request(http::Method::POST, path, &headers, event("invoice.payment_failed")).await.unwrap();
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    let body = serde_json::from_str(&event("invoice.payment_succeeded")).unwrap();
    post_ok(&stage, "/WebhookCallbackRouter/onStripeEvent", body).await;
    eventually(PATIENCE, "both are routed", async || {
        let shown = look().await?;
        anyhow::ensure!(shown == json!({"status": "invoice.payment_succeeded", "failures": 1}), "{shown}");
        Ok(())
    })
    .await;
}
