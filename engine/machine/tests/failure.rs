//! Records that fail for good: parked, dead-lettered, skipped. Budgets add up to what is not settled.

mod support;

use millrace_machine::{Answer, Effect, Refusal};
use millrace_model::{
    Command, InvocationId, TimestampMs,
    command::{Action, CommandEffect, Decision, Ingest, IngestRecord, OpenSource, TerminateMode},
    invocation::{AttemptError, HandlerKind, NewInvocation, Status},
    journal::{Failure, Header},
    source::{Budget, DeadLetter, FailurePolicy, Outcomes, RejectReason, origin},
    table::{DeadLetters, OutcomeCounts, ParkedRecords, Sources},
};
use support::*;

fn failure() -> Failure {
    Failure { code: 409, message: text("taken"), metadata: Vec::new() }
}

fn error() -> AttemptError {
    AttemptError { code: text("RT0007"), status: 500, message: text("no"), stacktrace: text(""), related: None }
}

fn dead_letter() -> FailurePolicy {
    FailurePolicy::DeadLetter { cluster: text("c"), topic: text("dead") }
}

fn budget(ready: i64, held: i64) -> Budget {
    Budget { ready_records: ready, ready_bytes: ready * 10, held_records: held, held_bytes: held * 10 }
}

/// Takes records in; each says where it came from.
fn take(world: &mut World, records: &mut [NewInvocation]) {
    let (now, source) = (world.now(), source_id());
    if world.get::<Sources>(0, &source).is_none() {
        let open = OpenSource { source: source.clone(), topic: text("orders"), position: 0, now };
        world.apply(0, Command::OpenSource(open));
    }
    let from = world.get::<Sources>(0, &source).unwrap().position;
    for (offset, record) in (from..).zip(records.iter_mut()) {
        let header = |name: &str, value: String| Header { name: name.into(), value: value.into() };
        record.headers = vec![
            header(origin::TOPIC, "orders".to_owned()),
            header(origin::PARTITION, "3".to_owned()),
            header(origin::OFFSET, offset.to_string()),
        ];
    }
    let to = from + records.len() as i64;
    let records = records.iter().map(|new| IngestRecord::Invoke(Box::new(new.clone()))).collect();
    let ingest = Ingest { source, generation: 0, from, to, records, record_at: None, now };
    world.apply(0, Command::Ingest(Box::new(ingest)));
}

/// The handler returns a failure.
fn returns_failure(world: &mut World, id: InvocationId, policy: FailurePolicy) -> Vec<Effect> {
    let row = world.row(id).expect("it is active");
    let output = command(row.commands, CommandEffect::Output { value: None, failure: Some(failure()) });
    world.attempt(id, row.attempt + 1, vec![output, Action::EndBy { policy }])
}

fn used_up(world: &mut World, id: InvocationId, policy: FailurePolicy) -> Vec<Effect> {
    let attempt = world.row(id).expect("it is active").attempt + 1;
    let decision = Decision::Settle { failure: failure(), policy };
    world.attempt(id, attempt, vec![Action::Fail { decision, error: error(), counts: true }])
}

fn outcomes(world: &World) -> Outcomes {
    world.get::<OutcomeCounts>(0, &SUBSCRIPTION).unwrap_or_default()
}

fn resume(world: &mut World, id: InvocationId) -> (Answer, Vec<Effect>) {
    let now = world.now();
    world.apply(0, Command::Resume { id, now, deployment: None })
}

fn terminate(world: &mut World, id: InvocationId, mode: TerminateMode) -> Answer {
    let now = world.now();
    world.apply(0, Command::Terminate { id, mode, now }).0
}

#[test]
fn a_parked_record_blocks_its_key_and_says_which_it_is() {
    let mut world = World::new(1);
    let mut records: Vec<_> = (0..3).map(|_| world.record("k", HandlerKind::Exclusive, 0, 9)).collect();
    take(&mut world, &mut records);
    used_up(&mut world, records[0].id, FailurePolicy::Park);
    assert_eq!(world.row(records[0].id).unwrap().status, Status::Paused);
    assert_eq!(world.budget(0), budget(0, 3));
    let parked = world.get::<ParkedRecords>(0, &(SUBSCRIPTION, records[0].id)).expect("it is parked");
    assert_eq!((parked.source_partition, parked.offset, &*parked.key), (3, 0, "k"));
    assert_eq!((parked.failure, &*parked.topic), (failure(), "orders"));
    // Redriven it goes on with what it has done.
    let (answer, effects) = resume(&mut world, records[0].id);
    assert_eq!((answer, starts(&effects)), (Answer::Done, vec![records[0].id]));
    assert_eq!(world.get::<ParkedRecords>(0, &(SUBSCRIPTION, records[0].id)), None);
    assert_eq!(world.budget(0), budget(3, 0));
    world.end(records[0].id);
    // Dropped it makes room for the next.
    used_up(&mut world, records[1].id, FailurePolicy::Park);
    assert_eq!(terminate(&mut world, records[1].id, TerminateMode::Kill), Answer::Done);
    assert_eq!(world.row(records[2].id).unwrap().status, Status::Running);
    assert_eq!(world.budget(0), budget(1, 0));
    world.end(records[2].id);
    assert_eq!(world.budget(0), Budget::ZERO);
    assert_eq!(outcomes(&world), Outcomes { failed: 1, parked: 2, redriven: 1, dropped: 1, ..Outcomes::default() });
}

#[test]
fn a_parked_failure_runs_again_from_its_beginning_but_not_into_results_of_its_past() {
    let mut world = World::new(1);
    for kind in [HandlerKind::Exclusive, HandlerKind::Plain] {
        let mut records = [world.record("k", kind, 0, 9)];
        take(&mut world, &mut records);
        let id = records[0].id;
        // A timer and a step that nobody waits for any more.
        let wake_at = TimestampMs(world.now + 1000);
        let sleep = command(1, CommandEffect::Sleep { wake_at, completion: 1 });
        let step = command(2, CommandEffect::Run { completion: 2 });
        world.attempt(id, 1, vec![sleep, step]);
        returns_failure(&mut world, id, FailurePolicy::Park);
        assert_eq!(world.budget(0), budget(0, 1), "{kind:?}");
        assert!(world.row(id).unwrap().pending.is_empty());
        resume(&mut world, id);
        let row = world.row(id).unwrap();
        assert_eq!((row.status, row.journal_len, row.commands, row.output), (Status::Running, 1, 1, None));
        assert_eq!(world.budget(0), budget(1, 0));
        returns_failure(&mut world, id, FailurePolicy::Park);
        assert_eq!(terminate(&mut world, id, TerminateMode::Cancel), Answer::Done, "there is no handler to react");
        assert_eq!(world.row(id), None);
        assert_eq!(world.budget(0), Budget::ZERO);
    }
    let mut records = [world.record("k", HandlerKind::Exclusive, 0, 9)];
    take(&mut world, &mut records);
    let id = records[0].id;
    let callee = world.exclusive("other");
    let callee = millrace_model::command::Callee {
        invocation: NewInvocation {
            source: millrace_model::invocation::Source::Caller {
                id,
                target: records[0].target.clone(),
                completion: Some(2),
            },
            ..callee
        },
        parameter: millrace_model::command::Slice { at: 0, len: 0 },
        id_completion: 1,
        result_completion: Some(2),
    };
    let other = callee.invocation.id;
    world.attempt(id, 1, vec![command(1, CommandEffect::Call(Box::new(callee)))]);
    returns_failure(&mut world, id, FailurePolicy::Park);
    assert_eq!(resume(&mut world, id).0, Answer::Refused(Refusal::StillCalling));
    world.end(other);
    assert_eq!(resume(&mut world, id).0, Answer::Done);
}

#[test]
fn a_dead_letter_counts_as_held_until_it_is_written() {
    let mut world = World::new(1);
    let mut records: Vec<_> = (0..2).map(|_| world.record("k", HandlerKind::Exclusive, 0, 9)).collect();
    take(&mut world, &mut records);
    let effects = returns_failure(&mut world, records[0].id, dead_letter());
    assert!(effects.contains(&Effect::Letter { subscription: SUBSCRIPTION }));
    assert_eq!(starts(&effects), [records[1].id], "its key goes on");
    assert_eq!(world.budget(0), budget(1, 1));
    let letter = world.get::<DeadLetters>(0, &(SUBSCRIPTION, records[0].id)).expect("it is there");
    assert_eq!((&*letter.topic, letter.headers, letter.failure), ("dead", records[0].headers.clone(), failure()));
    assert_eq!(letter.value, records[0].value);
    let written = |ids: Vec<InvocationId>| Command::LettersWritten { subscription: SUBSCRIPTION, ids };
    for _ in 0..2 {
        world.apply(0, written(vec![records[0].id, records[1].id]));
        assert_eq!(world.budget(0), budget(1, 0), "a repeat counts once");
    }
    world.end(records[1].id);
    assert_eq!(world.budget(0), Budget::ZERO);
    assert_eq!(outcomes(&world), Outcomes { failed: 1, letters: 1, written: 1, ..Outcomes::default() });
    world.apply(0, Command::ForgetSubscription { subscription: SUBSCRIPTION });
    assert_eq!(outcomes(&world), Outcomes::default());
}

#[test]
fn a_record_that_cannot_be_an_invocation_is_a_letter_of_its_reader() {
    let mut world = World::new(1);
    take(&mut world, &mut []);
    let letter = DeadLetter {
        cluster: text("c"),
        topic: text("dead"),
        failure: failure(),
        at: world.now(),
        invoked: false,
        reader: millrace_model::PartitionId(0),
        bytes: 10,
        headers: Vec::new(),
        value: Default::default(),
    };
    let id = world.exclusive("x").id;
    let record = IngestRecord::Letter { offset: 0, reason: RejectReason::NullKey, id, letter: Box::new(letter) };
    let (now, source) = (world.now(), source_id());
    let ingest = Ingest { source, generation: 0, from: 0, to: 1, records: vec![record], record_at: None, now };
    world.apply(0, Command::Ingest(Box::new(ingest)));
    assert_eq!(world.budget(0), budget(0, 1));
    assert_eq!(world.get::<Sources>(0, &source_id()).unwrap().rejected, 1);
    world.apply(0, Command::LettersWritten { subscription: SUBSCRIPTION, ids: vec![id] });
    assert_eq!(world.budget(0), Budget::ZERO);
}

#[test]
fn what_is_skipped_or_canceled_ends() {
    let mut world = World::new(1);
    let mut records: Vec<_> = (0..2).map(|_| world.record("k", HandlerKind::Exclusive, 0, 9)).collect();
    take(&mut world, &mut records);
    used_up(&mut world, records[0].id, FailurePolicy::Skip);
    assert_eq!(world.row(records[0].id), None);
    // Somebody wanted it to end: it is not parked.
    terminate(&mut world, records[1].id, TerminateMode::Cancel);
    returns_failure(&mut world, records[1].id, FailurePolicy::Park);
    assert_eq!(world.row(records[1].id), None);
    assert_eq!(world.budget(0), Budget::ZERO);
    assert_eq!(outcomes(&world), Outcomes { failed: 2, skipped: 1, ..Outcomes::default() });
}

#[test]
fn a_policy_means_nothing_for_an_invocation_of_no_record() {
    let mut world = World::new(1);
    let new = world.exclusive("k");
    world.invoke(&new);
    returns_failure(&mut world, new.id, FailurePolicy::Park);
    assert_eq!(world.row(new.id), None);
}
