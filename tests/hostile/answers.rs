//! An endpoint without SDK that asks for what no SDK asks for yet: acknowledgements of commands, and state as it is now.

use bytes::Bytes;
use serde_json::json;

use crate::{
    support::{Attempt, Endpoint, Server, ServerOptions, manifest},
    wire::*,
};

/// Reads the request until it ends with these bytes.
async fn until(attempt: &mut Attempt, expected: &Bytes) {
    let mut seen = Vec::new();
    while !seen.ends_with(expected) {
        let data = attempt.first_bytes().await;
        assert!(!data.is_empty(), "{seen:?} and not {expected:?}");
        seen.extend_from_slice(&data);
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_there_for_an_ephemeral_read() {
    let options = ServerOptions {
        env: vec![("MILLRACE_WORKER__INVOKER__EXPERIMENTAL_PROTOCOL_V8".to_owned(), "true".to_owned())],
        ..ServerOptions::default()
    };
    let mut server = Server::start(options).await;
    let mut offered = manifest("Object");
    offered["maxProtocolVersion"] = json!(8);
    offered["services"][0]["ty"] = json!("VIRTUAL_OBJECT");
    let value = || Message::new().bytes(1, "v");
    let endpoint = Endpoint::start(offered, move |mut attempt: Attempt| async move {
        attempt.first_bytes().await;
        let mut answer = attempt.accept();
        let set = Message::new().bytes(1, "k").message(3, value()).asking(SET_STATE);
        answer.send_data(set, false).unwrap();
        until(&mut attempt, &Message::new().number(1, 1).frame(0x0004)).await;
        let read = |id, key: &str| Message::new().number(1, id).bytes(2, key).frame(0x0200);
        answer.send_data(join(&[read(1, "none"), read(2, "k")]), false).unwrap();
        let none = Message::new().number(1, 1).message(4, Message::new()).frame(0x0300);
        let found = Message::new().number(1, 2).message(5, value()).frame(0x0300);
        until(&mut attempt, &join(&[none, found])).await;
        answer.send_data(done(), true).unwrap();
        attempt.rest().await;
    })
    .await;
    let made = server.admin.post("/deployments", &json!({"uri": endpoint.uri()})).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    let answer = server.ingress.post("/Object/key/on", &json!("x")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "done"));
    assert!(server.stop().success());
}
