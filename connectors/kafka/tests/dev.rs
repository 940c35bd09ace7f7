//! The development broker, and what of our clients works with it.

mod support;

use std::time::Instant;

use millrace_connector_kafka::{
    Admin, ClientError, Commit, DevBroker, DevTopic, GroupState, OffsetQuery, OutRecord, Producer, Properties,
};
use support::{fill, next_batch, reader};

async fn broker(topics: &[(&str, i32)]) -> DevBroker {
    let topics: Vec<DevTopic> = topics
        .iter()
        .map(|(name, partitions)| DevTopic { name: (*name).to_owned(), partitions: *partitions })
        .collect();
    DevBroker::start("127.0.0.1:0".parse().unwrap(), &topics).await.unwrap()
}

#[tokio::test]
async fn records_go_in_and_come_out_through_the_fixed_port() {
    let broker = broker(&[("orders", 4)]).await;
    let cluster = broker.cluster();
    fill(&cluster, "orders", 4, 400, 50).await;
    let reader = reader(&cluster).await;
    let mut feed = reader.feed();
    for partition in 0..4 {
        feed.assign("orders", partition, 0).unwrap();
    }
    let mut records = 0;
    while records < 400 {
        records += next_batch(&mut feed).await.records.len();
    }

    let producer = Producer::start(&cluster, &Properties::new()).await.unwrap();
    let record = OutRecord { topic: "orders", partition: Some(1), value: Some(b"x"), ..OutRecord::default() };
    producer.send(&record).unwrap().await.unwrap();
    next_batch(&mut feed).await;
    let started = Instant::now();
    for _ in 0..20 {
        producer.send(&record).unwrap().await.unwrap();
        next_batch(&mut feed).await;
    }
    println!("written and read one by one: {:?} each", started.elapsed() / 20);
}

#[tokio::test]
async fn a_fixed_port_is_the_one_that_is_told() {
    let first = broker(&[]).await;
    let port: u16 = first.bootstrap().rsplit_once(':').unwrap().1.parse().unwrap();
    let taken = DevBroker::start(([127, 0, 0, 1], port).into(), &[]).await;
    assert!(matches!(taken, Err(ClientError::Create { .. })));
    assert_eq!(first.cluster().bootstrap(), format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn topics_are_made_at_any_time_and_have_an_id() {
    let broker = broker(&[("early", 2)]).await;
    let admin = Admin::connect(&broker.cluster()).await.unwrap();
    let early = admin.describe_topic("early").await.unwrap();
    assert!(early.id.is_some());
    assert_eq!(early.partitions, 2);
    assert!(matches!(admin.describe_topic("late").await, Err(ClientError::TopicUnknown { .. })));
    broker.create_topic("late", 3).unwrap();
    assert_eq!(admin.describe_topic("late").await.unwrap().partitions, 3);
    assert_eq!(admin.describe_topic("early").await.unwrap(), early);
    assert_eq!(admin.describe_topics_at(1, &["early"]).await.unwrap()[0].info.clone().unwrap(), early);
    assert!(matches!(broker.create_topic("late", 3), Err(ClientError::TopicExists { .. })));
    assert!(broker.create_topic("", 1).is_err() && broker.create_topic("x", 0).is_err());
}

#[tokio::test]
async fn offsets_and_commits_work_and_groups_are_unknown() {
    let broker = broker(&[("orders", 1)]).await;
    let cluster = broker.cluster();
    fill(&cluster, "orders", 1, 5, 10).await;
    let admin = Admin::connect(&cluster).await.unwrap();
    let end = admin.list_offsets(&[("orders", 0)], OffsetQuery::Latest).await.unwrap();
    assert_eq!(end[0].offset.clone().unwrap(), 5);
    let commit = Commit { topic: "orders", partition: 0, offset: 3, metadata: "m" };
    admin.commit("tools", &[commit]).await.unwrap();
    let committed = admin.committed("tools", &[("orders", 0)]).await.unwrap();
    assert_eq!((committed[0].offset.clone().unwrap(), committed[0].metadata.as_str()), (Some(3), "m"));
    assert_eq!(admin.group_state("tools").await.unwrap(), GroupState::Unknown);
}
