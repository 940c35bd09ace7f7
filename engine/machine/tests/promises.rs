//! Promises, the retention of workflows, and results of other invocations.

mod support;

use bytes::Bytes;
use millrace_machine::{Answer, StateView};
use millrace_model::{
    Command, InvocationId, Text,
    command::{Action, CommandEffect, Slice},
    invocation::{HandlerKind, NewInvocation, ObjectKey, Promise},
    journal::{Awaiting, Completion, Failure, NotificationId, NotificationResult, ty},
    table::{Ended, Promises},
};
use support::*;

fn value(value: &'static str) -> NotificationResult {
    NotificationResult::Value(Bytes::from_static(value.as_bytes()))
}

fn refusal(code: u32, message: &'static str) -> NotificationResult {
    NotificationResult::Failure(Failure::new(code, message))
}

fn object() -> ObjectKey {
    ObjectKey { service: "S".into(), key: "w".into() }
}

fn get(completion: u32) -> CommandEffect {
    CommandEffect::GetPromise { key: "p".into(), completion }
}

fn peek(completion: u32) -> CommandEffect {
    CommandEffect::PeekPromise { key: "p".into(), completion }
}

fn resolve(value: &'static str, completion: u32) -> CommandEffect {
    let result = Completion::Success(Bytes::from_static(value.as_bytes()));
    CommandEffect::CompletePromise { key: "p".into(), result, completion }
}

fn started(world: &mut World, kind: HandlerKind) -> InvocationId {
    let new = world.invocation("w", kind);
    world.invoke(&new);
    new.id
}

#[test]
fn a_promise_is_completed_once_and_wakes_all_who_wait() {
    let mut world = World::new(1);
    let run = started(&mut world, HandlerKind::Workflow);
    let query = started(&mut world, HandlerKind::Shared);
    let signaler = started(&mut world, HandlerKind::Shared);
    world.does(run, get(1));
    world.does(query, peek(1));
    assert_eq!(world.answer(query), (ty::PEEK_PROMISE, 1, NotificationResult::Void));
    world.does(query, get(2));
    let seen = world.row(run).unwrap().journal_len;
    world.suspend(run, Awaiting { completions: vec![1], ..Awaiting::default() }, seen);

    world.does(signaler, get(1));
    let effects = world.does(signaler, resolve("yes", 2));
    assert_eq!(starts(&effects), [run]);
    for (id, completion) in [(run, 1), (query, 2)] {
        assert_eq!(world.answer(id), (ty::PROMISE, completion, value("yes")));
    }
    let own: Vec<_> = world.notifications(signaler).into_iter().map(|n| (n.ty, n.result)).collect();
    assert_eq!(own, [(ty::COMPLETE_PROMISE, NotificationResult::Void), (ty::PROMISE, value("yes"))]);
    world.does(signaler, resolve("no", 3));
    assert_eq!(world.answer(signaler), (ty::COMPLETE_PROMISE, 3, refusal(409, "promise was already completed")));
    world.does(signaler, get(4));
    assert_eq!(world.answer(signaler), (ty::PROMISE, 4, value("yes")));
    world.does(signaler, peek(5));
    assert_eq!(world.answer(signaler), (ty::PEEK_PROMISE, 5, value("yes")));
}

#[test]
fn who_ends_waits_no_more() {
    let mut world = World::new(1);
    let (first, second) = (started(&mut world, HandlerKind::Shared), started(&mut world, HandlerKind::Shared));
    world.does(first, get(1));
    world.does(second, get(1));
    world.kill(first);
    let Some(Promise::Awaited(waiters)) = world.get::<Promises>(0, &(object(), "p".into())) else { panic!() };
    assert_eq!(waiters.iter().map(|waiter| waiter.caller).collect::<Vec<_>>(), [second]);
    world.kill(second);
    assert_eq!(world.get::<Promises>(0, &(object(), "p".into())), None);
}

#[test]
fn a_workflow_leaves_state_and_promises_for_its_retention() {
    let mut world = World::new(1);
    let rows = world.parts[0].len();
    let new = NewInvocation { completion_retention: 5000, ..world.invocation("w", HandlerKind::Workflow) };
    world.invoke(&new);
    let set = CommandEffect::SetState { key: Slice { at: 0, len: 1 }, value: Slice { at: 1, len: 1 } };
    let raw = Bytes::from_static(b"kv");
    world.attempt(new.id, 1, vec![Action::Command { index: 1, ty: 0x0403, raw, effect: set }]);
    world.does(new.id, resolve("yes", 1));
    world.end(new.id);
    assert!(matches!(world.invoke(&new).0, Answer::Accepted { known: true, ended: Some(_), .. }));
    world.now += 4999;
    world.expire();
    let late = started(&mut world, HandlerKind::Shared);
    world.does(late, peek(1));
    assert_eq!(world.answer(late), (ty::PEEK_PROMISE, 1, value("yes")));
    world.does(late, CommandEffect::GetPromise { key: "never".into(), completion: 2 });
    world.now += 1;
    world.expire();
    assert_eq!(world.parts[0].state(&object()).unwrap(), []);
    assert_eq!(world.parts[0].promises(&object()).unwrap(), [] as [Text; 0]);
    assert_eq!(world.answer(late), (ty::PROMISE, 2, refusal(410, "the workflow is gone")));
    // A promise for the next run, which may come before the row of the last one goes.
    world.does(late, resolve("again", 3));
    let again = NewInvocation { random_seed: 8, created_at: world.now(), ..new };
    assert!(matches!(world.invoke(&again).0, Answer::Accepted { known: false, .. }));
    world.does(again.id, get(1));
    assert_eq!(world.answer(again.id), (ty::PROMISE, 1, value("again")));
    world.end(late);
    world.end(again.id);
    world.now += 10 * DAY;
    world.expire();
    assert_eq!(world.parts[0].len(), rows, "nothing is left");
}

#[test]
fn purging_a_workflow_frees_its_id_at_once() {
    let mut world = World::new(1);
    let new = NewInvocation { completion_retention: DAY, ..world.invocation("w", HandlerKind::Workflow) };
    world.invoke(&new);
    world.does(new.id, resolve("yes", 1));
    world.end(new.id);
    world.apply(0, Command::Purge { id: new.id, now: world.now() });
    assert_eq!(world.get::<Promises>(0, &(object(), "p".into())), None);
    assert!(matches!(world.invoke(&new).0, Answer::Accepted { known: false, .. }));
}

#[test]
fn results_of_others_are_waited_for_and_looked_at() {
    for n in [1, 4] {
        let mut world = World::new(n);
        for key in ["a", "b", "c", "d", "e"] {
            let watcher = started(&mut world, HandlerKind::Shared);
            let target = world.exclusive(key);
            let id = target.id;
            let mut completion = 0;
            let mut ask = |world: &mut World, waits: bool| {
                completion += 1;
                let attach = CommandEffect::Attach { target: id, completion };
                world.does(watcher, if waits { attach } else { CommandEffect::GetOutput { target: id, completion } });
                world.shuffle();
            };
            ask(&mut world, true);
            assert_eq!(world.answer(watcher), (ty::ATTACH, 1, refusal(404, "not found")));
            ask(&mut world, false);
            assert_eq!(world.answer(watcher), (ty::INVOCATION_OUTPUT, 2, refusal(404, "not found")));
            world.invoke(&target);
            ask(&mut world, true);
            assert_eq!(world.notifications(watcher).len(), 2, "it runs");
            ask(&mut world, false);
            assert_eq!(world.answer(watcher), (ty::INVOCATION_OUTPUT, 4, NotificationResult::Void));
            world.end(id);
            world.shuffle();
            assert_eq!(world.answer(watcher), (ty::ATTACH, 3, value("done")));
            ask(&mut world, true);
            assert_eq!(world.answer(watcher), (ty::ATTACH, 5, value("done")));
            ask(&mut world, false);
            assert_eq!(world.answer(watcher), (ty::INVOCATION_OUTPUT, 6, value("done")));
            assert_eq!(world.row(watcher).unwrap().pending, []);
        }
    }
}

#[test]
fn a_second_call_with_the_same_key_waits_for_the_first() {
    let mut world = World::new(1);
    let callee = NewInvocation {
        idempotency_key: Some("once".into()),
        completion_retention: DAY,
        ..world.invocation("x", HandlerKind::Plain)
    };
    let callers: Vec<_> = (0..3).map(|_| started(&mut world, HandlerKind::Shared)).collect();
    let first = world.call(callers[0], &callee, true);
    let second = world.call(callers[1], &NewInvocation { random_seed: 8, ..callee.clone() }, true);
    world.call(callers[1], &NewInvocation { random_seed: 9, ..callee.clone() }, false);
    world.end(callee.id);
    let third = world.call(callers[2], &NewInvocation { random_seed: 10, ..callee.clone() }, true);
    for (caller, completion) in callers.iter().zip([first, second, third]) {
        let answers: Vec<_> = world.notifications(*caller).into_iter().filter(|n| n.ty == ty::CALL).collect();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].id, NotificationId::Completion(completion));
        assert_eq!(answers[0].result, value("done"));
        let ids: Vec<_> = world.notifications(*caller).into_iter().filter(|n| n.ty == ty::CALL_ID).collect();
        assert!(ids.iter().all(|n| n.result == NotificationResult::InvocationId(callee.id)));
    }
    assert_eq!(world.get::<Ended>(0, &callee.id).unwrap().attempts, 1);
}

#[test]
fn a_workflow_is_called_once() {
    let mut world = World::new(1);
    let caller = started(&mut world, HandlerKind::Shared);
    let run = NewInvocation { completion_retention: DAY, ..world.invocation("w", HandlerKind::Workflow) };
    world.call(caller, &run, true);
    world.call(caller, &run, true);
    let (ty, _, result) = world.answer(caller);
    assert_eq!((ty, result), (ty::CALL, refusal(409, "the workflow method was already invoked")));
}
