//! One sample at least of everything. Fields hold different values, so that two that are swapped show. Structs are
//! written out in full: a new field does not compile until it has a value here.

use bytes::Bytes;
use millrace_model::{
    ClusterId, Command, DeploymentId, InvocationId, LeaderEpoch, Lsn, PartitionId, PartitionKey, SourceId,
    SubscriptionId, TimestampMs,
    command::{
        Action, AnnounceLeader, Attempt, Callee, CommandEffect, Decision, Ingest, IngestRecord, Known, Lane, Message,
        OpenSource, RestartAsNew, SeekReason, SeekSource, Slice, TerminateMode,
    },
    invocation::{
        AttemptError, Completed, HandlerKind, Invocation, KeyLoad, Lock, Milestones, NewInvocation, ObjectKey, Pending,
        Pin, Promise, RecordSource, RelatedCommand, ResultSink, Retries, Source, Status, Target, Waiting,
    },
    journal::{
        ArrivedLeaf, AwaitNode, Awaiting, Combinator, Completion, Entry, Failure, Header, JournalRow, Notification,
        NotificationId, NotificationResult,
    },
    ranges::IndexRanges,
    source::{Budget, DeadLetter, FailurePolicy, Outcomes, Parked, RejectReason, Rejected, SourceRow},
    state::{StateEdit, StateVersion},
    table::{
        Budgets, DeadLetters, Ended, Expiries, ExpiryKey, ExpiryKind, Inbox, Invocations, Journal, Locks, Outbox,
        OutboxEnds, OutboxLanes, OutcomeCounts, ParkedRecords, Partition, PartitionRow, Promises, Received, Sources,
        State, TimerKey, TimerKind, Timers,
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
    let node = |combinator, leaves, children, children_end| AwaitNode { combinator, leaves, children, children_end };
    Awaiting {
        completions: vec![1, 200],
        signals: vec![17],
        names: vec!["go".into()],
        tree: vec![
            node(Combinator::FirstCompleted, vec![2], 1, 2),
            node(Combinator::AllSucceededOrFirstFailed, vec![0, 1, 3], 0, 0),
        ],
        arrived: vec![ArrivedLeaf { leaf: 1, index: 300, failed: true }],
    }
}

fn flat() -> Awaiting {
    Awaiting { completions: vec![3], signals: vec![1], ..Awaiting::default() }
}

fn milestones() -> Milestones {
    Milestones {
        scheduled_at: Some(at(20)),
        scheduled_start_at: Some(at(21)),
        inboxed_at: Some(at(22)),
        running_at: Some(at(23)),
    }
}

fn awakeables() -> IndexRanges {
    let mut ranges = IndexRanges::default();
    for index in [17, 18, 300] {
        ranges.insert(index);
    }
    ranges
}

fn edit() -> StateEdit {
    let entries = vec![(Bytes::from_static(b"k"), Bytes::from_static(b"\x01"))];
    StateEdit { expected: Some(StateVersion(std::array::from_fn(|i| i as u8))), entries }
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

fn pending() -> Vec<Pending> {
    vec![
        Pending::Run,
        Pending::Sleep { wake_at: at(5) },
        Pending::Call { id: id(8) },
        Pending::Attach { id: id(9) },
        Pending::Output { id: id(10) },
        Pending::Promise { name: "paid".into() },
    ]
}

fn active() -> Invocation {
    Invocation {
        created_lsn: Lsn(70_000),
        created_at: at(1),
        modified_at: at(2),
        milestones: milestones(),
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
        last_notification: 8,
        awakeables: awakeables(),
        last_entry_at: at(4),
        attempt: 6,
        last_start_at: Some(at(24)),
        refused: true,
        pin: Some(pin()),
        pending: pending().into_iter().enumerate().map(|(i, pending)| (i as u32 + 1, pending)).collect(),
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
        milestones: Milestones { scheduled_at: None, scheduled_start_at: None, inboxed_at: None, running_at: None },
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
        last_notification: 0,
        awakeables: IndexRanges::default(),
        last_entry_at: at(1),
        attempt: 0,
        last_start_at: None,
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
        milestones: milestones(),
        target: target(),
        source: caller(),
        idempotency_key: Some("once".into()),
        completion_retention: 86_400_000,
        journal_retention: 3_600_000,
        random_seed: 5,
        traceparent: Some("00-1-2-01".into()),
        pin: Some(pin()),
        attempts: 3,
        journal_len: 9,
        commands: 4,
        unstarted: true,
        result: Completion::Failure(failure()),
        result_until: at(3),
        expires_at: at(4),
        journal_expires_at: at(5),
    }
}

fn dead_letter_policy() -> FailurePolicy {
    FailurePolicy::DeadLetter { cluster: "main".into(), topic: "orders.dead".into() }
}

fn dead_letter() -> DeadLetter {
    DeadLetter {
        cluster: "main".into(),
        topic: "orders.dead".into(),
        failure: failure(),
        at: at(3),
        invoked: true,
        reader: PartitionId(5),
        bytes: 1000,
        headers: headers(),
        value: Bytes::from_static(b"in"),
    }
}

fn parked() -> Parked {
    Parked {
        at: at(4),
        failure: failure(),
        key: "k".into(),
        topic: "orders".into(),
        source_partition: 300,
        offset: 1 << 40,
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
        CommandEffect::GetPromise { key: "paid".into(), completion: 7 },
        CommandEffect::PeekPromise { key: "paid".into(), completion: 8 },
        CommandEffect::CompletePromise { key: "paid".into(), result: Completion::Failure(failure()), completion: 9 },
        CommandEffect::SendSignal {
            target: id(3),
            signal: NotificationId::Signal(17),
            result: NotificationResult::Value(Bytes::from_static(b"v")),
        },
        CommandEffect::Attach { target: id(4), completion: 10 },
        CommandEffect::GetOutput { target: id(5), completion: 11 },
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
        Action::AwaitingOn { awaiting: Some(flat()), seen: 1 },
        Action::Suspend { awaiting: awaiting(), seen: 4 },
        Action::End,
        Action::Fail { decision: Decision::RetryAt(at(8)), error: attempt_error(), counts: true },
        Action::EndBy { policy: dead_letter_policy() },
    ]
}

fn messages() -> Vec<Message> {
    vec![
        Message::Invoke(Box::new(full())),
        Message::CallResult {
            caller: id(3),
            completion: 4,
            result: NotificationResult::Value(Bytes::from_static(b"r")),
        },
        Message::Settle { subscription: subscription(), change: budget() },
        Message::Signal { target: id(4), signal: NotificationId::Signal(17), result: NotificationResult::Void },
        Message::Kill { target: id(5) },
        Message::Attach { target: id(6), caller: id(7), completion: 8 },
        Message::GetOutput { target: id(9), caller: id(10), completion: 11 },
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
        Command::Resume { deployment: Some(pin().deployment), id: id(2), now: at(9) },
        Command::Purge { id: id(3), now: at(10) },
        Command::PurgeJournal { id: id(4), now: at(11) },
        Command::Expire { now: at(12), rows: vec![expiry] },
        Command::Pause { id: id(5), now: at(13) },
        Command::LettersWritten { subscription: subscription(), ids: vec![id(6), id(7)] },
        Command::ForgetSubscription { subscription: subscription() },
        Command::Signal {
            target: id(6),
            signal: NotificationId::Named("go".into()),
            result: NotificationResult::Failure(failure()),
            now: at(14),
        },
        Command::MutateState { object: object(), edit: edit(), now: at(15) },
        Command::RestartAsNew(RestartAsNew {
            id: id(7),
            new: id(8),
            from: 300,
            deployment: Some(pin().deployment),
            random_seed: 77,
            now: at(16),
        }),
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
    golden.variants(&[
        Decision::RetryAt(at(1)),
        Decision::Pause,
        Decision::Fail(failure()),
        Decision::Settle { failure: failure(), policy: FailurePolicy::Park },
    ]);
    golden.variants(&[FailurePolicy::Park, dead_letter_policy(), FailurePolicy::Skip]);
    golden.variants(&[
        IngestRecord::Invoke(Box::new(small())),
        IngestRecord::Reject { offset: 1 << 40, reason: RejectReason::NullKey },
        IngestRecord::Letter { offset: 8, reason: RejectReason::NullKey, id: id(3), letter: Box::new(dead_letter()) },
    ]);
    golden.variants(&[SeekReason::Operator, SeekReason::Trimmed, SeekReason::Truncated]);
    golden.variants(&[RejectReason::NullKey, RejectReason::KeyNotUtf8, RejectReason::TooLarge]);
    golden.variants(&[Known::Fresh, Known::Maybe]);
    golden.variants(&[Lane::Events, Lane::Control]);
    golden.variants(&[TerminateMode::Cancel, TerminateMode::Kill]);
    golden.variants(&[HandlerKind::Plain, HandlerKind::Exclusive, HandlerKind::Shared, HandlerKind::Workflow]);
    golden.variants(&[Source::Ingress, Source::Record(record()), caller(), Source::RestartAsNew { from: id(3) }]);
    golden.variants(&pending());
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
    golden.variants(&[ExpiryKind::Journal, ExpiryKind::Invocation, ExpiryKind::Workflow]);
    golden.variants(&[
        Combinator::Unknown,
        Combinator::FirstCompleted,
        Combinator::AllCompleted,
        Combinator::FirstSucceededOrAllFailed,
        Combinator::AllSucceededOrFirstFailed,
    ]);
    golden.variants(&waiting());
    golden.variants(&promises());
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

fn waiting() -> Vec<Waiting> {
    let blind = StateEdit { expected: None, entries: Vec::new() };
    vec![Waiting::Invocation(id(1)), Waiting::Edit(Box::new(edit())), Waiting::Edit(Box::new(blind))]
}

fn promises() -> Vec<Promise> {
    vec![
        Promise::Awaited(vec![ResultSink { caller: id(7), completion: 11 }]),
        Promise::Completed(Completion::Success(Bytes::from_static(b"v"))),
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
    let rows: Vec<_> =
        entries().into_iter().map(|entry| JournalRow { appended_at: at(1), previous: 300, entry }).collect();
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
    golden.table::<Inbox>(&[(object(), 300)], &waiting());
    golden.table::<Promises>(&[(object(), "paid".into())], &promises());
    let state_keys = [(object(), Bytes::from_static(b"count")), (object(), Bytes::from_static(b"\0\xff"))];
    golden.table::<State>(&state_keys, &[Bytes::new(), Bytes::from_static(b"42")]);
    let timer = |kind| TimerKey { at: at(1), id: id(1), kind };
    let timers = [timer(TimerKind::Start), timer(TimerKind::Retry), timer(TimerKind::Sleep(300))];
    golden.table::<Timers>(&timers, &[()]);
    let expiry = |kind| ExpiryKey { at: at(1), id: id(1), kind };
    let expiries = [ExpiryKind::Journal, ExpiryKind::Invocation, ExpiryKind::Workflow].map(expiry);
    golden.table::<Expiries>(&expiries, &[()]);
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
    let outcomes = Outcomes { failed: 1, parked: 2, redriven: 3, dropped: 4, letters: 5, written: 6, skipped: 7 };
    golden.table::<OutcomeCounts>(&[subscription()], &[outcomes]);
    golden.table::<ParkedRecords>(&[(subscription(), id(1))], &[parked()]);
    golden.table::<DeadLetters>(&[(subscription(), id(1))], &[dead_letter()]);
}
