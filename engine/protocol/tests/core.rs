//! Both ends of the wire: our session against the state machine that most SDKs are built on, version by version.
//!
//! What it sends must be what we understand, and what we send must reach user code as meant.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_model::{
    AwakeableId, InvocationId, Text,
    journal::{Completion, Entry, Failure, Header, Notification, NotificationId, NotificationResult},
};
use millrace_protocol::{
    AttachTarget, Callee, Command, CommandEvent, Event, Mode, ProtocolVersion, Session, StartInfo, frame,
    session::ErrorBehavior, ty,
};
use restate_sdk_shared_core::{
    AttachInvocationTarget, AwaitResponse, CommandRelationship, CoreVM, Error, NonEmptyValue, NotificationHandle,
    PayloadOptions, RetryPolicy, RunExitResult, Target, TerminalFailure, UnresolvedFuture, VM, VMOptions, Value,
};

const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V5, ProtocolVersion::V6, ProtocolVersion::V7];
const ID: &str = "inv_1f6yqe2HuOpp4BCLNlylVWGULadPGf7rHB";
const OTHER: &str = "inv_1kIao9i5PlCR0yQlTiHIdwxFXQZUBDmN3E";

/// One attempt: both ends, and the journal that the server's end keeps.
struct Attempt {
    session: Session,
    vm: CoreVM,
    journal: Vec<Entry>,
}

struct Setup<'a> {
    version: ProtocolVersion,
    mode: Mode,
    /// Complete eager state; `None` for lazy.
    state: Option<&'a [(Bytes, Bytes)]>,
    retries: (u32, Duration),
    /// Bytes that reach the SDK at once.
    chunk: usize,
}

impl Setup<'_> {
    fn new(version: ProtocolVersion) -> Self {
        Self { version, mode: Mode::BidiStream, state: None, retries: (0, Duration::ZERO), chunk: usize::MAX }
    }

    fn attempt(&self, journal: Vec<Entry>) -> Attempt {
        let headers = vec![("content-type".to_owned(), self.version.content_type().to_owned())];
        let mut vm = CoreVM::new(headers, VMOptions::default()).unwrap();
        let head = vm.get_response_head();
        let content_type = head.headers.iter().find(|header| header.key == "content-type").unwrap();
        assert_eq!((head.status_code, &*content_type.value), (200, self.version.content_type()));

        let commands = journal.iter().filter(|entry| !matches!(entry, Entry::Notification(_))).count();
        let mut session = Session::new(self.version, self.mode, commands as u32, frame::MESSAGE_BYTES_MAX_DEFAULT);
        let mut out = BytesMut::new();
        let start = StartInfo {
            invocation_id: id(ID),
            known_entries: journal.len() as u32,
            state: self.state.unwrap_or_default(),
            partial_state: self.state.is_none(),
            key: "key",
            retry_count_since_last_stored_entry: self.retries.0,
            duration_since_last_stored_entry: self.retries.1,
            random_seed: 42,
            scope: Some("scope"),
            limit_key: Some("limit"),
            idempotency_key: Some("idempotency"),
        };
        session.encode_start(&start, &mut out);
        for entry in &journal {
            session.encode_entry(entry, &mut out);
        }
        let mut out = out.freeze();
        while !out.is_empty() {
            vm.notify_input(out.split_to(self.chunk.min(out.len())));
        }
        if self.mode == Mode::RequestResponse {
            vm.notify_input_closed();
        }
        assert_eq!(vm.is_ready_to_execute(), Ok(true));
        vm.sys_input().unwrap();
        Attempt { session, vm, journal }
    }
}

impl Attempt {
    fn new(version: ProtocolVersion) -> Self {
        Setup::new(version).attempt(vec![input()])
    }

    /// What the SDK has sent since the last time. Commands are appended to the journal.
    fn events(&mut self) -> Vec<Event> {
        let mut sent = self.vm.take_output();
        let mut events = Vec::new();
        while !sent.is_empty() {
            self.session.on_bytes(sent.split_to(7.min(sent.len())));
            while let Some(event) = self.session.next_event().unwrap() {
                events.push(event);
            }
        }
        for event in &events {
            if let Event::Command(CommandEvent { ty, raw, .. }) = event {
                self.journal.push(Entry::Command { ty: *ty, raw: raw.clone() });
            }
        }
        events
    }

    /// The one command that was sent, with its name.
    fn command(&mut self) -> (Command, Text) {
        match &self.events()[..] {
            [Event::Command(event)] => {
                assert_eq!(i64::from(event.command_index), self.vm.last_command_index());
                (event.command.clone(), event.name.clone())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Stores a notification and sends it.
    fn notify(&mut self, ty: u16, id: NotificationId, result: NotificationResult) {
        let entry = Entry::Notification(Notification { ty, id, result });
        let mut out = BytesMut::new();
        self.session.encode_entry(&entry, &mut out);
        self.journal.push(entry);
        self.vm.notify_input(out.freeze());
    }

    fn complete(&mut self, ty: u16, cid: u32, result: NotificationResult) {
        self.notify(ty, NotificationId::Completion(cid), result);
    }

    /// What user code gets for a handle.
    fn take(&mut self, handle: NotificationHandle) -> Value {
        assert!(matches!(self.vm.do_await(handle.into()), Ok(AwaitResponse::AnyCompleted)));
        self.vm.take_notification(handle).unwrap().unwrap()
    }

    fn finish(mut self) -> Vec<Entry> {
        self.events();
        self.vm.sys_write_output(NonEmptyValue::Success(Bytes::from_static(b"out")), stable()).unwrap();
        self.vm.sys_end().unwrap();
        let events = self.events();
        let result = Completion::Success(Bytes::from_static(b"out"));
        assert!(
            matches!(&events[..], [Event::Command(event), Event::End] if event.command == Command::Output { result: result.clone() }),
            "{events:?}"
        );
        assert_eq!(self.session.on_end(), Ok(()));
        self.journal
    }
}

fn stable() -> PayloadOptions {
    PayloadOptions::stable_serialization()
}

fn id(text: &str) -> InvocationId {
    text.parse().unwrap()
}

fn input() -> Entry {
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    Entry::Input { headers: vec![header("x-a", "1"), header("empty", "")], value: Bytes::from_static(b"in") }
}

fn value(text: &'static str) -> NotificationResult {
    NotificationResult::Value(Bytes::from_static(text.as_bytes()))
}

fn success(text: &'static str) -> Value {
    Value::Success(Bytes::from_static(text.as_bytes()))
}

fn failed(code: u32, message: &'static str) -> NotificationResult {
    NotificationResult::Failure(Failure::new(code, message))
}

fn failure(code: u16, message: &str) -> Value {
    Value::Failure(terminal(code, message))
}

fn terminal(code: u16, message: &str) -> TerminalFailure {
    TerminalFailure { code, message: message.to_owned(), metadata: vec![] }
}

#[test]
fn a_handler_sees_how_it_was_called_and_ends() {
    for version in VERSIONS {
        for chunk in [1, 5, usize::MAX] {
            Setup { chunk, ..Setup::new(version) }.attempt(vec![input()]).finish();
        }
        let headers = vec![("content-type".to_owned(), version.content_type().to_owned())];
        let mut vm = CoreVM::new(headers, VMOptions::default()).unwrap();
        let mut out = BytesMut::new();
        let mut session = Session::new(version, Mode::BidiStream, 1, 1 << 20);
        let start = StartInfo {
            invocation_id: id(ID),
            known_entries: 1,
            state: &[],
            partial_state: true,
            key: "my key/é",
            retry_count_since_last_stored_entry: 0,
            duration_since_last_stored_entry: Duration::ZERO,
            random_seed: 42,
            scope: Some("scope"),
            limit_key: None,
            idempotency_key: Some(""),
        };
        session.encode_start(&start, &mut out);
        session.encode_entry(&input(), &mut out);
        vm.notify_input(out.freeze());
        let seen = vm.sys_input().unwrap();
        assert_eq!((seen.invocation_id.as_str(), seen.key.as_str(), &seen.input[..]), (ID, "my key/é", &b"in"[..]));
        let headers: Vec<_> = seen.headers.iter().map(|header| (&*header.key, &*header.value)).collect();
        assert_eq!(headers, [("x-a", "1"), ("empty", "")]);
        if version >= ProtocolVersion::V6 {
            assert_eq!(seen.random_seed, 42);
        }
        let context = (seen.scope.as_deref(), seen.limit_key.as_deref(), seen.idempotency_key.as_deref());
        let expected =
            if version >= ProtocolVersion::V7 { (Some("scope"), None, Some("")) } else { (None, None, None) };
        assert_eq!(context, expected);
    }
}

#[test]
fn a_failed_handler_ends_with_its_failure() {
    for version in VERSIONS {
        let mut attempt = Attempt::new(version);
        let mut failure = terminal(418, "term");
        let mut expected = Failure::new(418, "term");
        if version >= ProtocolVersion::V6 {
            failure.metadata.push(("a".to_owned(), "b".to_owned()));
            expected.metadata.push(("a".into(), "b".into()));
        }
        attempt.vm.sys_write_output(NonEmptyValue::Failure(failure), stable()).unwrap();
        let expected = Command::Output { result: Completion::Failure(expected) };
        assert_eq!(attempt.command(), (expected, "".into()));
    }
}

#[test]
fn state_is_read_lazily_and_eagerly() {
    for version in VERSIONS {
        let mut lazy = Attempt::new(version);
        let handle = lazy.vm.sys_state_get("k".to_owned(), None, stable()).unwrap();
        let (Command::GetLazyState { key, cid }, _) = lazy.command() else { panic!() };
        assert_eq!(key, "k");
        lazy.complete(ty::GET_LAZY_STATE_COMPLETION, cid, NotificationResult::Void);
        assert_eq!(lazy.take(handle), Value::Void);
        let handle = lazy.vm.sys_state_get("k".to_owned(), None, stable()).unwrap();
        let (Command::GetLazyState { cid, .. }, _) = lazy.command() else { panic!() };
        lazy.complete(ty::GET_LAZY_STATE_COMPLETION, cid, value(""));
        assert_eq!(lazy.take(handle), success(""));
        let handle = lazy.vm.sys_state_get_keys(None).unwrap();
        let (Command::GetLazyStateKeys { cid }, _) = lazy.command() else { panic!() };
        let keys = NotificationResult::StateKeys(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
        lazy.complete(ty::GET_LAZY_STATE_KEYS_COMPLETION, cid, keys);
        assert_eq!(lazy.take(handle), Value::StateKeys(vec!["a".to_owned(), "b".to_owned()]));
        let journal = lazy.finish();

        // The same handler again, from the journal.
        let mut replay = Setup { chunk: 3, ..Setup::new(version) }.attempt(journal);
        for expected in [Value::Void, success("")] {
            let handle = replay.vm.sys_state_get("k".to_owned(), None, stable()).unwrap();
            assert_eq!(replay.take(handle), expected);
        }

        let state = [(Bytes::from_static(b"k"), Bytes::new())];
        let mut eager = Setup { state: Some(&state), ..Setup::new(version) }.attempt(vec![input()]);
        let handle = eager.vm.sys_state_get("k".to_owned(), None, stable()).unwrap();
        assert_eq!(eager.take(handle), success(""));
        assert_eq!(eager.command().0, Command::GetEagerState { key: Bytes::from_static(b"k") });
        let handle = eager.vm.sys_state_get("other".to_owned(), None, stable()).unwrap();
        assert_eq!(eager.take(handle), Value::Void);
        assert_eq!(eager.command().0, Command::GetEagerState { key: Bytes::from_static(b"other") });
        eager.vm.sys_state_set("n".to_owned(), Bytes::from_static(b"v"), None, stable()).unwrap();
        let set = Command::SetState { key: Bytes::from_static(b"n"), value: Bytes::from_static(b"v") };
        assert_eq!(eager.command().0, set);
        eager.vm.sys_state_get_keys(None).unwrap();
        assert_eq!(eager.command().0, Command::GetEagerStateKeys);
        eager.vm.sys_state_clear("n".to_owned(), None).unwrap();
        assert_eq!(eager.command().0, Command::ClearState { key: Bytes::from_static(b"n") });
        eager.vm.sys_state_clear_all(Some("all".to_owned())).unwrap();
        assert_eq!(eager.command(), (Command::ClearAllState, "all".into()));
    }
}

#[test]
fn a_step_is_acknowledged_in_the_way_of_its_version() {
    for version in VERSIONS {
        let mut attempt = Attempt::new(version);
        let handle = attempt.vm.sys_run("r1".to_owned()).unwrap().handle;
        let response = attempt.vm.do_await(handle.into());
        assert_eq!(response, Ok(AwaitResponse::ExecuteRun(handle)));
        let result = RunExitResult::Success(Bytes::from_static(b"{}"));
        attempt.vm.propose_run_completion(handle, result, RetryPolicy::default()).unwrap();
        let events = attempt.events();
        let [Event::Command(run), Event::RunProposal { completion_id, result, ack }, ..] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((&run.command, run.name.as_str()), (&Command::Run { cid: *completion_id }, "r1"));
        assert_eq!(*result, Completion::Success(Bytes::from_static(b"{}")));
        assert_eq!(*ack, version >= ProtocolVersion::V7);
        let cid = *completion_id;
        if *ack {
            let mut out = BytesMut::new();
            attempt.session.encode_run_ack(cid, &mut out);
            attempt.vm.notify_input(out.freeze());
            let result = value("{}");
            attempt.journal.push(Entry::Notification(Notification {
                ty: ty::RUN_COMPLETION,
                id: NotificationId::Completion(cid),
                result,
            }));
        } else {
            attempt.complete(ty::RUN_COMPLETION, cid, value("{}"));
        }
        assert_eq!(attempt.take(handle), success("{}"));
        let journal = attempt.finish();

        let mut replay = Setup::new(version).attempt(journal);
        let run = replay.vm.sys_run("r1".to_owned()).unwrap();
        assert!(run.replayed);
        assert_eq!(replay.take(run.handle), success("{}"));
    }
}

#[test]
fn a_step_that_fails_for_good_is_proposed_as_failure() {
    for version in VERSIONS {
        // The first time it is an error that asks for another attempt.
        let mut attempt = Attempt::new(version);
        fail_step(&mut attempt.vm);
        let events = attempt.events();
        let [Event::Command(_), Event::Error(error)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((error.message.as_str(), error.related_command_type), ("boom", Some(ty::RUN)));
        assert_eq!((error.related_command_index, error.related_command_name.as_deref()), (Some(1), Some("r")));
        assert_eq!(error.next_retry_delay, Some(Duration::from_millis(10)));

        let setup = Setup { retries: (1, Duration::from_millis(55)), ..Setup::new(version) };
        let mut attempt = setup.attempt(attempt.journal);
        fail_step(&mut attempt.vm);
        let events = attempt.events();
        let [Event::RunProposal { result, .. }, ..] = &events[..] else { panic!("{events:?}") };
        assert!(matches!(result, Completion::Failure(failure) if failure.message == *"boom"), "{result:?}");
    }
}

fn fail_step(vm: &mut CoreVM) {
    let handle = vm.sys_run("r".to_owned()).unwrap().handle;
    assert_eq!(vm.do_await(handle.into()), Ok(AwaitResponse::ExecuteRun(handle)));
    let policy = RetryPolicy::FixedDelay {
        interval: Some(Duration::from_millis(10)),
        max_attempts: Some(2),
        max_duration: None,
        on_max_attempts: Default::default(),
    };
    let error = Error::new(500u16, "boom");
    let result = RunExitResult::RetryableFailure { attempt_duration: Duration::from_millis(1), error };
    // It fails with the error itself as long as there are attempts left.
    let _ = vm.propose_run_completion(handle, result, policy);
}

#[test]
fn timers_suspend_and_resume() {
    for version in VERSIONS {
        for mode in [Mode::BidiStream, Mode::RequestResponse] {
            let setup = Setup { mode, ..Setup::new(version) };
            let mut attempt = setup.attempt(vec![input()]);
            let sleep = |vm: &mut CoreVM| vm.sys_sleep("nap".to_owned(), Duration::from_millis(1234), None).unwrap();
            let handle = sleep(&mut attempt.vm);
            let (Command::Sleep { wake_up_time_ms: 1234, cid }, name) = attempt.command() else { panic!() };
            assert_eq!(name, *"nap");
            if mode == Mode::BidiStream {
                let response = attempt.vm.do_await(handle.into()).unwrap();
                assert!(matches!(response, AwaitResponse::WaitingExternalProgress { waiting_input: true, .. }));
                let hints = attempt.events();
                match (&hints[..], version >= ProtocolVersion::V7) {
                    ([Event::AwaitingOn { tree, executing_side_effects: false }], true) => {
                        assert!(tree.leaves().contains(&NotificationId::Completion(cid)));
                    }
                    ([], false) => {}
                    other => panic!("{other:?}"),
                }
                attempt.vm.notify_input_closed();
            }
            let suspended = attempt.vm.do_await(handle.into()).unwrap_err();
            assert!(suspended.is_suspended_error());
            let events = attempt.events();
            let [Event::Suspension(tree)] = &events[..] else { panic!("{events:?}") };
            let awaiting = tree.to_awaiting();
            assert_eq!((&awaiting.completions[..], &awaiting.signals[..]), (&[cid][..], &[1][..]));

            attempt.journal.push(Entry::Notification(Notification {
                ty: ty::SLEEP_COMPLETION,
                id: NotificationId::Completion(cid),
                result: NotificationResult::Void,
            }));
            let mut resumed = setup.attempt(attempt.journal);
            let handle = sleep(&mut resumed.vm);
            assert_eq!(resumed.take(handle), Value::Void);
            resumed.finish();
        }
    }
}

#[test]
fn combined_awaits_suspend_with_their_tree() {
    let mut attempt = Attempt::new(ProtocolVersion::V7);
    let handles: Vec<UnresolvedFuture> =
        (0..3).map(|n| attempt.vm.sys_sleep(String::new(), Duration::from_millis(n), None).unwrap().into()).collect();
    let cids: Vec<u32> = attempt
        .events()
        .iter()
        .map(|event| match event {
            Event::Command(CommandEvent { command: Command::Sleep { cid, .. }, .. }) => *cid,
            other => panic!("{other:?}"),
        })
        .collect();
    attempt.vm.notify_input_closed();
    let all = UnresolvedFuture::AllSucceededOrFirstFailed(handles);
    assert!(attempt.vm.do_await(all).unwrap_err().is_suspended_error());
    let events = attempt.events();
    let [Event::Suspension(tree)] = &events[..] else { panic!("{events:?}") };
    let done = |cids: &[u32]| {
        let mut awaiting = tree.to_awaiting();
        for (index, cid) in (0..).zip(cids) {
            awaiting.arrive(awaiting.leaf(&NotificationId::Completion(*cid)).unwrap(), index, false);
        }
        awaiting.is_done()
    };
    assert!(!done(&cids[..2]));
    assert!(done(&cids));
}

#[test]
fn calls_carry_everything() {
    for version in VERSIONS {
        let mut attempt = Attempt::new(version);
        let v7 = version >= ProtocolVersion::V7;
        let target = || Target {
            service: "S".to_owned(),
            handler: "h".to_owned(),
            key: Some("k".to_owned()),
            idempotency_key: Some("i".to_owned()),
            scope: v7.then(|| "sc".to_owned()),
            limit_key: v7.then(|| "l".to_owned()),
            headers: vec![restate_sdk_shared_core::Header { key: "X-A".into(), value: "1".into() }],
        };
        let callee = Callee {
            service: "S".into(),
            handler: "h".into(),
            key: "k".into(),
            parameter: Bytes::from_static(b"p"),
            headers: vec![Header { name: "X-A".into(), value: "1".into() }],
            idempotency_key: Some("i".into()),
            scope: v7.then(|| "sc".into()),
            limit_key: v7.then(|| "l".into()),
        };
        let name = || Some("n".to_owned());
        let handles = attempt.vm.sys_call(target(), Bytes::from_static(b"p"), name(), stable()).unwrap();
        let (Command::Call { callee: sent, invocation_id_cid, result_cid }, sent_name) = attempt.command() else {
            panic!()
        };
        assert_eq!((*sent, sent_name), (callee.clone(), "n".into()));
        let result = NotificationResult::InvocationId(id(OTHER));
        attempt.complete(ty::CALL_INVOCATION_ID_COMPLETION, invocation_id_cid, result);
        attempt.complete(ty::CALL_COMPLETION, result_cid, failed(409, "killed"));
        assert_eq!(attempt.take(handles.invocation_id_notification_handle), Value::InvocationId(OTHER.to_owned()));
        assert_eq!(attempt.take(handles.call_notification_handle), failure(409, "killed"));

        let at = Some(Duration::from_millis(1000));
        let handle = attempt.vm.sys_send(target(), Bytes::from_static(b"p"), at, name(), stable()).unwrap();
        let (Command::OneWayCall { callee: sent, invoke_time_ms, invocation_id_cid }, _) = attempt.command() else {
            panic!()
        };
        assert_eq!((*sent, invoke_time_ms), (callee, 1000));
        let result = NotificationResult::InvocationId(id(OTHER));
        attempt.complete(ty::CALL_INVOCATION_ID_COMPLETION, invocation_id_cid, result);
        assert_eq!(attempt.take(handle.invocation_id_notification_handle), Value::InvocationId(OTHER.to_owned()));
        attempt.finish();
    }
}

#[test]
fn awakeables_and_signals_reach_the_handler() {
    for version in VERSIONS {
        let mut attempt = Attempt::new(version);
        let awakeable = attempt.vm.sys_awakeable().unwrap();
        let parsed: AwakeableId = awakeable.id.parse().unwrap();
        assert_eq!((parsed.invocation, parsed.signal, parsed.to_string()), (id(ID), 17, awakeable.id.clone()));
        attempt.notify(ty::SIGNAL, NotificationId::Signal(17), value("v"));
        assert_eq!(attempt.take(awakeable.handle), success("v"));
        let named = attempt.vm.create_signal_handle("go".to_owned()).unwrap();
        attempt.notify(ty::SIGNAL, NotificationId::Named("go".into()), failed(500, "no"));
        assert_eq!(attempt.take(named), failure(500, "no"));
        assert_eq!(attempt.events(), []);

        let vm = &mut attempt.vm;
        vm.sys_complete_awakeable(awakeable.id, NonEmptyValue::Success(Bytes::new()), stable()).unwrap();
        let expected = Command::CompleteAwakeable { id: Some(parsed), result: Completion::Success(Bytes::new()) };
        assert_eq!(attempt.command().0, expected);
        let no = NonEmptyValue::Failure(terminal(1, "x"));
        attempt.vm.sys_complete_signal(OTHER.to_owned(), "go".to_owned(), no).unwrap();
        let expected = Command::SendSignal {
            target: id(OTHER),
            signal: NotificationId::Named("go".into()),
            result: failed(1, "x"),
        };
        assert_eq!(attempt.command().0, expected);
        attempt.vm.sys_cancel_invocation(OTHER.to_owned()).unwrap();
        let cancel = Command::SendSignal {
            target: id(OTHER),
            signal: NotificationId::Signal(1),
            result: NotificationResult::Void,
        };
        assert_eq!(attempt.command().0, cancel);

        // And being cancelled.
        let sleep = attempt.vm.sys_sleep(String::new(), Duration::from_secs(1), None).unwrap();
        attempt.notify(ty::SIGNAL, NotificationId::Signal(1), NotificationResult::Void);
        assert_eq!(attempt.vm.do_await(sleep.into()), Ok(AwaitResponse::CancelSignalReceived));
    }
}

#[test]
fn promises_and_other_invocations() {
    for version in VERSIONS {
        let mut attempt = Attempt::new(version);
        let handle = attempt.vm.sys_get_promise("p".to_owned()).unwrap();
        let (Command::GetPromise { key, cid }, _) = attempt.command() else { panic!() };
        assert_eq!(key, *"p");
        attempt.complete(ty::GET_PROMISE_COMPLETION, cid, value("v"));
        assert_eq!(attempt.take(handle), success("v"));
        let handle = attempt.vm.sys_peek_promise("p".to_owned()).unwrap();
        let (Command::PeekPromise { cid, .. }, _) = attempt.command() else { panic!() };
        attempt.complete(ty::PEEK_PROMISE_COMPLETION, cid, NotificationResult::Void);
        assert_eq!(attempt.take(handle), Value::Void);
        let done = NonEmptyValue::Success(Bytes::from_static(b"v"));
        let handle = attempt.vm.sys_complete_promise("p".to_owned(), done, stable()).unwrap();
        let (Command::CompletePromise { result, cid, .. }, _) = attempt.command() else { panic!() };
        assert_eq!(result, Completion::Success(Bytes::from_static(b"v")));
        attempt.complete(ty::COMPLETE_PROMISE_COMPLETION, cid, failed(409, "promise was already completed"));
        assert_eq!(attempt.take(handle), failure(409, "promise was already completed"));

        let scope = || (version >= ProtocolVersion::V7).then(|| "sc".to_owned());
        let by_id = AttachInvocationTarget::InvocationId(OTHER.to_owned());
        let handle = attempt.vm.sys_attach_invocation(by_id).unwrap();
        let (Command::AttachInvocation { target, cid }, _) = attempt.command() else { panic!() };
        assert_eq!(target, AttachTarget::Invocation(id(OTHER)));
        attempt.complete(ty::ATTACH_INVOCATION_COMPLETION, cid, value("v"));
        assert_eq!(attempt.take(handle), success("v"));
        let workflow = AttachInvocationTarget::WorkflowId { name: "W".to_owned(), key: "k".to_owned(), scope: scope() };
        let handle = attempt.vm.sys_get_invocation_output(workflow).unwrap();
        let (Command::GetInvocationOutput { target, cid }, _) = attempt.command() else { panic!() };
        let scope_text = || scope().map(Text::from);
        assert_eq!(target, AttachTarget::Workflow { workflow: "W".into(), key: "k".into(), scope: scope_text() });
        attempt.complete(ty::GET_INVOCATION_OUTPUT_COMPLETION, cid, NotificationResult::Void);
        assert_eq!(attempt.take(handle), Value::Void);
        let idempotent = AttachInvocationTarget::IdempotencyId {
            service_name: "S".to_owned(),
            service_key: None,
            handler_name: "h".to_owned(),
            idempotency_key: "i".to_owned(),
            scope: scope(),
        };
        attempt.vm.sys_attach_invocation(idempotent).unwrap();
        let (Command::AttachInvocation { target, .. }, _) = attempt.command() else { panic!() };
        let expected = AttachTarget::Idempotent {
            service: "S".into(),
            key: None,
            handler: "h".into(),
            idempotency_key: "i".into(),
            scope: scope_text(),
        };
        assert_eq!(target, expected);
        attempt.finish();
    }
}

#[test]
fn errors_say_what_they_are_about() {
    for version in VERSIONS {
        let mut attempt = Attempt::new(version);
        attempt.vm.sys_sleep("nap".to_owned(), Duration::from_secs(1), None).unwrap();
        attempt.events();
        let error = Error::new(500u16, "boom")
            .with_stacktrace("at x")
            .with_next_retry_delay_override(Duration::from_millis(7))
            .with_should_pause(version >= ProtocolVersion::V7);
        attempt.vm.notify_error(error, Some(CommandRelationship::Last));
        let events = attempt.events();
        let [Event::Error(error)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((error.code, error.message.as_str(), error.stacktrace.as_str()), (500, "boom", "at x"));
        assert_eq!(error.next_retry_delay, Some(Duration::from_millis(7)));
        assert_eq!((error.related_command_index, error.related_command_type), (Some(1), Some(ty::SLEEP)));
        assert_eq!(error.related_command_name.as_deref(), Some("nap"));
        let expected = if version >= ProtocolVersion::V7 { ErrorBehavior::Pause } else { ErrorBehavior::Retry };
        assert_eq!(error.behavior, expected);
    }
}

#[test]
fn a_handler_that_changed_is_a_mismatch() {
    for version in VERSIONS {
        let mut first = Attempt::new(version);
        first.vm.sys_sleep("nap".to_owned(), Duration::from_secs(1), None).unwrap();
        first.events();
        let mut second = Setup::new(version).attempt(first.journal);
        assert!(second.vm.sys_run("other".to_owned()).is_err());
        let events = second.events();
        assert!(matches!(&events[..], [Event::Error(error)] if error.code == 570), "{events:?}");
    }
}
