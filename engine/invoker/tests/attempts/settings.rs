//! What operators set.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millrace_invoker::{ClientConfig, InvokerConfig, Wire};
use millrace_model::command::Action;
use millrace_protocol::Mode;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use crate::support::{
    Node, Setup, bytes,
    endpoint::{Call, Endpoint, end, output},
    object, plain, soon,
};

fn client(text: &str) -> ClientConfig {
    toml::from_str(text).unwrap()
}

fn invoker(text: &str) -> InvokerConfig {
    let config: InvokerConfig = toml::from_str(text).unwrap();
    assert_eq!(config.faults(), []);
    config
}

/// The authority and the headers of the one request.
async fn request(uri: impl Fn(&Endpoint) -> String, config: impl Fn(&Endpoint) -> String) -> http::request::Parts {
    let (heads, mut head) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |call: Call| {
        let heads = heads.clone();
        async move {
            heads.send(call.head.clone()).await.unwrap();
            call.noop().await;
        }
    })
    .await;
    let node = Setup { client: client(&config(&endpoint)), ..Setup::new(uri(&endpoint)) }.start();
    let id = node.run_new().await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
    head.recv().await.unwrap()
}

#[tokio::test]
async fn requests_go_through_the_proxy_and_say_where_to() {
    let unreachable = |_: &Endpoint| "http://service.invalid:9080/prefix".to_owned();
    let head = request(unreachable, |proxy| format!("http-proxy = '{}'", proxy.uri())).await;
    assert_eq!(head.uri.authority().unwrap(), "service.invalid:9080");
    assert_eq!(head.uri.path(), "/prefix/invoke/Greeter/greet");
    // Unless the host is one of those that are reached without it.
    for list in ["['127.0.0.1']", "'*'", "'localhost,127.0.0.1:1'"] {
        let around = format!("http-proxy = 'http://proxy.invalid:1'\nno-proxy = {list}");
        let head = request(Endpoint::uri, |_| around.clone()).await;
        assert_eq!(head.uri.authority().unwrap().host(), "127.0.0.1");
    }
}

#[tokio::test]
async fn a_proxy_of_http1_is_told_the_whole_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http-proxy = 'http://{}'", listener.local_addr().unwrap());
    let setup = Setup { wire: Wire::Http1, mode: Mode::RequestResponse, ..Setup::new("http://service.invalid/p") };
    let node = Setup { client: client(&proxy), ..setup }.start();
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        socket.read_buf(&mut head).await.unwrap();
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(head.starts_with("post http://service.invalid/p/invoke/greeter/greet http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: service.invalid\r\n"), "{head}");
    socket.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    node.closed(id, attempt).await;
    assert_eq!(node.leader.failure(id).1.code.as_str(), "RT0023");
}

#[tokio::test]
async fn every_request_carries_the_operators_headers() {
    let head = request(Endpoint::uri, |_| String::new()).await;
    assert_eq!(head.headers["x-restate-cluster-name"], "test");
    let head = request(Endpoint::uri, |_| "additional-request-headers = { x-tenant = 'a' }".to_owned()).await;
    assert_eq!(head.headers["x-tenant"], "a");
    assert!(!head.headers.contains_key("x-restate-cluster-name"));
}

#[tokio::test]
async fn attempts_start_at_the_rate_that_is_set() {
    let endpoint = Endpoint::start(Call::noop).await;
    let config = invoker("invocation-throttling = { rate = '20/s', capacity = 2 }");
    let node = Arc::new(Setup { config, ..Setup::new(endpoint.uri()) }.start());
    let started = Instant::now();
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let node = node.clone();
        runs.spawn(async move { node.run_new().await });
    }
    soon("all attempts", runs.join_all()).await;
    // Two at once, and then one every 50 ms.
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn a_start_that_waits_for_its_turn_can_be_given_up() {
    let endpoint = Endpoint::start(Call::noop).await;
    let config = invoker("invocation-throttling = { rate = '1/h' }");
    let node = Setup { config, ..Setup::new(endpoint.uri()) }.start();
    node.run_new().await;
    let id = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(id);
    node.leader.abort(id);
    node.closed(id, attempt).await;
    assert_eq!(node.leader.actions(id), []);
}

async fn actions_take(config: &str) -> (Duration, Node, millrace_model::InvocationId) {
    let endpoint = Endpoint::start(|mut call: Call| async move {
        call.accept();
        call.replay().await;
        for _ in 0..6 {
            call.send(output("1"));
            // tidy: allow a handler that takes its time, so that each message comes alone
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        call.send(end());
        call.rest().await;
        call.finish();
    })
    .await;
    let mut setup = Setup { config: invoker(config), ..Setup::new(endpoint.uri()) };
    // That we do not read is not the handler's silence.
    setup.policy.inactivity_timeout = Duration::from_millis(20);
    setup.policy.abort_timeout = Duration::from_millis(60);
    let node = setup.start();
    let started = Instant::now();
    let id = node.run_new().await;
    (started.elapsed(), node, id)
}

#[tokio::test]
async fn handlers_act_at_the_rate_that_is_set() {
    let (took, node, id) = actions_take("action-throttling = { rate = '10/s', capacity = 2 }").await;
    let actions = node.leader.actions(id);
    assert_eq!((actions.len(), actions.last()), (7, Some(&Action::End)), "{actions:?}");
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn no_more_state_goes_with_a_start_than_is_set() {
    let (starts, mut start) = mpsc::channel(1);
    let endpoint = Endpoint::start(move |mut call: Call| {
        let starts = starts.clone();
        async move {
            call.accept();
            let (start, _) = call.replay().await;
            starts.send(start).await.unwrap();
            call.send(crate::support::endpoint::join(&[output("1"), end()]));
            call.rest().await;
            call.finish();
        }
    })
    .await;
    let mut started = async |config: &str| {
        let node = Setup { config: invoker(config), ..Setup::new(endpoint.uri()) }.start();
        let id = node.leader.create(object("k"), bytes("1"));
        node.leader.set_state(id, &[("a", "1"), ("b", "22"), ("c", "3")]);
        node.run(id).await;
        let start = start.recv().await.unwrap();
        let keys: Vec<Bytes> = start.state_map.into_iter().map(|entry| entry.key).collect();
        (keys.concat(), start.partial_state)
    };
    assert_eq!(started("").await, (b"abc".to_vec(), false));
    assert_eq!(started("eager-state-size-limit = '7B'").await, (b"abc".to_vec(), false));
    // The first that does not fit ends it, also if a later one would: what is not there is asked for.
    assert_eq!(started("eager-state-size-limit = '4B'").await, (b"a".to_vec(), true));
    assert_eq!(started("eager-state-size-limit = 0").await, (Vec::new(), true));
}

/// The messages and levels of what was logged on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("millrace") && *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().push(format!("{} {}", event.metadata().level(), message.0));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_deployment_that_is_away_is_told_of_once_and_when_it_is_back() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let node = Setup::new(format!("http://{address}")).start();
    for _ in 0..3 {
        let id = node.run_new().await;
        assert_eq!(node.leader.failure(id).1.code.as_str(), "RT0010");
    }
    assert_eq!(*lines.0.lock(), ["WARN deployment cannot be reached"]);
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        crate::support::endpoint::serve(socket, h2::server::Builder::new(), 0, Call::noop).await;
    });
    for _ in 0..2 {
        node.run_new().await;
    }
    assert_eq!(*lines.0.lock(), ["WARN deployment cannot be reached", "INFO deployment answers again"]);
}
