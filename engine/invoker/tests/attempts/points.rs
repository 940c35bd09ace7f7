//! Points that break SDKs when they are done wrong (`spec/service-protocol.md` section 12), as far as no other test is
//! about them.

use bytes::Bytes;
use millrace_model::{
    command::Action,
    invocation::{HandlerKind, Target},
    journal::{Entry, Notification, NotificationId, NotificationResult},
};
use millrace_protocol::{
    message::{AwaitingOnMessage, Future, StartMessage},
    ty,
};
use tokio::sync::mpsc;

use crate::support::{
    Node, Setup, bytes,
    endpoint::{Call, Endpoint, end, error, join, message, output},
    object, plain, soon,
};

/// An endpoint that tells what each attempt began with and then sends this.
async fn recording(sent: Vec<Bytes>) -> (Node, mpsc::Receiver<(StartMessage, Vec<u16>)>) {
    let (starts, receiver) = mpsc::channel(8);
    let attempts = std::sync::Arc::new(parking_lot::Mutex::new(sent.into_iter()));
    let endpoint = Endpoint::start(move |mut call: Call| {
        let (starts, sent) = (starts.clone(), attempts.lock().next().unwrap_or_default());
        async move {
            call.accept();
            let (start, entries) = call.replay().await;
            starts.send((start, entries.into_iter().map(|(ty, _)| ty).collect())).await.unwrap();
            call.send(sent);
            call.finish();
            let _ = call.try_frame().await;
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    // As long as the test: the endpoint lives in the task that accepts.
    std::mem::forget(endpoint);
    (node, receiver)
}

/// 22: a failed attempt counts and took some time; one that could not have run user code does not count.
#[tokio::test]
async fn retries_are_counted_since_the_last_entry() {
    let (node, mut starts) = recording(vec![error(500, "a"), error(500, "b"), join(&[output("1"), end()])]).await;
    let id = node.leader.create(plain(), bytes("1"));
    for failed in 0..3 {
        node.run(id).await;
        let (start, _) = starts.recv().await.unwrap();
        assert_eq!(start.retry_count_since_last_stored_entry, failed);
        assert!(failed == 0 || start.duration_since_last_stored_entry > 0);
    }
}

/// 23 and 24: what identifies an invocation is the same on every attempt.
#[tokio::test]
async fn identity_and_randomness_stay() {
    let (node, mut starts) = recording(vec![error(500, "a"), join(&[output("1"), end()])]).await;
    let id = node.leader.create(plain(), bytes("1"));
    node.run(id).await;
    node.run(id).await;
    let ((first, _), (second, _)) = (starts.recv().await.unwrap(), starts.recv().await.unwrap());
    assert_eq!((&first.id, &first.debug_id, first.random_seed), (&second.id, &second.debug_id, second.random_seed));
    assert_eq!((first.id.as_ref(), first.debug_id), (&id.to_bytes()[..], id.to_string()));
}

/// 31: an Output that End did not follow is replayed, and then End alone ends the invocation.
#[tokio::test]
async fn an_output_waits_for_its_end() {
    let (node, mut starts) = recording(vec![output("1"), end()]).await;
    let id = node.leader.create(plain(), bytes("1"));
    node.run(id).await;
    assert_eq!(node.leader.failure(id).1.code.as_str(), "RT0010");
    node.run(id).await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
    starts.recv().await.unwrap();
    let (start, entries) = starts.recv().await.unwrap();
    assert_eq!((start.known_entries, entries), (2, vec![ty::INPUT, ty::OUTPUT]));
}

/// 39: a shared handler gets the key and all of the state.
#[tokio::test]
async fn a_shared_handler_has_state_too() {
    let (node, mut starts) = recording(vec![join(&[output("1"), end()])]).await;
    let target = Target { kind: HandlerKind::Shared, ..object("ké") };
    let id = node.leader.create(target, bytes("1"));
    node.leader.set_state(id, &[("a", "1")]);
    node.run(id).await;
    let (start, _) = starts.recv().await.unwrap();
    assert_eq!((start.key.as_str(), start.state_map.len(), start.partial_state), ("ké", 1, false));
}

/// 37 and 26: every signal is sent, also one that repeats, and a cancellation is one of them.
#[tokio::test]
async fn signals_are_sent_one_by_one_on_the_open_stream() {
    let (seen, mut sees) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let seen = seen.clone();
        async move {
            call.accept();
            call.replay().await;
            seen.send(Vec::new()).await.unwrap();
            let mut signals = Vec::new();
            for _ in 0..3 {
                signals.push(call.expect(ty::SIGNAL).await);
            }
            seen.send(signals).await.unwrap();
            call.send(join(&[output("1"), end()]));
            call.rest().await;
            call.finish();
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    sees.recv().await.unwrap();
    for result in [b"a", b"b"] {
        node.leader.append(
            id,
            Entry::Notification(Notification {
                ty: ty::SIGNAL,
                id: NotificationId::Named("m".into()),
                result: NotificationResult::Value(Bytes::from_static(result)),
            }),
        );
    }
    node.leader.signal(id, 1);
    let signals = soon("the signals", sees.recv()).await.unwrap();
    assert_eq!(signals, [&b"\x1a\x01m\x2a\x03\x0a\x01a"[..], b"\x1a\x01m\x2a\x03\x0a\x01b", b"\x10\x01\x22\x00"]);
    node.closed(id, attempt).await;
}

/// 40: AwaitingOn is a hint. It repeats, it is not the end, and nothing is proposed twice for it.
#[tokio::test]
async fn hints_repeat_and_end_nothing() {
    let future = Future { waiting_completions: vec![9], waiting_signals: vec![1], ..Future::default() };
    let hint = AwaitingOnMessage { awaiting_on: Some(future), executing_side_effects: false };
    let hint = message(ty::AWAITING_ON, false, &hint);
    let (node, _starts) = recording(vec![join(&[hint.clone(), hint.clone(), hint, output("1"), end()])]).await;
    let id = node.run_new().await;
    let actions = node.leader.actions(id);
    assert!(matches!(&*actions, [Action::Command { .. }, Action::End]), "{actions:?}");
}
