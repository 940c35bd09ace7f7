//! A small idempotent producer: dead letters, tools, tests. Not for the log, which needs its own error rules.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{Header as SendHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;

use crate::config::ClusterConfig;
use crate::error::ClientError;
use crate::handle::{Handle, Kind, Native};
use crate::options::Properties;

/// Records not yet acknowledged. What comes on top is refused with `LimitReached`.
const IN_FLIGHT_RECORDS_MAX: usize = 10_000;

/// The same in KiB. One record may be as large as Kafka allows.
const IN_FLIGHT_KBYTES_MAX: usize = 64 * 1024;

/// How long a record is tried before it is given up: long enough for a broker's restart.
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);

/// A record to be written. Everything is copied when it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutRecord<'a> {
    pub topic: &'a str,
    /// `None`: chosen by the key like Kafka's own clients do (murmur2), random without a key.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// `None`: now.
    pub timestamp_ms: Option<i64>,
}

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    /// `None` when the broker answered a repeat of something it already had: written, offset unknown.
    pub offset: Option<i64>,
}

/// Writes records with `acks=all` and idempotence: a record that is acknowledged is in the log once.
pub struct Producer {
    handle: std::sync::Arc<Handle>,
}

impl Producer {
    /// Makes the client; does not wait for a connection. `options` win over the cluster's properties.
    pub async fn start(cluster: &ClusterConfig, options: &Properties) -> Result<Self, ClientError> {
        let defaults = [
            ("queue.buffering.max.messages", IN_FLIGHT_RECORDS_MAX.to_string()),
            ("queue.buffering.max.kbytes", IN_FLIGHT_KBYTES_MAX.to_string()),
            ("message.timeout.ms", DELIVERY_LIMIT.as_millis().to_string()),
            ("partitioner", "murmur2_random".to_owned()),
            ("linger.ms", "2".to_owned()),
        ];
        let mut client = cluster.client(&defaults, options);
        client.set("enable.idempotence", "true").set("acks", "all");
        Ok(Self { handle: Handle::open(client, Kind::Producer, "producer".to_owned()).await? })
    }

    /// Hands a record over; records of one partition are written in the order of these calls. The returned future
    /// resolves when it is acknowledged; dropping it does not take the record back.
    ///
    /// Errors at once: `LimitReached` (too much not yet acknowledged), `Invalid`, or what the client refuses, such as
    /// a record above `message.max.bytes`.
    pub fn send(&self, record: &OutRecord<'_>) -> Result<Acknowledgement, ClientError> {
        let Native::Producer(producer) = self.handle.client() else {
            unreachable!("opened as a producer");
        };
        let (settled, settlement) = oneshot::channel();
        let mut out = BaseRecord::with_opaque_to(record.topic, Box::new(Delivery { settled }));
        out.partition = record.partition;
        out.timestamp = record.timestamp_ms;
        out.key = record.key;
        out.payload = record.value;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let add = |headers: OwnedHeaders, (key, value): &(&str, Option<&[u8]>)| {
                headers.insert(SendHeader { key, value: *value })
            };
            if record.headers.iter().any(|(name, _)| name.contains('\0')) {
                return Err(ClientError::Invalid {
                    operation: "produce",
                    reason: "a header name has a NUL byte".into(),
                });
            }
            out.headers = Some(record.headers.iter().fold(headers, add));
        }
        producer.send(out).map_err(|(error, _)| refused(error))?;
        Ok(Acknowledgement(settlement))
    }

    /// Lets go of the client and waits until it is gone. What is not acknowledged by then fails with `Closed`.
    pub async fn close(self) {
        let closed = self.handle.closed();
        drop(self);
        closed.await;
    }
}

/// Resolves when a record is acknowledged or given up.
pub struct Acknowledgement(oneshot::Receiver<Result<Delivered, ClientError>>);

impl Future for Acknowledgement {
    type Output = Result<Delivered, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|settled| {
            settled.unwrap_or_else(|_| {
                Err(ClientError::Closed { operation: "produce", reason: "dropped before the acknowledgement".into() })
            })
        })
    }
}

fn refused(error: KafkaError) -> ClientError {
    match error {
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
            ClientError::LimitReached { what: "records in flight", limit: IN_FLIGHT_RECORDS_MAX }
        }
        KafkaError::MessageProduction(code) => failed(code),
        other => ClientError::Invalid { operation: "produce", reason: other.to_string() },
    }
}

fn failed(code: RDKafkaErrorCode) -> ClientError {
    match code {
        RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight => {
            ClientError::Closed { operation: "produce", reason: code.to_string() }
        }
        _ => ClientError::of("produce", code, code.to_string(), DELIVERY_LIMIT),
    }
}

/// Travels with a record through librdkafka and back.
pub(crate) struct Delivery {
    settled: oneshot::Sender<Result<Delivered, ClientError>>,
}

impl Delivery {
    pub fn settle(self, result: &DeliveryResult<'_>) {
        let outcome = match result {
            Ok(message) => {
                // A duplicate's answer makes librdkafka report offsets counted from -1; the first of them shows it.
                let offset = (message.offset() >= 0).then_some(message.offset());
                Ok(Delivered { partition: message.partition(), offset })
            }
            Err((KafkaError::MessageProduction(code), _)) => Err(failed(*code)),
            Err((other, _)) => Err(ClientError::Invalid { operation: "produce", reason: other.to_string() }),
        };
        // Nobody has to wait for it.
        let _ = self.settled.send(outcome);
    }
}
