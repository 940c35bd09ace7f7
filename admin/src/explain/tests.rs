use millrace_model::{
    DeploymentId, Lsn, PartitionId, PartitionKey, SubscriptionId, TimestampMs,
    invocation::{HandlerKind, KeyLoad, Milestones, RecordSource, Retries},
    ranges::IndexRanges,
};

use super::*;

const HOLDER: InvocationId = InvocationId { key: PartitionKey(1), unique: 2 };
const OTHER: InvocationId = InvocationId { key: PartitionKey(1), unique: 3 };

pub(crate) fn row(status: Status) -> Invocation {
    Invocation {
        created_lsn: Lsn(1),
        created_at: TimestampMs(1_000),
        modified_at: TimestampMs(2_000),
        milestones: Milestones::default(),
        target: Target {
            service: "Orders".into(),
            handler: "add".into(),
            key: "k1".into(),
            kind: HandlerKind::Exclusive,
        },
        source: Source::Record(RecordSource {
            subscription: SubscriptionId(5),
            reader: PartitionId(1),
            bytes: 10,
            key_share: 3,
        }),
        idempotency_key: None,
        completion_retention: 0,
        journal_retention: 0,
        random_seed: 0,
        traceparent: None,
        status,
        journal_len: 1,
        commands: 1,
        last_notification: 0,
        awakeables: IndexRanges::default(),
        last_entry_at: TimestampMs(1_000),
        attempt: 2,
        last_start_at: None,
        refused: false,
        pin: Some(Pin { deployment: DeploymentId(4), protocol_version: 7 }),
        pending: vec![(1, Pending::Sleep { wake_at: TimestampMs(60_000) }), (2, Pending::Call { id: OTHER })],
        awaiting: None,
        output: None,
        sinks: vec![],
        retries: Retries { failed: 3, failed_since_entry: 3 },
        last_error: None,
    }
}

fn error() -> AttemptError {
    AttemptError { code: "RT0007".into(), status: 500, message: "boom".into(), stacktrace: "".into(), related: None }
}

fn lock() -> Lock {
    let load = KeyLoad { subscription: SubscriptionId(5), reader: PartitionId(1), key_share: 3, records: 7, bytes: 70 };
    Lock { holder: HOLDER, head: 4, tail: 10, blocked: true, loads: vec![load] }
}

#[test]
fn every_status_says_what_it_waits_for() {
    let check = |row: Invocation, attempt, lock: Option<&Lock>, expected: &str| {
        assert_eq!(waits_for(OTHER, &row, attempt, lock), expected);
    };
    let at = TimestampMs(60_000);
    let time = "1970-01-01T00:01:00.000000000Z";
    check(row(Status::Scheduled { at }), None, None, &format!("its start at {time}"));
    check(
        row(Status::Inboxed { seq: 6 }),
        None,
        Some(&lock()),
        &format!("its key: {HOLDER} runs, which fails or is paused, and at most 2 wait before it"),
    );
    check(row(Status::Running), Some(2), None, "its handler: attempt 2 is running");
    check(row(Status::Running), None, None, "a free slot for its next attempt");
    let failing = Invocation { last_error: Some(error()), ..row(Status::BackingOff { at }) };
    check(failing, None, None, &format!("its next attempt at {time}, after 3 failed (boom)"));
    let paused = Invocation { last_error: Some(error()), ..row(Status::Paused) };
    check(
        paused,
        None,
        None,
        &format!("an operator: it is paused (boom); PATCH /invocations/{OTHER}/resume goes on with it"),
    );
    let awaiting =
        Awaiting { completions: vec![1, 2, 9], signals: vec![1, 17], names: vec!["go".into()], ..Default::default() };
    let suspended = Invocation { awaiting: Some(awaiting), ..row(Status::Suspended) };
    check(
        suspended,
        None,
        None,
        &format!("a timer at {time} or the result of {OTHER} or result 9 or an awakeable (signal 17) or signal 'go'"),
    );
}

#[test]
fn an_invocation_shows_no_payload() {
    let journal = vec![JournalLine { index: 0, appended_at: TimestampMs(0), ty: 0x0400, command: true, bytes: 12 }];
    let look = InvocationLook::Active { row: Box::new(row(Status::Running)), journal, attempt: Some(2), lock: None };
    let view = invocation(OTHER, &look);
    assert_eq!(view["target"], "Orders/k1/add");
    assert_eq!(view["status"], "running");
    assert_eq!(view["invoked_by_subscription_id"], SubscriptionId(5).to_string());
    assert_eq!(view["pinned_service_protocol_version"], 7);
    assert_eq!(view["journal"]["last_entries"][0]["bytes"], 12);
}

#[test]
fn a_key_names_what_stands_in_its_way() {
    let object = ObjectKey { service: "Orders".into(), key: "k1".into() };
    assert_eq!(key(&object, &KeyLook::default())["state"], "free");
    let holder = Invocation { last_error: Some(error()), ..row(Status::BackingOff { at: TimestampMs(60_000) }) };
    let look = KeyLook { lock: Some(lock()), holder: Some(Box::new(holder)), attempt: None, waiting: vec![OTHER] };
    let view = key(&object, &look);
    assert_eq!(view["state"], "blocked");
    assert_eq!(view["inbox_length"], 6);
    assert_eq!(view["holder"]["last_failure"]["message"], "boom");
    assert_eq!(view["inbox_first"][0], OTHER.to_string());
    assert_eq!(view["unsettled_records"][0]["records"], 7);
    let expected = format!("{HOLDER}: its next attempt at 1970-01-01T00:01:00.000000000Z, after 3 failed (boom)");
    assert_eq!(view["waits_for"], expected);
}

#[test]
fn a_key_whose_handler_runs_waits_for_the_handler() {
    let object = ObjectKey { service: "Orders".into(), key: "k1".into() };
    let holder = Some(Box::new(row(Status::Running)));
    let look = KeyLook { lock: Some(lock()), holder, attempt: Some(4), waiting: vec![OTHER] };
    let expected = format!("{HOLDER}: its handler: attempt 4 is running");
    assert_eq!(key(&object, &look)["waits_for"], expected);
}
