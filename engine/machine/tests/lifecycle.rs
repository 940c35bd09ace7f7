//! How invocations start, wait, suspend and end. Invariants 3, 5 and 6 of DESIGN.md.

mod support;

use bytes::Bytes;
use millrace_machine::{Answer, Effect, Refusal, StateView};
use millrace_model::{
    Command, Lsn, TimestampMs,
    command::{Action, Callee, CommandEffect, Decision, Known, Slice, TerminateMode},
    invocation::{AttemptError, HandlerKind, NewInvocation, Source, Status},
    journal::{Awaiting, Completion, Entry, NotificationId, NotificationResult},
    table::{Ended, Expiries, ExpiryKind, Journal, TABLES, TimerKey, TimerKind, Timers},
};
use support::*;

#[test]
fn one_key_runs_one_at_a_time_in_arrival_order() {
    let mut world = World::new(1);
    let calls: Vec<_> = (0..4).map(|_| world.exclusive("k")).collect();
    let mut started = Vec::new();
    for call in &calls {
        started.extend(starts(&world.invoke(call).1));
    }
    assert_eq!(started, [calls[0].id]);
    // One that is killed while it waits leaves a gap that is passed over.
    let kill = Command::Terminate { id: calls[1].id, mode: TerminateMode::Kill, now: world.now() };
    assert_eq!(world.apply(0, kill).0, Answer::Done);
    let effects = world.end(calls[0].id);
    assert_eq!(starts(&effects), [calls[2].id], "the next one starts in the batch in which its predecessor ends");
    assert_eq!(starts(&world.end(calls[2].id)), [calls[3].id]);
    assert_eq!(starts(&world.end(calls[3].id)), []);
    let again = world.exclusive("k");
    assert_eq!(starts(&world.invoke(&again).1), [again.id], "the key is free again");
}

#[test]
fn a_shared_handler_does_not_wait_for_the_key() {
    let mut world = World::new(1);
    let holder = world.exclusive("k");
    world.invoke(&holder);
    let shared = world.invocation("k", HandlerKind::Shared);
    assert_eq!(starts(&world.invoke(&shared).1), [shared.id]);
}

#[test]
fn what_a_replaced_attempt_sends_is_void() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    world.attempt(call.id, 2, vec![command(1, CommandEffect::Run { completion: 1 })]);
    let before = world.row(call.id);
    world.attempt(call.id, 1, vec![output(2, b"stale"), Action::End]);
    assert_eq!(world.row(call.id), before, "a lower attempt");
    world.attempt_of(call.id, Lsn(1), 3, vec![output(2, b"stale"), Action::End]);
    assert_eq!(world.row(call.id), before, "another invocation of the same id");
}

#[test]
fn a_step_result_is_taken_once_and_only_for_a_step() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    let result = |n| Action::RunResult { completion: n, result: Completion::Success(Bytes::new()), ack: true };
    let effects = world.attempt(call.id, 1, vec![command(1, CommandEffect::Run { completion: 1 }), result(1)]);
    assert!(matches!(effects[..], [Effect::Forward { index: 2, ack: Some(1), .. }]), "{effects:?}");
    for unknown in [1, 9] {
        let mut after = world.clone();
        let effects = after.attempt(call.id, 1, vec![result(unknown)]);
        assert!(matches!(effects[..], [Effect::Refuse { attempt: 1, .. }]), "{effects:?}");
        assert_eq!(after.row(call.id).unwrap().journal_len, 3, "nothing was stored");
        after.attempt(call.id, 1, vec![output(2, b"x"), Action::End]);
        assert!(after.row(call.id).is_some(), "nothing of it but its failure counts any more");
        after.attempt(call.id, 1, vec![fail(Decision::RetryAt(TimestampMs(5)))]);
        let timer = TimerKey { at: TimestampMs(5), id: call.id, kind: TimerKind::Retry };
        let retry = fire(&after, timer);
        after.apply(0, retry);
        after.end(call.id);
        assert_eq!(after.row(call.id), None, "the next attempt counts");
    }
}

fn fail(decision: Decision) -> Action {
    let error =
        AttemptError { code: text("RT0007"), status: 500, message: text("boom"), stacktrace: text(""), related: None };
    Action::Fail { decision, error, counts: true }
}

fn fire(world: &World, timer: TimerKey) -> Command {
    Command::FireTimers { now: world.now(), timers: vec![timer] }
}

#[test]
fn a_command_must_get_the_index_it_claims() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    for wrong in [0, 2] {
        let mut fresh = World::new(1);
        fresh.invoke(&call);
        let effects = fresh.attempt(call.id, 1, vec![command(wrong, CommandEffect::None)]);
        assert!(matches!(effects[..], [Effect::Refuse { .. }]), "{effects:?}");
    }
}

#[test]
fn an_end_without_output_fails_the_attempt_only() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    let effects = world.attempt(call.id, 1, vec![Action::End]);
    assert!(matches!(effects[..], [Effect::Refuse { .. }]), "{effects:?}");
    assert!(world.row(call.id).is_some());
}

#[test]
fn a_suspension_wakes_for_what_came_while_it_was_made() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    let at = TimestampMs(world.now + 100);
    let sleep = command(1, CommandEffect::Sleep { wake_at: at, completion: 1 });
    world.attempt(call.id, 1, vec![sleep]);
    let awaiting = Awaiting { completions: vec![1], ..Awaiting::default() };
    let timer = TimerKey { at, id: call.id, kind: TimerKind::Sleep(1) };

    // Too early: nothing happens, the timer stays.
    world.apply(0, fire(&world, timer.clone()));
    assert!(world.get::<Timers>(0, &timer).is_some());
    assert_eq!(world.row(call.id).unwrap().journal_len, 2);

    // The completion is stored before the suspension arrives; the attempt was sent entry 0 only.
    world.now += 100;
    world.apply(0, fire(&world, timer.clone()));
    assert_eq!(world.get::<Timers>(0, &timer), None);
    let effects = world.attempt(call.id, 1, vec![Action::Suspend { awaiting: awaiting.clone(), seen: 1 }]);
    assert_eq!(starts(&effects), [call.id]);
    assert_eq!(world.row(call.id).unwrap().status, Status::Running);

    // The next attempt was sent all of it and waits for a signal that has not come.
    let awaiting = Awaiting { completions: vec![1], signals: vec![17], ..Awaiting::default() };
    let effects = world.attempt(call.id, 2, vec![Action::Suspend { awaiting, seen: 3 }]);
    assert_eq!(starts(&effects), []);
    assert_eq!(world.row(call.id).unwrap().status, Status::Suspended);
}

#[test]
fn a_sleep_wakes_once() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    let at = TimestampMs(world.now + 100);
    let awaiting = Awaiting { completions: vec![1], ..Awaiting::default() };
    let sleep = command(1, CommandEffect::Sleep { wake_at: at, completion: 1 });
    world.attempt(call.id, 1, vec![sleep, Action::Suspend { awaiting, seen: 1 }]);
    world.now += 100;
    let timer = TimerKey { at, id: call.id, kind: TimerKind::Sleep(1) };
    let fired = world.apply(0, fire(&world, timer.clone())).1;
    assert_eq!(starts(&fired), [call.id]);
    let again = world.apply(0, fire(&world, timer)).1;
    assert_eq!(again, [], "a completion is delivered once");
    assert_eq!(world.row(call.id).unwrap().journal_len, 3);
}

#[test]
fn a_hint_is_kept_only_while_nothing_of_it_is_there() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    let at = TimestampMs(world.now + 100);
    let awaiting = Awaiting { completions: vec![1], ..Awaiting::default() };
    let sleep = command(1, CommandEffect::Sleep { wake_at: at, completion: 1 });
    let hint = Action::AwaitingOn { awaiting: Some(awaiting), seen: 1 };
    world.attempt(call.id, 1, vec![sleep, hint.clone()]);
    assert!(world.row(call.id).unwrap().awaiting.is_some());
    world.now += 100;
    world.apply(0, fire(&world, TimerKey { at, id: call.id, kind: TimerKind::Sleep(1) }));
    assert!(world.row(call.id).unwrap().awaiting.is_none(), "stale as soon as one is there");
    world.attempt(call.id, 1, vec![hint]);
    assert!(world.row(call.id).unwrap().awaiting.is_none(), "a hint made before it was seen");
}

#[test]
fn calls_answer_across_partitions_and_within() {
    for n in [1, 4] {
        let mut world = World::new(n);
        for key in ["a", "b", "c", "d", "e"] {
            let caller = world.exclusive("caller");
            world.invoke(&caller);
            let callee = world.exclusive(key);
            let target = caller.target.clone();
            let source = Source::Caller { id: caller.id, target, completion: Some(2) };
            let callee = NewInvocation { source, value: Bytes::new(), ..callee };
            let raw = Bytes::from_static(b"xxparam");
            let call = CommandEffect::Call(Box::new(Callee {
                invocation: callee.clone(),
                parameter: Slice { at: 2, len: 5 },
                id_completion: 1,
                result_completion: Some(2),
            }));
            world.attempt(caller.id, 1, vec![Action::Command { index: 1, ty: 0x040D, raw, effect: call }]);
            world.shuffle();
            let owner = world.owner(callee.id);
            let input = world.get::<Journal>(owner, &(callee.id, 0)).unwrap();
            assert!(matches!(input.entry, Entry::Input { ref value, .. } if value == "param"));
            world.end(callee.id);
            world.shuffle();
            let of = |index| world.get::<Journal>(world.owner(caller.id), &(caller.id, index)).unwrap().entry;
            let Entry::Notification(id) = of(2) else { panic!("the callee's id") };
            assert_eq!(
                (id.id, id.result),
                (NotificationId::Completion(1), NotificationResult::InvocationId(callee.id))
            );
            let Entry::Notification(result) = of(3) else { panic!("the callee's result") };
            assert_eq!(result.result, NotificationResult::Value(Bytes::from_static(b"done")));
            world.end(caller.id);
        }
    }
}

#[test]
fn a_known_id_is_answered_as_accepted() {
    let mut world = World::new(1);
    let call = world.exclusive("k");
    world.invoke(&call);
    let repeat = Command::Invoke { invocation: Box::new(call.clone()), known: Known::Maybe };
    let (answer, effects) = world.apply(0, repeat.clone());
    assert_eq!(answer, Answer::Accepted { known: true, execute_at: None, ended: None });
    assert_eq!(effects, []);
    world.end(call.id);
    let Answer::Accepted { known: true, ended: Some(past), .. } = world.apply(0, repeat).0 else {
        panic!("it has ended");
    };
    assert_eq!(past.result, Completion::Success(Bytes::from_static(b"done")));
    assert_eq!(past.target, call.target);
}

#[test]
fn an_idempotency_key_counts_as_long_as_its_retention() {
    let mut world = World::new(1);
    let mut call = world.exclusive("k");
    call.idempotency_key = Some(text("ik"));
    call.completion_retention = 5000;
    world.invoke(&call);
    world.end(call.id);
    world.now += 4999;
    call.created_at = world.now();
    assert!(matches!(world.invoke(&call).0, Answer::Accepted { known: true, .. }));
    world.now += 1;
    assert!(matches!(world.invoke(&call).0, Answer::Accepted { known: true, .. }), "the same command once more");
    (call.created_at, call.random_seed) = (world.now(), 8);
    let (answer, effects) = world.invoke(&call);
    assert!(matches!(answer, Answer::Accepted { known: false, .. }));
    assert_eq!(starts(&effects), [call.id]);
}

#[test]
fn scheduled_invocations_start_in_time_and_do_not_lock() {
    let mut world = World::new(1);
    let at = TimestampMs(world.now + 1000);
    let later = NewInvocation { execute_at: Some(at), ..world.exclusive("k") };
    assert_eq!(starts(&world.invoke(&later).1), []);
    let now = world.exclusive("k");
    assert_eq!(starts(&world.invoke(&now).1), [now.id]);
    world.now += 1000;
    let timer = TimerKey { at, id: later.id, kind: TimerKind::Start };
    assert_eq!(starts(&world.apply(0, fire(&world, timer)).1), []);
    assert_eq!(starts(&world.end(now.id)), [later.id]);
}

#[test]
fn operators_get_the_answers_of_the_table() {
    let ops = |id, now| {
        [
            Command::Terminate { id, mode: TerminateMode::Kill, now },
            Command::Terminate { id, mode: TerminateMode::Cancel, now },
            Command::Purge { id, now },
            Command::Pause { id, now },
            Command::Resume { deployment: None, id, now },
        ]
    };
    let refused = Answer::Refused;
    use Answer::{Asynchronous as Async, Done};
    let cases = [
        ("unknown", [const { Refusal::NotFound }; 5].map(refused)),
        (
            "completed",
            [refused(Refusal::Ended), refused(Refusal::Ended), Done, refused(Refusal::Ended), refused(Refusal::Ended)],
        ),
        ("running", [Done, Async, refused(Refusal::NotEnded), Async, Done]),
        ("paused", [Done, Async, refused(Refusal::NotEnded), Done, Done]),
        (
            "inboxed",
            [Done, Done, refused(Refusal::NotEnded), refused(Refusal::NotRunning), refused(Refusal::NotStarted)],
        ),
    ];
    for (state, expected) in cases {
        for (at, want) in expected.into_iter().enumerate() {
            let mut world = World::new(1);
            let holder = world.exclusive("k");
            let mut call = world.exclusive("k");
            match state {
                "unknown" => {}
                "inboxed" => {
                    world.invoke(&holder);
                    world.invoke(&call);
                }
                _ => {
                    call = holder;
                    world.invoke(&call);
                }
            }
            match state {
                "completed" => _ = world.end(call.id),
                "paused" => _ = world.attempt(call.id, 1, vec![fail(Decision::Pause)]),
                _ => {}
            }
            let op = ops(call.id, world.now())[at].clone();
            assert_eq!(world.apply(0, op.clone()).0, want, "{state} {op:?}");
        }
    }
}

#[test]
fn a_kill_resets_the_attempt_and_frees_the_key() {
    let mut world = World::new(1);
    let (first, second) = (world.exclusive("k"), world.exclusive("k"));
    world.invoke(&first);
    world.invoke(&second);
    let kill = Command::Terminate { id: first.id, mode: TerminateMode::Kill, now: world.now() };
    let effects = world.apply(0, kill).1;
    assert!(effects.contains(&Effect::Abort { id: first.id }));
    assert_eq!(starts(&effects), [second.id]);
    let ended = world.get::<Ended>(0, &first.id).unwrap();
    assert!(matches!(ended.result, Completion::Failure(failure) if failure.code == 409));
}

#[test]
fn nothing_is_left_when_retentions_are_over() {
    let mut world = World::new(2);
    let rows = |world: &World| world.parts.iter().map(|p| p.len()).sum::<usize>();
    let empty = rows(&world);
    for key in ["a", "b", "c"] {
        for kind in [HandlerKind::Exclusive, HandlerKind::Shared] {
            let mut call = world.invocation(key, kind);
            call.journal_retention = 1000;
            world.invoke(&call);
            let at = TimestampMs(world.now + 50);
            let sleep = command(1, CommandEffect::Sleep { wake_at: at, completion: 1 });
            world.attempt(call.id, 1, vec![sleep, output(2, b"x"), Action::End]);
        }
    }
    for kind in [ExpiryKind::Journal, ExpiryKind::Invocation] {
        world.now += 3_600_000;
        for p in 0..2 {
            let mut keys = Vec::new();
            world.parts[usize::from(p)]
                .scan::<Expiries>(None, &mut |key, ()| {
                    keys.push(key);
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
            keys.retain(|key| key.kind == kind);
            let expire = Command::Expire { now: world.now(), rows: keys };
            world.apply(p, expire);
        }
    }
    assert_eq!(rows(&world), empty, "{TABLES:?}");
}

#[test]
fn state_is_written_by_its_holder_only() {
    let mut world = World::new(1);
    let set = |index| Action::Command {
        index,
        ty: 0x0403,
        raw: Bytes::from_static(b"kv"),
        effect: CommandEffect::SetState { key: Slice { at: 0, len: 1 }, value: Slice { at: 1, len: 1 } },
    };
    let shared = world.invocation("k", HandlerKind::Shared);
    world.invoke(&shared);
    world.attempt(shared.id, 1, vec![set(1)]);
    let object = shared.target.object().unwrap();
    assert_eq!(world.parts[0].state(&object).unwrap(), []);
    let exclusive = world.exclusive("k");
    world.invoke(&exclusive);
    world.attempt(exclusive.id, 1, vec![set(1), command(2, CommandEffect::GetStateKeys { completion: 1 })]);
    assert_eq!(world.parts[0].state(&object).unwrap(), [(Bytes::from_static(b"k"), Bytes::from_static(b"v"))]);
    let answer = world.get::<Journal>(0, &(exclusive.id, 3)).unwrap().entry;
    let Entry::Notification(answer) = answer else { panic!("an answer") };
    assert_eq!(answer.result, NotificationResult::StateKeys(vec![Bytes::from_static(b"k")]));
    world.attempt(exclusive.id, 1, vec![command(3, CommandEffect::ClearAllState)]);
    assert_eq!(world.parts[0].state(&object).unwrap(), []);
}
