//! One sample at least of everything. Fields hold different values, so that two that are swapped show. Structs are
//! written out in full: a new field does not compile until it has a value here.

use bytes::Bytes;
use millrace_model::{
    ClusterId, Command, DeploymentId, InvocationId, LeaderEpoch, Lsn, PartitionId, PartitionKey, SourceId,
    SubscriptionId, TimestampMs,
    command::{
        Action, AnnounceLeader, Attempt, Callee, CommandEffect, Decision, Ingest, IngestRecord, Known, Lane, Message,
        OpenSource, SeekReason, SeekSource, Slice, TerminateMode,
    },
    invocation::{
        AttemptError, Completed, HandlerKind, Invocation, KeyLoad, Lock, NewInvocation, ObjectKey, Pending, Pin,
        RecordSource, RelatedCommand, ResultSink, Retries, Source, Status, Target,
    },
    journal::{
        Awaiting, Completion, Entry, Failure, Header, JournalRow, Notification, NotificationId, NotificationResult,
    },
    source::{Budget, RejectReason, Rejected, SourceRow},
    table::{
        Budgets, Ended, Expiries, ExpiryKey, ExpiryKind, Inbox, Invocations, Journal, Locks, Outbox, OutboxEnds,
        OutboxLanes, Partition, PartitionRow, Received, Sources, State, TimerKey, TimerKind, Timers,
    },
};

use super::Golden;

fn id(n: u8) -> InvocationId {
    InvocationId { key: PartitionKey(0x0102_0304_0506_0700 | u64::from(n)), unique: 0x11 << 120 | u128::from(n) }
}

fn at(n: u64) -> TimestampMs {
    TimestampMs(1_700_000_000_000 + n)
}

fn subscription() -> SubscriptionId {
    SubscriptionId(0x018b_cfe5_6800_0000_0000_0000_0000_0007)
}

fn source_id() -> SourceId {
    SourceId {
        subscription: subscription(),
        cluster: "main".into(),
        topic_id: 0xaa << 120 | 0xbb,
        source_partition: 300,
    }
}

fn target() -> Target {
    Target { service: "Counter".into(), handler: "add".into(), key: "k\u{e9}y".into(), kind: HandlerKind::Exclusive }
}

fn object() -> ObjectKey {
    ObjectKey { service: "Counter".into(), key: "a\0b".into() }
}

fn failure() -> Failure {
    Failure { code: 409, message: "taken".into(), metadata: vec![("reason".into(), "late".into())] }
}

fn headers() -> Vec<Header> {
    vec![
        Header { name: "X-Trace".into(), value: "1".into() },
        Header { name: "content-type".into(), value: "text/plain".into() },
    ]
}

fn pin() -> Pin {
    Pin { deployment: DeploymentId(0x018b_cfe5_6800_0000_0000_0000_0000_0009), protocol_version: 7 }
}

fn budget() -> Budget {
    Budget { ready_records: 1, ready_bytes: -2, held_records: i64::MAX, held_bytes: i64::MIN }
}

fn record() -> RecordSource {
    RecordSource { subscription: subscription(), reader: PartitionId(5), bytes: 1000, key_share: 250 }
}

fn caller() -> Source {
    Source::Caller { id: id(9), target: target(), completion: Some(4) }
}

fn attempt_error() -> AttemptError {
    AttemptError {
        code: "RT0007".into(),
        status: 500,
        message: "no".into(),
        stacktrace: "at f".into(),
        related: Some(RelatedCommand { index: Some(2), name: Some("step".into()), ty: Some(0x0411) }),
    }
}

fn awaiting() -> Awaiting {
    Awaiting { completions: vec![1, 200], signals: vec![17], names: vec!["go".into()] }
}

fn small() -> NewInvocation {
    NewInvocation {
        id: id(1),
        target: Target { service: "Greeter".into(), handler: "greet".into(), key: "".into(), kind: HandlerKind::Plain },
        source: Source::Ingress,
        created_at: at(1),
        execute_at: None,
        idempotency_key: None,
        completion_retention: 0,
        journal_retention: 0,
        random_seed: 0,
        traceparent: None,
        headers: Vec::new(),
        value: Bytes::new(),
    }
}

fn full() -> NewInvocation {
    NewInvocation {
        id: id(2),
        target: target(),
        source: Source::Record(record()),
        created_at: at(1),
        execute_at: Some(at(2)),
        idempotency_key: Some("once".into()),
        completion_retention: 86_400_000,
        journal_retention: 3_600_000,
        random_seed: u64::MAX,
        traceparent: Some("00-1-2-01".into()),
        headers: headers(),
        value: Bytes::from_static(b"\x00\x01{}"),
    }
}

fn active() -> Invocation {
    Invocation {
        created_lsn: Lsn(70_000),
        created_at: at(1),
        modified_at: at(2),
        target: target(),
        source: Source::Record(record()),
        idempotency_key: Some("once".into()),
        completion_retention: 86_400_000,
        journal_retention: 3_600_000,
        random_seed: 5,
        traceparent: Some("00-1-2-01".into()),
        status: Status::BackingOff { at: at(3) },
        journal_len: 9,
        commands: 4,
        last_entry_at: at(4),
        attempt: 6,
        refused: true,
        pin: Some(pin()),
        pending: vec![(1, Pending::Run), (2, Pending::Sleep { wake_at: at(5) }), (3, Pending::Call { id: id(8) })],
        awaiting: Some(awaiting()),
        output: Some(Completion::Success(Bytes::from_static(b"out"))),
        sinks: vec![ResultSink { caller: id(7), completion: 11 }],
        retries: Retries { failed: 12, failed_since_entry: 13 },
        last_error: Some(attempt_error()),
    }
}

fn fresh() -> Invocation {
    Invocation {
        created_lsn: Lsn(1),
        created_at: at(1),
        modified_at: at(1),
        target: target(),
        source: Source::Ingress,
        idempotency_key: None,
        completion_retention: 0,
        journal_retention: 0,
        random_seed: 0,
        traceparent: None,
        status: Status::Running,
        journal_len: 1,
        commands: 1,
        last_entry_at: at(1),
        attempt: 0,
        refused: false,
        pin: None,
        pending: Vec::new(),
        awaiting: None,
        output: None,
        sinks: Vec::new(),
        retries: Retries { failed: 0, failed_since_entry: 0 },
        last_error: None,
    }
}

fn ended() -> Completed {
    Completed {
        created_lsn: Lsn(70_000),
        created_at: at(1),
        completed_at: at(2),
        target: target(),
        source: caller(),
        idempotency_key: Some("once".into()),
        pin: Some(pin()),
        attempts: 3,
        journal_len: 9,
        result: Completion::Failure(failure()),
        result_until: at(3),
        expires_at: at(4),
        journal_expires_at: at(5),
    }
}

fn slice(at: u32) -> Slice {
    Slice { at, len: at + 1 }
}

fn effects() -> Vec<CommandEffect> {
    let callee = Callee { invocation: small(), parameter: slice(9), id_completion: 5, result_completion: Some(6) };
    vec![
        CommandEffect::None,
        CommandEffect::Output { value: Some(slice(2)), failure: None },
        CommandEffect::Output { value: None, failure: Some(failure()) },
        CommandEffect::SetState { key: slice(3), value: slice(7) },
        CommandEffect::ClearState { key: slice(4) },
        CommandEffect::ClearAllState,
        CommandEffect::GetState { key: slice(5), completion: 1 },
        CommandEffect::GetStateKeys { completion: 2 },
        CommandEffect::Sleep { wake_at: at(7), completion: 3 },
        CommandEffect::Run { completion: 4 },
        CommandEffect::Call(Box::new(Callee { result_completion: None, ..callee.clone() })),
        CommandEffect::Call(Box::new(callee)),
    ]
}

fn actions() -> Vec<Action> {
    vec![
        Action::Command {
            index: 1,
            ty: 0x0405,
            raw: Bytes::from_static(b"\x0a\x01k"),
            effect: CommandEffect::ClearAllState,
        },
        Action::RunResult { completion: 2, result: Completion::Success(Bytes::from_static(b"r")), ack: true },
        Action::AwaitingOn { awaiting: Some(awaiting()), seen: 3 },
        Action::AwaitingOn { awaiting: None, seen: 0 },
        Action::Suspend { awaiting: awaiting(), seen: 4 },
        Action::End,
        Action::Fail { decision: Decision::RetryAt(at(8)), error: attempt_error(), counts: true },
    ]
}

fn messages() -> Vec<Message> {
    vec![
        Message::Invoke(Box::new(full())),
        Message::CallResult { caller: id(3), completion: 4, result: Completion::Success(Bytes::from_static(b"r")) },
        Message::Settle { subscription: subscription(), change: budget() },
        Message::Signal { target: id(4), index: 17, result: NotificationResult::Void },
    ]
}

fn commands() -> Vec<Command> {
    let timer = TimerKey { at: at(1), id: id(1), kind: TimerKind::Sleep(2) };
    let expiry = ExpiryKey { at: at(1), id: id(1), kind: ExpiryKind::Journal };
    let attempt = |pin, actions| Attempt { id: id(1), created_lsn: Lsn(2), attempt: 3, now: at(4), pin, actions };
    vec![
        Command::Announce(AnnounceLeader {
            cluster: ClusterId(0xcc << 120 | 1),
            node: "n1".into(),
            address: "http://127.0.0.1:5122".into(),
            partitions: 8,
            now: at(1),
            nonce: 77,
        }),
        Command::Invoke { invocation: Box::new(small()), known: Known::Fresh },
        Command::Invoke { invocation: Box::new(full()), known: Known::Maybe },
        Command::Attempt(Box::new(attempt(Some(pin()), actions()))),
        Command::Attempt(Box::new(attempt(None, Vec::new()))),
        Command::FireTimers { now: at(2), timers: vec![timer] },
        Command::Deliver { from: PartitionId(1), lane: Lane::Control, first: 300, messages: messages(), now: at(3) },
        Command::TruncateOutbox { to: PartitionId(2), lane: Lane::Events, upto: 299 },
        Command::OpenSource(OpenSource { source: source_id(), topic: "orders".into(), position: -1, now: at(5) }),
        Command::Ingest(Box::new(Ingest {
            source: source_id(),
            generation: 1,
            from: 100,
            to: 103,
            records: vec![
                IngestRecord::Invoke(Box::new(full())),
                IngestRecord::Reject { offset: 102, reason: RejectReason::KeyNotUtf8 },
            ],
            record_at: Some(at(6)),
            now: at(7),
        })),
        Command::SeekSource(SeekSource {
            source: source_id(),
            generation: 1,
            position: 200,
            missing: 97,
            reason: SeekReason::Trimmed,
        }),
        Command::CloseSource { source: source_id() },
        Command::Terminate { id: id(1), mode: TerminateMode::Kill, now: at(8) },
        Command::Resume { id: id(2), now: at(9) },
        Command::Purge { id: id(3), now: at(10) },
        Command::PurgeJournal { id: id(4), now: at(11) },
        Command::Expire { now: at(12), rows: vec![expiry] },
        Command::Pause { id: id(5), now: at(13) },
    ]
}

fn notification(id: NotificationId, result: NotificationResult) -> Entry {
    Entry::Notification(Notification { ty: 0x8011, id, result })
}

pub fn values(golden: &mut Golden) {
    golden.variants(&commands());
    golden.batch("batch", &commands()[1..3]);
    golden.variants(&messages());
    golden.variants(&actions());
    golden.variants(&effects());
    golden.variants(&[Decision::RetryAt(at(1)), Decision::Pause, Decision::Fail(failure())]);
    golden.variants(&[
        IngestRecord::Invoke(Box::new(small())),
        IngestRecord::Reject { offset: 1 << 40, reason: RejectReason::NullKey },
    ]);
    golden.variants(&[SeekReason::Operator, SeekReason::Trimmed, SeekReason::Truncated]);
    golden.variants(&[RejectReason::NullKey, RejectReason::KeyNotUtf8, RejectReason::TooLarge]);
    golden.variants(&[Known::Fresh, Known::Maybe]);
    golden.variants(&[Lane::Events, Lane::Control]);
    golden.variants(&[TerminateMode::Cancel, TerminateMode::Kill]);
    golden.variants(&[HandlerKind::Plain, HandlerKind::Exclusive, HandlerKind::Shared, HandlerKind::Workflow]);
    golden.variants(&[Source::Ingress, Source::Record(record()), caller()]);
    golden.variants(&[Pending::Run, Pending::Sleep { wake_at: at(1) }, Pending::Call { id: id(1) }]);
    golden.variants(&[
        Status::Scheduled { at: at(1) },
        Status::Inboxed { seq: 300 },
        Status::Running,
        Status::Suspended,
        Status::BackingOff { at: at(2) },
        Status::Paused,
    ]);
    golden.variants(&[Completion::Success(Bytes::from_static(b"ok")), Completion::Failure(failure())]);
    golden.variants(&notification_ids());
    golden.variants(&notification_results());
    golden.variants(&entries());
    golden.variants(&[TimerKind::Start, TimerKind::Retry, TimerKind::Sleep(300)]);
    golden.variants(&[ExpiryKind::Journal, ExpiryKind::Invocation]);
}

fn notification_ids() -> Vec<NotificationId> {
    vec![NotificationId::Completion(1), NotificationId::Signal(17), NotificationId::Named("go".into())]
}

fn notification_results() -> Vec<NotificationResult> {
    vec![
        NotificationResult::Void,
        NotificationResult::Value(Bytes::from_static(b"v")),
        NotificationResult::Failure(failure()),
        NotificationResult::InvocationId(id(1)),
        NotificationResult::StateKeys(vec![Bytes::from_static(b"a"), Bytes::new()]),
    ]
}

fn entries() -> Vec<Entry> {
    vec![
        Entry::Input { headers: headers(), value: Bytes::from_static(b"in") },
        Entry::Command { ty: 0x0401, raw: Bytes::from_static(b"\x72\x00") },
        notification(NotificationId::Completion(3), NotificationResult::Value(Bytes::from_static(b"v"))),
        notification(NotificationId::Named("go".into()), NotificationResult::Void),
    ]
}

pub fn tables(golden: &mut Golden) {
    let epoch = LeaderEpoch(Lsn(70_000));
    golden.table::<Partition>(&[()], &[PartitionRow { machine_version: 1, epoch, partitions: 8 }]);
    golden.table::<Invocations>(&[id(1)], &[fresh(), active()]);
    golden.table::<Ended>(&[id(1)], &[ended()]);
    let rows: Vec<_> = entries().into_iter().map(|entry| JournalRow { appended_at: at(1), entry }).collect();
    golden.table::<Journal>(&[(id(1), 0), (id(1), 300)], &rows);
    let load =
        KeyLoad { subscription: subscription(), reader: PartitionId(5), key_share: 250, records: 3, bytes: 3000 };
    golden.table::<Locks>(
        &[object()],
        &[
            Lock { holder: id(1), head: 0, tail: 0, blocked: false, loads: Vec::new() },
            Lock { holder: id(2), head: 300, tail: 305, blocked: true, loads: vec![load] },
        ],
    );
    golden.table::<Inbox>(&[(object(), 300)], &[id(1)]);
    let state_keys = [(object(), Bytes::from_static(b"count")), (object(), Bytes::from_static(b"\0\xff"))];
    golden.table::<State>(&state_keys, &[Bytes::new(), Bytes::from_static(b"42")]);
    let timer = |kind| TimerKey { at: at(1), id: id(1), kind };
    let timers = [timer(TimerKind::Start), timer(TimerKind::Retry), timer(TimerKind::Sleep(300))];
    golden.table::<Timers>(&timers, &[()]);
    let expiry = |kind| ExpiryKey { at: at(1), id: id(1), kind };
    golden.table::<Expiries>(&[expiry(ExpiryKind::Journal), expiry(ExpiryKind::Invocation)], &[()]);
    let lanes = [(PartitionId(0x0102), Lane::Events), (PartitionId(0x0102), Lane::Control)];
    golden.table::<Outbox>(&[(lanes[0].0, lanes[0].1, 300), (lanes[1].0, lanes[1].1, 1)], &messages());
    golden.table::<OutboxLanes>(&lanes, &[OutboxEnds { first: 1, next: 300 }]);
    golden.table::<Received>(&lanes, &[300]);
    let row = SourceRow {
        topic: "orders".into(),
        generation: 2,
        position: 1 << 40,
        records: 3,
        rejected: 4,
        examples: vec![Rejected { offset: 5, reason: RejectReason::TooLarge, at: at(6) }],
        missing: 7,
        opened_at: at(8),
        record_at: Some(at(9)),
    };
    golden.table::<Sources>(&[source_id()], &[row.clone(), SourceRow { examples: Vec::new(), record_at: None, ..row }]);
    golden.table::<Budgets>(&[subscription()], &[Budget::ZERO, budget()]);
}
