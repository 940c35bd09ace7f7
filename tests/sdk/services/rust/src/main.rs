//! The SDK test services in Rust. The contract, with every handler's meaning, is `tests/sdk/services/README.md`.
//!
//! Listens on `127.0.0.1:$PORT` (0 or nothing: a free port) and prints `ready <port>`; ends at SIGINT, SIGTERM or SIGKILL.

mod calls;
mod collections;
mod combine;
mod generic;
mod interpreter;
mod objects;
mod steps;
mod waiting;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::Ipv4Addr;

use restate_sdk::filter::ReplayAwareFilter;
use restate_sdk::prelude::*;
use tokio::net::{TcpListener, TcpSocket};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

#[tokio::main]
async fn main() {
    let port: u16 = env_number("PORT");
    // Silent in replays.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let filter = EnvFilter::new("warn,restate_sdk_endpoint_handle=info,restate_sdk=info");
    tracing_subscriber::registry().with(filter).with(lines.with_filter(ReplayAwareFilter)).init();
    let builder = Endpoint::builder()
        .bind(Greeter)
        .bind(objects::Counter)
        .bind(objects::Gate)
        .bind(objects::Events)
        .bind(steps::Steps)
        .bind(steps::Sleeper)
        .bind(calls::Caller)
        .bind(generic::Proxy)
        .bind(generic::Signals)
        .bind(collections::ListObject)
        .bind(collections::MapObject)
        .bind(collections::LazyMap.into_service_definition().options(ServiceOptions::new().enable_lazy_state(true)))
        .bind(waiting::Holder)
        .bind(waiting::Awaiter)
        .bind(waiting::Blocker)
        .bind(waiting::Tree)
        .bind(combine::Combine)
        .bind(combine::NonDet)
        .bind(interpreter::Interpreter);
    let builder = match std::env::var("IDENTITY_KEY") {
        Ok(key) => builder.identity_key(&key).expect("IDENTITY_KEY must be a public key"),
        Err(_) => builder,
    };
    let endpoint = builder.build();
    let listener = listen(port).expect("PORT must be free");
    println!("ready {}", listener.local_addr().expect("a bound socket has an address").port());
    HttpServer::new(endpoint).serve(listener).await;
}

/// Accepted connections inherit what is set here: the SDK leaves Nagle's algorithm on, which can hold back every answer
/// for the 40 ms after which the other side acknowledges the segment before it.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(1024)
}

/// A number from the environment; 0 when it is not set.
fn env_number<N: std::str::FromStr + Default>(name: &str) -> N {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => N::default(),
    }
}

/// Appends one line to the file that `STEP_LOG` names, in one write; without `STEP_LOG` nothing happens.
fn log_step(line: &str) -> std::io::Result<()> {
    let Ok(path) = std::env::var("STEP_LOG") else { return Ok(()) };
    OpenOptions::new().create(true).append(true).open(path)?.write_all(format!("{line}\n").as_bytes())
}

/// Headers as JSON, the last of a repeated name winning. Values that are not text are left out.
fn header_map(headers: &HeaderMap) -> BTreeMap<String, String> {
    let names = headers.keys().map(|name| name.as_str());
    names.filter_map(|name| Some((name.to_owned(), headers.get(name)?.to_owned()))).collect()
}

/// `<code>: <message>`.
fn error_text(error: &TerminalError) -> String {
    format!("{}: {}", error.code(), error.message())
}

struct Greeter;

#[service]
impl Greeter {
    #[handler]
    async fn greet(&self, _ctx: Context<'_>, name: String) -> Result<String, TerminalError> {
        Ok(format!("Hello {name}"))
    }

    #[handler]
    async fn fail(&self, _ctx: Context<'_>, with: Json<calls::Failure>) -> Result<(), TerminalError> {
        let with = with.into_inner();
        Err(TerminalError::new_with_code(with.code, with.message))
    }

    #[handler]
    async fn headers(&self, ctx: Context<'_>) -> Result<Json<BTreeMap<String, String>>, TerminalError> {
        Ok(Json(header_map(ctx.headers())))
    }

    #[handler(name = "echoBytes")]
    async fn echo_bytes(&self, _ctx: Context<'_>, body: Vec<u8>) -> Result<Vec<u8>, TerminalError> {
        Ok(body)
    }
}
