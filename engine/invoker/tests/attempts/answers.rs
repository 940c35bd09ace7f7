//! Answers that are in no journal: acknowledgements of commands, and reads of state of version 8.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use millrace_model::command::Action;
use millrace_protocol::{
    Mode,
    message::{
        CommandAckMessage, EphemeralState, GetStateEphemeralCommandMessage, GetStateEphemeralNotificationMessage,
        SetStateCommandMessage, Value,
    },
    ty,
};
use prost::Message;
use tokio::sync::{Notify, mpsc};

use crate::support::{
    Setup, bytes,
    endpoint::{Call, Endpoint, end, join, message, output},
    object, plain, soon,
};

fn read(id: u32, key: &str) -> Bytes {
    let key = Bytes::copy_from_slice(key.as_bytes());
    message(ty::GET_STATE_EPHEMERAL, false, &GetStateEphemeralCommandMessage { ephemeral_completion_id: id, key })
}

fn set_asking(key: &'static str) -> Bytes {
    let set =
        SetStateCommandMessage { key: bytes(key), value: Some(Value { content: bytes("1") }), name: String::new() };
    message(ty::SET_STATE, true, &set)
}

impl Call {
    async fn state(&mut self) -> (u32, Option<Bytes>) {
        let answer = self.expect(ty::GET_STATE_EPHEMERAL_ANSWER).await;
        let answer = GetStateEphemeralNotificationMessage::decode(answer).unwrap();
        let value = match answer.result.expect("a result") {
            EphemeralState::Void(_) => None,
            EphemeralState::Value(value) => Some(value.content),
        };
        (answer.ephemeral_completion_id, value)
    }

    async fn acknowledged(&mut self) -> u32 {
        CommandAckMessage::decode(self.expect(ty::COMMAND_ACK).await).unwrap().command_index
    }

    async fn ends(mut self) {
        self.send(join(&[output("1"), end()]));
        self.rest().await;
        self.finish();
    }
}

fn version_8(endpoint: &Endpoint) -> Setup {
    let mut setup = Setup { max_version: 8, ..Setup::new(endpoint.uri()) };
    setup.config.experimental_protocol_v8 = true;
    setup
}

#[tokio::test]
async fn state_is_read_as_it_is_now_and_leaves_no_trace() {
    let wrote = Arc::new(Notify::new());
    let (asks, mut asked) = mpsc::channel(1);
    let endpoint = Endpoint::start({
        let wrote = wrote.clone();
        move |mut call: Call| {
            let (wrote, asks) = (wrote.clone(), asks.clone());
            async move {
                assert_eq!(call.head.headers["content-type"], "application/vnd.restate.invocation.v8");
                call.accept();
                call.replay().await;
                call.send(join(&[read(1, "a"), read(2, "b")]));
                assert_eq!(call.state().await, (1, Some(bytes("1"))));
                assert_eq!(call.state().await, (2, None));
                asks.send(()).await.unwrap();
                wrote.notified().await;
                call.send(read(3, "b"));
                assert_eq!(call.state().await, (3, Some(bytes("new"))));
                call.ends().await;
            }
        }
    })
    .await;
    let node = version_8(&endpoint).start();
    let id = node.leader.create(object("k"), bytes("1"));
    node.leader.set_state(id, &[("a", "1")]);
    let attempt = node.attempt(id);
    soon("the first reads", asked.recv()).await.unwrap();
    node.leader.set_state(id, &[("a", "1"), ("b", "new")]);
    wrote.notify_one();
    node.closed(id, attempt).await;
    assert_eq!(node.leader.proposed(id)[0].attempt.pin.map(|pin| pin.protocol_version), Some(8));
    let actions = node.leader.actions(id);
    assert!(matches!(&actions[..], [Action::Command { index: 1, .. }, Action::End]), "{actions:?}");
}

#[tokio::test]
async fn reads_without_number_are_all_answered() {
    const READS: u32 = 5000;
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        let reads: Vec<_> = (1..=READS).map(|id| read(id, if id % 2 == 0 { "a" } else { "b" })).collect();
        call.send(join(&reads));
        for id in 1..=READS {
            let (answered, value) = call.state().await;
            assert_eq!((answered, value.is_some()), (id, id % 2 == 0));
        }
        call.ends().await;
    })
    .await;
    let node = version_8(&endpoint).start();
    let id = node.leader.create(object("k"), bytes("1"));
    // Together they are more than one look brings, and more than is encoded ahead.
    let large: &'static str = "x".repeat(40_000).leak();
    node.leader.set_state(id, &[("a", large)]);
    node.run(id).await;
    assert!(matches!(node.leader.actions(id).last(), Some(Action::End)));
    let sizes: BTreeMap<usize, usize> = node.leader.looks().iter().fold(BTreeMap::new(), |mut sizes, keys| {
        *sizes.entry(keys.len()).or_default() += 1;
        sizes
    });
    assert!(sizes.keys().all(|size| (1..=64).contains(size)), "{sizes:?}");
}

#[tokio::test]
async fn a_service_has_no_state_to_read() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        call.send(join(&[read(7, "a"), read(8, "")]));
        assert_eq!((call.state().await, call.state().await), ((7, None), (8, None)));
        call.ends().await;
    })
    .await;
    let node = version_8(&endpoint).start();
    let id = node.leader.create(plain(), bytes("1"));
    node.run(id).await;
    assert!(matches!(node.leader.actions(id).last(), Some(Action::End)));
    assert!(node.leader.looks().is_empty());
}

/// The versions that are spoken, by setting, offer and mode; and what becomes of a read.
#[tokio::test]
async fn only_streams_of_version_8_read_state() {
    for (on, offers, mode, version) in [
        (false, 8, Mode::BidiStream, 7),
        (true, 7, Mode::BidiStream, 7),
        (true, 8, Mode::RequestResponse, 7),
        (true, 8, Mode::BidiStream, 8),
    ] {
        let (heads, mut seen) = mpsc::channel(4);
        let endpoint = Endpoint::start(move |mut call: Call| {
            let heads = heads.clone();
            async move {
                heads.send(call.head.headers["content-type"].clone()).await.unwrap();
                call.accept();
                call.replay().await;
                call.send(read(1, "a"));
                if version == 8 {
                    call.state().await;
                }
                call.send(join(&[output("1"), end()]));
                call.finish();
                while let Ok(Some(_)) = call.try_frame().await {}
            }
        })
        .await;
        let mut setup = Setup { max_version: offers, mode, ..Setup::new(endpoint.uri()) };
        setup.config.experimental_protocol_v8 = on;
        let node = setup.start();
        let id = node.leader.create(object("k"), bytes("1"));
        node.run(id).await;
        let head = soon("a request", seen.recv()).await.unwrap();
        assert_eq!(head, format!("application/vnd.restate.invocation.v{version}"));
        if version == 8 {
            assert!(matches!(node.leader.actions(id).last(), Some(Action::End)));
        } else {
            let (_, error, _) = node.leader.failure(id);
            assert_eq!(&*error.code, "RT0012", "{error:?}");
        }
    }
}

#[tokio::test]
async fn commands_are_acknowledged_once_they_are_stored() {
    let (asks, mut asked) = mpsc::channel(1);
    let stored = Arc::new(Notify::new());
    let endpoint = Endpoint::start({
        let stored = stored.clone();
        move |mut call: Call| {
            let (asks, stored) = (asks.clone(), stored.clone());
            async move {
                call.accept();
                call.replay().await;
                call.send(join(&[set_asking("a"), output("1"), set_asking("b")]));
                asks.send(()).await.unwrap();
                // Nothing comes before it is stored.
                tokio::select! {
                    biased;
                    frame = call.frame() => panic!("{frame:?}"),
                    () = stored.notified() => {}
                }
                assert_eq!((call.acknowledged().await, call.acknowledged().await), (1, 3));
                call.send(end());
                assert_eq!(call.rest().await, [0u16; 0]);
                call.finish();
            }
        }
    })
    .await;
    let node = Setup::new(endpoint.uri()).start();
    node.leader.tell(false);
    let id = node.leader.create(object("k"), bytes("1"));
    let attempt = node.attempt(id);
    soon("the commands", asked.recv()).await.unwrap();
    node.leader.until("the proposal", id, |proposed, _| !proposed.is_empty()).await;
    assert!(!node.leader.proposed(id)[0].lazy);
    stored.notify_one();
    tokio::task::yield_now().await;
    node.leader.tell(true);
    node.closed(id, attempt).await;
    assert!(matches!(node.leader.actions(id).last(), Some(Action::End)));
}

#[tokio::test]
async fn an_acknowledgement_needs_a_stream() {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        call.send(join(&[set_asking("a"), output("1"), end()]));
        call.finish();
        while let Ok(Some(_)) = call.try_frame().await {}
    })
    .await;
    let node = Setup { mode: Mode::RequestResponse, ..Setup::new(endpoint.uri()) }.start();
    let id = node.leader.create(object("k"), bytes("1"));
    node.run(id).await;
    let (_, error, _) = node.leader.failure(id);
    assert_eq!(&*error.code, "RT0017", "{error:?}");
}
