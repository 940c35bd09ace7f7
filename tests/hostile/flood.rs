//! Handlers that never end what they say.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    bodies::peak_memory,
    support::{Attempt, Endpoint, Server, ServerOptions, Service, manifest, tier},
    wire::*,
};

/// Sends one frame after the other as fast as they are taken.
async fn endless(mut attempt: Attempt, frame: Bytes, sent: Arc<AtomicU64>) {
    let mut answer = attempt.accept();
    loop {
        answer.reserve_capacity(frame.len());
        match std::future::poll_fn(|cx| answer.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            _ => return,
        }
        if answer.send_data(frame.clone(), false).is_err() {
            return;
        }
        sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
    }
}

/// `bound`: generous; what was held without bound passed it within seconds.
async fn memory_is_bounded(service: &str, frame: Bytes, bound: u64) {
    let good = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    server.register(&good).await;
    server.allow("large message from a handler");
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let endpoint =
        Endpoint::start(manifest(service), move |attempt| endless(attempt, frame.clone(), Arc::clone(&counted))).await;
    let made = server.admin.post("/deployments", &json!({"uri": endpoint.uri()})).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(server.send(&format!("{service}/on"), json!(1)).await.unwrap());
    }
    let until = Instant::now() + Duration::from_secs(tier(5, 60));
    let mut round = 0;
    while Instant::now() < until {
        round += 1;
        assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), round);
    }
    let peak = peak_memory(server.pid());
    println!(
        "{} MiB sent, {} MiB of memory at most, {round} calls meanwhile",
        sent.load(Ordering::Relaxed) >> 20,
        peak >> 20
    );
    assert!(peak < bound, "{} MiB", peak >> 20);
    for id in ids {
        let killed = server.admin.patch(&format!("/invocations/{id}/kill"), &Value::Null).await.unwrap();
        assert!(killed.status == 200 || killed.status == 409, "{}", killed.text());
    }
    assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), round + 1);
}

#[tokio::test]
async fn an_endless_row_of_steps_is_bounded() {
    let step = Message::new().bytes(1, vec![b'x'; 60_000]).message(14, Message::new());
    memory_is_bounded("Flood", step.frame(OUTPUT), 900 << 20).await;
}

#[tokio::test]
async fn an_endless_row_of_hints_is_bounded() {
    let hint = Message::new().message(1, Message::new().bytes(1, vec![1; 10_000]).number(5, 1));
    memory_is_bounded("Hints", hint.frame(AWAITING), 300 << 20).await;
}

/// Every message is held several times on its way into the log and the store.
#[tokio::test]
async fn an_endless_row_of_large_messages_is_bounded() {
    let large = Message::new().message(14, Message::new().bytes(1, vec![b'x'; 24 << 20]));
    memory_is_bounded("Large", large.frame(OUTPUT), 1800 << 20).await;
}
