//! A cluster of brokers that loses one.

use super::*;

/// Three JVMs: `make test-all` only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_while_records_flow_costs_none_of_them() {
    if !support::tier(false, true) {
        return;
    }
    let kafkas = tokio::task::block_in_place(Kafka::start_three);
    let bootstrap: Vec<_> = kafkas.iter().map(|kafka| format!("\"PLAINTEXT://{}\"", kafka.bootstrap())).collect();
    let clusters = format!("[{{name=\"c\",brokers=[{}]}}]", bootstrap.join(","));
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default().env("MILLRACE_INGRESS__KAFKA_CLUSTERS", &clusters)).await;
    server.allow("subscription is held up");
    server.allow("kafka client");
    server.register(&service).await;
    let topic = support::unique("replicated");
    let admin = kafkas[0].admin().await;
    eventually(PATIENCE, "the topic is made", async || Ok(admin.create_topic(&topic, 6, 3, &[]).await?)).await;
    let id = server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let keys = 60;
    let events = turns(keys, 100, |key| Some((key % 6) as i32));
    let producer = kafkas[0].producer().await;
    let (first, rest) = events.split_at(events.len() / 3);
    produce(&producer, &topic, first).await;
    // Not the one that the producer was told of, so that this test's own tools go on.
    let write = produce(&producer, &topic, rest);
    let kill = async {
        support::pause(std::time::Duration::from_millis(200)).await;
        tokio::task::block_in_place(|| kafkas[1].stop("KILL"));
        support::pause(std::time::Duration::from_secs(3)).await;
        tokio::task::block_in_place(|| kafkas[1].start_again());
        support::pause(std::time::Duration::from_secs(1)).await;
        tokio::task::block_in_place(|| kafkas[2].stop("KILL"));
    };
    tokio::join!(write, kill);
    settled(&server, "Events", &events).await;
    let wanted = events.len() as u64;
    let shown = server.until_subscription(&id, "all are taken", |shown| count(shown, "records") >= wanted).await;
    // Exactly once: the producer is idempotent, and so is what reads.
    assert_eq!((count(&shown, "records"), count(&shown, "missing")), (wanted, 0), "{shown:#}");
}
