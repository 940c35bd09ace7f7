//! Records that fail for good: parked, dead-lettered or skipped, as their subscription says. None is lost by a crash, and
//! none holds up another key.

use std::collections::BTreeSet;

use millrace_connector_kafka::{ConsumerConfig, Event as Fed, Reader, Record};

use super::*;

const DEAD_LETTER: (&str, &str) = ("millrace.on-failure", "dead-letter");
const PARK: (&str, &str) = ("millrace.on-failure", "park");
const SKIP: (&str, &str) = ("millrace.on-failure", "skip");

/// Attempts are used up after two.
fn two_attempts(options: ServerOptions) -> ServerOptions {
    options
        .partitions(2)
        .env("MILLRACE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL", "10ms")
        .env("MILLRACE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS", "2")
}

fn outcome(shown: &Value, what: &str) -> u64 {
    shown["status"]["outcomes"][what].as_u64().unwrap_or_default()
}

/// What `Greeter/fail` gets.
fn failing(code: u16, message: &str) -> String {
    json!({ "code": code, "message": message }).to_string()
}

/// All records of a topic with one partition, up to its end.
async fn records(kafka: &Kafka, topic: &str) -> Vec<Record> {
    let (first, end) = kafka.ends(topic, 0).await;
    let config = ConsumerConfig::new(&kafka.cluster(), &Default::default(), "test").unwrap();
    let reader = Reader::start(&config).await.unwrap();
    let mut feed = reader.feed();
    feed.assign(topic, 0, first).unwrap();
    let mut records = Vec::new();
    while records.last().map_or(first, |record: &Record| record.offset + 1) < end {
        if let Fed::Records(batch) = tokio::time::timeout(PATIENCE, feed.next()).await.expect("there are more") {
            records.extend(batch.records);
        }
    }
    records
}

fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let found = record.headers.iter().find(|header| header.name == name.as_bytes())?;
    std::str::from_utf8(found.value.as_ref()?).ok()
}

#[tokio::test]
async fn a_terminal_failure_becomes_a_dead_letter_with_its_record_and_where_it_came_from() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("fails", 1).await;
    let dead = scene.kafka.topic("dead", 1).await;
    let options = [EARLIEST, DEAD_LETTER, ("millrace.dead-letter-topic", dead.as_str())];
    let id = scene.server.subscribe(&topic, "Greeter/fail", &options).await;
    let value = failing(418, "no coffee");
    let record = OutRecord {
        topic: &topic,
        key: Some(b"k\xff"),
        value: Some(value.as_bytes()),
        headers: &[("tenant", Some(b"blue")), ("raw", Some(b"\xff\x00"))],
        timestamp_ms: Some(1_795_365_768_957),
        ..OutRecord::default()
    };
    let delivered = scene.kafka.produce([record]).await;
    let written = |shown: &Value| {
        outcome(shown, "dead_lettered") == 1 && shown["status"]["outcomes"]["dead_letters_waiting"] == 0
    };
    let shown = scene.server.until_subscription(&id, "the letter is written", written).await;
    assert_eq!(outcome(&shown, "failed"), 1, "{shown:#}");
    assert_eq!(shown["status"]["budget"]["held_records"], 0, "it is settled: {shown:#}");
    let letters = records(scene.kafka, &dead).await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"k\xff"[..]), Some(value.as_bytes())));
    for (name, wanted) in [
        ("tenant", "blue"),
        ("millrace.original.topic", topic.as_str()),
        ("millrace.original.partition", "0"),
        ("millrace.original.offset", &delivered[0].offset.unwrap().to_string()),
        ("millrace.original.timestamp", "1795365768957"),
        ("millrace.subscription.id", id.as_str()),
        ("millrace.error.code", "418"),
        ("millrace.error.message", "no coffee"),
    ] {
        assert_eq!(header(letter, name), Some(wanted), "{name}");
    }
    let raw = letter.headers.iter().find(|header| header.name == b"raw"[..]).and_then(|raw| raw.value.clone());
    assert_eq!(raw.as_deref(), Some(&b"\xff\x00"[..]));
    let invocation = header(letter, "millrace.invocation.id").expect("it became an invocation");
    assert_eq!(header(letter, "millrace.letter.id"), Some(invocation));
    let metric = scene.server.metric("millrace_subscription_dead_letters_total", &id).await.unwrap();
    assert_eq!(metric, 1.0);
}

/// The topic is not there at first; the server is killed while letters wait, and again while they are written.
#[tokio::test]
async fn no_dead_letter_is_lost_when_the_server_is_killed() {
    const RECORDS: u64 = 200;
    let mut scene = Scene::new().await;
    scene.server.allow("dead letters wait");
    scene.server.allow("kafka client");
    scene.server.allow("subscription is held up");
    let topic = scene.kafka.topic("fails", 2).await;
    let dead = support::unique("dead");
    let options = [EARLIEST, DEAD_LETTER, ("millrace.dead-letter-topic", dead.as_str())];
    let id = scene.server.subscribe(&topic, "Greeter/fail", &options).await;
    let values: Vec<_> = (0..RECORDS).map(|n| failing(400, &n.to_string())).collect();
    let out = |range: std::ops::Range<usize>| {
        let topic = topic.as_str();
        values[range].iter().enumerate().map(move |(n, value)| OutRecord {
            topic,
            partition: Some((n % 2) as i32),
            value: Some(value.as_bytes()),
            ..OutRecord::default()
        })
    };
    scene.kafka.produce(out(0..100)).await;
    let waiting = |wanted: u64| {
        move |shown: &Value| {
            shown["status"]["outcomes"]["dead_letters_waiting"] == wanted
                && shown["status"]["dead_letters_error"]["code"] == "SUB0007"
        }
    };
    scene.server.until_subscription(&id, "letters wait", waiting(100)).await;
    scene.server.crash().await;
    let shown = scene.server.until_subscription(&id, "letters still wait", waiting(100)).await;
    assert_eq!(shown["status"]["budget"]["held_records"], 100, "{shown:#}");
    scene.kafka.create_topic(&dead, 1).await;
    scene.kafka.produce(out(100..200)).await;
    for _ in 0..3 {
        support::pause(std::time::Duration::from_millis(300)).await;
        scene.server.crash().await;
    }
    let written = |shown: &Value| {
        outcome(shown, "dead_lettered") == RECORDS && shown["status"]["outcomes"]["dead_letters_waiting"] == 0
    };
    let shown = scene.server.until_subscription(&id, "all letters are written", written).await;
    assert_eq!(shown["status"]["budget"]["held_records"], 0, "{shown:#}");
    assert!(shown["status"]["dead_letters_error"].is_null(), "{shown:#}");
    let letters = records(scene.kafka, &dead).await;
    let ids: BTreeSet<_> = letters.iter().map(|letter| header(letter, "millrace.letter.id").unwrap()).collect();
    assert_eq!(ids.len() as u64, RECORDS, "every letter once, by its id");
    let messages: BTreeSet<_> = letters
        .iter()
        .map(|letter| header(letter, "millrace.error.message").unwrap().parse::<u64>().unwrap())
        .collect();
    assert_eq!(messages, (0..RECORDS).collect());
}

#[tokio::test]
async fn a_record_that_cannot_be_an_invocation_becomes_a_dead_letter_too() {
    let scene = Scene::new().await;
    scene.server.allow("records were rejected");
    let topic = scene.kafka.topic("keyless", 1).await;
    let dead = scene.kafka.topic("dead", 1).await;
    let options = [EARLIEST, DEAD_LETTER, ("millrace.dead-letter-topic", dead.as_str())];
    let id = scene.server.subscribe(&topic, "Counter/add", &options).await;
    let record = |key| OutRecord { topic: &topic, key, value: Some(b"1"), ..OutRecord::default() };
    scene.kafka.produce([record(None), record(Some(&b"good"[..])), record(Some(b"\xff"))]).await;
    let written = |shown: &Value| {
        outcome(shown, "dead_lettered") == 2 && shown["status"]["outcomes"]["dead_letters_waiting"] == 0
    };
    let shown = scene.server.until_subscription(&id, "the letters are written", written).await;
    assert_eq!((count(&shown, "rejected"), count(&shown, "records")), (2, 1), "{shown:#}");
    assert_eq!(outcome(&shown, "failed"), 0, "{shown:#}");
    let letters = records(scene.kafka, &dead).await;
    let mut offsets: Vec<_> = letters.iter().map(|letter| header(letter, "millrace.original.offset")).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [Some("0"), Some("2")]);
    assert!(letters.iter().all(|letter| header(letter, "millrace.invocation.id").is_none()));
}

/// The later records of its key wait behind it, other keys go on, a crash changes nothing; dropped, it makes room.
#[tokio::test]
async fn a_parked_record_holds_its_key_until_it_is_dropped() {
    let mut scene = Scene::with(&[], two_attempts).await;
    scene.server.allow("random failure");
    let topic = scene.kafka.topic("parks", 1).await;
    let id = scene.server.subscribe(&topic, "Counter/flakyAdd", &[EARLIEST, PARK]).await;
    let value = |percent: u32| json!({ "n": 1, "failPercent": percent }).to_string();
    let (bad, good) = (value(100), value(0));
    let record = |key: &'static str, value| OutRecord {
        topic: &topic,
        key: Some(key.as_bytes()),
        value,
        ..OutRecord::default()
    };
    let (bad, good) = (Some(bad.as_bytes()), Some(good.as_bytes()));
    scene.kafka.produce([record("a", good), record("bad", bad), record("bad", good), record("bad", good)]).await;
    let parked = |shown: &Value| shown["status"]["parked"].as_array().map(Vec::len) == Some(1);
    scene.server.until_subscription(&id, "one is parked", parked).await;
    scene.server.crash().await;
    let shown = scene.server.until_subscription(&id, "one is parked", parked).await;
    assert_eq!((outcome(&shown, "parked"), outcome(&shown, "failed")), (1, 0), "{shown:#}");
    assert_eq!(shown["status"]["budget"]["held_records"], 3, "{shown:#}");
    let first = &shown["status"]["parked"][0];
    assert_eq!(first["key"], "bad", "{shown:#}");
    assert_eq!((&first["offset"], &first["source_partition"], &first["topic"]), (&json!(1), &json!(0), &json!(topic)));
    assert!(first["message"].as_str().is_some_and(|message| message.contains("random failure")), "{first:#}");
    assert!(first["at"].as_str().is_some_and(|at| at.ends_with('Z')), "a time as everywhere: {first:#}");
    let until = async |key: &str, wanted: u64| {
        eventually(PATIENCE, key, async || {
            let count = scene.server.query(&format!("Counter/{key}/get")).await?;
            ensure!(count == wanted, "{count} instead of {wanted}");
            Ok(())
        })
        .await;
    };
    scene.kafka.produce([record("a", good)]).await;
    until("a", 2).await;
    until("bad", 0).await;
    let invocation = first["invocation_id"].as_str().unwrap();
    scene.server.admin.patch(&format!("/invocations/{invocation}/kill"), &json!({})).await.unwrap().ok().unwrap();
    until("bad", 2).await;
    let done = |shown: &Value| shown["status"]["budget"]["ready_records"] == 0 && shown["status"]["parked"].is_null();
    let shown = scene.server.until_subscription(&id, "nothing waits", done).await;
    assert_eq!((outcome(&shown, "dropped"), outcome(&shown, "failed")), (1, 1), "{shown:#}");
    assert_eq!(shown["status"]["budget"]["held_records"], 0, "{shown:#}");
}

#[tokio::test]
async fn a_parked_record_is_handled_when_it_is_redriven() {
    let mut scene = Scene::with(&[], two_attempts).await;
    scene.server.allow("attempt");
    let topic = scene.kafka.topic("redrives", 1).await;
    let id = scene.server.subscribe(&topic, "Steps/failTimes", &[EARLIEST, PARK]).await;
    let value = json!({ "key": topic, "times": 2 }).to_string();
    scene.kafka.produce([OutRecord { topic: &topic, value: Some(value.as_bytes()), ..OutRecord::default() }]).await;
    scene.server.until_subscription(&id, "it is parked", |shown| outcome(shown, "parked") == 1).await;
    scene.server.crash().await;
    let shown = scene.server.until_subscription(&id, "it is parked", |shown| outcome(shown, "parked") == 1).await;
    let invocation = shown["status"]["parked"][0]["invocation_id"].as_str().unwrap().to_owned();
    scene.server.admin.patch(&format!("/invocations/{invocation}/resume"), &json!({})).await.unwrap().ok().unwrap();
    let done = |shown: &Value| {
        shown["status"]["budget"]["held_records"] == 0 && shown["status"]["budget"]["ready_records"] == 0
    };
    let shown = scene.server.until_subscription(&id, "it is settled", done).await;
    assert_eq!((outcome(&shown, "redriven"), outcome(&shown, "failed")), (1, 0), "{shown:#}");
}

/// A handler that has returned a failure runs again from its beginning, and can be parked again.
#[tokio::test]
async fn a_terminal_failure_is_parked_and_redriven_from_its_beginning() {
    let scene = Scene::new().await;
    let topic = scene.kafka.topic("parks", 1).await;
    let options = [EARLIEST, PARK, ("millrace.ready-records", "2")];
    let id = scene.server.subscribe(&topic, "Greeter/fail", &options).await;
    let value = failing(409, "taken");
    let record = OutRecord { topic: &topic, value: Some(value.as_bytes()), ..OutRecord::default() };
    // More than the ready budget: what is parked does not use it up.
    scene.kafka.produce([record, record, record, record]).await;
    let parked = |shown: &Value| outcome(shown, "parked") == 4 && shown["status"]["budget"]["ready_records"] == 0;
    let shown = scene.server.until_subscription(&id, "four are parked", parked).await;
    assert_eq!(shown["status"]["budget"]["held_records"], 4, "{shown:#}");
    assert_eq!((&shown["status"]["parked"][0]["code"], state(&shown)), (&json!(409), "running"), "{shown:#}");
    for parked in shown["status"]["parked"].as_array().unwrap() {
        let id = parked["invocation_id"].as_str().unwrap();
        scene.server.admin.patch(&format!("/invocations/{id}/resume"), &json!({})).await.unwrap().ok().unwrap();
    }
    let again = |shown: &Value| outcome(shown, "parked") == 8 && outcome(shown, "redriven") == 4;
    let shown = scene.server.until_subscription(&id, "they are parked again", again).await;
    for parked in shown["status"]["parked"].as_array().unwrap() {
        let id = parked["invocation_id"].as_str().unwrap();
        scene.server.admin.patch(&format!("/invocations/{id}/cancel"), &json!({})).await.unwrap().ok().unwrap();
    }
    let done = |shown: &Value| outcome(shown, "dropped") == 4 && shown["status"]["budget"]["held_records"] == 0;
    let shown = scene.server.until_subscription(&id, "they are dropped", done).await;
    assert_eq!(shown["status"]["budget"]["ready_records"], 0, "{shown:#}");
}

#[tokio::test]
async fn a_skipped_failure_is_counted_and_its_key_goes_on() {
    let scene = Scene::with(&[], two_attempts).await;
    scene.server.allow("random failure");
    let topic = scene.kafka.topic("skips", 1).await;
    let id = scene.server.subscribe(&topic, "Counter/flakyAdd", &[EARLIEST, SKIP]).await;
    let value = |percent: u32| json!({ "n": 1, "failPercent": percent }).to_string();
    let values: Vec<_> = (0..10).map(|n| value(if n % 2 == 0 { 100 } else { 0 })).collect();
    let records = values.iter().map(|value| OutRecord {
        topic: &topic,
        key: Some(b"k"),
        value: Some(value.as_bytes()),
        ..OutRecord::default()
    });
    scene.kafka.produce(records).await;
    let done = |shown: &Value| outcome(shown, "skipped") == 5 && shown["status"]["budget"]["ready_records"] == 0;
    let shown = scene.server.until_subscription(&id, "five are skipped", done).await;
    assert_eq!(outcome(&shown, "failed"), 5, "{shown:#}");
    eventually(PATIENCE, "the others are handled", async || {
        let count = scene.server.query("Counter/k/get").await?;
        ensure!(count == 5, "{count}");
        let skipped = scene.server.metric("millrace_subscription_outcomes_total", "outcome=\"skipped\"").await?;
        ensure!(skipped == 5.0, "{skipped}");
        Ok(())
    })
    .await;
}

/// While nobody is there to handle it, a record is not given up, whatever the number of attempts.
#[tokio::test]
async fn nothing_is_parked_while_the_service_is_down() {
    let mut scene = Scene::with(&[], two_attempts).await;
    scene.server.allow("deployment cannot be reached");
    let topic = scene.kafka.topic("down", 1).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST, PARK]).await;
    scene.service.kill();
    let events: Vec<_> = (0..3).map(|seq| Event::at(0, "k", seq)).collect();
    produce(&scene.kafka.producer().await, &topic, &events).await;
    eventually(PATIENCE, "more attempts than two have failed", async || {
        let failed = scene.server.metric("millrace_invoker_invocation_tasks_total", "status=\"failed\"").await?;
        ensure!(failed >= 4.0, "{failed}");
        Ok(())
    })
    .await;
    scene.service.start_again();
    settled(&scene.server, "Events", &events).await;
    let shown = scene.server.subscription(&id).await.unwrap();
    assert_eq!(outcome(&shown, "parked"), 0, "{shown:#}");
}

#[tokio::test]
async fn options_about_failures_that_contradict_each_other_are_refused() {
    let scene = Scene::new().await;
    for (options, wanted) in [
        (&[DEAD_LETTER][..], "millrace.dead-letter-topic"),
        (&[("millrace.dead-letter-topic", "t")], "millrace.dead-letter-topic"),
        (&[PARK, ("millrace.dead-letter-topic", "t")], "millrace.dead-letter-topic"),
        (&[DEAD_LETTER, ("millrace.dead-letter-topic", "no/topic")], "millrace.dead-letter-topic"),
        (&[DEAD_LETTER, ("millrace.dead-letter-topic", "loop")], "millrace.dead-letter-topic"),
        (&[("millrace.on-failure", "explode")], "millrace.on-failure"),
    ] {
        let error = scene.server.try_subscribe("loop", "Events/on", options).await.unwrap_err().to_string();
        assert!(error.contains("META0009") && error.contains(wanted), "{options:?}: {error}");
    }
}
