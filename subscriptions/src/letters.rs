//! Writes dead letters: rows of the partitions' state become records, and go when their broker has acknowledged them.
//!
//! A letter may be written twice when the server ends between the acknowledgement and its note in the log: the header
//! [`LETTER_ID`] is the same then. One node-wide task looks; what it finds is written by one task for each subscription,
//! so that a topic that is missing holds up nobody else's letters. They outlive their subscription.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use base64::Engine as _;
use bytes::Bytes;
use millrace_cluster::{Metadata, meta::object::KafkaCluster};
use millrace_connector_kafka::{ClientError, OutRecord, Producer, Properties};
use millrace_model::{
    Command, InvocationId, PartitionId, PartitionKey, SubscriptionId, codes,
    source::{DeadLetter, origin},
    table::DeadLetters,
};
use millrace_partition::Handle;
use millrace_store::PartitionStore;
use tokio::task::JoinSet;

use crate::{metrics, status::StatusBoard};

/// Names a letter for ever, to tell a repeat.
pub const LETTER_ID: &str = "millrace.letter.id";
/// Topic of the record.
pub const ORIGINAL_TOPIC: &str = "millrace.original.topic";
/// Kafka's partition of the record.
pub const ORIGINAL_PARTITION: &str = "millrace.original.partition";
/// Offset of the record.
pub const ORIGINAL_OFFSET: &str = "millrace.original.offset";
/// Timestamp of the record in milliseconds, if it has one.
pub const ORIGINAL_TIMESTAMP: &str = "millrace.original.timestamp";
/// The subscription.
pub const SUBSCRIPTION_ID: &str = "millrace.subscription.id";
/// The invocation that failed, if the record became one.
pub const INVOCATION_ID: &str = "millrace.invocation.id";
/// Of the failure, as SDKs number them.
pub const ERROR_CODE: &str = "millrace.error.code";
/// Of the failure.
pub const ERROR_MESSAGE: &str = "millrace.error.message";

/// Letters of one subscription and partition that are under way at a time.
const LETTERS_MAX: usize = 256;
/// The same in bytes, unless the first alone has more.
const LETTERS_BYTES_MAX: usize = 8 << 20;
/// How long one is tried before that counts as trouble.
const DELIVERY_LIMIT_MS: &str = "10000";
/// Brokers say what is too large, not the client.
const MESSAGE_BYTES_MAX: &str = "67108864";
/// What all partitions' letters together may have under way, in KiB.
const IN_FLIGHT_KBYTES: &str = "1048576";
/// Longest error message in a header.
const ERROR_MESSAGE_MAX: usize = 4 << 10;
/// Pause of a subscription's letters behind a trouble.
const RETRY_PAUSE: Duration = Duration::from_secs(3);

struct Found {
    partition: PartitionId,
    id: InvocationId,
    letter: DeadLetter,
}

/// Where a look goes on, for letters of which some cannot be written: the others get their turn.
type Cursors = BTreeMap<(PartitionId, SubscriptionId), InvocationId>;

pub(crate) struct LetterWriter {
    pub(crate) metadata: Metadata,
    pub(crate) handle: Handle,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) producers: BTreeMap<String, (Arc<KafkaCluster>, Arc<Producer>)>,
}

/// What became of a subscription's letters.
struct Done {
    subscription: SubscriptionId,
    /// Some were not written: the next look goes on behind these.
    behind: Vec<(PartitionId, InvocationId)>,
}

impl LetterWriter {
    /// Writes letters until `shutdown` resolves.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut there = self.handle.board().letters();
        let mut writing: JoinSet<Done> = JoinSet::new();
        let mut busy: BTreeSet<SubscriptionId> = BTreeSet::new();
        let mut cursors = Cursors::new();
        tokio::pin!(shutdown);
        loop {
            there.mark_unchanged();
            let (all, complete) = self.look(&busy, &mut cursors).await;
            for (subscription, found) in all {
                let producer = self.producer(&found[0].letter).await;
                let (handle, board) = (self.handle.clone(), Arc::clone(&self.board));
                let is_known = self.metadata.schema().subscription(subscription).is_some();
                let shown = is_known.then_some(board);
                busy.insert(subscription);
                writing.spawn(write(subscription, found, producer, handle, shown));
            }
            tokio::select! {
                () = &mut shutdown => return,
                changed = there.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY_PAUSE), if !complete => {}
                Some(done) = writing.join_next() => {
                    let done = done.expect("writing does not panic");
                    busy.remove(&done.subscription);
                    cursors.retain(|(_, subscription), _| *subscription != done.subscription);
                    for (partition, id) in done.behind {
                        cursors.insert((partition, done.subscription), id);
                    }
                }
            }
        }
    }

    /// Letters of subscriptions that are not busy. `false`: some partition could not be asked.
    async fn look(
        &self,
        busy: &BTreeSet<SubscriptionId>,
        cursors: &mut Cursors,
    ) -> (BTreeMap<SubscriptionId, Vec<Found>>, bool) {
        let mut complete = true;
        let mut all: BTreeMap<SubscriptionId, Vec<Found>> = BTreeMap::new();
        let mut behind = std::mem::take(cursors);
        let mut skip = busy.clone();
        loop {
            for partition in (0..self.handle.partitions()).map(PartitionId) {
                let (skip, behind) = (skip.clone(), behind.clone());
                let look = move |store: &PartitionStore, _: &_| letters_of(store, partition, &skip, &behind);
                match self.handle.read(partition, look).await {
                    Ok(letters) => {
                        for (subscription, found) in letters {
                            all.entry(subscription).or_default().push(found);
                        }
                    }
                    Err(_) => complete = false,
                }
            }
            // Whoever has nothing behind its cursor starts over.
            if behind.keys().all(|(_, subscription)| all.contains_key(subscription)) {
                return (all, complete);
            }
            behind.clear();
            skip.extend(all.keys());
        }
    }

    async fn producer(&mut self, letter: &DeadLetter) -> Result<Arc<Producer>, String> {
        let name = &*letter.cluster;
        let schema = self.metadata.schema();
        let cluster = schema.kafka_cluster(name).ok_or_else(|| format!("Kafka cluster '{name}' is not configured"))?;
        if let Some((of, producer)) = self.producers.get(name)
            && Arc::ptr_eq(of, cluster)
        {
            return Ok(Arc::clone(producer));
        }
        let options: Properties = [
            ("message.timeout.ms", DELIVERY_LIMIT_MS),
            ("message.max.bytes", MESSAGE_BYTES_MAX),
            ("queue.buffering.max.kbytes", IN_FLIGHT_KBYTES),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let started = Producer::start(&crate::cluster_config(cluster)?, &options).await;
        let producer = Arc::new(started.map_err(|error| error.to_string())?);
        self.producers.insert(name.to_owned(), (Arc::clone(cluster), Arc::clone(&producer)));
        Ok(producer)
    }
}

/// The first letters of each subscription that is not busy.
fn letters_of(
    store: &PartitionStore,
    partition: PartitionId,
    busy: &BTreeSet<SubscriptionId>,
    cursors: &Cursors,
) -> Vec<(SubscriptionId, Found)> {
    let first = |subscription| (subscription, InvocationId { key: PartitionKey(0), unique: 0 });
    let mut found = Vec::new();
    let mut from = first(SubscriptionId(0));
    loop {
        let mut skip_to = None;
        let (mut current, mut count, mut bytes) = (None, 0, 0);
        let scanned = store.scan::<DeadLetters>(Some(&from), &mut |(subscription, id), letter| {
            if current != Some(subscription) {
                (current, count, bytes) = (Some(subscription), 0, 0);
            }
            let size = letter.value.len();
            let is_full = count == LETTERS_MAX || (count > 0 && bytes + size > LETTERS_BYTES_MAX);
            if is_full || busy.contains(&subscription) {
                skip_to = subscription.0.checked_add(1).map(|next| first(SubscriptionId(next)));
                return ControlFlow::Break(());
            }
            match cursors.get(&(partition, subscription)) {
                Some(cursor) if id < *cursor => {
                    skip_to = Some((subscription, *cursor));
                    return ControlFlow::Break(());
                }
                Some(cursor) if id == *cursor => return ControlFlow::Continue(()),
                _ => {}
            }
            (count, bytes) = (count + 1, bytes + size);
            found.push((subscription, Found { partition, id, letter }));
            ControlFlow::Continue(())
        });
        match skip_to {
            // What cannot be read now is found by a later look; the partition itself reports the failure.
            Some(next) if scanned.is_ok() => from = next,
            _ => return found,
        }
    }
}

/// Writes letters and notes those that are acknowledged.
async fn write(
    subscription: SubscriptionId,
    found: Vec<Found>,
    producer: Result<Arc<Producer>, String>,
    handle: Handle,
    board: Option<Arc<StatusBoard>>,
) -> Done {
    let mut written: BTreeMap<PartitionId, Vec<InvocationId>> = BTreeMap::new();
    let mut behind: BTreeMap<PartitionId, InvocationId> = BTreeMap::new();
    let mut trouble = None;
    match producer {
        Ok(producer) => {
            let sent: Vec<_> = found.iter().map(|found| (found, send(&producer, subscription, found))).collect();
            for (found, sent) in sent {
                let outcome = match sent {
                    Ok(acknowledgement) => acknowledgement.await.map(drop),
                    Err(error) => Err(error),
                };
                behind.insert(found.partition, found.id);
                match outcome {
                    Ok(()) => written.entry(found.partition).or_default().push(found.id),
                    Err(error) => trouble = Some(format!("topic {}: {error}", found.letter.topic)),
                }
            }
        }
        Err(error) => trouble = Some(error),
    }
    let topic = found[0].letter.topic.to_string();
    for (partition, ids) in written {
        let count = ids.len() as u64;
        let note = Command::LettersWritten { subscription, ids };
        match handle.propose(partition, note).await {
            Ok(_) => metrics::letters(&subscription.to_string(), &topic).increment(count),
            // They are written again.
            Err(error) => trouble = Some(error.to_string()),
        }
    }
    match trouble {
        None => {
            if let Some(board) = board {
                board.letters_are_written(subscription);
            }
            Done { subscription, behind: Vec::new() }
        }
        Some(reason) => {
            ::metrics::counter!(metrics::ERRORS, "code" => codes::SUB0007.id).increment(1);
            if let Some(board) = board {
                board.letters_wait(subscription, reason);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            Done { subscription, behind: behind.into_iter().collect() }
        }
    }
}

/// A letter as a record.
#[derive(Debug, Default, PartialEq)]
struct Letter {
    key: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
}

fn send(
    producer: &Producer,
    subscription: SubscriptionId,
    found: &Found,
) -> Result<millrace_connector_kafka::Acknowledgement, ClientError> {
    let Letter { key, headers } = letter(subscription, found.id, &found.letter);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), Some(&value[..]))).collect();
    producer.send(&OutRecord {
        topic: &found.letter.topic,
        partition: None,
        key: key.as_deref(),
        value: Some(&found.letter.value),
        headers: &headers,
        timestamp_ms: None,
    })
}

/// Key and headers of a letter: those of the record, as far as a handler can see them, then where it came from.
///
/// Names that HTTP does not allow stay percent-encoded. An absent value is an empty one, as for handlers.
fn letter(subscription: SubscriptionId, id: InvocationId, letter: &DeadLetter) -> Letter {
    let decode = |text: &str| base64::engine::general_purpose::URL_SAFE.decode(text).ok();
    let mut from = letter.headers.iter().peekable();
    let mut take = |name: &str| from.next_if(|header| &*header.name == name).map(|header| header.value.to_string());
    take(origin::SUBSCRIPTION);
    let places = [
        (ORIGINAL_TOPIC, take(origin::TOPIC)),
        (ORIGINAL_PARTITION, take(origin::PARTITION)),
        (ORIGINAL_OFFSET, take(origin::OFFSET)),
        (ORIGINAL_TIMESTAMP, take(origin::TIMESTAMP)),
    ];
    let key = take(origin::KEY).and_then(|key| decode(&key)).map(Bytes::from);
    let own = from.map(|header| {
        let bytes = header.name.strip_suffix("-bin").zip(decode(&header.value));
        match bytes.filter(|(_, bytes)| std::str::from_utf8(bytes).is_err()) {
            Some((name, bytes)) => (name.to_owned(), bytes.into()),
            None => (header.name.to_string(), Bytes::copy_from_slice(header.value.bytes())),
        }
    });
    let mut headers: Vec<(String, Bytes)> = own.collect();
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value.into()));
    for (name, value) in places {
        if let Some(value) = value {
            add(name, value);
        }
    }
    add(SUBSCRIPTION_ID, subscription.to_string());
    if letter.invoked {
        add(INVOCATION_ID, id.to_string());
    }
    add(ERROR_CODE, letter.failure.code.to_string());
    let message = &*letter.failure.message;
    let end = (0..=message.len().min(ERROR_MESSAGE_MAX)).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    add(ERROR_MESSAGE, message[..end].to_owned());
    add(LETTER_ID, id.to_string());
    Letter { key, headers }
}

#[cfg(test)]
mod tests {
    use millrace_model::{
        TimestampMs,
        journal::{Failure, Header},
    };

    use super::*;

    #[test]
    fn a_letter_is_the_record_and_where_it_came_from() {
        let id = InvocationId { key: PartitionKey(5), unique: 6 };
        let headers = [
            (origin::SUBSCRIPTION, "sub_1"),
            (origin::TOPIC, "orders"),
            (origin::PARTITION, "3"),
            (origin::OFFSET, "17"),
            (origin::KEY, "_w=="),
            ("tenant", "blue"),
            ("raw-bin", "__4="),
            ("text-bin", "aGk="),
            ("kafka.offset", "mine"),
        ];
        let headers = headers.map(|(name, value)| Header { name: name.into(), value: value.into() }).into();
        let row = DeadLetter {
            cluster: "c".into(),
            topic: "dead".into(),
            failure: Failure { code: 409, message: "taken".into(), metadata: Vec::new() },
            at: TimestampMs(1),
            invoked: true,
            reader: PartitionId(0),
            bytes: 1,
            headers,
            value: Bytes::from_static(b"v"),
        };
        let made = letter(SubscriptionId(9), id, &row);
        assert_eq!(made.key.as_deref(), Some(&b"\xff"[..]));
        let (subscription, id) = (SubscriptionId(9).to_string(), id.to_string());
        let expected: [(&str, &[u8]); 12] = [
            ("tenant", b"blue"),
            ("raw", b"\xff\xfe"),
            ("text-bin", b"aGk="),
            ("kafka.offset", b"mine"),
            (ORIGINAL_TOPIC, b"orders"),
            (ORIGINAL_PARTITION, b"3"),
            (ORIGINAL_OFFSET, b"17"),
            (SUBSCRIPTION_ID, subscription.as_bytes()),
            (INVOCATION_ID, id.as_bytes()),
            (ERROR_CODE, b"409"),
            (ERROR_MESSAGE, b"taken"),
            (LETTER_ID, id.as_bytes()),
        ];
        let seen: Vec<_> = made.headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        assert_eq!(seen, expected);
        let rejected = letter(
            SubscriptionId(9),
            InvocationId { key: PartitionKey(5), unique: 6 },
            &DeadLetter { invoked: false, ..row },
        );
        assert!(rejected.headers.iter().all(|(name, _)| name != INVOCATION_ID));
    }
}
