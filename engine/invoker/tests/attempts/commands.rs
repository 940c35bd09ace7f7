//! What every command becomes, from its bytes to the action that the leader gets.

use bytes::Bytes;
use millrace_model::{
    AwakeableId, InvocationId, PartitionKey,
    awaiting::{AwaitNode, Awaiting, Combinator},
    command::{Action, CommandEffect, Slice},
    invocation::{HandlerKind, Target},
    journal::{Completion, Failure, NotificationId, NotificationResult},
    key,
};
use millrace_protocol::{
    message::{
        AttachInvocationCommandMessage, AwaitingOnMessage, CompleteAwakeableCommandMessage,
        CompletePromiseCommandMessage, FailureMessage, FailureMetadata, Future, GetInvocationOutputCommandMessage,
        GetPromiseCommandMessage, IdempotentRequestTarget, OneWayCallCommandMessage, OutputCommandMessage,
        OutputResult, PeekPromiseCommandMessage, PromiseCompletion, SendSignalCommandMessage, SetStateCommandMessage,
        SignalIdMessage, SignalResult, SuspensionMessage, TargetMessage, Value, Void, WorkflowTarget,
    },
    ty,
};
use prost::Message;

use crate::support::{
    Setup, bytes,
    endpoint::{Call, Endpoint, end, join, message, output},
    plain, soon,
};

const OTHER: InvocationId = InvocationId { key: PartitionKey(7 << 32), unique: 99 };

fn workflow() -> Target {
    Target { service: "Flow".into(), handler: "run".into(), key: "k".into(), kind: HandlerKind::Workflow }
}

/// The actions of an attempt whose handler sends this and then ends its answer.
async fn actions(target: Target, sent: Bytes) -> Vec<Action> {
    let endpoint = Endpoint::start(move |mut call: Call| {
        let sent = sent.clone();
        async move {
            call.accept();
            call.replay().await;
            call.send(sent);
            call.finish();
            let _ = call.try_frame().await;
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(target, bytes("1"));
    node.run(id).await;
    node.leader.actions(id)
}

/// One command alone, and what it does. It is stored as it came.
async fn check(target: Target, ty: u16, command: &impl Message, expected: CommandEffect) {
    let sent = join(&[message(ty, false, command), output("1"), end()]);
    let actions = actions(target, sent).await;
    let Action::Command { index: 1, ty: stored, raw, effect } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((*stored, raw), (ty, &Bytes::from(command.encode_to_vec())));
    assert_eq!(*effect, expected, "{}", ty::display(ty));
    assert_eq!(actions.last(), Some(&Action::End));
}

async fn refused(ty: u16, command: &impl Message) -> String {
    let sent = join(&[message(ty, false, command), output("1"), end()]);
    match actions(plain(), sent).await.pop() {
        Some(Action::Fail { error, .. }) => {
            assert_eq!(error.related.as_ref().and_then(|related| related.index), Some(1), "{error:?}");
            error.code.as_str().to_owned()
        }
        other => panic!("{}: {other:?}", ty::display(ty)),
    }
}

fn failure() -> (FailureMessage, Failure) {
    let metadata = vec![FailureMetadata { key: "a".into(), value: "b".into() }];
    let wire = FailureMessage { code: 418, message: "tea".into(), metadata };
    (wire, Failure { code: 418, message: "tea".into(), metadata: vec![("a".into(), "b".into())] })
}

#[tokio::test]
async fn promises() {
    let (key, completion) = ("p".to_owned(), 3);
    let get = GetPromiseCommandMessage { key: key.clone(), result_completion_id: 3, name: "mine".into() };
    check(workflow(), ty::GET_PROMISE, &get, CommandEffect::GetPromise { key: "p".into(), completion }).await;
    let peek = PeekPromiseCommandMessage { key: key.clone(), result_completion_id: 3, name: String::new() };
    check(workflow(), ty::PEEK_PROMISE, &peek, CommandEffect::PeekPromise { key: "p".into(), completion }).await;
    let (wire, stored) = failure();
    let value = Value { content: Bytes::from_static(b"v") };
    for (sent, result) in [
        (PromiseCompletion::Value(value), Completion::Success(Bytes::from_static(b"v"))),
        (PromiseCompletion::Failure(wire), Completion::Failure(stored)),
    ] {
        let completed = CompletePromiseCommandMessage {
            key: key.clone(),
            completion: Some(sent),
            result_completion_id: 3,
            name: String::new(),
        };
        let effect = CommandEffect::CompletePromise { key: "p".into(), result, completion };
        check(workflow(), ty::COMPLETE_PROMISE, &completed, effect).await;
    }
    assert_eq!(refused(ty::GET_PROMISE, &get).await, "RT0017");
}

#[tokio::test]
async fn signals_and_awakeables() {
    let signal = |signal_id, result| SendSignalCommandMessage {
        target_invocation_id: OTHER.to_string(),
        signal_id: Some(signal_id),
        result: Some(result),
        entry_name: "mine".into(),
    };
    let sent = |signal, result| CommandEffect::SendSignal { target: OTHER, signal, result };
    let (wire, stored) = failure();
    for (command, effect) in [
        (
            signal(SignalIdMessage::Idx(1), SignalResult::Void(Void {})),
            sent(NotificationId::Signal(1), NotificationResult::Void),
        ),
        (
            signal(SignalIdMessage::Name("go".into()), SignalResult::Value(Value { content: Bytes::new() })),
            sent(NotificationId::Named("go".into()), NotificationResult::Value(Bytes::new())),
        ),
        (
            signal(SignalIdMessage::Idx(20), SignalResult::Failure(wire.clone())),
            sent(NotificationId::Signal(20), NotificationResult::Failure(stored.clone())),
        ),
    ] {
        check(plain(), ty::SEND_SIGNAL, &command, effect).await;
    }
    let awakeable = |id: String| CompleteAwakeableCommandMessage {
        awakeable_id: id,
        result: Some(PromiseCompletion::Failure(wire.clone())),
        name: String::new(),
    };
    let id = AwakeableId { invocation: OTHER, signal: 17 }.to_string();
    let effect = sent(NotificationId::Signal(17), NotificationResult::Failure(stored));
    check(plain(), ty::COMPLETE_AWAKEABLE, &awakeable(id.clone()), effect).await;
    // Of an older protocol, of a signal that is none, and no id at all.
    let cancel = AwakeableId { invocation: OTHER, signal: 1 }.to_string();
    for id in [id.replace("sign_1", "prom_1"), cancel] {
        assert_eq!(refused(ty::COMPLETE_AWAKEABLE, &awakeable(id)).await, "RT0017");
    }
    let broken = message(ty::COMPLETE_AWAKEABLE, false, &awakeable("sign_1???".into()));
    let Some(Action::Fail { error, .. }) = actions(plain(), broken).await.pop() else { panic!() };
    assert_eq!(error.code.as_str(), "RT0017");
}

#[tokio::test]
async fn others_by_id_by_key_and_by_workflow() {
    let idempotent = IdempotentRequestTarget {
        service_name: "Counter".into(),
        service_key: Some("c".into()),
        handler_name: "add".into(),
        idempotency_key: "i".into(),
        scope: None,
    };
    let flow = WorkflowTarget { workflow_name: "Flow".into(), workflow_key: "w".into(), scope: None };
    for (target, id) in [
        (TargetMessage::InvocationId(OTHER.to_string()), OTHER),
        (
            TargetMessage::IdempotentRequestTarget(idempotent.clone()),
            key::idempotent_invocation("Counter", Some("c"), "add", "i", ""),
        ),
        (TargetMessage::WorkflowTarget(flow.clone()), key::workflow_invocation("Flow", "w", "")),
    ] {
        let attach = AttachInvocationCommandMessage {
            target: Some(target.clone()),
            result_completion_id: 4,
            name: String::new(),
        };
        check(plain(), ty::ATTACH_INVOCATION, &attach, CommandEffect::Attach { target: id, completion: 4 }).await;
        let output =
            GetInvocationOutputCommandMessage { target: Some(target), result_completion_id: 4, name: String::new() };
        check(plain(), ty::GET_INVOCATION_OUTPUT, &output, CommandEffect::GetOutput { target: id, completion: 4 })
            .await;
    }
    let scoped = WorkflowTarget { scope: Some("s".into()), ..flow };
    let target = Some(TargetMessage::WorkflowTarget(scoped));
    let attach = AttachInvocationCommandMessage { target, result_completion_id: 4, name: String::new() };
    assert_eq!(refused(ty::ATTACH_INVOCATION, &attach).await, "RT0024");
}

#[tokio::test]
async fn sends_with_key_and_idempotency_key() {
    let send = OneWayCallCommandMessage {
        service_name: "Counter".into(),
        handler_name: "add".into(),
        parameter: Bytes::from_static(b"5"),
        key: "c".into(),
        idempotency_key: Some("i".into()),
        invocation_id_notification_idx: 2,
        ..OneWayCallCommandMessage::default()
    };
    let sent = join(&[message(ty::ONE_WAY_CALL, false, &send), output("1"), end()]);
    let actions = actions(plain(), sent).await;
    let Action::Command { raw, effect: CommandEffect::Call(callee), .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(callee.invocation.id, key::idempotent_invocation("Counter", Some("c"), "add", "i", ""));
    assert_eq!((callee.parameter.within(raw), callee.result_completion), (Bytes::from_static(b"5"), None));
    assert_eq!(callee.invocation.completion_retention, 2);
    let empty = OneWayCallCommandMessage { idempotency_key: Some(String::new()), ..send };
    assert_eq!(refused(ty::ONE_WAY_CALL, &empty).await, "RT0017");
}

#[tokio::test]
async fn a_failures_metadata_is_kept() {
    let (wire, stored) = failure();
    let failed = OutputCommandMessage { result: Some(OutputResult::Failure(wire)), name: String::new() };
    let sent = join(&[message(ty::OUTPUT, false, &failed), end()]);
    let actions = actions(plain(), sent).await;
    let Action::Command { effect: CommandEffect::Output { value: None, failure }, .. } = &actions[0] else { panic!() };
    assert_eq!(failure, &Some(stored));
}

#[tokio::test]
async fn what_is_empty_is_there() {
    let set = SetStateCommandMessage {
        key: Bytes::from_static(b"k"),
        value: Some(Value { content: Bytes::new() }),
        name: String::new(),
    };
    let raw = Bytes::from(set.encode_to_vec());
    let key = raw.slice(2..3);
    let effect = CommandEffect::SetState { key: Slice::of(&key, &raw).unwrap(), value: Slice { at: 0, len: 0 } };
    check(crate::support::object("k"), ty::SET_STATE, &set, effect).await;
}

fn all_of(completions: &[u32]) -> Future {
    // All of them succeed, or one fails; and a cancellation.
    let all = Future { waiting_completions: completions.to_vec(), combinator_type: 4, ..Future::default() };
    Future { waiting_signals: vec![1], nested_futures: vec![all], combinator_type: 1, ..Future::default() }
}

#[tokio::test]
async fn a_suspension_keeps_its_tree() {
    let suspension = SuspensionMessage { awaiting_on: Some(all_of(&[5, 4])), ..SuspensionMessage::default() };
    let actions = actions(plain(), message(ty::SUSPENSION, false, &suspension)).await;
    let node = |combinator, leaves: &[u32], children, children_end| AwaitNode {
        combinator,
        leaves: leaves.to_vec(),
        children,
        children_end,
    };
    let awaiting = Awaiting {
        completions: vec![4, 5],
        signals: vec![1],
        tree: vec![
            node(Combinator::FirstCompleted, &[2], 1, 2),
            node(Combinator::AllSucceededOrFirstFailed, &[0, 1], 0, 0),
        ],
        ..Awaiting::default()
    };
    assert_eq!(actions, [Action::Suspend { awaiting, seen: 1 }]);
}

#[tokio::test]
async fn what_waits_for_nothing_is_no_suspension() {
    for (ty, sent) in [
        (ty::SUSPENSION, message(ty::SUSPENSION, false, &SuspensionMessage::default())),
        (ty::AWAITING_ON, message(ty::AWAITING_ON, false, &AwaitingOnMessage::default())),
    ] {
        let Some(Action::Fail { error, .. }) = actions(plain(), sent).await.pop() else { panic!() };
        assert_eq!(error.code.as_str(), "RT0012", "{}", ty::display(ty));
    }
}

#[tokio::test]
async fn a_wait_for_a_promise_gives_the_stream_up_when_no_answer_comes() {
    let get = GetPromiseCommandMessage { key: "p".into(), result_completion_id: 1, name: String::new() };
    let tree =
        Future { waiting_completions: vec![1], waiting_signals: vec![1], combinator_type: 1, ..Future::default() };
    let waits = AwaitingOnMessage { awaiting_on: Some(tree.clone()), executing_side_effects: false };
    let sent = join(&[message(ty::GET_PROMISE, false, &get), message(ty::AWAITING_ON, false, &waits)]);
    let suspension =
        message(ty::SUSPENSION, false, &SuspensionMessage { awaiting_on: Some(tree), ..SuspensionMessage::default() });
    let endpoint = Endpoint::start(move |mut call: Call| {
        let (sent, suspension) = (sent.clone(), suspension.clone());
        async move {
            call.accept();
            call.replay().await;
            call.send(sent);
            assert!(call.frame().await.is_none(), "the request is ended");
            call.send(suspension);
            call.finish();
        }
    })
    .await;
    // The inactivity timeout is a minute: it is not that.
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(workflow(), bytes("1"));
    soon("the suspension", node.run(id)).await;
    let proposed = node.leader.proposed(id);
    assert!(!proposed[0].lazy, "it may be completed already");
    assert!(matches!(node.leader.actions(id).last(), Some(Action::Suspend { .. })));
}
