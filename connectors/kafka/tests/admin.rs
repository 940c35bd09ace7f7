//! Topics, offsets and groups of a real Kafka.

mod support;

use millrace_connector_kafka::{Admin, ClientError, Commit, GroupState, OffsetQuery, OutRecord, Producer, Properties};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use support::{eventually, fill, shared, topic, unique};

#[tokio::test]
async fn a_topic_keeps_its_id_until_it_is_created_again() {
    let admin = Admin::connect(&shared()).await.unwrap();
    let name = topic(&admin, "identity", 3).await;
    let first = eventually(|| admin.describe_topic(&name)).await;
    assert!(first.id.is_some());
    assert_eq!(first.partitions, 3);
    assert_eq!(admin.describe_topic(&name).await.unwrap(), first);

    let other_client = Admin::connect(&shared()).await.unwrap();
    assert_eq!(other_client.describe_topic(&name).await.unwrap(), first);

    admin.grow_topic(&name, 5).await.unwrap();
    let grown = eventually(|| async {
        let info = admin.describe_topic(&name).await?;
        if info.partitions == 5 { Ok(info) } else { Err(ClientError::TopicUnknown { topic: name.clone() }) }
    })
    .await;
    assert_eq!(grown.id, first.id);

    admin.delete_topic(&name).await.unwrap();
    eventually(|| admin.create_topic(&name, 2, 1, &[])).await;
    let again = eventually(|| async {
        let info = admin.describe_topic(&name).await?;
        if info.partitions == 2 { Ok(info) } else { Err(ClientError::TopicUnknown { topic: name.clone() }) }
    })
    .await;
    assert!(again.id.is_some() && again.id != first.id, "{again:?} after {first:?}");
}

#[tokio::test]
async fn a_missing_topic_is_an_answer_of_its_own() {
    let admin = Admin::connect(&shared()).await.unwrap();
    let name = topic(&admin, "there", 1).await;
    eventually(|| admin.describe_topic(&name)).await;
    let described = admin.describe_topics(&["not-there", &name]).await.unwrap();
    assert_eq!(described.len(), 2);
    assert!(matches!(described[0].info, Err(ClientError::TopicUnknown { .. })), "{described:?}");
    assert!(described[1].info.is_ok(), "{described:?}");
    assert!(matches!(admin.create_topic(&name, 1, 1, &[]).await, Err(ClientError::TopicExists { .. })));
    assert!(matches!(admin.delete_topic("not-there").await, Err(ClientError::TopicUnknown { .. })));
    assert!(matches!(admin.describe_topic("a\0b").await, Err(ClientError::Invalid { .. })));
}

#[tokio::test]
async fn both_ends_of_many_partitions_in_one_call() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "ends", 4).await;
    fill(&cluster, &name, 4, 40, 10).await;
    let partitions: Vec<(&str, i32)> = (0..4).map(|p| (name.as_str(), p)).collect();
    for (query, want) in [(OffsetQuery::Earliest, 0), (OffsetQuery::Latest, 10), (OffsetQuery::LatestStable, 10)] {
        let mut got = admin.list_offsets(&partitions, query).await.unwrap();
        got.sort_by_key(|answer| answer.partition);
        let got: Vec<_> = got.into_iter().map(|answer| (answer.partition, answer.offset.unwrap())).collect();
        assert_eq!(got, [(0, want), (1, want), (2, want), (3, want)], "{query:?}");
    }
    let got = admin.list_offsets(&[(&name, 0), (&name, 9)], OffsetQuery::Latest).await.unwrap();
    let missing = got.iter().find(|answer| answer.partition == 9).unwrap();
    assert!(missing.offset.is_err(), "{missing:?}");
}

#[tokio::test]
async fn offsets_can_be_committed_while_the_group_is_empty_and_only_then() {
    commits_and_members("classic").await;
}

#[tokio::test]
async fn the_same_holds_for_groups_of_the_new_protocol() {
    commits_and_members("consumer").await;
}

async fn commits_and_members(protocol: &'static str) {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "commits", 2).await;
    let group = unique("group");
    let partitions = [(name.as_str(), 0), (name.as_str(), 1)];

    assert_eq!(admin.group_state(&group).await.unwrap(), GroupState::Empty);
    let nothing = admin.committed(&group, &partitions).await.unwrap();
    assert!(nothing.iter().all(|c| c.offset.as_ref().unwrap().is_none()), "{nothing:?}");

    let commit = |offset, metadata| Commit { topic: &name, partition: 0, offset, metadata };
    admin.commit(&group, &[commit(7, "epoch 3")]).await.unwrap();
    let read = admin.committed(&group, &partitions).await.unwrap();
    let of = |partition| read.iter().find(|c| c.partition == partition).unwrap();
    assert_eq!((of(0).offset.clone().unwrap(), of(0).metadata.as_str()), (Some(7), "epoch 3"));
    assert_eq!(of(1).offset.clone().unwrap(), None);
    assert_eq!(admin.group_state(&group).await.unwrap(), GroupState::Empty);

    let bootstrap = cluster.bootstrap().to_owned();
    let (member_group, member_topic) = (group.clone(), name.clone());
    let member = tokio::task::spawn_blocking(move || {
        let member: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", member_group)
            .set("enable.auto.commit", "false")
            .set("group.protocol", protocol)
            .create()
            .unwrap();
        member.subscribe(&[&member_topic]).unwrap();
        while member.assignment().unwrap().count() == 0 {
            member.poll(std::time::Duration::from_millis(100));
        }
        member
    })
    .await
    .unwrap();
    assert_eq!(admin.group_state(&group).await.unwrap(), GroupState::HasMembers { members: 1 });
    let refused = admin.commit(&group, &[commit(8, "")]).await;
    assert!(matches!(refused, Err(ClientError::GroupHasMembers { .. })), "{refused:?}");

    tokio::task::spawn_blocking(move || drop(member)).await.unwrap();
    let last = [commit(9, "")];
    eventually(|| admin.commit(&group, &last)).await;
    let read = admin.committed(&group, &partitions[..1]).await.unwrap();
    assert_eq!(read[0].offset.clone().unwrap(), Some(9));
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_a_retriable_error_in_time() {
    let nobody = support::cluster("127.0.0.1:1");
    let limit = std::time::Duration::from_millis(500);
    let admin = Admin::connect(&nobody).await.unwrap().with_limit(limit);
    let started = std::time::Instant::now();
    let error = admin.describe_topic("any").await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    let error = admin.list_offsets(&[("any", 0)], OffsetQuery::Latest).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    let error = admin.commit("g", &[Commit { topic: "any", partition: 0, offset: 1, metadata: "" }]).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    assert!(started.elapsed() < limit * 8, "{:?}", started.elapsed());
    assert!(admin.trouble().is_some());
}

#[tokio::test]
async fn calls_may_be_spawned_and_dropped_half_way() {
    let admin = Admin::connect(&shared()).await.unwrap();
    let name = topic(&admin, "dropped", 1).await;
    for _ in 0..20 {
        let call = admin.describe_topic(&name);
        let _ = tokio::time::timeout(std::time::Duration::ZERO, call).await;
    }
    let (spawned, topic) = (admin.clone(), name.clone());
    tokio::spawn(async move { spawned.describe_topic(&topic).await.map(|_| ()) }).await.unwrap().unwrap();
    assert!(!admin.cluster_id().await.unwrap().is_empty());
    admin.close().await;
}

#[tokio::test]
async fn the_producer_says_where_records_went() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "produce", 2).await;
    let producer = Producer::start(&cluster, &Properties::new()).await.unwrap();
    let record = OutRecord { topic: &name, partition: Some(1), value: Some(b"v"), ..OutRecord::default() };
    for want in 0..3 {
        let delivered = producer.send(&record).unwrap().await.unwrap();
        assert_eq!((delivered.partition, delivered.offset), (1, Some(want)));
    }
    let huge = vec![0; 2_000_000];
    assert!(producer.send(&OutRecord { value: Some(&huge), ..record }).is_err());
    let missing = producer.send(&OutRecord { topic: "not-there", partition: None, ..record }).unwrap();
    let unfinished = tokio::time::timeout(std::time::Duration::from_millis(50), missing).await;
    assert!(unfinished.is_err() || unfinished.unwrap().is_err());
    producer.close().await;
}
