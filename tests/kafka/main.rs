//! Kafka end to end: real broker, real binary, real SDK services. The names of the tests are promises.
//!
//! One broker for all tests of this binary; those that stop theirs start one of their own.

mod brokers;
mod exactly_once;
mod failures;
mod isolation;
mod metrics;
mod offsets;
mod private;
mod records;
mod security;
mod sinks;
mod topics;
mod trouble;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use anyhow::ensure;
use millrace_connector_kafka::{OutRecord, Producer};
use serde_json::{Value, json};
use support::{Kafka, PATIENCE, Server, ServerOptions, Service, eventually};

/// The option without which only new records are read.
const EARLIEST: (&str, &str) = ("auto.offset.reset", "earliest");

/// Handlers and a server that knows the Kafka of this binary as `c`.
struct Scene {
    kafka: &'static Kafka,
    service: Service,
    server: Server,
}

impl Scene {
    async fn new() -> Self {
        Self::with(&[], |options| options).await
    }

    /// `env`: of the service.
    async fn with(env: &[(&str, &str)], options: impl FnOnce(ServerOptions) -> ServerOptions) -> Self {
        let kafka = Kafka::shared();
        let service = Service::start_with("rust", env);
        let server = Server::start(options(ServerOptions::kafka(kafka.bootstrap()))).await;
        server.register(&service).await;
        Self { kafka, service, server }
    }
}

/// One record whose value is its number within its key.
#[derive(Clone, Debug)]
struct Event {
    partition: Option<i32>,
    key: String,
    seq: u64,
}

impl Event {
    /// In a partition of the test's choice.
    fn at(partition: i32, key: &str, seq: u64) -> Self {
        Self { partition: Some(partition), key: key.to_owned(), seq }
    }
}

/// Writes events and waits for their acknowledgements.
async fn produce(producer: &Producer, topic: &str, events: &[Event]) {
    let values: Vec<_> = events.iter().map(|event| json!({ "seq": event.seq }).to_string()).collect();
    let records = events.iter().zip(&values).map(|(event, value)| OutRecord {
        topic,
        partition: event.partition,
        key: Some(event.key.as_bytes()),
        value: Some(value.as_bytes()),
        ..OutRecord::default()
    });
    support::produce(producer, records).await;
}

/// Numbers 0 to `count - 1` for every key, in turns.
fn turns(keys: u64, count: u64, partition: impl Fn(u64) -> Option<i32>) -> Vec<Event> {
    let event = |seq, key| Event { partition: partition(key), key: format!("key-{key}"), seq };
    (0..count).flat_map(|seq| (0..keys).map(move |key| event(seq, key))).collect()
}

/// What each key should have seen.
fn expected<'a>(events: impl IntoIterator<Item = &'a Event>) -> BTreeMap<&'a str, Vec<u64>> {
    let mut keys: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for event in events {
        keys.entry(&event.key).or_default().push(event.seq);
    }
    keys
}

/// Waits until every key of `service` (`Events` or `Gate`) has exactly what was written for it, in order. Something
/// that no later record can mend fails at once.
async fn settled(server: &Server, service: &str, events: impl IntoIterator<Item = &Event>) {
    for (key, wanted) in expected(events) {
        let path = format!("{service}/{key}/seqs");
        eventually(PATIENCE, &path, async || {
            let seen: Vec<u64> = serde_json::from_value(server.query(&path).await?)?;
            assert!(wanted.starts_with(&seen), "{path}: {seen:?} instead of {wanted:?}");
            ensure!(seen.len() == wanted.len(), "{} of {} records", seen.len(), wanted.len());
            Ok(())
        })
        .await;
    }
}

/// The state that a subscription shows.
fn state(shown: &Value) -> &str {
    shown["status"]["state"].as_str().unwrap_or_default()
}

/// The code of the last trouble that a subscription shows.
fn code(shown: &Value) -> &str {
    shown["status"]["last_error"]["code"].as_str().unwrap_or_default()
}

/// A count that a subscription shows.
fn count(shown: &Value, what: &str) -> u64 {
    shown["status"][what].as_u64().unwrap_or_default()
}
