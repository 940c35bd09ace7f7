//! Reads one source partition for one leadership, as DESIGN.md section 6 says: nothing is proposed before a description
//! of the topic that was asked for *behind* the fetch shows that it is still the same topic.

use bytes::Bytes;
use millrace_machine::{Answer, StateView};
use millrace_model::{
    Command, PartitionId, PartitionKey, SourceId, SubscriptionId, TimestampMs,
    command::{Ingest, IngestRecord, OpenSource, SeekReason, SeekSource},
    invocation::{HandlerKind, NewInvocation, RecordSource, Source, Target},
    journal::Failure,
    key::record_invocation,
    source::{DeadLetter, FailurePolicy, RejectReason},
    table::Sources,
};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::{
    broker::{Broker, FetchError, Record},
    program::Program,
    rng::Rng,
    store::{SimStore, rows},
    tuning::{Mutation, Tuning},
};

/// The one subscription.
pub const SUBSCRIPTION: SubscriptionId = SubscriptionId(9);
/// Records of one key that count as ready.
const KEY_SHARE: u32 = 3;
/// What a record counts for in the budgets.
const RECORD_BYTES: u32 = 10;

/// The source of a partition of the topic.
pub fn source_id(topic_id: u128, source_partition: u32) -> SourceId {
    SourceId { subscription: SUBSCRIPTION, cluster: "main".into(), topic_id, source_partition }
}

enum State {
    /// Wants to know the topic id.
    Describe,
    /// Fetches from the row's position.
    Fetch,
    /// Has fetched and described nothing since.
    Fetched(Result<(Vec<(i64, Record)>, i64), FetchError>),
    /// Waits for an answer.
    Proposed(oneshot::Receiver<Answer>),
}

/// See the module.
pub struct Reader {
    pub partition: PartitionId,
    source_partition: u32,
    /// Of the last description.
    topic_id: u128,
    /// Of the row when the fetch was made.
    generation: u32,
    position: i64,
    state: State,
    mutation: Mutation,
}

/// A command for the reader's leader, and where the answer goes.
pub type Wish = Option<(Command, oneshot::Sender<Answer>)>;

impl Reader {
    /// For a leader of `partition`.
    pub fn new(partition: PartitionId, source_partition: u32, mutation: Mutation) -> Self {
        let state = State::Describe;
        Self { partition, source_partition, topic_id: 0, generation: 0, position: 0, state, mutation }
    }

    /// Does the next thing. `paused`: its budget is used up.
    pub fn step(
        &mut self,
        broker: &Broker,
        store: &SimStore,
        paused: bool,
        now: u64,
        rng: &mut Rng,
        tuning: &Tuning,
    ) -> Wish {
        match std::mem::replace(&mut self.state, State::Describe) {
            State::Describe => self.described(broker, store, now, rng),
            State::Fetch if paused => {
                self.state = State::Fetch;
                None
            }
            State::Fetch => {
                let source = source_id(self.topic_id, self.source_partition);
                let row = store.get::<Sources>(&source).expect("the machine wrote it")?;
                (self.generation, self.position) = (row.generation, row.position);
                self.state = State::Fetched(broker.fetch(self.source_partition, row.position));
                None
            }
            State::Fetched(fetched) => {
                // This step is the answer to a description that was asked for behind the fetch.
                if broker.topic_id != self.topic_id && self.mutation != Mutation::SkipTopicCheck {
                    return None;
                }
                let policy = tuning.policy(rng);
                self.take(fetched, &policy, now)
            }
            State::Proposed(mut answer) => {
                match answer.try_recv() {
                    Err(TryRecvError::Empty) => self.state = State::Proposed(answer),
                    // Whatever became of it is in the row. Now and then somebody looks whether the topic is the same.
                    Ok(_) | Err(TryRecvError::Closed) if rng.chance(800) => self.state = State::Fetch,
                    _ => {}
                }
                None
            }
        }
    }

    fn propose(&mut self, command: Command) -> Wish {
        let (reply, answer) = oneshot::channel();
        self.state = State::Proposed(answer);
        Some((command, reply))
    }

    /// Opens the topic's source, removes those of topics before it.
    fn described(&mut self, broker: &Broker, store: &SimStore, now: u64, rng: &mut Rng) -> Wish {
        let mine = |id: &SourceId| id.source_partition == self.source_partition && id.topic_id != broker.topic_id;
        let old = rows::<Sources>(store.view()).into_iter().map(|(id, _)| id).find(mine);
        if let Some(source) = old {
            return self.propose(Command::CloseSource { source });
        }
        let (start, end) = broker.range(self.source_partition)?;
        self.topic_id = broker.topic_id;
        let source = source_id(self.topic_id, self.source_partition);
        if store.get::<Sources>(&source).expect("the machine wrote it").is_some() {
            self.state = State::Fetch;
            return None;
        }
        // Earliest, and sometimes latest for the first topic.
        let position = if self.topic_id == 1 && rng.chance(200) { end } else { start };
        self.propose(Command::OpenSource(OpenSource {
            source,
            topic: "orders".into(),
            position,
            now: TimestampMs(now),
        }))
    }

    fn take(
        &mut self,
        fetched: Result<(Vec<(i64, Record)>, i64), FetchError>,
        policy: &FailurePolicy,
        now: u64,
    ) -> Wish {
        let source = source_id(self.topic_id, self.source_partition);
        let generation = self.generation;
        let (records, to) = match fetched {
            Err(FetchError::Unknown) => return None,
            Err(FetchError::OutOfRange { start, end }) => {
                let trimmed = self.position < start;
                let (position, reason) =
                    if trimmed { (start, SeekReason::Trimmed) } else { (end, SeekReason::Truncated) };
                let missing = (start - self.position).max(0) as u64;
                return self.propose(Command::SeekSource(SeekSource { source, generation, position, missing, reason }));
            }
            Ok((_, to)) if to == self.position => {
                self.state = State::Fetch;
                return None;
            }
            Ok(fetched) => fetched,
        };
        let records = records.into_iter();
        let records = records.map(|(offset, record)| self.record(&source, offset, record, policy, now)).collect();
        let ingest = Ingest {
            source,
            generation,
            from: self.position,
            to,
            records,
            record_at: Some(TimestampMs(now)),
            now: TimestampMs(now),
        };
        self.propose(Command::Ingest(Box::new(ingest)))
    }

    fn record(&self, source: &SourceId, offset: i64, record: Record, policy: &FailurePolicy, now: u64) -> IngestRecord {
        let program = Program { number: record.number, seed: record.seed, depth: 0, keyed: true };
        let Some(key) = record.key else {
            let reason = RejectReason::NullKey;
            let FailurePolicy::DeadLetter { cluster, topic } = policy.clone() else {
                return IngestRecord::Reject { offset, reason };
            };
            let letter = Box::new(DeadLetter {
                cluster,
                topic,
                failure: Failure::new(400, "it has no key"),
                at: TimestampMs(now),
                invoked: false,
                reader: self.partition,
                bytes: RECORD_BYTES,
                headers: Vec::new(),
                value: program.encode(),
            });
            let id = record_invocation(PartitionKey(0), source, self.generation, offset);
            return IngestRecord::Letter { offset, reason, id, letter };
        };
        let (service, key) = (Program::service(0, true), format!("k{key}"));
        let partition_key = PartitionKey::new(&service, key.as_bytes());
        let invocation = NewInvocation {
            id: record_invocation(partition_key, source, self.generation, offset),
            target: Target {
                service: service.into(),
                handler: "h".into(),
                key: key.into(),
                kind: HandlerKind::Exclusive,
            },
            source: Source::Record(RecordSource {
                subscription: SUBSCRIPTION,
                reader: self.partition,
                bytes: RECORD_BYTES,
                key_share: KEY_SHARE,
            }),
            created_at: TimestampMs(now),
            execute_at: None,
            idempotency_key: None,
            completion_retention: 0,
            journal_retention: (record.seed % 2) * 3_600_000,
            random_seed: record.seed,
            traceparent: None,
            headers: Vec::new(),
            value: Bytes::new(),
        };
        IngestRecord::Invoke(Box::new(NewInvocation { value: program.encode(), ..invocation }))
    }
}
