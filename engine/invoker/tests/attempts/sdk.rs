//! A real SDK at the other end: what one attempt of each kind of handler costs in proposals.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use millrace_model::{
    InvocationId,
    command::{Action, CommandEffect},
    invocation::{HandlerKind, Target},
    journal::{Completion, Entry, Notification, NotificationId, NotificationResult},
};
use millrace_protocol::ty;
use restate_sdk::prelude::*;
use tokio::net::TcpListener;

use crate::support::{Node, Setup, bytes, object, plain};

struct Greeter;

static FAILURES: AtomicU32 = AtomicU32::new(0);

#[service]
impl Greeter {
    #[handler]
    async fn greet(&self, _ctx: Context<'_>, name: String) -> Result<String, TerminalError> {
        Ok(format!("Hello {name}"))
    }

    #[handler]
    async fn steps(&self, ctx: Context<'_>, n: u32) -> Result<u32, HandlerError> {
        for i in 0..n {
            ctx.run(async || Ok(())).name(format!("step-{i}")).await?;
        }
        Ok(n)
    }

    #[handler]
    async fn flaky(&self, ctx: Context<'_>) -> Result<u32, HandlerError> {
        ctx.run(async || Ok(())).await?;
        if FAILURES.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(std::io::Error::other("once").into());
        }
        Ok(1)
    }

    #[handler]
    async fn nap(&self, ctx: Context<'_>) -> Result<u32, HandlerError> {
        ctx.sleep(Duration::from_secs(3600)).await?;
        Ok(2)
    }

    #[handler]
    async fn calls(&self, ctx: Context<'_>) -> Result<u64, HandlerError> {
        Ok(ctx.object_client::<CounterClient>("k").add(5).call().await?)
    }
}

struct Counter;

#[object]
impl Counter {
    #[handler]
    async fn add(&self, ctx: ObjectContext<'_>, n: u64) -> Result<u64, TerminalError> {
        let sum = ctx.get::<u64>("n").await?.unwrap_or_default() + n;
        ctx.set("n", sum);
        Ok(sum)
    }
}

async fn node() -> Node {
    let endpoint = Endpoint::builder().bind(Greeter).bind(Counter).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(HttpServer::new(endpoint).serve(listener));
    Setup::new(uri).start()
}

fn handler(name: &'static str) -> Target {
    Target { handler: name.into(), ..plain() }
}

/// The value of the Output, of an invocation that has ended.
fn output(node: &Node, id: InvocationId) -> Bytes {
    let actions = node.leader.actions(id);
    assert_eq!(actions.last(), Some(&Action::End), "{actions:?}");
    let value = actions.iter().rev().find_map(|action| match action {
        Action::Command { raw, effect: CommandEffect::Output { value, .. }, .. } => Some(value.unwrap().within(raw)),
        _ => None,
    });
    value.expect("an output")
}

#[tokio::test]
async fn a_service_takes_one_proposal() {
    let node = node().await;
    let id = node.run_new().await;
    assert_eq!(output(&node, id), bytes("\"Hello bob\""));
    assert_eq!(node.leader.proposed(id).len(), 1);
    let server = node.invoker.last_server(crate::support::DEPLOYMENT);
    assert!(server.as_deref().is_some_and(|name| name.starts_with("restate-sdk-rust/")), "{server:?}");
}

#[tokio::test]
async fn an_object_with_state_takes_one_proposal() {
    let node = node().await;
    let id = node.leader.create(object("k"), bytes("2"));
    node.leader.set_state(id, &[("n", "40")]);
    node.run(id).await;
    assert_eq!(output(&node, id), bytes("42"));
    assert_eq!(node.leader.proposed(id).len(), 1, "{:?}", node.leader.proposed(id));
}

#[tokio::test]
async fn a_step_takes_one_proposal() {
    let node = node().await;
    let id = node.leader.create(handler("steps"), bytes("4"));
    node.run(id).await;
    assert_eq!(output(&node, id), bytes("4"));
    assert_eq!(node.leader.proposed(id).len(), 5, "{:?}", node.leader.proposed(id));
}

#[tokio::test]
async fn a_failure_is_retried_with_what_was_done() {
    let node = node().await;
    let id = node.leader.create(handler("flaky"), Bytes::new());
    node.run(id).await;
    let (_, error, counts) = node.leader.failure(id);
    assert_eq!((error.code.as_str(), error.status, counts), ("RT0007", 500, true));
    node.run(id).await;
    assert_eq!(output(&node, id), bytes("1"));
}

#[tokio::test]
async fn a_long_sleep_takes_one_proposal_and_no_stream() {
    let node = node().await;
    let id = node.leader.create(handler("nap"), Bytes::new());
    node.run(id).await;
    let proposed = node.leader.proposed(id);
    assert!(matches!(
        &*proposed[0].attempt.actions,
        [Action::Command { effect: CommandEffect::Sleep { .. }, .. }, Action::Suspend { .. }]
    ));
    let Some(Action::Command { effect: CommandEffect::Sleep { completion, .. }, .. }) =
        proposed[0].attempt.actions.first()
    else {
        panic!("{proposed:?}")
    };
    node.leader.fire(id, *completion);
    node.run(id).await;
    assert_eq!(output(&node, id), bytes("2"));
}

#[tokio::test]
async fn a_call_is_answered_on_the_open_stream() {
    let node = node().await;
    let id = node.leader.create(handler("calls"), Bytes::new());
    let attempt = node.attempt(id);
    node.leader.until("the call", id, |proposed, _| !proposed.is_empty()).await;
    let actions = node.leader.actions(id);
    let Some(Action::Command { effect: CommandEffect::Call(callee), raw, .. }) = actions.first() else {
        panic!("{actions:?}")
    };
    assert_eq!(callee.invocation.target.kind, HandlerKind::Exclusive);
    assert_eq!(callee.parameter.within(raw), bytes("5"));
    let result = NotificationResult::from(Completion::Success(bytes("9")));
    let answers = NotificationId::Completion(callee.result_completion.unwrap());
    node.leader.append(id, Entry::Notification(Notification { ty: ty::CALL_COMPLETION, id: answers, result }));
    node.closed(id, attempt).await;
    assert_eq!(output(&node, id), bytes("9"));
}

/// The SDK's server writes an answer in parts and leaves Nagle's algorithm on: each part waits for the acknowledgement of
/// the one before, which Linux holds back for 40 ms unless it is told not to.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn answers_in_parts_are_not_held_back() {
    let node = node().await;
    let mut slow = 0;
    for _ in 0..200 {
        let id = node.leader.create(object("k"), bytes("1"));
        let started = std::time::Instant::now();
        node.run(id).await;
        slow += usize::from(started.elapsed() >= Duration::from_millis(35));
    }
    // Without it, four in ten are.
    assert!(slow < 20, "{slow} of 200 calls took 35 ms and more");
}
