use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use millrace_model::{
    DeploymentId,
    journal::{Failure, Header, NotificationId, NotificationResult},
};
use millrace_protocol::AttachTarget;

use super::*;
use crate::registry::{AttemptPolicy, DeploymentInfo, HandlerInfo};

const NOW: TimestampMs = TimestampMs(1_000_000);

struct Handlers;

impl Registry for Handlers {
    fn deployment_for(&self, _: &str) -> Option<Arc<DeploymentInfo>> {
        None
    }
    fn deployment(&self, _: DeploymentId) -> Option<Arc<DeploymentInfo>> {
        None
    }
    fn handler(&self, service: &str, handler: &str) -> Option<HandlerInfo> {
        let kind = match (service, handler) {
            ("Plain", "h") => HandlerKind::Plain,
            ("Object", "h") => HandlerKind::Exclusive,
            ("Object", "shared") => HandlerKind::Shared,
            ("Flow", "run") => HandlerKind::Workflow,
            _ => return None,
        };
        Some(HandlerInfo { kind, workflow_retention: 3, idempotency_retention: 2, journal_retention: 1 })
    }
    fn policy(&self, _: &str, _: &str) -> AttemptPolicy {
        AttemptPolicy::default()
    }
}

struct Numbers(AtomicU64);

impl Env for Numbers {
    fn now(&self) -> TimestampMs {
        NOW
    }
    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn check(kind: HandlerKind, command: Command) -> Result<CommandEffect, Trouble> {
    check_ack(kind, command, false)
}

fn check_ack(kind: HandlerKind, command: Command, ack_requested: bool) -> Result<CommandEffect, Trouble> {
    let target = Target { service: "Me".into(), handler: "h".into(), key: "".into(), kind };
    let caller = Caller {
        id: InvocationId { key: PartitionKey(9), unique: 9 },
        target: &target,
        traceparent: Some(&Text::constant("00-1")),
        registry: &Handlers,
        env: &Numbers(AtomicU64::new(1)),
        now: NOW,
    };
    let name = Text::constant("mine");
    effect(&mut CommandEvent { command_index: 3, ty: ty::CALL, raw: raw(), ack_requested, name, command }, &caller)
}

fn raw() -> Bytes {
    Bytes::from_static(b"a key and a value")
}

fn callee(service: &str, handler: &str, key: &str) -> WireCallee {
    WireCallee { service: service.into(), handler: handler.into(), key: key.into(), ..WireCallee::default() }
}

fn call(callee: WireCallee) -> Command {
    Command::Call { callee: Box::new(callee), invocation_id_cid: 1, result_cid: 2 }
}

fn called(callee: WireCallee) -> NewInvocation {
    match check(HandlerKind::Plain, call(callee)).unwrap() {
        CommandEffect::Call(callee) => callee.invocation,
        other => panic!("{other:?}"),
    }
}

fn refused(kind: HandlerKind, command: Command) -> &'static str {
    let trouble = check(kind, command).unwrap_err();
    let related = trouble.details.related.unwrap();
    assert_eq!((related.index, related.name.as_deref()), (Some(3), Some("mine")));
    trouble.code.id
}

#[test]
fn state_is_read_by_keyed_handlers_and_written_by_exclusive_ones() {
    use HandlerKind::*;
    let key = || raw().slice(2..5);
    let reads = || {
        [
            Command::GetLazyState { key: key(), cid: 1 },
            Command::GetLazyStateKeys { cid: 1 },
            Command::GetEagerState { key: key() },
            Command::GetEagerStateKeys,
        ]
    };
    let writes = || {
        [
            Command::SetState { key: key(), value: raw().slice(12..) },
            Command::ClearState { key: key() },
            Command::ClearAllState,
        ]
    };
    for (kind, may_read, may_write) in
        [(Plain, false, false), (Shared, true, false), (Exclusive, true, true), (Workflow, true, true)]
    {
        reads().into_iter().for_each(|command| assert_eq!(check(kind, command).is_ok(), may_read, "{kind:?}"));
        writes().into_iter().for_each(|command| assert_eq!(check(kind, command).is_ok(), may_write, "{kind:?}"));
    }
    assert_eq!(refused(Plain, Command::ClearAllState), "RT0017");
    let [set, ..] = writes();
    let slice = |at, len| Slice { at, len };
    assert_eq!(check(Exclusive, set), Ok(CommandEffect::SetState { key: slice(2, 3), value: slice(12, 5) }));
}

#[test]
fn outputs_are_slices_or_failures() {
    let value = Completion::Success(Bytes::new());
    let empty = CommandEffect::Output { value: Some(Slice { at: 0, len: 0 }), failure: None };
    assert_eq!(check(HandlerKind::Plain, Command::Output { result: value }), Ok(empty));
    let failure = Failure::new(418, "x");
    let effect = CommandEffect::Output { value: None, failure: Some(failure.clone()) };
    assert_eq!(check(HandlerKind::Plain, Command::Output { result: Completion::Failure(failure) }), Ok(effect));
    let foreign = Completion::Success(Bytes::from_static(b"elsewhere"));
    assert_eq!(refused(HandlerKind::Plain, Command::Output { result: foreign }), "RT0006");
}

#[test]
fn a_call_is_resolved() {
    let mut wire = callee("Object", "h", "k");
    wire.parameter = raw().slice(12..);
    wire.headers = vec![Header { name: "X-Y".into(), value: "z".into() }];
    let CommandEffect::Call(callee) = check(HandlerKind::Plain, call(wire.clone())).unwrap() else { panic!() };
    assert_eq!((callee.id_completion, callee.result_completion), (1, Some(2)));
    assert_eq!(callee.parameter, Slice { at: 12, len: 5 });
    let new = &callee.invocation;
    assert_eq!(new.id.key, PartitionKey::new("Object", b"k"));
    assert_eq!((new.target.kind, new.target.key.as_str()), (HandlerKind::Exclusive, "k"));
    assert!(
        matches!(&new.source, Source::Caller { completion: Some(2), target, .. } if target.service.as_str() == "Me")
    );
    assert_eq!((new.created_at, new.execute_at, new.value.len()), (NOW, None, 0));
    assert_eq!((new.completion_retention, new.journal_retention), (0, 1));
    assert_eq!((&new.headers, new.traceparent.as_deref()), (&wire.headers, Some("00-1")));
}

#[test]
fn a_send_starts_when_it_should() {
    let send = |invoke_time_ms| {
        let callee = Box::new(callee("Plain", "h", ""));
        match check(HandlerKind::Plain, Command::OneWayCall { callee, invoke_time_ms, invocation_id_cid: 7 }) {
            Ok(CommandEffect::Call(callee)) => (callee.invocation.execute_at, callee.result_completion),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(send(0), (None, None));
    assert_eq!(send(NOW.0), (None, None));
    assert_eq!(send(NOW.0 + 1), (Some(NOW.after(1)), None));
}

#[test]
fn ids_are_those_that_every_caller_computes() {
    let with_key = |service, handler, key, idempotency_key: &str| {
        let callee = callee(service, handler, key);
        called(WireCallee { idempotency_key: Some(idempotency_key.into()), ..callee })
    };
    let flow = key::workflow_invocation("Flow", "k", "");
    assert_eq!(called(callee("Flow", "run", "k")).id, flow);
    let flow_again = with_key("Flow", "run", "k", "i");
    assert_eq!((flow_again.id, flow_again.idempotency_key, flow_again.completion_retention), (flow, None, 3));
    let object = with_key("Object", "shared", "k", "i");
    assert_eq!(object.id, key::idempotent_invocation("Object", Some("k"), "shared", "i", ""));
    assert_eq!((object.idempotency_key.as_deref(), object.completion_retention), (Some("i"), 2));
    let plain = with_key("Plain", "h", "", "i");
    assert_eq!(plain.id, key::idempotent_invocation("Plain", None, "h", "i", ""));
    assert_ne!(called(callee("Object", "h", "")).id.unique, 0, "an empty key is a key");
}

#[test]
fn bad_calls_fail_the_attempt() {
    let base = || callee("Plain", "h", "");
    for (code, callee) in [
        ("RT0018", callee("Nobody", "h", "")),
        ("RT0018", callee("Object", "nothing", "k")),
        ("RT0017", callee("Plain", "h", "k")),
        ("RT0017", WireCallee { idempotency_key: Some("".into()), ..base() }),
        ("RT0017", WireCallee { scope: Some("s".into()), ..base() }),
        ("RT0017", WireCallee { limit_key: Some("l".into()), ..base() }),
    ] {
        assert_eq!(refused(HandlerKind::Plain, call(callee.clone())), code, "{callee:?}");
    }
    let trouble = check_ack(HandlerKind::Plain, call(base()), true).unwrap_err();
    assert_eq!(trouble.code.id, "RT0017");
}

#[test]
fn what_comes_later_says_so() {
    let id = InvocationId { key: PartitionKey(1), unique: 1 };
    let (key, cid) = (Text::constant("p"), 1);
    let result = || Completion::Success(Bytes::new());
    for command in [
        Command::GetPromise { key: key.clone(), cid },
        Command::PeekPromise { key: key.clone(), cid },
        Command::CompletePromise { key, result: result(), cid },
        Command::SendSignal { target: id, signal: NotificationId::Signal(1), result: NotificationResult::Void },
        Command::AttachInvocation { target: AttachTarget::Invocation(id), cid },
        Command::GetInvocationOutput { target: AttachTarget::Invocation(id), cid },
        Command::CompleteAwakeable { id: None, result: result() },
    ] {
        let trouble = check(HandlerKind::Workflow, command).unwrap_err();
        assert_eq!(trouble.code.id, "RT0017");
        assert!(trouble.details.message.ends_with("not supported yet"), "{}", trouble.details.message);
    }
}
