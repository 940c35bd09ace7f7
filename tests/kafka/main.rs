//! Kafka end to end: real broker, real binary, real SDK services. The names of the tests are promises.

#[path = "../support/mod.rs"]
mod support;

use millrace_connector_kafka::OutRecord;
use serde_json::json;
use support::{Kafka, Server, ServerOptions, Service};

#[tokio::test]
async fn a_record_becomes_an_invocation() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("first", 2).await;
    let service = Service::start("rust");
    let mut server = Server::start(ServerOptions::kafka(kafka.bootstrap())).await;
    server.register(&service).await;
    let id = server.subscribe(&topic, "Events/on", &[("auto.offset.reset", "earliest")]).await;
    kafka
        .produce([OutRecord { topic: &topic, key: Some(b"k"), value: Some(br#"{"seq":1}"#), ..Default::default() }])
        .await;
    support::eventually(support::PATIENCE, "the record", async || {
        let seqs = server.query("Events/k/seqs").await?;
        anyhow::ensure!(seqs == json!([1]), "{seqs}");
        Ok(())
    })
    .await;
    println!("{:#}", server.subscription(&id).await.unwrap());
    println!("{} {:?} {}", server.rss(), server.cpu(), server.threads());
    assert!(server.stop().success());
}
