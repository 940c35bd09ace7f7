//! From records to invocations. Pure: everything that varies is given.

use std::borrow::Cow;

use base64::Engine as _;
use bytes::Bytes;
use millrace_cluster::meta::options::NullKey;
use millrace_connector_kafka::Record;
use millrace_model::{
    PartitionId, PartitionKey, SourceId, Text, TimestampMs,
    command::IngestRecord,
    invocation::{HandlerKind, NewInvocation, RecordSource, Source, Target},
    journal::{Failure, Header},
    key::{record_invocation, workflow_invocation},
    source::{DeadLetter, RejectReason, origin},
};

/// Key, value and headers of one record. What is larger cannot be an invocation's input.
pub const RECORD_BYTES_MAX: usize = 32 << 20;

/// Longest name of a header that a handler sees: maps of HTTP headers end at 64 KiB, and `-bin` may follow.
const HEADER_NAME_MAX: usize = 60 << 10;

/// Where the records of a subscription go, from the metadata of this moment.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Service, object or workflow.
    pub service: Text,
    /// Its handler.
    pub handler: Text,
    /// How it runs.
    pub kind: HandlerKind,
    /// Milliseconds.
    pub completion_retention: u64,
    /// Milliseconds.
    pub journal_retention: u64,
    /// Records without key, if the sink is keyed.
    pub null_key: NullKey,
    /// Records of one key that count as ready.
    pub key_share: u32,
    /// Where records that cannot be invocations are written, if anywhere.
    pub dead_letters: Option<DeadLetters>,
}

/// A dead-letter topic.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// Name of the Kafka cluster.
    pub cluster: Text,
    /// The topic.
    pub topic: Text,
}

/// Which records, and who reads them.
pub struct Reading<'a> {
    /// The source.
    pub source: &'a SourceId,
    /// Of the source.
    pub generation: u32,
    /// Name of the topic.
    pub topic: &'a Text,
    /// The reading partition.
    pub partition: PartitionId,
    /// Number of engine partitions.
    pub partitions: u16,
    /// The leader's clock.
    pub now: TimestampMs,
}

/// What becomes of one record. `random` gives 64 bits a call.
pub fn plan(reading: &Reading<'_>, sink: &Sink, record: &Record, random: &mut dyn FnMut() -> u64) -> IngestRecord {
    let offset = record.offset;
    let value = record.value.clone().unwrap_or_default();
    let headers_len: usize = record.headers.iter().map(|h| h.name.len() + h.value.as_ref().map_or(0, Bytes::len)).sum();
    let bytes = record.key.as_ref().map_or(0, Bytes::len) + value.len() + headers_len;
    if bytes > RECORD_BYTES_MAX {
        return reject(reading, sink, record, RejectReason::TooLarge, random);
    }
    let key = match (sink.kind.is_keyed(), &record.key, sink.null_key) {
        (false, ..) => Text::default(),
        (true, Some(key), _) => match Text::from_utf8(key.clone()) {
            Some(key) => key,
            None => return reject(reading, sink, record, RejectReason::KeyNotUtf8, random),
        },
        (true, None, NullKey::Empty) => Text::default(),
        (true, None, NullKey::Reject) => return reject(reading, sink, record, RejectReason::NullKey, random),
    };
    let id = if sink.kind == HandlerKind::Workflow {
        workflow_invocation(&sink.service, &key, "")
    } else {
        let partition_key = if sink.kind.is_keyed() {
            PartitionKey::new(&sink.service, key.bytes())
        } else {
            PartitionKey::within(&sink.service, reading.partition, reading.partitions, random() as u32)
        };
        record_invocation(partition_key, reading.source, reading.generation, offset)
    };
    let headers = headers(reading, record);
    let traceparent = headers.iter().find(|header| &*header.name == "traceparent").map(|header| header.value.clone());
    IngestRecord::Invoke(Box::new(NewInvocation {
        id,
        target: Target { service: sink.service.clone(), handler: sink.handler.clone(), key, kind: sink.kind },
        source: Source::Record(RecordSource {
            subscription: reading.source.subscription,
            reader: reading.partition,
            bytes: bytes as u32,
            key_share: sink.key_share,
        }),
        created_at: reading.now,
        execute_at: None,
        idempotency_key: None,
        completion_retention: sink.completion_retention,
        journal_retention: sink.journal_retention,
        random_seed: random(),
        traceparent,
        headers,
        value,
    }))
}

/// Why a record cannot be an invocation, for people.
pub fn reject_message(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::NullKey => "the record has no key, and the sink wants one",
        RejectReason::KeyNotUtf8 => "the record's key is not UTF-8, and the sink wants text",
        RejectReason::TooLarge => "the record is larger than an invocation's input may be",
    }
}

/// The longest key of a letter without value.
const LARGE_KEY_MAX: usize = 1 << 20;

/// A record that cannot be an invocation: counted, and written to the dead-letter topic if there is one. Of one that is
/// too large, only where it is.
fn reject(
    reading: &Reading<'_>,
    sink: &Sink,
    record: &Record,
    reason: RejectReason,
    random: &mut dyn FnMut() -> u64,
) -> IngestRecord {
    let offset = record.offset;
    let Some(DeadLetters { cluster, topic }) = sink.dead_letters.clone() else {
        return IngestRecord::Reject { offset, reason };
    };
    let partition_key = PartitionKey::within(&sink.service, reading.partition, reading.partitions, random() as u32);
    let is_large = reason == RejectReason::TooLarge;
    let headers = if is_large {
        let key = record.key.clone().filter(|key| key.len() <= LARGE_KEY_MAX);
        let Record { offset, timestamp_ms, .. } = *record;
        headers(reading, &Record { offset, timestamp_ms, key, value: None, headers: Vec::new() })
    } else {
        headers(reading, record)
    };
    let value = record.value.clone().filter(|_| !is_large).unwrap_or_default();
    let bytes = value.len() + headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>();
    let code = if is_large { 413 } else { 400 };
    let letter = DeadLetter {
        cluster,
        topic,
        failure: Failure { code, message: reject_message(reason).into(), metadata: Vec::new() },
        at: reading.now,
        invoked: false,
        reader: reading.partition,
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        headers,
        value,
    };
    let id = record_invocation(partition_key, reading.source, reading.generation, offset);
    IngestRecord::Letter { offset, reason, id, letter: Box::new(letter) }
}

/// Where the record came from, then its own headers in their order. A value that is not UTF-8 comes as base64 under
/// `<name>-bin`. A name that HTTP does not allow is percent-encoded, see [`header_name`].
fn headers(reading: &Reading<'_>, record: &Record) -> Vec<Header> {
    const NAMES: [Text; 6] = [
        Text::constant(origin::SUBSCRIPTION),
        Text::constant(origin::TOPIC),
        Text::constant(origin::PARTITION),
        Text::constant(origin::OFFSET),
        Text::constant(origin::TIMESTAMP),
        Text::constant(origin::KEY),
    ];
    let [subscription, topic, partition, offset, timestamp, key] = NAMES;
    let base64 = |bytes: &[u8]| Text::from(base64::engine::general_purpose::URL_SAFE.encode(bytes));
    let mut headers = Vec::with_capacity(6 + record.headers.len());
    headers.push(Header { name: subscription, value: reading.source.subscription.to_string().into() });
    headers.push(Header { name: topic, value: reading.topic.clone() });
    headers.push(Header { name: partition, value: reading.source.source_partition.to_string().into() });
    headers.push(Header { name: offset, value: record.offset.to_string().into() });
    if let Some(at) = record.timestamp_ms {
        headers.push(Header { name: timestamp, value: at.to_string().into() });
    }
    if let Some(bytes) = &record.key {
        headers.push(Header { name: key, value: base64(bytes) });
    }
    for header in &record.headers {
        let Some(name) = header_name(&header.name) else { continue };
        let value = header.value.clone().unwrap_or_default();
        headers.push(match Text::from_utf8(value.clone()) {
            Some(value) => Header { name: (&*name).into(), value },
            None => Header { name: format!("{name}-bin").into(), value: base64(&value) },
        });
    }
    headers
}

/// The name under which a handler sees a header. SDKs keep headers in maps of HTTP headers, and some fail the whole
/// invocation over a name that is none: so every byte that a token of HTTP cannot have is percent-encoded, and the
/// others stay. `None`: no name at all, or a longer one than such maps take.
fn header_name(name: &[u8]) -> Option<Cow<'_, str>> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let name = match std::str::from_utf8(name) {
        Ok(name) if name.bytes().all(|byte| is_token(&byte)) => Cow::Borrowed(name),
        _ => Cow::Owned(name.iter().fold(String::with_capacity(name.len() + 8), |mut encoded, byte| {
            match is_token(byte) {
                true => encoded.push(char::from(*byte)),
                false => encoded.push_str(&format!("%{byte:02X}")),
            }
            encoded
        })),
    };
    (!name.is_empty() && name.len() <= HEADER_NAME_MAX).then_some(name)
}

#[cfg(test)]
mod tests {
    use millrace_model::SubscriptionId;

    use super::*;

    fn sink(kind: HandlerKind, null_key: NullKey) -> Sink {
        Sink {
            service: "S".into(),
            handler: "h".into(),
            kind,
            completion_retention: 1,
            journal_retention: 2,
            null_key,
            key_share: 5,
            dead_letters: None,
        }
    }

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Record {
        Record {
            offset: 7,
            timestamp_ms: Some(99),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: Vec::new(),
        }
    }

    fn check(sink: &Sink, record: &Record) -> Result<NewInvocation, RejectReason> {
        let source =
            SourceId { subscription: SubscriptionId(3), cluster: "c".into(), topic_id: 4, source_partition: 2 };
        let topic = Text::from("orders");
        let reading = Reading {
            source: &source,
            generation: 1,
            topic: &topic,
            partition: PartitionId(2),
            partitions: 8,
            now: TimestampMs(1000),
        };
        let mut n = 0;
        match plan(&reading, sink, record, &mut || {
            n += 0x1234_5678_9abc;
            n
        }) {
            IngestRecord::Invoke(new) => Ok(*new),
            IngestRecord::Reject { offset: 7, reason } => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_keyed_sink_wants_a_utf8_key() {
        let object = sink(HandlerKind::Exclusive, NullKey::Reject);
        assert_eq!(check(&object, &record(None, None)), Err(RejectReason::NullKey));
        assert_eq!(check(&object, &record(Some(b"\xff\xfe"), None)), Err(RejectReason::KeyNotUtf8));
        let new = check(&object, &record(Some(b"k"), None)).unwrap();
        assert_eq!((&*new.target.key, new.value.len()), ("k", 0), "a tombstone is an empty input");
        assert_eq!(new.id.key, PartitionKey::new("S", b"k"));
        let lenient = sink(HandlerKind::Exclusive, NullKey::Empty);
        assert_eq!(&*check(&lenient, &record(None, None)).unwrap().target.key, "");
    }

    #[test]
    fn an_unkeyed_sink_stays_with_its_reader_whatever_the_key() {
        let service = sink(HandlerKind::Plain, NullKey::Reject);
        for key in [None, Some(&b"\xff"[..]), Some(b"k")] {
            let new = check(&service, &record(key, Some(b"v"))).unwrap();
            assert_eq!(new.id.key.partition(8), PartitionId(2));
        }
    }

    #[test]
    fn what_cannot_be_an_invocation_goes_to_the_dead_letter_topic() {
        let to = DeadLetters { cluster: "c".into(), topic: "dead".into() };
        let sink = Sink { dead_letters: Some(to), ..sink(HandlerKind::Exclusive, NullKey::Reject) };
        let letter = |record: &Record| {
            let source =
                SourceId { subscription: SubscriptionId(3), cluster: "c".into(), topic_id: 4, source_partition: 2 };
            let topic = Text::from("orders");
            let (partition, partitions, now) = (PartitionId(2), 8, TimestampMs(1000));
            let reading = Reading { source: &source, generation: 1, topic: &topic, partition, partitions, now };
            match plan(&reading, &sink, record, &mut || 77) {
                IngestRecord::Letter { offset: 7, reason, id, letter } => {
                    assert_eq!(id.key.partition(8), PartitionId(2), "it stays with its reader");
                    (reason, *letter)
                }
                other => panic!("{other:?}"),
            }
        };
        let (reason, bad_key) = letter(&record(Some(b"\xff"), Some(b"v")));
        assert_eq!((reason, bad_key.failure.code, &bad_key.value[..]), (RejectReason::KeyNotUtf8, 400, &b"v"[..]));
        assert!(!bad_key.invoked && bad_key.headers.iter().any(|header| &*header.name == origin::KEY));
        let large = Record { value: Some(vec![0; RECORD_BYTES_MAX + 1].into()), ..record(Some(b"k"), None) };
        let (reason, large) = letter(&large);
        assert_eq!((reason, large.failure.code, large.value.len()), (RejectReason::TooLarge, 413, 0));
    }

    #[test]
    fn ids_are_those_of_the_record_or_the_workflow() {
        let object = sink(HandlerKind::Exclusive, NullKey::Reject);
        let (a, b) = (record(Some(b"k"), Some(b"1")), Record { offset: 7, ..record(Some(b"k"), Some(b"2")) });
        assert_eq!(check(&object, &a).unwrap().id, check(&object, &b).unwrap().id);
        let workflow = sink(HandlerKind::Workflow, NullKey::Reject);
        assert_eq!(check(&workflow, &a).unwrap().id, workflow_invocation("S", "k", ""));
    }

    #[test]
    fn handlers_see_where_a_record_came_from_and_its_headers() {
        let header = |name: &'static str, value: &'static [u8]| millrace_connector_kafka::Header {
            name: Bytes::from_static(name.as_bytes()),
            value: Some(Bytes::from_static(value)),
        };
        let headers = vec![header("a", b"1"), header("b", b"\xff"), header("traceparent", b"00-x"), header("a", b"2")];
        let record = Record { headers, ..record(Some("é/x y".as_bytes()), Some(b"v")) };
        let new = check(&sink(HandlerKind::Exclusive, NullKey::Reject), &record).unwrap();
        let seen: Vec<_> = new.headers.iter().map(|h| (h.name.as_str(), h.value.as_str())).collect();
        let id = SubscriptionId(3).to_string();
        assert_eq!(
            seen,
            [
                ("restate.subscription.id", id.as_str()),
                ("kafka.topic", "orders"),
                ("kafka.partition", "2"),
                ("kafka.offset", "7"),
                ("kafka.timestamp", "99"),
                ("kafka.key", "w6kveCB5"),
                ("a", "1"),
                ("b-bin", "_w=="),
                ("traceparent", "00-x"),
                ("a", "2"),
            ]
        );
        assert_eq!(new.traceparent.as_deref(), Some("00-x"));
    }

    #[test]
    fn header_names_are_tokens_of_http() {
        for (name, expected) in [
            (&b"tenant-Id.1"[..], Some("tenant-Id.1")),
            (b"with space", Some("with%20space")),
            ("\u{e9}t\u{e9}".as_bytes(), Some("%C3%A9t%C3%A9")),
            (b"\xff:", Some("%FF%3A")),
            (b"100%", Some("100%")),
            (b"", None),
            (&[b'n'; HEADER_NAME_MAX + 1], None),
        ] {
            assert_eq!(header_name(name).as_deref(), expected, "{name:?}");
        }
    }
}
