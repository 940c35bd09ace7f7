//! Everything that fails an attempt, and what is proposed for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use millrace_invoker::OnMaxAttempts;
use millrace_model::{
    Text,
    command::{Action, Decision},
    invocation::{AttemptError, Pin},
    journal::Failure,
};
use millrace_partition::Invoker;
use millrace_protocol::{
    Mode,
    message::{CallCommandMessage, ErrorMessage, GetPromiseCommandMessage},
    ty,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use crate::support::{
    DEPLOYMENT, Node, Setup, bytes,
    endpoint::{Call, Endpoint, end, error, join, message, output, run, serve},
    plain, soon,
};

/// Runs one attempt against an endpoint that answers with this head.
async fn answered(response: http::response::Builder) -> (Decision, AttemptError, bool) {
    let response = Arc::new(std::sync::Mutex::new(Some(response)));
    let endpoint = Endpoint::start(move |mut call: Call| {
        let response = response.lock().unwrap().take().unwrap();
        async move { call.answer(response) }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.run_new().await;
    assert_eq!(node.leader.proposed(id)[0].attempt.pin, None, "a failure alone pins nothing");
    node.leader.failure(id)
}

#[tokio::test]
async fn statuses_fail_the_attempt_and_nothing_else() {
    for (status, code, counts) in [
        (415, "RT0015", false),
        (413, "RT0019", false),
        (502, "RT0010", true),
        (504, "RT0010", true),
        (404, "RT0010", false),
    ] {
        let (decision, error, counted) = answered(http::Response::builder().status(status)).await;
        assert!(matches!(decision, Decision::RetryAt(_)), "{status}");
        assert_eq!((error.code.as_str(), error.status, counted), (code, status.into(), counts), "{status}");
    }
}

#[tokio::test]
async fn an_endpoint_that_wants_to_be_spared_is() {
    let before = millrace_model::Env::now(&crate::support::TestEnv::default());
    let (decision, error, _) = answered(http::Response::builder().status(503).header("retry-after", "7")).await;
    let Decision::RetryAt(at) = decision else { panic!("{decision:?}") };
    assert!((7000..12_000).contains(&at.since(before)), "{at:?}");
    assert_eq!(error.code.as_str(), "RT0023");
}

#[tokio::test]
async fn another_content_type_is_no_answer() {
    let html = http::Response::builder().status(200).header("content-type", "text/html");
    let (_, error, _) = answered(html).await;
    assert_eq!(error.code.as_str(), "RT0012");
    assert!(error.message.contains("text/html"), "{}", error.message);
}

/// Runs one attempt against an endpoint that sends this behind the replay and ends.
async fn sent(data: Bytes) -> (Node, millrace_model::InvocationId) {
    let endpoint = Endpoint::start(move |mut call: Call| {
        let data = data.clone();
        async move {
            call.accept();
            call.replay().await;
            call.send(data);
            call.finish();
            let _ = call.try_frame().await;
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.run_new().await;
    (node, id)
}

async fn sent_code(data: Bytes) -> String {
    let (node, id) = sent(data).await;
    node.leader.failure(id).1.code.as_str().to_owned()
}

#[tokio::test]
async fn what_breaks_the_protocol_has_its_code() {
    assert_eq!(sent_code(Bytes::new()).await, "RT0010"); // Closed without a word.
    assert_eq!(sent_code(output("1")).await, "RT0010");
    assert_eq!(sent_code(end()).await, "RT0012"); // Without an output.
    assert_eq!(sent_code(bytes("garbage garbage garbage")).await, "RT0012");
    assert_eq!(sent_code(Bytes::from_static(&[4, 1, 0, 0, 0xff, 0xff, 0xff, 0xff])).await, "RT0003");
    assert_eq!(sent_code(Bytes::from_static(&[4, 1, 0, 0, 0, 0, 0, 1, 0xff])).await, "RT0012");
    assert_eq!(sent_code(Bytes::from_static(&[0xfc, 0, 0, 0, 0, 0, 0, 0])).await, "RT0017");
    assert_eq!(sent_code(error(570, "other")).await, "RT0016");
    assert_eq!(sent_code(error(571, "other")).await, "RT0012");
    assert_eq!(sent_code(error(404, "other")).await, "RT0007");
    let promise = GetPromiseCommandMessage { key: "p".into(), result_completion_id: 1, name: "n".into() };
    assert_eq!(sent_code(message(ty::GET_PROMISE, false, &promise)).await, "RT0017");
    let call = CallCommandMessage {
        service_name: "Nobody".into(),
        handler_name: "h".into(),
        invocation_id_notification_idx: 1,
        result_completion_id: 2,
        ..CallCommandMessage::default()
    };
    assert_eq!(sent_code(message(ty::CALL, false, &call)).await, "RT0018");
    let bogus = Bytes::from_static(&[0, 5, 0, 0, 0, 0, 0, 4, 0x08, 9, 0x72, 0]);
    assert_eq!(sent_code(join(&[bogus, output("1"), end()])).await, "RT0012");
}

#[tokio::test]
async fn what_came_before_the_failure_is_in_the_same_proposal() {
    let (node, id) = sent(join(&[run(1, "r"), error(500, "boom")])).await;
    let proposed = node.leader.proposed(id);
    assert_eq!(proposed.len(), 1, "{proposed:?}");
    assert_eq!(proposed[0].attempt.pin, Some(Pin { deployment: DEPLOYMENT, protocol_version: 7 }));
    assert!(matches!(&*proposed[0].attempt.actions, [Action::Command { .. }, Action::Fail { counts: true, .. }]));
    assert_eq!(node.leader.retries(id).failed_since_entry, 1);
}

#[tokio::test]
async fn an_error_may_say_what_comes_next() {
    let with = |behavior, next_retry_delay| {
        let error = ErrorMessage {
            code: 477,
            message: "boom".into(),
            stacktrace: "at x".into(),
            related_command_index: Some(2),
            behavior,
            next_retry_delay,
            ..ErrorMessage::default()
        };
        message(ty::ERROR, false, &error)
    };
    let decide = async |data| {
        let (node, id) = sent(data).await;
        node.leader.failure(id)
    };
    let (decision, error, _) = decide(with(1, None)).await;
    assert_eq!(decision, Decision::Pause);
    assert_eq!((error.message.as_str(), error.stacktrace.as_str()), ("boom", "at x"));
    assert_eq!(error.related.unwrap().index, Some(2));
    let failure = Failure { code: 477, message: Text::constant("boom"), metadata: vec![] };
    assert_eq!(decide(with(2, None)).await.0, Decision::Fail(failure));
    let before = millrace_model::Env::now(&crate::support::TestEnv::default());
    let Decision::RetryAt(at) = decide(with(0, Some(9000))).await.0 else { panic!() };
    assert!((9000..14_000).contains(&at.since(before)));
}

#[tokio::test]
async fn the_last_attempt_kills_or_pauses() {
    for (on_max_attempts, expected) in [
        (OnMaxAttempts::Pause, Decision::Pause),
        (OnMaxAttempts::Kill, Decision::Fail(Failure { code: 571, message: "no".into(), metadata: vec![] })),
    ] {
        let endpoint = Endpoint::start(|mut call: Call| async move {
            call.accept();
            call.replay().await;
            call.send(error(571, "no"));
            call.rest().await;
            call.finish();
        })
        .await;
        let mut setup = Setup::new(endpoint.uri());
        setup.policy.retry.on_max_attempts = on_max_attempts;
        let node = setup.start();
        let id = node.run_new().await;
        node.run(id).await;
        assert!(matches!(node.leader.failure(id).0, Decision::RetryAt(_)));
        node.run(id).await;
        assert_eq!(node.leader.failure(id).0, expected);
    }
}

#[tokio::test]
async fn without_a_deployment_nothing_is_tried() {
    let mut setup = Setup::new("http://127.0.0.1:1");
    setup.registered = false;
    let node = setup.start();
    let id = node.run_new().await;
    let (_, error, counts) = node.leader.failure(id);
    assert_eq!((error.code.as_str(), counts), ("RT0011", false));

    let mut setup = Setup::new("http://127.0.0.1:1");
    setup.max_version = 4;
    let node = setup.start();
    let id = node.run_new().await;
    assert_eq!(node.leader.failure(id).1.code.as_str(), "RT0013");

    let node = Setup::new("http://127.0.0.1:1").start();
    for (pin, code) in [
        (Pin { deployment: millrace_model::DeploymentId(99), protocol_version: 6 }, "RT0011"),
        (Pin { deployment: DEPLOYMENT, protocol_version: 4 }, "RT0014"),
    ] {
        let id = node.leader.create(plain(), Bytes::new());
        node.leader.change(id, |invocation| invocation.pin = Some(pin));
        node.run(id).await;
        assert_eq!(node.leader.failure(id).1.code.as_str(), code);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let node = Setup::new(uri).start();
    let id = node.run_new().await;
    let (decision, error, counts) = node.leader.failure(id);
    assert!(matches!(decision, Decision::RetryAt(_)));
    assert_eq!((error.code.as_str(), counts), ("RT0010", false));
    assert!(error.message.starts_with("could not connect to http://127.0.0.1:"), "{}", error.message);
}

#[tokio::test]
async fn a_pinned_invocation_stays_at_its_version() {
    let (versions, mut seen) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |call: Call| {
        let versions = versions.clone();
        async move {
            versions.send(call.head.headers["content-type"].clone()).await.unwrap();
            call.noop().await;
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), Bytes::new());
    node.leader.change(id, |invocation| invocation.pin = Some(Pin { deployment: DEPLOYMENT, protocol_version: 5 }));
    node.run(id).await;
    assert_eq!(seen.recv().await.unwrap(), "application/vnd.restate.invocation.v5");
}

#[tokio::test]
async fn a_silent_handler_is_asked_and_then_cut_off() {
    for mode in [Mode::BidiStream, Mode::RequestResponse] {
        let (resets, mut reset) = mpsc::channel(1);
        let endpoint = Endpoint::start(move |mut call: Call| {
            let resets = resets.clone();
            async move {
                call.accept();
                call.replay().await;
                assert!(call.frame().await.is_none(), "asked first");
                resets.send(call.reset_by_peer().await).await.unwrap();
            }
        })
        .await;
        let mut setup = Setup::new(endpoint.uri());
        setup.mode = mode;
        setup.policy.inactivity_timeout = Duration::from_millis(60);
        setup.policy.abort_timeout = Duration::from_millis(90);
        let node = setup.start();
        let id = node.run_new().await;
        let (_, error, counts) = node.leader.failure(id);
        assert_eq!((error.code.as_str(), counts), ("RT0001", true), "{mode:?}");
        assert_eq!(soon("the reset", reset.recv()).await.unwrap(), h2::Reason::CANCEL);
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_read_is_cut_off() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        // Takes what its window allows and gives no more room.
        std::future::poll_fn(|cx| call.stream().poll_reset(cx)).await.unwrap();
    })
    .await;
    let mut setup = Setup::new(endpoint.uri());
    setup.policy.abort_timeout = Duration::from_millis(150);
    let node = setup.start();
    let id = node.leader.create(plain(), vec![b'x'; 8 << 20].into());
    node.run(id).await;
    let (_, error, _) = node.leader.failure(id);
    assert_eq!(error.code.as_str(), "RT0001");
    assert!(error.message.contains("does not read"), "{}", error.message);
}

#[tokio::test]
async fn every_frame_restarts_the_clock() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        for n in 1..=8 {
            ticks.tick().await;
            call.send(run(n, "r"));
        }
        call.send(join(&[output("1"), end()]));
        call.rest().await;
        call.finish();
    })
    .await;
    let mut setup = Setup::new(endpoint.uri());
    setup.policy.inactivity_timeout = Duration::from_millis(250);
    setup.policy.abort_timeout = Duration::from_millis(1);
    let node = setup.start();
    let id = node.run_new().await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

#[tokio::test]
async fn a_byte_now_and_then_is_no_frame() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        call.send(Bytes::from_static(&[4, 1, 0, 0, 0, 1, 0, 0]));
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while call.stream().send_data(Bytes::from_static(&[0]), false).is_ok() {
            ticks.tick().await;
        }
    })
    .await;
    let mut setup = Setup::new(endpoint.uri());
    setup.policy.inactivity_timeout = Duration::from_millis(150);
    setup.policy.abort_timeout = Duration::from_millis(150);
    let node = setup.start();
    let id = node.run_new().await;
    let (_, error, _) = node.leader.failure(id);
    assert_eq!(error.code.as_str(), "RT0001");
}

#[tokio::test]
async fn a_reset_stream_fails_alone() {
    let (ready, mut waits) = mpsc::channel(1);
    let release = Arc::new(tokio::sync::Notify::new());
    let released = release.clone();
    let number = Arc::new(AtomicUsize::new(0));
    let endpoint = Endpoint::start(move |mut call: Call| {
        let (ready, released, first) = (ready.clone(), released.clone(), number.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            call.accept();
            call.replay().await;
            assert_eq!(call.connection, 0);
            if first {
                ready.send(()).await.unwrap();
                released.notified().await;
                call.send(join(&[output("1"), end()]));
                call.rest().await;
                call.finish();
            } else {
                call.reset(h2::Reason::INTERNAL_ERROR);
            }
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let calm = node.leader.create(plain(), Bytes::new());
    let attempt = node.attempt(calm);
    waits.recv().await.unwrap();
    let id = node.run_new().await;
    let (_, error, counts) = node.leader.failure(id);
    assert_eq!((error.code.as_str(), counts), ("RT0010", true));
    release.notify_one();
    node.closed(calm, attempt).await;
    assert_eq!(node.leader.actions(calm).last(), Some(&Action::End));
}

#[tokio::test]
async fn a_broken_connection_fails_only_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let (ready, mut waits) = mpsc::channel(8);
    let release = Arc::new(tokio::sync::Notify::new());
    let released = release.clone();
    // One stream a connection; the first connection is cut.
    let (cut, mut cutting) = mpsc::channel::<()>(1);
    tokio::spawn(async move {
        let handler = move |mut call: Call| {
            let (ready, released) = (ready.clone(), released.clone());
            async move {
                call.accept();
                call.replay().await;
                ready.send(call.connection).await.unwrap();
                released.notified().await;
                call.send(join(&[output("1"), end()]));
                call.rest().await;
                call.finish();
            }
        };
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(1);
        let mut cut = None;
        for number in 0.. {
            let socket = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                Some(()) = cutting.recv() => {
                    let task: tokio::task::JoinHandle<()> = cut.take().unwrap();
                    task.abort();
                    listener.accept().await.unwrap().0
                }
            };
            let task = tokio::spawn(serve(socket, builder.clone(), number, handler.clone()));
            cut.get_or_insert(task);
        }
    });
    let mut setup = Setup::new(uri);
    setup.client.initial_max_send_streams = 1;
    let node = setup.start();
    let unlucky = node.leader.create(plain(), Bytes::new());
    let unlucky_attempt = node.attempt(unlucky);
    assert_eq!(soon("the first", waits.recv()).await, Some(0));
    let calm = node.leader.create(plain(), Bytes::new());
    let calm_attempt = node.attempt(calm);
    assert_eq!(soon("the second", waits.recv()).await, Some(1));
    cut.send(()).await.unwrap();
    node.closed(unlucky, unlucky_attempt).await;
    assert_eq!(node.leader.failure(unlucky).1.code.as_str(), "RT0010");
    assert_eq!(node.leader.actions(calm), []);
    release.notify_waiters();
    node.closed(calm, calm_attempt).await;
    assert_eq!(node.leader.actions(calm).last(), Some(&Action::End));
}

#[tokio::test]
async fn a_connection_that_goes_away_is_replaced_without_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    // Every connection takes one request and says goodbye.
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                let Some(Ok((request, respond))) = connection.accept().await else { return };
                connection.graceful_shutdown();
                tokio::spawn(Call::new(request, respond, number).noop());
                while connection.accept().await.is_some() {}
            });
        }
    });
    let node = Setup::new(uri).start();
    for _ in 0..5 {
        let id = node.run_new().await;
        assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off_behind_its_end() {
    let (resets, mut reset) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let resets = resets.clone();
        async move {
            call.accept();
            call.replay().await;
            call.send(join(&[output("1"), end()]));
            loop {
                let stream = call.stream();
                stream.reserve_capacity(16 << 10);
                let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                let Some(Ok(room)) = room else { break };
                if stream.send_data(vec![0; room].into(), false).is_err() {
                    break;
                }
            }
            resets.send(()).await.unwrap();
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.run_new().await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
    soon("the reset", reset.recv()).await.unwrap();
}

#[tokio::test]
async fn what_the_leader_refuses_is_the_failure() {
    let (ready, mut waits) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let ready = ready.clone();
        async move {
            call.accept();
            call.replay().await;
            ready.send(()).await.unwrap();
            call.reset_by_peer().await;
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.leader.create(plain(), Bytes::new());
    let attempt = node.attempt(id);
    waits.recv().await.unwrap();
    let error = AttemptError {
        code: "RT0012".into(),
        status: 571,
        message: "out of order".into(),
        stacktrace: "".into(),
        related: None,
    };
    node.leader.refuse(id, error.clone());
    node.closed(id, attempt).await;
    assert_eq!(node.leader.failure(id).1, error);
}

#[tokio::test]
async fn an_endpoint_that_speaks_http1_only_is_told_by_its_message() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut preface = [0; 24];
            let _ = socket.read_exact(&mut preface).await;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    });
    let node = Setup::new(uri).start();
    let id = node.run_new().await;
    let (_, error, counts) = node.leader.failure(id);
    assert_eq!((error.code.as_str(), counts), ("RT0010", false));
    assert!(error.message.contains("HTTP/1.1"), "{}", error.message);
}

#[tokio::test]
async fn no_garbage_does_harm() {
    // A little generator, so that a failing seed is found again.
    let garbage = |seed: u64| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut data = Vec::new();
        for _ in 0..next() % 20 {
            // Half of it begins like a frame of ours.
            if next() % 2 == 0 {
                let types = [0u16, 1, 2, 3, 5, 6, 0x401, 0x403, 0x40c, 0x40d, 0x411, 0x8011];
                data.extend_from_slice(&types[next() as usize % types.len()].to_be_bytes());
                data.extend_from_slice(&[0, 0, 0, 0, 0]);
                data.push(next() as u8 % 16);
            }
            data.extend((0..next() % 16).map(|_| next() as u8));
        }
        Bytes::from(data)
    };
    let endpoint = Endpoint::start(move |mut call: Call| async move {
        call.accept();
        let (start, _) = call.replay().await;
        let seed = start.random_seed;
        call.send(garbage(seed));
        call.finish();
        while let Ok(Some(_)) = call.try_frame().await {}
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    for seed in 0..500 {
        let id = node.leader.create(plain(), Bytes::new());
        node.leader.change(id, |invocation| invocation.random_seed = seed);
        node.run(id).await;
        let last = node.leader.actions(id).pop();
        assert!(
            matches!(last, Some(Action::Fail { .. } | Action::Suspend { .. } | Action::End)),
            "seed {seed}: {last:?}"
        );
    }
    // And the invoker is as good as before.
    let endpoint = Endpoint::start(Call::noop).await;
    let node = Setup::new(endpoint.uri()).start();
    let id = node.run_new().await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

#[tokio::test]
async fn messages_have_room_in_the_budget_or_fail() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        let large = vec![b'x'; 3 << 20];
        let output = millrace_protocol::message::OutputCommandMessage {
            result: Some(millrace_protocol::message::OutputResult::Value(millrace_protocol::message::Value {
                content: large.into(),
            })),
            name: String::new(),
        };
        call.send(join(&[message(ty::OUTPUT, false, &output), end()]));
        while let Ok(Some(_)) = call.try_frame().await {}
        call.finish();
    })
    .await;
    for (memory_limit, good) in [(64 << 20, true), (1 << 20, false)] {
        let mut setup = Setup::new(endpoint.uri());
        setup.config.memory_limit = memory_limit;
        let node = setup.start();
        let id = node.run_new().await;
        match good {
            true => assert_eq!(node.leader.actions(id).last(), Some(&Action::End)),
            false => assert_eq!(node.leader.failure(id).1.code.as_str(), "ENG0001"),
        }
    }
    let mut setup = Setup::new(endpoint.uri());
    setup.config.message_size_limit = 1 << 20;
    let node = setup.start();
    let id = node.run_new().await;
    assert_eq!(node.leader.failure(id).1.code.as_str(), "RT0003");
}

#[tokio::test]
async fn a_journal_that_never_ends_is_refused() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        for n in 1..400 {
            call.send(run(n, &"x".repeat(10_000)));
        }
        call.rest().await;
    })
    .await;
    let mut setup = Setup::new(endpoint.uri());
    setup.config.memory_limit = 2 << 20;
    let node = setup.start();
    let id = node.run_new().await;
    let (_, error, _) = node.leader.failure(id);
    assert_eq!(error.code.as_str(), "RT0003");
    assert!(error.message.contains("memory-limit"), "{}", error.message);
    assert!(node.leader.actions(id).len() < 220, "about 200 commands of 10,000 bytes fit");
}

#[tokio::test]
async fn no_more_attempts_than_slots() {
    let endpoint = Endpoint::start(Call::noop).await;
    let mut setup = Setup::new(endpoint.uri());
    setup.config.concurrent_invocations_limit = 2;
    let node = setup.start();
    assert!(node.invoker.try_reserve() && node.invoker.try_reserve() && !node.invoker.try_reserve());
    node.invoker.release();
    for _ in 0..5 {
        node.run_new().await;
    }
    assert!(node.invoker.try_reserve() && !node.invoker.try_reserve());
}
