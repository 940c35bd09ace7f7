//! Signals, awakeables and what wakes an invocation. Invariants 5 and 6 of DESIGN.md.

mod support;

use bytes::Bytes;
use millrace_machine::{Answer, Effect, Refusal};
use millrace_model::{
    Command, InvocationId, TimestampMs,
    command::{Action, CommandEffect},
    invocation::{HandlerKind, Status},
    journal::{AwaitNode, Awaiting, Combinator, Completion, Entry, NotificationId, NotificationResult, SIGNAL_CANCEL},
    table::{Journal, TimerKey, TimerKind},
};
use support::*;

const AWAKEABLE: NotificationId = NotificationId::Signal(17);

fn completions(ids: &[u32]) -> Awaiting {
    Awaiting { completions: ids.to_vec(), signals: vec![1], ..Awaiting::default() }
}

fn named(name: &str) -> NotificationId {
    NotificationId::Named(name.into())
}

fn running(world: &mut World) -> InvocationId {
    let call = world.exclusive("k");
    world.invoke(&call);
    call.id
}

#[test]
fn an_awakeable_is_completed_once() {
    let mut world = World::new(1);
    let id = running(&mut world);
    assert_eq!(world.signal(id, AWAKEABLE, b"a").0, Answer::Done);
    assert_eq!(world.signal(id, AWAKEABLE, b"b").0, Answer::Refused(Refusal::AlreadyCompleted));
    assert_eq!(world.signal(id, NotificationId::Signal(18), b"c").0, Answer::Done);
    // Signals with names come as often as they are sent.
    for _ in 0..2 {
        assert_eq!(world.signal(id, named("go"), b"d").0, Answer::Done);
    }
    let results: Vec<_> = world.notifications(id).into_iter().map(|n| (n.id, n.result)).collect();
    let value = |value| NotificationResult::Value(Bytes::from_static(value));
    let expected = [
        (AWAKEABLE, value(b"a")),
        (NotificationId::Signal(18), value(b"c")),
        (named("go"), value(b"d")),
        (named("go"), value(b"d")),
    ];
    assert_eq!(results, expected);
    let nobody = InvocationId { unique: 999, ..id };
    assert_eq!(world.signal(nobody, AWAKEABLE, b"a").0, Answer::Refused(Refusal::NotFound));
    world.end(id);
    assert_eq!(world.signal(id, NotificationId::Signal(19), b"a").0, Answer::Refused(Refusal::Ended));
}

#[test]
fn a_signal_that_comes_early_is_kept() {
    let mut world = World::new(1);
    let holder = running(&mut world);
    let waiting = running(&mut world);
    assert_eq!(world.signal(waiting, AWAKEABLE, b"a").0, Answer::Done, "it waits for its key");
    world.end(holder);
    let awaiting = Awaiting { signals: vec![1, 17], ..Awaiting::default() };
    let effects = world.suspend(waiting, awaiting.clone(), 1);
    assert_eq!(starts(&effects), [waiting], "its attempt had not been sent it");
    let effects = world.suspend(waiting, awaiting, 2);
    assert_eq!(starts(&effects), [], "this one has, and wants something else");
    assert_eq!(world.row(waiting).unwrap().status, Status::Suspended);
}

#[test]
fn handlers_signal_and_cancel_across_partitions_and_themselves() {
    for n in [1, 4] {
        let mut world = World::new(n);
        let sender = running(&mut world);
        let mut targets = vec![sender];
        for key in ["a", "b", "c", "d"] {
            let call = world.exclusive(key);
            world.invoke(&call);
            targets.push(call.id);
        }
        for target in targets {
            let signal = |signal| CommandEffect::SendSignal { target, signal, result: NotificationResult::Void };
            world.does(sender, signal(AWAKEABLE));
            world.does(sender, signal(NotificationId::Signal(SIGNAL_CANCEL)));
            world.shuffle();
            let got: Vec<_> = world.notifications(target).into_iter().map(|n| n.id).collect();
            assert_eq!(got, [AWAKEABLE, NotificationId::Signal(SIGNAL_CANCEL)], "{n} partitions");
        }
        let row = world.row(sender).unwrap();
        assert_eq!((row.commands, row.journal_len), (11, 13), "its own journal is whole");
    }
}

#[test]
fn a_handler_cancels_what_has_not_started() {
    let mut world = World::new(1);
    let holder = running(&mut world);
    let waiting = running(&mut world);
    let cancel = NotificationId::Signal(SIGNAL_CANCEL);
    world.does(holder, CommandEffect::SendSignal { target: waiting, signal: cancel, result: NotificationResult::Void });
    assert_eq!(world.row(waiting), None);
}

/// The leaves of a tree come one after the other.
#[test]
fn only_a_resolved_tree_wakes() {
    let mut world = World::new(1);
    let id = running(&mut world);
    for completion in 1..=3 {
        world.does(id, CommandEffect::Sleep { wake_at: TimestampMs(u64::MAX - 1), completion });
    }
    let node = |combinator, leaves: &[u32], children: u32, children_end: u32| AwaitNode {
        combinator,
        leaves: leaves.to_vec(),
        children,
        children_end,
    };
    let all = Awaiting {
        completions: vec![1, 2],
        signals: vec![1, 17],
        tree: vec![node(Combinator::FirstCompleted, &[2], 1, 2), node(Combinator::AllCompleted, &[0, 1, 3], 0, 0)],
        ..Awaiting::default()
    };
    // One leaf is there and has been sent, another is there and has not.
    world.signal(id, AWAKEABLE, b"a");
    let mut fired = world.clone();
    let seen = world.row(id).unwrap().journal_len;
    assert_eq!(starts(&world.suspend(id, all.clone(), seen)), []);
    assert_eq!(starts(&complete(&mut world, id, 1)), [], "one is missing");
    assert_eq!(starts(&complete(&mut world, id, 3)), [], "nobody waits for this one");
    assert_eq!(starts(&complete(&mut world, id, 2)), [id]);
    assert_eq!(world.row(id).unwrap().awaiting, None);

    complete(&mut fired, id, 1);
    complete(&mut fired, id, 2);
    assert_eq!(starts(&fired.suspend(id, all.clone(), seen)), [id], "what came meanwhile completes it");

    let mut cancelled = World::new(1);
    let id = running(&mut cancelled);
    for completion in 1..=2 {
        cancelled.does(id, CommandEffect::Run { completion });
    }
    let cancel = NotificationId::Signal(SIGNAL_CANCEL);
    cancelled.signal(id, cancel.clone(), b"");
    let seen = cancelled.row(id).unwrap().journal_len;
    assert_eq!(starts(&cancelled.suspend(id, all, seen)), [], "it has seen that it is cancelled");
    assert_eq!(starts(&cancelled.signal(id, cancel, b"").1), [id], "and is cancelled again");
}

/// Lets a timer of `id` fire.
fn complete(world: &mut World, id: InvocationId, completion: u32) -> Vec<Effect> {
    let at = TimestampMs(u64::MAX - 1);
    let timers = vec![TimerKey { at, id, kind: TimerKind::Sleep(completion) }];
    world.apply(0, Command::FireTimers { now: TimestampMs(u64::MAX), timers }).1
}

/// A hint, or a suspension, of an attempt that is up to date reads no more of a long journal than of a short one.
#[test]
fn notifications_are_linked_without_what_is_between_them() {
    let mut world = World::new(1);
    let call = world.invocation("k", HandlerKind::Plain);
    world.invoke(&call);
    let id = call.id;
    let mut expected = Vec::new();
    for n in 1..=20 {
        world.does(id, CommandEffect::Run { completion: n });
        for _ in 0..n % 3 {
            world.does(id, CommandEffect::None);
        }
        let result = Action::RunResult { completion: n, result: Completion::Success(Bytes::new()), ack: false };
        world.attempt(id, 1, vec![result]);
        expected.push(world.row(id).unwrap().journal_len - 1);
    }
    let mut index = world.row(id).unwrap().last_notification;
    let mut walked = Vec::new();
    while index > 0 {
        walked.push(index);
        let row = world.get::<Journal>(0, &(id, index)).unwrap();
        assert!(matches!(row.entry, Entry::Notification(_)));
        index = row.previous;
    }
    walked.reverse();
    assert_eq!(walked, expected);
    let hint = |awaiting, seen| Action::AwaitingOn { awaiting: Some(awaiting), seen };
    for (awaited, seen, kept) in [(20, expected[19], false), (20, expected[19] + 1, true), (19, expected[19], true)] {
        world.attempt(id, 1, vec![hint(completions(&[awaited]), seen)]);
        assert_eq!(world.row(id).unwrap().awaiting.is_some(), kept, "{awaited} {seen}");
    }
}
