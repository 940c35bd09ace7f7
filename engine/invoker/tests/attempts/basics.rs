//! What a well-behaved endpoint sees and can do.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use millrace_invoker::AttemptPolicy;
use millrace_model::{
    command::{Action, CommandEffect},
    invocation::Pin,
    journal::{Awaiting, Completion, Entry},
};
use millrace_protocol::{
    Mode,
    message::{
        AwaitingOnMessage, Future, GetLazyStateCommandMessage, ProposeRunCompletionMessage, ProposedResult,
        SetStateCommandMessage, SleepCommandMessage, Value,
    },
    ty,
};
use prost::Message;
use tokio::sync::mpsc;

use crate::support::{
    DEPLOYMENT, Setup, bytes,
    endpoint::{Call, Endpoint, end, error, join, message, output, run, suspension},
    object, plain, soon,
};

fn propose(completion: u32, value: &'static str, ack: bool) -> Bytes {
    let result = Some(ProposedResult::Value(bytes(value)));
    message(ty::PROPOSE_RUN_COMPLETION, ack, &ProposeRunCompletionMessage { result_completion_id: completion, result })
}

fn sleep(completion: u32, wake_up_time: u64) -> Bytes {
    let sleep = SleepCommandMessage { wake_up_time, result_completion_id: completion, name: String::new() };
    message(ty::SLEEP, false, &sleep)
}

fn awaiting_on(completions: &[u32], executing_side_effects: bool) -> Bytes {
    let future = Future { waiting_completions: completions.to_vec(), waiting_signals: vec![1], ..Future::default() };
    message(ty::AWAITING_ON, false, &AwaitingOnMessage { awaiting_on: Some(future), executing_side_effects })
}

fn now_ms() -> u64 {
    millrace_model::Env::now(&crate::support::TestEnv::default()).0
}

#[tokio::test]
async fn output_and_end_are_one_proposal_with_the_pin() {
    let endpoint = Endpoint::start(Call::noop).await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.run_new().await;
    let proposed = node.leader.proposed(id);
    assert_eq!(proposed.len(), 1, "{proposed:?}");
    assert_eq!(proposed[0].attempt.pin, Some(Pin { deployment: DEPLOYMENT, protocol_version: 7 }));
    assert!(!proposed[0].lazy);
    let [Action::Command { index: 1, ty: ty::OUTPUT, raw, effect }, Action::End] = &*proposed[0].attempt.actions else {
        panic!("{proposed:?}")
    };
    let CommandEffect::Output { value: Some(value), failure: None } = effect else { panic!("{effect:?}") };
    assert_eq!(value.within(raw), bytes("\"ok\""));
}

#[tokio::test]
async fn the_request_is_as_specified() {
    let (heads, mut seen) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let heads = heads.clone();
        async move {
            call.accept();
            let (start, entries) = call.replay().await;
            heads.send((call.head.clone(), start, entries)).await.unwrap();
            call.noop_from_here().await;
        }
    })
    .await;
    let mut setup = Setup::new(format!("{}/prefix/", endpoint.uri()));
    setup.headers = vec![("x-token".parse().unwrap(), "secret".parse().unwrap())];
    let node = setup.start();
    let id = node.leader.create(object("my key/é"), bytes("1"));
    node.leader.set_state(id, &[("a", "1"), ("b", "")]);
    node.leader.change(id, |invocation| invocation.idempotency_key = Some("ik".into()));
    node.run(id).await;
    let (head, start, entries) = seen.recv().await.unwrap();
    assert_eq!(head.method, "POST");
    assert_eq!(head.uri.path(), "/prefix/invoke/Counter/add");
    for (name, value) in [
        ("content-type", "application/vnd.restate.invocation.v7"),
        ("accept", "application/vnd.restate.invocation.v7"),
        ("x-restate-invocation-id", id.to_string().as_str()),
        ("x-restate-service-key", "my%20key%2F%C3%A9"),
        ("x-restate-cluster-name", "test"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-token", "secret"),
    ] {
        assert_eq!(head.headers[name], value, "{name}");
    }
    assert_eq!(start.id, Bytes::copy_from_slice(&id.to_bytes()));
    assert_eq!(start.debug_id, id.to_string());
    assert_eq!((start.known_entries, start.key.as_str(), start.partial_state), (1, "my key/é", false));
    assert_eq!((start.random_seed, start.idempotency_key.as_deref()), (42, Some("ik")));
    let state: Vec<_> = start.state_map.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
    assert_eq!(state, [(&b"a"[..], &b"1"[..]), (b"b", b"")]);
    assert_eq!(entries[0].0, ty::INPUT);
}

impl Call {
    /// What is left of a handler that does nothing.
    async fn noop_from_here(mut self) {
        self.send(join(&[output("\"ok\""), end()]));
        self.rest().await;
        self.finish();
    }
}

#[tokio::test]
async fn an_unkeyed_or_lazy_start_says_that_state_may_be_missing() {
    let (starts, mut seen) = mpsc::channel(4);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let starts = starts.clone();
        async move {
            call.accept();
            starts.send(call.replay().await.0).await.unwrap();
            call.noop_from_here().await;
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    node.run_new().await;
    assert!(seen.recv().await.unwrap().partial_state);
    let mut setup = Setup::new(endpoint.uri());
    setup.policy.lazy_state = true;
    let node = setup.start();
    let id = node.leader.create(object("k"), bytes("1"));
    node.leader.set_state(id, &[("a", "1")]);
    node.run(id).await;
    let start = seen.recv().await.unwrap();
    assert!(start.partial_state && start.state_map.is_empty());
}

#[tokio::test]
async fn state_output_and_end_are_one_proposal() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        let set =
            SetStateCommandMessage { key: bytes("n"), value: Some(Value { content: bytes("7") }), name: String::new() };
        // In frames of their own.
        call.send(message(ty::SET_STATE, false, &set));
        call.send(output(""));
        call.send(end());
        call.rest().await;
        call.finish();
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(object("k"), bytes("1"));
    node.run(id).await;
    let proposed = node.leader.proposed(id);
    assert_eq!(proposed.len(), 1, "{proposed:?}");
    let actions = &proposed[0].attempt.actions;
    let Action::Command { raw, effect: CommandEffect::SetState { key, value }, .. } = &actions[0] else { panic!() };
    assert_eq!((key.within(raw), value.within(raw)), (bytes("n"), bytes("7")));
    assert_eq!(actions.len(), 3);
}

/// A step, then the end; tells what answered the proposal.
async fn step(mut call: Call, ack: bool, answers: mpsc::Sender<(u16, Bytes)>) {
    call.accept();
    call.replay().await;
    call.send(join(&[run(1, "r1"), propose(1, "42", ack)]));
    let frame = call.frame().await.unwrap();
    answers.send((frame.ty, frame.payload)).await.unwrap();
    call.noop_from_here().await;
}

async fn step_answer(max_version: u32, ack: bool) -> (u16, Bytes, usize) {
    let (answers, mut answered) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |call| step(call, ack, answers.clone())).await;
    let mut setup = Setup::new(endpoint.uri());
    setup.max_version = max_version;
    let node = setup.start();
    let id = node.run_new().await;
    let (ty, payload) = answered.recv().await.unwrap();
    let proposed = node.leader.proposed(id);
    assert_eq!(proposed[0].attempt.pin.unwrap().protocol_version, max_version.min(7));
    assert_eq!(
        proposed[0].attempt.actions[1],
        Action::RunResult { completion: 1, result: Completion::Success(bytes("42")), ack: ack && max_version >= 7 }
    );
    (ty, payload, proposed.len())
}

#[tokio::test]
async fn a_step_is_acknowledged_on_7_and_answered_whole_before() {
    let ack = Bytes::from_static(&[0x08, 1]);
    assert_eq!(step_answer(7, true).await, (ty::PROPOSE_RUN_COMPLETION_ACK, ack, 2));
    let whole = Bytes::from_static(&[0x08, 1, 0x2a, 4, 0x0a, 2, b'4', b'2']);
    assert_eq!(step_answer(8, false).await, (ty::RUN_COMPLETION, whole.clone(), 2));
    assert_eq!(step_answer(6, true).await, (ty::RUN_COMPLETION, whole.clone(), 2));
    assert_eq!(step_answer(5, true).await, (ty::RUN_COMPLETION, whole, 2));
}

#[tokio::test]
async fn a_replay_is_what_was_sent_byte_for_byte() {
    let (replays, mut seen) = mpsc::channel(2);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let replays = replays.clone();
        async move {
            call.accept();
            let (start, entries) = call.replay().await;
            replays.send((start, entries.clone())).await.unwrap();
            if start_is_fresh(&entries) {
                // An unknown field must come back, too.
                let mut run = run(1, "r1").to_vec();
                run.extend_from_slice(&[0xf8, 0x07, 5]);
                run[7] += 3;
                call.send(join(&[run.into(), propose(1, "x", true)]));
                call.expect(ty::PROPOSE_RUN_COMPLETION_ACK).await;
                call.send(error(500, "later"));
                call.rest().await;
                call.finish();
            } else {
                call.noop_from_here().await;
            }
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.run_new().await;
    let first = seen.recv().await.unwrap();
    node.run(id).await;
    let (start, entries) = seen.recv().await.unwrap();
    assert_eq!((start.known_entries, start.retry_count_since_last_stored_entry), (3, 1));
    assert_eq!(entries[0], first.1[0]);
    assert_eq!(entries[1], (ty::RUN, Bytes::from_static(&[0x58, 1, 0x62, 2, b'r', b'1', 0xf8, 0x07, 5])));
    assert_eq!(entries[2].0, ty::RUN_COMPLETION);
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

fn start_is_fresh(entries: &[(u16, Bytes)]) -> bool {
    entries.len() == 1
}

#[tokio::test]
async fn a_large_replay_flows() {
    let total = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = total.clone();
    let endpoint = Endpoint::start(move |mut call: Call| {
        let count = count.clone();
        async move {
            call.accept();
            let (_, entries) = call.replay().await;
            count.store(entries.iter().map(|(_, payload)| payload.len()).sum(), Ordering::SeqCst);
            call.noop_from_here().await;
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), vec![b'x'; 9 << 20].into());
    for n in 0..3000u32 {
        let raw = Bytes::from(n.to_be_bytes().repeat(500));
        node.leader.append(id, Entry::Command { ty: ty::SET_STATE, raw });
        node.leader.change(id, |invocation| invocation.commands += 1);
    }
    node.run(id).await;
    assert!(total.load(Ordering::SeqCst) > (9 << 20) + 6_000_000);
    assert_eq!(node.leader.actions(id).len(), 2);
}

#[tokio::test]
async fn lazy_state_is_answered_from_the_feed() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        let get = |key, result_completion_id| {
            let get = GetLazyStateCommandMessage { key: bytes(key), result_completion_id, name: String::new() };
            message(ty::GET_LAZY_STATE, false, &get)
        };
        call.send(get("a", 1));
        let hit = call.expect(ty::GET_LAZY_STATE_COMPLETION).await;
        assert_eq!(hit, Bytes::from_static(&[0x08, 1, 0x2a, 3, 0x0a, 1, b'1']));
        call.send(get("b", 2));
        let miss = call.expect(ty::GET_LAZY_STATE_COMPLETION).await;
        assert_eq!(miss, Bytes::from_static(&[0x08, 2, 0x22, 0]));
        call.noop_from_here().await;
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(object("k"), bytes("1"));
    node.leader.set_state(id, &[("a", "1")]);
    node.run(id).await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

#[tokio::test]
async fn silence_is_answered_with_a_half_close_and_a_suspension_taken() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        call.send(sleep(1, now_ms() + 500));
        assert!(call.frame().await.is_none(), "the request is ended");
        call.send(suspension(&[1], &[1]));
        call.finish();
    })
    .await;
    let mut setup = Setup::new(endpoint.uri());
    setup.max_version = 6;
    setup.policy = AttemptPolicy { inactivity_timeout: std::time::Duration::from_millis(80), ..setup.policy };
    let node = setup.start();
    let id = node.run_new().await;
    let awaiting = Awaiting { completions: vec![1], signals: vec![1], ..Awaiting::default() };
    assert_eq!(node.leader.actions(id).last(), Some(&Action::Suspend { awaiting, seen: 1 }));
}

#[tokio::test]
async fn a_far_timer_suspends_at_once_and_with_its_command() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        call.send(join(&[sleep(1, now_ms() + 3_600_000), awaiting_on(&[1], false)]));
        assert!(call.frame().await.is_none(), "the request is ended");
        call.send(suspension(&[1], &[1]));
        call.finish();
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.run_new().await;
    let proposed = node.leader.proposed(id);
    assert_eq!(proposed.len(), 1, "{proposed:?}");
    assert!(matches!(&*proposed[0].attempt.actions, [Action::Command { .. }, Action::Suspend { seen: 1, .. }]));
}

#[tokio::test]
async fn what_fired_before_the_suspension_counts_as_seen() {
    let (ready, mut waits) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let ready = ready.clone();
        async move {
            call.accept();
            call.replay().await;
            call.send(sleep(1, now_ms() + 10));
            ready.send(()).await.unwrap();
            call.expect(ty::SLEEP_COMPLETION).await;
            call.send(join(&[sleep(2, now_ms() + 3_600_000), awaiting_on(&[2], false)]));
            assert!(call.frame().await.is_none());
            call.send(suspension(&[2], &[1]));
            call.finish();
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    waits.recv().await.unwrap();
    node.leader.until("the sleep", id, |proposed, _| !proposed.is_empty()).await;
    node.leader.fire(id, 1); // Entry 2, behind Input and Sleep.
    node.closed(id, attempt).await;
    assert!(matches!(node.leader.actions(id).last(), Some(Action::Suspend { seen: 3, .. })));
}

#[tokio::test]
async fn a_suspension_that_did_not_wait_for_the_end_has_seen_the_replay_only() {
    let (ready, mut waits) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let ready = ready.clone();
        async move {
            call.accept();
            call.replay().await;
            ready.send(()).await.unwrap();
            call.expect(ty::SIGNAL).await;
            call.send(suspension(&[], &[17]));
            assert!(call.frame().await.is_none());
            call.finish();
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    waits.recv().await.unwrap();
    node.leader.signal(id, 17);
    node.closed(id, attempt).await;
    assert!(matches!(node.leader.actions(id).last(), Some(Action::Suspend { seen: 1, .. })));
}

#[tokio::test]
async fn a_hint_is_proposed_lazily_when_the_handler_stays_silent() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        // Of a call, so that nobody suspends.
        call.send(awaiting_on(&[9], false));
        call.expect(ty::SIGNAL).await;
        call.noop_from_here().await;
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    node.leader.until("the hint", id, |proposed, _| !proposed.is_empty()).await;
    let proposed = node.leader.proposed(id);
    assert!(proposed[0].lazy);
    let awaiting = Some(Awaiting { completions: vec![9], signals: vec![1], ..Awaiting::default() });
    assert_eq!(proposed[0].attempt.actions, [Action::AwaitingOn { awaiting, seen: 1 }]);
    node.leader.signal(id, 1);
    node.closed(id, attempt).await;
}

#[tokio::test]
async fn a_running_step_keeps_the_stream_open() {
    let (ready, mut waits) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let ready = ready.clone();
        async move {
            call.accept();
            call.replay().await;
            call.send(join(&[sleep(1, now_ms() + 3_600_000), run(2, "r"), awaiting_on(&[1, 2], true)]));
            ready.send(()).await.unwrap();
            // Something comes, not the end of the request.
            call.expect(ty::SIGNAL).await;
            call.send(propose(2, "1", true));
            call.expect(ty::PROPOSE_RUN_COMPLETION_ACK).await;
            call.noop_from_here().await;
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    waits.recv().await.unwrap();
    // What is held goes out after a while, nobody waiting for it.
    node.leader.until("the commands", id, |proposed, _| !proposed.is_empty()).await;
    node.leader.signal(id, 17);
    node.closed(id, attempt).await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

#[tokio::test]
async fn request_response_ends_the_request_with_the_replay() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.replay().await;
        assert!(call.frame().await.is_none(), "ended with the replay");
        call.accept();
        call.send(join(&[run(1, "r"), propose(1, "1", true), suspension(&[1], &[1])]));
        call.finish();
    })
    .await;
    for inactivity_is_zero in [false, true] {
        let mut setup = Setup::new(endpoint.uri());
        if inactivity_is_zero {
            setup.policy.inactivity_timeout = std::time::Duration::ZERO;
        } else {
            setup.mode = Mode::RequestResponse;
        }
        let node = setup.start();
        let id = node.run_new().await;
        let proposed = node.leader.proposed(id);
        assert_eq!(proposed.len(), 1, "{proposed:?}");
        let [Action::Command { .. }, Action::RunResult { ack: false, .. }, Action::Suspend { seen: 1, .. }] =
            &*proposed[0].attempt.actions
        else {
            panic!("{proposed:?}")
        };
    }
}

#[tokio::test]
async fn the_result_is_proposed_before_the_stream_has_ended() {
    let (release, mut held) = mpsc::channel::<()>(1);
    let held = Arc::new(tokio::sync::Mutex::new((held.recv_many(&mut Vec::new(), 0).await, held)));
    let endpoint = Endpoint::start(move |mut call: Call| {
        let held = held.clone();
        async move {
            call.accept();
            call.replay().await;
            call.send(join(&[output("1"), end()]));
            assert!(call.frame().await.is_none(), "the request ends first");
            held.lock().await.1.recv().await;
            call.finish();
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.run_new().await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
    release.send(()).await.unwrap();
}

#[tokio::test]
async fn an_abort_resets_and_proposes_nothing() {
    let (resets, mut reset) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let resets = resets.clone();
        async move {
            call.accept();
            call.replay().await;
            resets.send(None).await.unwrap();
            resets.send(Some(call.reset_by_peer().await)).await.unwrap();
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    assert_eq!(reset.recv().await.unwrap(), None);
    node.leader.abort(id);
    node.closed(id, attempt).await;
    assert_eq!(soon("the reset", reset.recv()).await.unwrap(), Some(h2::Reason::CANCEL));
    assert_eq!(node.leader.actions(id), []);
}

#[tokio::test]
async fn an_operators_pause_half_closes() {
    let (ready, mut waits) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let ready = ready.clone();
        async move {
            call.accept();
            call.replay().await;
            ready.send(()).await.unwrap();
            assert!(call.frame().await.is_none());
            call.send(suspension(&[], &[17]));
            call.finish();
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    waits.recv().await.unwrap();
    node.leader.feed(id, millrace_partition::Feed::Suspend);
    node.closed(id, attempt).await;
    assert!(matches!(node.leader.actions(id).last(), Some(Action::Suspend { .. })));
}

#[tokio::test]
async fn many_attempts_share_few_connections() {
    let endpoint = Endpoint::start(Call::noop).await;
    let node = Arc::new(Setup::new(endpoint.uri()).start());
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..600 {
        let node = node.clone();
        runs.spawn(async move { node.run_new().await });
    }
    while let Some(run) = runs.join_next().await {
        assert_eq!(node.leader.actions(run.unwrap()).len(), 2);
    }
    let connections = endpoint.connections.load(Ordering::SeqCst);
    assert!((1..=8).contains(&connections), "{connections}");
}

#[tokio::test]
async fn an_endpoint_that_takes_few_streams_gets_more_connections() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(2);
    let endpoint = Endpoint::with(builder, Call::noop).await;
    let node = Arc::new(Setup::new(endpoint.uri()).start());
    node.run_new().await;
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let node = node.clone();
        runs.spawn(async move { node.run_new().await });
    }
    while let Some(run) = runs.join_next().await {
        assert_eq!(node.leader.actions(run.unwrap()).len(), 2);
    }
}

#[tokio::test]
async fn a_message_decodes_as_it_was_sent() {
    // Of the helpers above: what they make is what the protocol says.
    assert_eq!(output("")[..], [4, 1, 0, 0, 0, 0, 0, 2, 0x72, 0]);
    let error = error(500, "x");
    assert_eq!(millrace_protocol::message::ErrorMessage::decode(error.slice(8..)).unwrap().code, 500);
}
