//! What operators do: kill trees, restarts, edits of state, resuming elsewhere.

mod support;

use bytes::Bytes;
use millrace_machine::{Answer, Effect, Refusal, StateView};
use millrace_model::{
    Command, DeploymentId, InvocationId, TimestampMs,
    command::{Action, Attempt, CommandEffect, Decision, Known, RestartAsNew, TerminateMode},
    invocation::{AttemptError, HandlerKind, NewInvocation, ObjectKey, Pin, Source, Status},
    journal::{Completion, Entry, NotificationId, SIGNAL_CANCEL},
    state::{StateEdit, StateVersion},
    table::{Ended, Journal, TimerKey, TimerKind, Timers},
};
use support::*;

fn ended_with(world: &World, id: InvocationId) -> Option<u32> {
    match world.get::<Ended>(world.owner(id), &id)?.result {
        Completion::Failure(failure) => Some(failure.code),
        Completion::Success(_) => Some(200),
    }
}

#[test]
fn a_kill_ends_what_was_called_and_nothing_that_was_sent() {
    for n in [1, 4] {
        let mut world = World::new(n);
        let root = world.exclusive("root");
        world.invoke(&root);
        let (called, sent, deep, done) =
            (world.exclusive("called"), world.exclusive("sent"), world.exclusive("deep"), world.exclusive("done"));
        world.call(root.id, &called, true);
        world.call(root.id, &sent, false);
        world.call(root.id, &done, true);
        world.end(done.id);
        world.shuffle();
        world.call(called.id, &deep, true);
        assert_eq!(world.kill(root.id), Answer::Done);
        world.shuffle();
        for id in [root.id, called.id, deep.id] {
            assert_eq!(ended_with(&world, id), Some(409), "{n} partitions");
        }
        assert!(world.row(sent.id).is_some());
        assert_eq!(ended_with(&world, done.id), Some(200));
    }
}

/// Each calls the next one in its own partition.
#[test]
fn a_kill_goes_as_deep_as_the_calls_do() {
    let mut world = World::new(1);
    let calls: Vec<_> = (0..3000).map(|i| world.invocation(&i.to_string(), HandlerKind::Plain)).collect();
    world.invoke(&calls[0]);
    for pair in calls.windows(2) {
        world.call(pair[0].id, &pair[1], true);
    }
    world.kill(calls[0].id);
    assert!(calls.iter().all(|call| world.row(call.id).is_none()));
}

#[test]
fn a_repeat_of_its_command_does_not_bring_back_what_was_killed_while_it_waited() {
    for mode in [TerminateMode::Kill, TerminateMode::Cancel] {
        for idempotency_key in [None, Some("once".into())] {
            let mut world = World::new(1);
            let holder = world.exclusive("k");
            world.invoke(&holder);
            let waiting = NewInvocation { idempotency_key, ..world.exclusive("k") };
            let later = NewInvocation { execute_at: Some(TimestampMs(world.now + 1000)), ..world.exclusive("k") };
            for call in [&waiting, &later] {
                world.invoke(call);
                world.apply(0, Command::Terminate { id: call.id, mode, now: world.now() });
                let repeat = Command::Invoke { invocation: Box::new(call.clone()), known: Known::Maybe };
                let (answer, effects) = world.apply(0, repeat);
                assert!(matches!(answer, Answer::Accepted { known: true, ended: Some(_), .. }), "{answer:?}");
                assert_eq!(effects, []);
                assert_eq!(world.row(call.id), None);
                let row = world.get::<Ended>(0, &call.id).unwrap();
                assert!(row.unstarted && row.shown_until() <= world.now());
            }
            if waiting.idempotency_key.is_some() {
                let again = NewInvocation { random_seed: 8, ..waiting.clone() };
                assert!(matches!(world.invoke(&again).0, Answer::Accepted { known: false, .. }), "a later call");
                world.kill(again.id);
            }
            world.end(holder.id);
            world.now += 2 * DAY;
            world.expire();
            assert_eq!(world.get::<Ended>(0, &waiting.id), None);
        }
    }
}

fn object() -> ObjectKey {
    ObjectKey { service: "S".into(), key: "k".into() }
}

fn edit(world: &mut World, expected: Option<StateVersion>, entries: &[(&'static str, &'static str)]) -> Answer {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let entries = entries.iter().map(|(key, value)| (bytes(key), bytes(value))).collect();
    let now = world.now();
    world.apply(0, Command::MutateState { object: object(), edit: StateEdit { expected, entries }, now }).0
}

fn state(world: &World) -> Vec<(Bytes, Bytes)> {
    world.parts[0].state(&object()).unwrap()
}

fn version(entries: &[(&str, &str)]) -> Option<StateVersion> {
    Some(StateVersion::of(entries.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()))))
}

#[test]
fn state_is_edited_in_turn_with_handlers() {
    let mut world = World::new(1);
    assert_eq!(edit(&mut world, None, &[("a", "1"), ("b", "2")]), Answer::Done);
    assert_eq!(state(&world).len(), 2);
    assert_eq!(edit(&mut world, version(&[("a", "1")]), &[]), Answer::Refused(Refusal::StateChanged));
    assert_eq!(edit(&mut world, version(&[("a", "1"), ("b", "2")]), &[("a", "3")]), Answer::Done);
    assert_eq!(state(&world), [("a".into(), "3".into())]);

    let (holder, next) = (world.exclusive("k"), world.exclusive("k"));
    world.invoke(&holder);
    assert_eq!(edit(&mut world, version(&[("a", "3")]), &[("a", "4")]), Answer::Asynchronous);
    assert_eq!(edit(&mut world, version(&[("a", "3")]), &[("a", "lost")]), Answer::Asynchronous);
    world.invoke(&next);
    assert_eq!(edit(&mut world, None, &[("a", "5")]), Answer::Asynchronous);
    assert_eq!(state(&world), [("a".into(), "3".into())], "the holder has it");
    assert_eq!(starts(&world.end(holder.id)), [next.id]);
    assert_eq!(state(&world), [("a".into(), "4".into())], "as the next one sees it");
    world.end(next.id);
    assert_eq!(state(&world), [("a".into(), "5".into())]);
    let again = world.exclusive("k");
    assert_eq!(starts(&world.invoke(&again).1), [again.id], "the key is free");
}

#[test]
fn a_resume_may_move_to_another_deployment() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    let (old, new) = (DeploymentId(1), DeploymentId(2));
    let resume = |world: &World| Command::Resume { id: call.id, deployment: Some(new), now: world.now() };
    world.apply(0, Command::Pause { id: call.id, now: world.now() });
    assert_eq!(world.apply(0, resume(&world)).0, Answer::Refused(Refusal::NotPinned));
    world.apply(0, Command::Resume { id: call.id, deployment: None, now: world.now() });
    let pin = Some(Pin { deployment: old, protocol_version: 6 });
    let created_lsn = world.row(call.id).unwrap().created_lsn;
    let attempt = Attempt {
        id: call.id,
        created_lsn,
        attempt: 1,
        now: world.now(),
        pin,
        actions: vec![command(1, CommandEffect::Run { completion: 1 })],
    };
    world.apply(0, Command::Attempt(Box::new(attempt)));
    assert_eq!(world.apply(0, resume(&world)).0, Answer::Refused(Refusal::NotPinned), "it runs");
    world.apply(0, Command::Pause { id: call.id, now: world.now() });
    let (answer, effects) = world.apply(0, resume(&world));
    assert_eq!((answer, starts(&effects)), (Answer::Done, vec![call.id]));
    assert_eq!(world.row(call.id).unwrap().pin, Some(Pin { deployment: new, protocol_version: 6 }));
}

#[test]
fn a_cancelled_invocation_that_backs_off_hears_of_it_at_once() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    let at = TimestampMs(world.now + 60_000);
    let error =
        AttemptError { code: text("RT0007"), status: 500, message: text("no"), stacktrace: text(""), related: None };
    world.attempt(call.id, 1, vec![Action::Fail { decision: Decision::RetryAt(at), error, counts: true }]);
    let (answer, effects) = world.signal(call.id, NotificationId::Signal(SIGNAL_CANCEL), b"");
    assert_eq!((answer, starts(&effects)), (Answer::Asynchronous, vec![call.id]));
    let row = world.row(call.id).unwrap();
    assert_eq!((row.status, row.retries.failed), (Status::Running, 1), "its failures count on");
    assert_eq!(world.get::<Timers>(0, &TimerKey { at, id: call.id, kind: TimerKind::Retry }), None);
}

/// A journal as a handler makes it: input, a step, its result, a cancellation, another step, its result, the output.
fn ended(world: &mut World, kind: HandlerKind) -> NewInvocation {
    let call = world.invocation("k", kind);
    world.invoke(&call);
    // Field 11 holds the completion id.
    let run = |index: u32, raw: &'static [u8]| Action::Command {
        index,
        ty: 0x0411,
        raw: Bytes::from_static(raw),
        effect: CommandEffect::Run { completion: u32::from(raw[1]) },
    };
    let result = |completion| Action::RunResult {
        completion,
        result: Completion::Success(Bytes::from_static(b"r")),
        ack: false,
    };
    let id = call.id;
    world.attempt(id, 1, vec![run(1, b"\x58\x01"), result(1)]);
    world.signal(id, NotificationId::Signal(SIGNAL_CANCEL), b"");
    world.attempt(id, 1, vec![run(2, b"\x58\x02"), result(2), output(3, b"done"), Action::End]);
    call
}

fn restart(world: &mut World, id: InvocationId, from: u32) -> (Answer, InvocationId) {
    let new = InvocationId { unique: 5000 + u128::from(from), ..id };
    let restart = RestartAsNew { id, new, from, deployment: None, random_seed: 99, now: world.now() };
    (world.apply(0, Command::RestartAsNew(restart)).0, new)
}

#[test]
fn an_ended_invocation_is_restarted_as_a_new_one() {
    let mut world = World::new(1);
    let old = ended(&mut world, HandlerKind::Exclusive);
    let entries = |world: &World, id: InvocationId| -> Vec<Entry> {
        let len = world.row(id).unwrap().journal_len;
        (0..len).map(|index| world.get::<Journal>(0, &(id, index)).unwrap().entry).collect()
    };
    let (answer, first) = restart(&mut world, old.id, 0);
    assert_eq!(answer, Answer::Done);
    let row = world.row(first).unwrap();
    assert_eq!((row.source, row.target, row.random_seed), (Source::RestartAsNew { from: old.id }, old.target, 99));
    assert!(matches!(&entries(&world, first)[..], [Entry::Input { value, .. }] if value == "input"));
    assert_eq!(restart(&mut world, old.id, 0).0, Answer::Done, "the same command once more");

    // Up to the first step: its result comes along, the cancellation does not.
    let (answer, second) = restart(&mut world, old.id, 1);
    assert_eq!(answer, Answer::Done);
    let row = world.row(second).unwrap();
    assert_eq!((row.status, row.commands, row.journal_len), (Status::Inboxed { seq: 0 }, 2, 3));
    assert_eq!((row.random_seed, row.last_notification), (7, 2), "what is replayed draws the same numbers");
    let (answer, third) = restart(&mut world, old.id, 4);
    assert_eq!(answer, Answer::Done);
    assert_eq!(world.row(third).unwrap().journal_len, 5);
    // It goes on behind what was copied.
    world.end(first);
    let step = command(2, CommandEffect::Run { completion: 2 });
    let effects = world.attempt(second, 1, vec![step]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Refuse { .. })), "{effects:?}");

    assert_eq!(restart(&mut world, old.id, 6).0, Answer::Refused(Refusal::Unresolved), "its output");
    assert_eq!(restart(&mut world, old.id, 99).0, Answer::Refused(Refusal::Unresolved));
    assert_eq!(restart(&mut world, second, 7).0, Answer::Refused(Refusal::NotEnded));
    assert_eq!(restart(&mut world, third, 8).0, Answer::Refused(Refusal::NotStarted));
    let nobody = InvocationId { unique: 777, ..old.id };
    assert_eq!(restart(&mut world, nobody, 9).0, Answer::Refused(Refusal::NotFound));
    world.apply(0, Command::PurgeJournal { id: old.id, now: world.now() });
    assert_eq!(restart(&mut world, old.id, 10).0, Answer::Refused(Refusal::NoInput));
    let run = ended(&mut World::new(1), HandlerKind::Workflow);
    let mut world = World::new(1);
    assert_eq!(ended(&mut world, HandlerKind::Workflow).id, run.id);
    assert_eq!(restart(&mut world, run.id, 0).0, Answer::Refused(Refusal::Workflow));
}

#[test]
fn rows_say_where_an_invocation_has_been() {
    let mut world = World::new(1);
    let holder = world.exclusive("k");
    world.invoke(&holder);
    let at = |world: &World| Some(world.now());
    let later = NewInvocation { execute_at: Some(TimestampMs(world.now + 10)), ..world.exclusive("k") };
    let (scheduled, start) = (at(&world), later.execute_at);
    world.invoke(&later);
    world.now += 20;
    let timer = TimerKey { at: start.unwrap(), id: later.id, kind: TimerKind::Start };
    world.apply(0, Command::FireTimers { now: world.now(), timers: vec![timer] });
    let inboxed = at(&world);
    world.now += 20;
    world.end(holder.id);
    let running = at(&world);
    world.now += 20;
    world.end(later.id);
    let ended = world.get::<Ended>(0, &later.id).unwrap();
    let been = ended.milestones;
    assert_eq!(
        (been.scheduled_at, been.scheduled_start_at, been.inboxed_at, been.running_at),
        (scheduled, start, inboxed, running)
    );
    assert_eq!(Some(ended.completed_at), at(&world));
}
