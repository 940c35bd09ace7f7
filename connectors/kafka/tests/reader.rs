//! Reading from a real Kafka.

mod support;

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::{Duration, Instant};

use millrace_connector_kafka::{
    Admin, BATCH_BYTES_MAX, ClientError, Event, OutRecord, Producer, Properties, Reader, RecordBatch,
};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use support::{consumer, cpu, eventually, fill, next, next_batch, reader, shared, topic, unique};

/// Numbers of the records within their partition, see `fill`.
fn numbers(batch: &RecordBatch) -> Vec<u64> {
    let number = |value: &[u8]| std::str::from_utf8(&value[..8]).unwrap().parse().unwrap();
    batch.records.iter().map(|record| number(record.value.as_ref().unwrap())).collect()
}

#[tokio::test]
async fn every_part_of_a_record_survives() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "parts", 1).await;
    let producer = Producer::start(&cluster, &Properties::new()).await.unwrap();
    let plain = OutRecord { topic: &name, partition: Some(0), value: Some(b"v"), ..OutRecord::default() };
    let headers: &[(&str, Option<&[u8]>)] =
        &[("a", Some(b"1")), ("a", Some(b"2")), ("null", None), ("empty", Some(b"")), ("é", Some(&[0, 255]))];
    let records = [
        OutRecord { key: Some(b"key"), headers, timestamp_ms: Some(1_700_000_000_123), ..plain },
        OutRecord { key: None, ..plain },
        OutRecord { key: Some(b""), ..plain },
        OutRecord { key: Some(&[0xff, 0xfe]), value: None, ..plain },
        OutRecord { key: Some(b"k"), value: Some(b""), ..plain },
    ];
    for record in &records {
        producer.send(record).unwrap().await.unwrap();
    }

    let mut feed = reader(&cluster).await.feed();
    feed.assign(&name, 0, 0).unwrap();
    let mut got = Vec::new();
    while got.len() < records.len() {
        got.extend(next_batch(&mut feed).await.records);
    }
    for (offset, (got, want)) in got.iter().zip(&records).enumerate() {
        assert_eq!(got.offset, offset as i64);
        assert_eq!(got.key.as_deref(), want.key, "key of {offset}");
        assert_eq!(got.value.as_deref(), want.value, "value of {offset}");
        let headers: Vec<_> = got.headers.iter().map(|h| (h.name_str().unwrap(), h.value.as_deref())).collect();
        assert_eq!(headers, want.headers, "headers of {offset}");
        match want.timestamp_ms {
            Some(_) => assert_eq!(got.timestamp_ms, want.timestamp_ms),
            None => assert!(got.timestamp_ms.is_some_and(|at| at > 1_700_000_000_123)),
        }
    }
}

#[tokio::test]
async fn an_offset_that_is_not_there_is_told_and_nothing_is_skipped() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "range", 1).await;
    fill(&cluster, &name, 1, 10, 10).await;
    let native: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap()).create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&name, 0, Offset::Offset(4)).unwrap();
    native.delete_records(&before, &AdminOptions::new()).await.unwrap();

    let mut feed = reader(&cluster).await.feed();
    for wrong in [2, 11] {
        let source = feed.assign(&name, 0, wrong).unwrap();
        match next(&mut feed).await {
            Event::OffsetOutOfRange { source: told, position, .. } => assert_eq!((told, position), (source, wrong)),
            other => panic!("{other:?}"),
        }
        feed.seek(source, 4).await.unwrap();
        let batch = next_batch(&mut feed).await;
        assert_eq!((batch.from, numbers(&batch)[0]), (4, 4));
        feed.unassign(source).await;
    }
    // The end itself is a position like any other.
    let end = feed.assign(&name, 0, 10).unwrap();
    fill(&cluster, &name, 1, 1, 10).await;
    let batch = next_batch(&mut feed).await;
    assert_eq!((batch.source, batch.from, batch.to), (end, 10, 11));
    let broker = batch.broker.expect("it has records");
    assert!(admin.describe_topics_at(broker, &[&name]).await.unwrap()[0].info.is_ok());
    assert_eq!(feed.high_watermark(end), Some(11));
}

#[tokio::test]
async fn a_missing_topic_is_told() {
    let cluster = shared();
    let options = [("topic.metadata.propagation.max.ms", "100")];
    let reader = Reader::start(&consumer(&cluster, &options)).await.unwrap();
    let mut feed = reader.feed();
    let source = feed.assign(&unique("missing"), 0, 0).unwrap();
    match next(&mut feed).await {
        Event::TopicUnknown { source: told, .. } => assert_eq!(told, source),
        other => panic!("{other:?}"),
    }
    assert!(matches!(feed.assign("", 0, 0), Err(ClientError::Invalid { .. })));
    assert!(matches!(feed.assign("t", 0, -1), Err(ClientError::Invalid { .. })));
}

#[tokio::test]
async fn aborted_records_are_not_read_and_positions_pass_the_markers() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "transactions", 1).await;
    let bootstrap = cluster.bootstrap().to_owned();
    let to = name.clone();
    tokio::task::spawn_blocking(move || {
        let limit = Duration::from_secs(30);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", unique("tx"))
            .create()
            .unwrap();
        producer.init_transactions(limit).unwrap();
        for value in ["kept 1", "aborted", "kept 2", "aborted too"] {
            producer.begin_transaction().unwrap();
            producer.send(BaseRecord::<(), _>::to(&to).partition(0).payload(value)).unwrap();
            producer.flush(limit).unwrap();
            if value.starts_with("kept") {
                producer.commit_transaction(limit).unwrap();
            } else {
                producer.abort_transaction(limit).unwrap();
            }
        }
    })
    .await
    .unwrap();

    // Offsets: record, marker, record, marker …
    let mut feed = reader(&cluster).await.feed();
    let source = feed.assign(&name, 0, 0).unwrap();
    let mut read = Vec::new();
    let mut position = 0;
    while position < 8 {
        let batch = next_batch(&mut feed).await;
        assert_eq!(batch.from, position);
        position = batch.to;
        read.extend(batch.records.iter().map(|r| (r.offset, r.value.clone().unwrap())));
    }
    assert_eq!(read, [(0, "kept 1".into()), (4, "kept 2".into())]);
    assert_eq!((feed.position(source), feed.high_watermark(source)), (Some(8), Some(8)));

    let uncommitted = consumer(&cluster, &[("isolation.level", "read_uncommitted")]);
    let mut feed = Reader::start(&uncommitted).await.unwrap().feed();
    feed.assign(&name, 0, 0).unwrap();
    let mut offsets = Vec::new();
    while offsets.len() < 4 {
        offsets.extend(next_batch(&mut feed).await.records.iter().map(|r| r.offset));
    }
    assert_eq!(offsets, [0, 2, 4, 6]);
}

#[tokio::test]
async fn a_paused_partition_holds_up_nobody_and_loses_nothing() {
    const EACH: usize = 30_000; // More than is prefetched of one partition.
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "pause", 4).await;
    fill(&cluster, &name, 4, 4 * EACH, 100).await;

    let mut feed = reader(&cluster).await.feed();
    let sources: Vec<_> = (0..4).map(|p| feed.assign(&name, p, 0).unwrap()).collect();
    feed.pause(sources[2]);
    let mut read: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    while (0..4).filter(|p| read.get(p).is_some_and(|r| r.len() == EACH)).count() < 3 {
        let batch = next_batch(&mut feed).await;
        assert_ne!(batch.source, sources[2], "it is paused");
        assert!(batch.bytes <= BATCH_BYTES_MAX);
        read.entry(batch.source_partition).or_default().extend(numbers(&batch));
    }
    assert!(feed.is_paused(sources[2]));
    assert!(feed.try_next().is_none());

    feed.resume(sources[2]);
    while read.get(&2).is_none_or(|r| r.len() < EACH) {
        let batch = next_batch(&mut feed).await;
        read.entry(batch.source_partition).or_default().extend(numbers(&batch));
        // Often, and also in the middle of what is prefetched.
        feed.pause(sources[2]);
        assert!(feed.try_next().is_none());
        feed.resume(sources[2]);
    }
    for numbers in read.values() {
        assert!(numbers.iter().copied().eq(0..EACH as u64), "every record once, in order");
    }
}

#[tokio::test]
async fn seeking_leaves_nothing_of_the_old_position() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "seek", 1).await;
    fill(&cluster, &name, 1, 20_000, 100).await;
    let mut feed = reader(&cluster).await.feed();
    let source = feed.assign(&name, 0, 15_000).unwrap();
    for offset in [15_000, 3, 19_999, 0, 10_000] {
        feed.seek(source, offset).await.unwrap();
        let batch = next_batch(&mut feed).await;
        assert_eq!((batch.from, batch.records[0].offset), (offset, offset));
        assert_eq!(batch.to, batch.records.last().unwrap().offset + 1);
    }
}

#[tokio::test]
async fn a_seek_that_was_interrupted_is_not_hidden() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "interrupted", 1).await;
    fill(&cluster, &name, 1, 10, 10).await;
    let mut feed = reader(&cluster).await.feed();
    let source = feed.assign(&name, 0, 0).unwrap();
    let mut seek = Box::pin(feed.seek(source, 5));
    let at_once = std::future::poll_fn(|cx| Poll::Ready(seek.as_mut().poll(cx).is_ready())).await;
    drop(seek);
    // It can have been done before anybody could interrupt it.
    assert!(at_once || matches!(feed.seek(source, 5).await, Err(ClientError::Closed { .. })));
    feed.unassign(source).await;
    let again = loop {
        match feed.assign(&name, 0, 5) {
            Ok(again) => break again,
            Err(ClientError::AlreadyAssigned { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    };
    let batch = next_batch(&mut feed).await;
    assert_eq!((batch.source, batch.from, batch.to), (again, 5, 10));
}

#[tokio::test]
async fn what_is_not_built_in_shows_without_a_broker() {
    let nobody = support::cluster("127.0.0.1:1");
    Reader::check(&consumer(&nobody, &[])).await.unwrap();
    let kerberos = consumer(&nobody, &[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "GSSAPI")]);
    assert!(matches!(Reader::check(&kerberos).await, Err(ClientError::Create { .. })));
}

#[tokio::test]
async fn a_source_partition_has_one_reader_at_a_time() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "handover", 2).await;
    fill(&cluster, &name, 2, 8000, 10).await;
    let reader = reader(&cluster).await;
    let (mut old, mut new) = (reader.feed(), reader.feed());
    let source = old.assign(&name, 0, 0).unwrap();
    assert!(matches!(new.assign(&name, 0, 0), Err(ClientError::AlreadyAssigned { .. })));
    let other = new.assign(&name, 1, 0).unwrap();
    assert_eq!(next_batch(&mut new).await.source, other);

    let batch = next_batch(&mut old).await;
    old.unassign(source).await;
    new.assign(&name, 0, batch.to).unwrap();
    let rest = loop {
        let batch = next_batch(&mut new).await;
        if batch.source_partition == 0 {
            break batch;
        }
    };
    assert_eq!(rest.from, batch.to);

    new.close().await;
    old.assign(&name, 0, 0).unwrap();
    drop(old);
    tokio::time::timeout(support::PATIENCE, reader.close()).await.expect("closes when its feeds are gone");
}

#[tokio::test]
async fn a_record_larger_than_a_batch_comes_alone() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "large", 1).await;
    fill(&cluster, &name, 1, 5, 900_000).await;
    let mut feed = reader(&cluster).await.feed();
    feed.assign(&name, 0, 0).unwrap();
    for offset in 0..5 {
        let batch = next_batch(&mut feed).await;
        assert_eq!((batch.from, batch.to, batch.bytes > BATCH_BYTES_MAX), (offset, offset + 1, true));
    }
}

/// The client keeps its position across a re-creation: if the new topic is long enough by then, it reads on in the
/// middle of it and says nothing; if not, the position is out of range. Either way only the id shows what happened, so
/// nothing may be appended before the id was asked for anew.
#[tokio::test]
async fn only_the_id_shows_that_a_topic_was_created_again() {
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "again", 1).await;
    let before = eventually(|| admin.describe_topic(&name)).await.id;
    fill(&cluster, &name, 1, 10, 10).await;
    // After its first error the reader waits long enough for the new topic to be filled.
    let reader = Reader::start(&consumer(&cluster, &[("fetch.error.backoff.ms", "5000")])).await.unwrap();
    let mut feed = reader.feed();
    feed.assign(&name, 0, 0).unwrap();
    let mut position = 0;
    while position < 10 {
        position = next_batch(&mut feed).await.to;
    }
    admin.delete_topic(&name).await.unwrap();
    eventually(|| admin.create_topic(&name, 1, 1, &[])).await;
    fill(&cluster, &name, 1, 15, 10).await;
    loop {
        match next(&mut feed).await {
            Event::Records(batch) => {
                println!("reads on silently: {}..{} of the new topic", batch.from, batch.to);
                assert_eq!((batch.from, numbers(&batch)[0]), (10, 10));
                break;
            }
            Event::OffsetOutOfRange { position, .. } => {
                println!("the new topic was still short");
                assert_eq!(position, 10);
                break;
            }
            Event::TopicUnknown { reason, .. } => println!("told: {reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_ne!(admin.describe_topic(&name).await.unwrap().id, before);
}

#[tokio::test]
async fn many_small_records_cost_little() {
    const PARTITIONS: i32 = 8;
    const COUNT: usize = 200_000;
    let cluster = shared();
    let admin = Admin::connect(&cluster).await.unwrap();
    let name = topic(&admin, "throughput", PARTITIONS).await;
    fill(&cluster, &name, PARTITIONS, COUNT, 100).await;
    for round in 0..3 {
        let reader = reader(&cluster).await;
        let mut feed = reader.feed();
        let (started, cpu_before) = (Instant::now(), cpu());
        for partition in 0..PARTITIONS {
            feed.assign(&name, partition, 0).unwrap();
        }
        let (mut records, mut batches, mut first) = (0, 0, None);
        while records < COUNT {
            let batch = next_batch(&mut feed).await;
            first.get_or_insert_with(|| started.elapsed());
            records += batch.records.len();
            batches += 1;
        }
        let (wall, spent) = (started.elapsed(), cpu() - cpu_before);
        let after_first = wall - first.unwrap_or_default();
        println!(
            "round {round}: {records} records in {batches} batches, first after {first:?}, all after {wall:?} \
             ({:.0} records/s from the first on), CPU {:.2} µs a record",
            records as f64 / after_first.as_secs_f64(),
            spent.as_secs_f64() * 1e6 / records as f64,
        );
        assert!(batches < COUNT / 50, "{batches} batches: records must come in bulk");
    }
}
