//! What the guides have their readers try by repairing a fault and starting the services again.

use serde_json::json;

use super::{attach, happened, start, until, until_happened};
use crate::support::ServerOptions;

/// Quickstart ("kill/restart the service halfway through"), tours ("remove the line …", "try restarting the service").
#[tokio::test]
async fn the_tours_go_on_after_a_restart_of_the_services() {
    let mut stage = start(ServerOptions::default()).await;
    let order = |subscriptions: &[&str]| json!({"userId": "user-123", "creditCard": "4111111111111111", "subscriptions": subscriptions});
    let netflix = stage.server.send("SubscriptionService/add", order(&["Hulu", "Prime", "Netflix"])).await.unwrap();
    let alice = json!({"name": "Alice", "email": "alice@mail.com"});
    let alice = stage.server.send("SignupWorkflow/alicedoe/run", alice).await.unwrap();
    let payment = json!({"amount": 100, "currency": "USD", "customerId": "cust-123", "orderId": "order-456"});
    let payment = stage.server.send("Payments/process", payment).await.unwrap();
    let john = json!({"name": "John Doe", "email": "john@mail.com"});
    let signup = stage.server.send("SignupWithSignalsWorkflow/johndoe/run", john).await.unwrap();
    let greeting = stage.server.send("Greeter/greet", json!({"name": "Sarah"})).await.unwrap();

    until(&stage, &netflix, "Netflix is tried again", |shown| {
        shown["last_failure"]["message"].as_str().is_some_and(|text| text.contains("Netflix is down"))
    })
    .await;
    until(&stage, &alice, "Alice's mail is tried again", |shown| shown["retry_count"].as_u64() > Some(0)).await;
    let confirmation = until_happened(&stage, "order-456", "confirm ").await;
    let secret = until_happened(&stage, "johndoe", "secret ").await;
    // Everything but the two that fail waits for something durable, so that no step is cut off.
    for id in [&payment, &signup, &greeting] {
        until(&stage, id, "it waits", |shown| {
            // The one that is done before anybody looks does no harm.
            shown["journal"]["length"].as_u64() >= Some(3) || shown["status"] == "completed"
        })
        .await;
    }

    std::fs::write(stage.service.file("repaired"), "").unwrap();
    stage.service.kill();
    stage.service.start_again();

    let result = json!({"success": true, "transactionId": "txn-123"});
    let confirm = json!({"id": confirmation, "result": result});
    stage.server.ingress.post("/Payments/confirm", &confirm).await.unwrap().ok().unwrap();
    let click = json!({ "secret": secret });
    stage.server.ingress.post("/SignupWithSignalsWorkflow/johndoe/verifyEmail", &click).await.unwrap().ok().unwrap();
    for (id, expected) in [
        (&alice, json!({"success": true})),
        (&payment, result),
        (&signup, json!({"success": true})),
        (&greeting, json!({"result": "You said hi to Sarah!"})),
    ] {
        let answer = attach(&stage, id).await;
        assert_eq!(answer.json().unwrap(), expected, "{}", answer.text());
    }
    assert!(attach(&stage, &netflix).await.status.is_success());

    let expected = ["paid with 4111111111111111", "subscribed to Hulu", "subscribed to Prime", "subscribed to Netflix"];
    assert_eq!(happened(&stage, "user-123"), expected);
    let mut lines = happened(&stage, "alicedoe");
    lines.dedup();
    assert_eq!(lines, ["created", "activated", "welcome tried", "welcomed"]);
    assert!(stage.server.stop().success());
}
