use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use millrace_model::{
    DeploymentId, PartitionKey,
    journal::{Failure, Header, NotificationId, NotificationResult},
};
use millrace_protocol::AttachTarget;

use super::*;
use crate::registry::{AttemptPolicy, DeploymentInfo, HandlerInfo, Retention};

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
            ("Flow", "shared") | ("Me", "in flow" | "in object") => HandlerKind::Shared,
            _ => return None,
        };
        let completion = if kind == HandlerKind::Workflow { 3 } else { 1 };
        let idempotent_retention = Retention { completion: 2, journal: 1 };
        let of_workflow = service == "Flow" || service == "Me" && handler == "in flow";
        Some(HandlerInfo { kind, of_workflow, retention: Retention { completion, journal: 1 }, idempotent_retention })
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

fn check_in(kind: HandlerKind, handler: &'static str, command: Command) -> Result<CommandEffect, Trouble> {
    check_all(kind, handler, command, false)
}

fn check_ack(kind: HandlerKind, command: Command, ack_requested: bool) -> Result<CommandEffect, Trouble> {
    check_all(kind, "h", command, ack_requested)
}

fn check_all(
    kind: HandlerKind,
    handler: &'static str,
    command: Command,
    ack_requested: bool,
) -> Result<CommandEffect, Trouble> {
    let target = Target { service: "Me".into(), handler: handler.into(), key: "".into(), kind };
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
    assert_eq!((new.completion_retention, new.journal_retention), (1, 1));
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
        ("RT0024", WireCallee { scope: Some("s".into()), ..base() }),
        ("RT0024", WireCallee { limit_key: Some("l".into()), ..base() }),
    ] {
        assert_eq!(refused(HandlerKind::Plain, call(callee.clone())), code, "{callee:?}");
    }
    assert!(check_ack(HandlerKind::Plain, call(base()), true).is_ok(), "it is answered when it is stored");
}

#[test]
fn promises_are_those_of_workflows() {
    let commands = || {
        let (key, cid, completion) = (Text::constant("p"), 1, 1);
        let result =
            Completion::Failure(Failure { code: 1, message: "m".into(), metadata: vec![("a".into(), "b".into())] });
        [
            (Command::GetPromise { key: key.clone(), cid }, CommandEffect::GetPromise { key: key.clone(), completion }),
            (
                Command::PeekPromise { key: key.clone(), cid },
                CommandEffect::PeekPromise { key: key.clone(), completion },
            ),
            (
                Command::CompletePromise { key: key.clone(), result: result.clone(), cid },
                CommandEffect::CompletePromise { key, result, completion },
            ),
        ]
    };
    let shared = |handler| check_in(HandlerKind::Shared, handler, Command::GetPromise { key: "p".into(), cid: 1 });
    for (command, effect) in commands() {
        assert_eq!(check(HandlerKind::Workflow, command.clone()), Ok(effect.clone()));
        assert_eq!(check_in(HandlerKind::Shared, "in flow", command.clone()), Ok(effect));
        for kind in [HandlerKind::Plain, HandlerKind::Exclusive] {
            assert_eq!(refused(kind, command.clone()), "RT0017");
        }
    }
    assert_eq!(shared("in object").unwrap_err().code.id, "RT0017");
    assert!(shared("not known any more").is_ok());
}

const OTHER: InvocationId = InvocationId { key: PartitionKey(1), unique: 1 };

#[test]
fn signals_and_awakeables_go_to_whom_they_name() {
    let value = || NotificationResult::Value(Bytes::from_static(b"v"));
    let sent = |signal, result| CommandEffect::SendSignal { target: OTHER, signal, result };
    let named = || NotificationId::Named("n".into());
    for (command, expected) in [
        (Command::SendSignal { target: OTHER, signal: named(), result: value() }, sent(named(), value())),
        (
            Command::SendSignal { target: OTHER, signal: NotificationId::Signal(1), result: value() },
            sent(NotificationId::Signal(1), NotificationResult::Void),
        ),
        (
            Command::CompleteAwakeable {
                id: Some(AwakeableId { invocation: OTHER, signal: 17 }),
                result: Completion::Success(Bytes::from_static(b"v")),
            },
            sent(NotificationId::Signal(17), value()),
        ),
    ] {
        assert_eq!(check(HandlerKind::Plain, command), Ok(expected));
    }
    // Nobody cancels by completing an awakeable, and nobody waits for one of an older protocol.
    for id in
        [Some(AwakeableId { invocation: OTHER, signal: 1 }), Some(AwakeableId { invocation: OTHER, signal: 16 }), None]
    {
        let command = Command::CompleteAwakeable { id, result: Completion::Success(Bytes::new()) };
        assert_eq!(refused(HandlerKind::Plain, command), "RT0017");
    }
}

#[test]
fn whoever_is_attached_to_has_the_id_that_calls_compute() {
    let attach = |target: AttachTarget| {
        let found = check(HandlerKind::Plain, Command::GetInvocationOutput { target: target.clone(), cid: 1 });
        match check(HandlerKind::Plain, Command::AttachInvocation { target, cid: 1 }) {
            Ok(CommandEffect::Attach { target, completion: 1 }) => {
                assert_eq!(found, Ok(CommandEffect::GetOutput { target, completion: 1 }));
                Ok(target)
            }
            other => Err(other.unwrap_err().code.id),
        }
    };
    let idempotent =
        |service: &'static str, key: Option<&'static str>, handler: &'static str| AttachTarget::Idempotent {
            service: service.into(),
            key: key.map(Text::from),
            handler: handler.into(),
            idempotency_key: "i".into(),
            scope: None,
        };
    let id = |service, key, handler| key::idempotent_invocation(service, key, handler, "i", "");
    let flow = |scope| AttachTarget::Workflow { workflow: "Flow".into(), key: "k".into(), scope };
    for (target, expected) in [
        (AttachTarget::Invocation(OTHER), Ok(OTHER)),
        (flow(None), Ok(key::workflow_invocation("Flow", "k", ""))),
        (flow(Some("s".into())), Err("RT0024")),
        (idempotent("Plain", None, "h"), Ok(id("Plain", None, "h"))),
        (idempotent("Plain", Some(""), "h"), Ok(id("Plain", None, "h"))),
        (idempotent("Object", Some("k"), "h"), Ok(id("Object", Some("k"), "h"))),
        (idempotent("Object", None, "h"), Ok(id("Object", Some(""), "h"))),
        (idempotent("Gone", Some("k"), "h"), Ok(id("Gone", Some("k"), "h"))),
    ] {
        assert_eq!(attach(target.clone()), expected, "{target:?}");
    }
    let AttachTarget::Idempotent { service, key, handler, .. } = idempotent("Plain", None, "h") else { panic!() };
    let empty = AttachTarget::Idempotent { service, key, handler, idempotency_key: "".into(), scope: None };
    assert_eq!(attach(empty), Err("RT0017"));
}
