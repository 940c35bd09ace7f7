//! What of a record reaches the handler, and what becomes of one that cannot be an invocation.

use super::*;

async fn until_headers(server: &Server, key: &str) -> Value {
    eventually(PATIENCE, "the record is handled", async || {
        let headers = server.query(&format!("Events/{key}/headers")).await?;
        ensure!(headers.as_object().is_some_and(|headers| !headers.is_empty()), "{headers}");
        Ok(headers)
    })
    .await
}

async fn raw(server: &Server, key: &str) -> Vec<u8> {
    server.ingress.post_empty(&format!("/Events/{key}/raw")).await.unwrap().ok().unwrap().body.to_vec()
}

#[tokio::test]
async fn the_handler_sees_the_records_bytes_headers_and_where_it_came_from() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("headers", 3).await;
    let id = scene.server.subscribe(&topic, "Events/onRaw", &[EARLIEST]).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let value = b"not json \xff\x00";
    let delivered = scene
        .kafka
        .produce([
            OutRecord {
                topic: &topic,
                partition: Some(2),
                key: Some(b"other"),
                value: Some(b"x"),
                ..OutRecord::default()
            },
            OutRecord {
                topic: &topic,
                partition: Some(2),
                key: Some(b"k"),
                value: Some(value),
                headers: &[
                    ("tenant", Some(b"blue")),
                    ("empty", Some(b"")),
                    ("null", None),
                    ("binary", Some(b"\xff\xfe")),
                    ("traceparent", Some(trace.as_bytes())),
                ],
                timestamp_ms: Some(1_795_365_768_957),
            },
        ])
        .await;
    let offset = delivered[1].offset.unwrap().to_string();
    let headers = until_headers(&scene.server, "k").await;
    for (name, wanted) in [
        ("restate.subscription.id", id.as_str()),
        ("kafka.topic", &topic),
        ("kafka.partition", "2"),
        ("kafka.offset", &offset),
        ("kafka.timestamp", "1795365768957"),
        ("kafka.key", "aw=="),
        ("tenant", "blue"),
        ("empty", ""),
        ("null", ""),
        ("binary-bin", "__4="),
    ] {
        assert_eq!(headers[name], wanted, "{name} of {headers:#}");
    }
    // The trace goes on: the same trace, from the record's span or a span below it.
    let seen = headers["traceparent"].as_str().unwrap_or_default();
    assert_eq!(seen.get(..36), trace.get(..36), "{headers:#}");
    assert_eq!(raw(&scene.server, "k").await, value);
}

/// Kafka takes any bytes for names and values of headers, and no SDK may stumble over them: the record would be retried
/// for ever and hold up its key.
async fn odd_headers_reach(language: &str) {
    let kafka = Kafka::shared();
    let service = Service::start(language);
    let server = Server::start(ServerOptions::kafka(kafka.bootstrap())).await;
    server.register(&service).await;
    let topic = kafka.topic("odd-headers", 1).await;
    let id = server.subscribe(&topic, "Events/onRaw", &[EARLIEST]).await;
    let long = "v".repeat(100_000);
    let headers: &[(&str, Option<&[u8]>)] = &[
        ("plain", Some(b"1")),
        ("With Space", Some(b"2")),
        ("\u{e9}t\u{e9}", Some(b"3")),
        ("", Some(b"4")),
        ("new\nline: x", Some(b"5")),
        ("value", Some(b"a\r\nb\x00c")),
        ("umlaut", Some("\u{fc}".as_bytes())),
        ("long", Some(long.as_bytes())),
        ("content-type", Some(b"no type at all")),
        ("content-length", Some(b"99")),
        (":path", Some(b"/")),
        ("traceparent", Some(b"nonsense")),
        ("plain", Some(b"6")),
    ];
    let record =
        OutRecord { topic: &topic, key: Some(b"k"), value: Some(b"x"), headers, timestamp_ms: None, partition: None };
    let plain = OutRecord { headers: &[], key: Some(b"after"), ..record };
    kafka.produce([record, plain]).await;
    until_headers(&server, "after").await;
    let headers = until_headers(&server, "k").await;
    assert!(["1", "6"].iter().any(|value| headers["plain"] == *value), "{headers:#}");
    assert_eq!(headers["long"], long.as_str());
    assert!(headers["With%20Space"] == "2" || headers["with%20space"] == "2", "{headers:#}");
    let done = |shown: &Value| shown["status"]["budget"]["ready_records"] == 0;
    server.until_subscription(&id, "both are handled", done).await;
}

#[tokio::test]
async fn odd_headers_reach_a_rust_handler() {
    odd_headers_reach("rust").await;
}

#[tokio::test]
async fn odd_headers_reach_a_typescript_handler() {
    odd_headers_reach("typescript").await;
}

#[tokio::test]
async fn odd_headers_reach_a_python_handler() {
    odd_headers_reach("python").await;
}

#[tokio::test]
async fn any_utf8_key_is_an_object_key() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("odd-keys", 1).await;
    let id = scene.server.subscribe(&topic, "Counter/add", &[EARLIEST]).await;
    let long = "k".repeat(70_000);
    let keys = ["a/b", "a b", "\u{0}", "\u{1f980}", "%2F", "", long.as_str()];
    let records = keys.iter().map(|key| OutRecord {
        topic: &topic,
        key: Some(key.as_bytes()),
        value: Some(b"2"),
        ..OutRecord::default()
    });
    scene.kafka.produce(records).await;
    let done = |shown: &Value| count(shown, "records") == 7 && shown["status"]["budget"]["ready_records"] == 0;
    scene.server.until_subscription(&id, "all are handled", done).await;
    for path in ["a%2Fb", "a%20b", "%00", "%F0%9F%A6%80", "%252F"] {
        eventually(PATIENCE, path, async || {
            let count = scene.server.query(&format!("Counter/{path}/get")).await?;
            ensure!(count == 2, "{count}");
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn large_records_are_handled_and_those_beyond_the_limit_rejected() {
    let scene = Scene::new().await;
    scene.server.allow("records were rejected");
    scene.server.allow("message of a handler"); // Above `message-size-warning`.
    let topic = support::unique("large");
    let limit = [("max.message.bytes", "40000000")];
    scene.kafka.admin().await.create_topic(&topic, 1, 1, &limit).await.unwrap();
    let id = scene.server.subscribe(&topic, "Events/onRaw", &[EARLIEST]).await;
    let options = [("message.max.bytes".to_owned(), "40000000".to_owned())].into_iter().collect();
    let producer = Producer::start(&scene.kafka.cluster(), &options).await.unwrap();
    for (key, size) in [("one", 1 << 20), ("nine", 9 << 20), ("beyond", 33 << 20), ("small", 1)] {
        let value = vec![b'v'; size];
        let record =
            OutRecord { topic: &topic, key: Some(key.as_bytes()), value: Some(&value), ..OutRecord::default() };
        support::produce(&producer, [record]).await;
    }
    let done = |shown: &Value| count(shown, "records") == 3 && count(shown, "rejected") == 1;
    scene.server.until_subscription(&id, "three and one", done).await;
    for (key, size) in [("one", 1 << 20), ("nine", 9 << 20), ("small", 1)] {
        until_headers(&scene.server, key).await;
        assert_eq!(raw(&scene.server, key).await.len(), size);
    }
}

#[tokio::test]
async fn a_tombstone_is_an_empty_input() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("tombstones", 1).await;
    scene.server.subscribe(&topic, "Events/onRaw", &[EARLIEST]).await;
    scene.kafka.produce([OutRecord { topic: &topic, key: Some(b"gone"), value: None, ..OutRecord::default() }]).await;
    until_headers(&scene.server, "gone").await;
    assert_eq!(raw(&scene.server, "gone").await, b"");
}

#[tokio::test]
async fn a_record_without_a_usable_key_is_shown_as_rejected_while_the_others_flow() {
    let scene = Scene::new().await;
    scene.server.allow("records were rejected");
    let topic = scene.kafka.topic("rejected", 2).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let record = |partition, key, value| OutRecord {
        topic: &topic,
        partition: Some(partition),
        key,
        value,
        ..OutRecord::default()
    };
    scene
        .kafka
        .produce([
            record(0, Some(&b"a"[..]), Some(&br#"{"seq":0}"#[..])),
            record(0, None, Some(br#"{"seq":0}"#)),
            record(0, Some(b"\xff\xfe"), Some(br#"{"seq":0}"#)),
            record(0, Some(b"a"), Some(br#"{"seq":1}"#)),
            record(1, None, Some(br#"{"seq":0}"#)),
            record(1, Some(b"b"), Some(br#"{"seq":0}"#)),
        ])
        .await;
    settled(&scene.server, "Events", &[Event::at(0, "a", 0), Event::at(0, "a", 1), Event::at(1, "b", 0)]).await;
    let all = |shown: &Value| count(shown, "rejected") == 3 && count(shown, "records") == 3;
    let shown = scene.server.until_subscription(&id, "three are rejected", all).await;
    assert_eq!(state(&shown), "running");
    let examples: Vec<_> = shown["status"]["rejected_examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|example| (example["source_partition"].as_u64().unwrap(), example["offset"].as_u64().unwrap()))
        .collect();
    assert_eq!(examples, [(0, 1), (0, 2), (1, 0)], "{shown:#}");
    let reasons = shown["status"]["rejected_examples"].to_string();
    assert!(reasons.contains("no key") && reasons.contains("not UTF-8"), "{reasons}");
    let rejected = scene.server.metric("millrace_subscription_rejected_records_total", &topic).await.unwrap();
    assert_eq!(rejected, 3.0);
}

#[tokio::test]
async fn a_null_key_is_the_empty_key_if_the_subscription_says_so() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("null-keys", 1).await;
    let id = scene.server.subscribe(&topic, "Counter/add", &[EARLIEST, ("millrace.null-key", "empty")]).await;
    let record = |key| OutRecord { topic: &topic, key, value: Some(b"1"), ..OutRecord::default() };
    scene.kafka.produce([record(None), record(Some(&b""[..])), record(None)]).await;
    let shown = scene.server.until_subscription(&id, "three are taken", |shown| count(shown, "records") == 3).await;
    assert_eq!(count(&shown, "rejected"), 0, "{shown:#}");
    eventually(PATIENCE, "they are handled", async || {
        let done = scene.server.subscription(&id).await?;
        ensure!(done["status"]["budget"]["ready_records"] == 0, "{done:#}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn compressed_records_are_read_whatever_the_codec() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("codecs", 1).await;
    scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let mut events = Vec::new();
    for (n, codec) in codecs.into_iter().enumerate() {
        let options = [("compression.type".to_owned(), codec.to_owned())].into_iter().collect();
        let producer = Producer::start(&scene.kafka.cluster(), &options).await.unwrap();
        let batch: Vec<_> = (0..20).map(|seq| Event::at(0, "k", n as u64 * 20 + seq)).collect();
        produce(&producer, &topic, &batch).await;
        events.extend(batch);
    }
    settled(&scene.server, "Events", &events).await;
}

#[tokio::test]
async fn records_of_aborted_transactions_are_not_handled() {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("transactions", 1).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let bootstrap = scene.kafka.bootstrap().to_owned();
    let name = topic.clone();
    let write = move || {
        let producer: BaseProducer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", support::unique("transactional"))
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        for (seq, commits) in [(0, true), (100, false), (1, true), (101, false), (2, true)] {
            producer.begin_transaction().unwrap();
            let value = json!({ "seq": seq }).to_string();
            producer.send(BaseRecord::to(&name).key("k").payload(&value)).unwrap();
            producer.flush(PATIENCE).unwrap();
            if commits {
                producer.commit_transaction(PATIENCE).unwrap();
            } else {
                producer.abort_transaction(PATIENCE).unwrap();
            }
        }
    };
    tokio::task::spawn_blocking(write).await.unwrap();
    settled(&scene.server, "Events", &[0, 1, 2].map(|seq| Event::at(0, "k", seq))).await;
    // Five records and a marker behind each: the position passes what is never handed out, so no lag stays.
    let at_end = |shown: &Value| shown["status"]["sources"][0]["position"] == 10;
    let shown = scene.server.until_subscription(&id, "the position is the end", at_end).await;
    assert_eq!(count(&shown, "records"), 3, "{shown:#}");
}
