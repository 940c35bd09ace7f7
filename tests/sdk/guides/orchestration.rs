//! The tour of microservice orchestration.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};

use super::{Stage, attach, eventually, get, happened, post, post_ok, until_happened};
use crate::support::PATIENCE;

fn order(user: &str, subscriptions: &[&str]) -> Value {
    json!({"userId": user, "creditCard": "4111111111111111", "subscriptions": subscriptions})
}

const PAID: &str = "paid with 4111111111111111";

pub async fn subscriptions_are_added_one_after_the_other(stage: Arc<Stage>) {
    post_ok(&stage, "/SubscriptionService/add", order("user-123", &["Hulu", "Prime"])).await;
    assert_eq!(happened(&stage, "user-123"), [PAID, "subscribed to Hulu", "subscribed to Prime"]);
}

pub async fn a_saga_undoes_what_was_paid(stage: Arc<Stage>) {
    let answer = post(&stage, "/SubscriptionSaga/add", order("user-saga", &["Hulu", "Prime", "Disney"])).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("Disney is not available"), "{}", answer.text());
    let expected =
        [PAID, "subscribed to Hulu", "subscribed to Prime", "left Disney", "left Prime", "left Hulu", "paid back"];
    assert_eq!(happened(&stage, "user-saga"), expected);
}

pub async fn an_object_keeps_subscriptions(stage: Arc<Stage>) {
    for (user, subscription) in
        [("user-123", "Hulu"), ("user-123", "Prime"), ("user-123", "Disney"), ("user-456", "Netflix")]
    {
        post_ok(&stage, &format!("/UserSubscriptions/{user}/add"), json!(subscription)).await;
    }
    let kept = get(&stage, "/UserSubscriptions/user-123/getSubscriptions").await;
    assert_eq!(kept.json().unwrap(), json!(["Hulu", "Prime", "Disney"]));
    let kept = get(&stage, "/UserSubscriptions/user-456/getSubscriptions").await;
    assert_eq!(kept.json().unwrap(), json!(["Netflix"]));
}

fn ticket(id: &str, date: &str) -> Value {
    json!({"ticketId": id, "price": 100, "customerEmail": "me@mail.com", "concertDate": date})
}

pub async fn a_ticket_is_bought_mailed_and_remembered(stage: Arc<Stage>) {
    // The concert is over: the reminder of the day before is due at once. One far ahead must not come.
    for (id, date) in [("ticket-789", "2023-10-01T20:00:00Z"), ("ticket-790", "2126-10-01T20:00:00Z")] {
        let answer = post(&stage, "/ConcertTicketingService/buy", ticket(id, date)).await.json().unwrap();
        let text = answer.as_str().unwrap();
        assert!(text.starts_with("Ticket purchased successfully with payment reference: "), "{text}");
        until_happened(&stage, id, "ticket mailed").await;
    }
    until_happened(&stage, "ticket-789", "reminded").await;
    let lines = happened(&stage, "ticket-790");
    assert_eq!(lines, ["charged", "ticket mailed"]);
}

pub async fn an_idempotency_key_buys_once(stage: Arc<Stage>) {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let headers = [("content-type", "application/json"), ("idempotency-key", "unique-key-123")];
        let body = ticket("ticket-once", "2023-10-01T20:00:00Z").to_string();
        let path = "/ConcertTicketingService/buy";
        answers.push(stage.server.ingress.request(Method::POST, path, &headers, body).await.unwrap().text());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(happened(&stage, "ticket-once").iter().filter(|line| *line == "charged").count(), 1);
}

fn payment(order: &str) -> Value {
    json!({"amount": 100, "currency": "USD", "customerId": "cust-123", "orderId": order})
}

pub async fn a_payment_waits_for_its_confirmation(stage: Arc<Stage>) {
    for (service, order) in [("Payments", "order-456"), ("PaymentsWithTimeout", "order-457")] {
        let id = stage.server.send(&format!("{service}/process"), payment(order)).await.unwrap();
        let confirmation = until_happened(&stage, order, "confirm ").await;
        let result = json!({"success": true, "transactionId": "txn-123"});
        post_ok(&stage, &format!("/{service}/confirm"), json!({"id": confirmation, "result": result})).await;
        assert_eq!(attach(&stage, &id).await.json().unwrap(), result);
    }
}

pub async fn a_payment_times_out(stage: Arc<Stage>) {
    let started = Instant::now();
    let id = stage.server.send("PaymentsWithTimeout/process", payment("order-late")).await.unwrap();
    let answer = attach(&stage, &id).await;
    assert_eq!(answer.json().unwrap(), json!({"success": false, "errorMessage": "Payment timeout"}));
    assert!(started.elapsed() >= Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(happened(&stage, "order-late")[1..], ["cancelled payRef-order-late"]);
}

pub async fn subscriptions_are_added_side_by_side(stage: Arc<Stage>) {
    let request = order("user-side", &["Hulu", "Prime", "YouTube"]);
    let answer = post(&stage, "/ParallelSubscriptionService/add", request).await.json().unwrap();
    assert_eq!(answer["success"], true);
    assert!(answer["paymentRef"].as_str().unwrap().starts_with("pay-"), "{answer}");
    eventually(PATIENCE, "all are added", async || {
        let mut lines = happened(&stage, "user-side");
        lines.sort();
        anyhow::ensure!(lines == [PAID, "subscribed to Hulu", "subscribed to Prime", "subscribed to YouTube"]);
        Ok(())
    })
    .await;
}
