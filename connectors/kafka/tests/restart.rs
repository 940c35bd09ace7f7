//! A broker that goes away and comes back, each with a broker of its own.

mod support;

use millrace_connector_kafka::{Admin, Event};
use support::{Broker, cluster, eventually, fill, next, reader, topic};

async fn reading_goes_on_after(signal: &'static str) {
    const EACH: i64 = 20_000;
    let broker = tokio::task::spawn_blocking(Broker::start).await.unwrap();
    let cluster = cluster(&broker.bootstrap());
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "restart", 2).await;
    let before = eventually(|| admin.describe_topic(&name)).await;
    fill(&cluster, &name, 2, 2 * EACH as usize, 200).await;

    let reader = reader(&cluster).await;
    let mut feed = reader.feed();
    let sources = [feed.assign(&name, 0, 0).unwrap(), feed.assign(&name, 1, EACH).unwrap()];
    let mut position = 0;
    while position < 1000 {
        if let Event::Records(batch) = next(&mut feed).await {
            position = batch.to;
        }
    }
    let broker = tokio::task::spawn_blocking(move || {
        broker.stop(signal);
        broker
    })
    .await
    .unwrap();
    // Prefetched records still come, then word that the broker is away.
    loop {
        match next(&mut feed).await {
            Event::Records(batch) => {
                assert_eq!(batch.from, position);
                position = batch.to;
            }
            Event::BrokerDown { reason } => break println!("told: {reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(reader.trouble().is_some());
    let broker = tokio::task::spawn_blocking(move || {
        broker.start_again();
        broker
    })
    .await
    .unwrap();
    while position < EACH {
        match next(&mut feed).await {
            Event::Records(batch) if batch.source == sources[0] => {
                assert_eq!(batch.from, position);
                position = batch.to;
            }
            Event::Records(_) | Event::BrokerDown { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(eventually(|| admin.describe_topic(&name)).await, before);
    // What comes afterwards comes as well.
    fill(&cluster, &name, 2, 10, 10).await;
    let mut fresh = 0;
    while fresh < 10 {
        if let Event::Records(batch) = next(&mut feed).await {
            fresh += batch.records.len();
        }
    }
    drop(broker);
}

#[tokio::test]
async fn reading_goes_on_after_a_clean_restart() {
    reading_goes_on_after("TERM").await;
}

#[tokio::test]
async fn reading_goes_on_after_a_killed_broker() {
    reading_goes_on_after("KILL").await;
}
