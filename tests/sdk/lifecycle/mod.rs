//! Operators' verbs over the admin API, and the life of the process itself.

mod client;
mod deployments;
mod invocations;
mod process;
mod restarts;
mod state;

use serde_json::{Value, json};

use crate::support::{PATIENCE, Response, Server, ServerOptions, Service, eventually};

/// A server with the Rust services.
async fn start() -> (Server, Service) {
    let service = Service::start("rust");
    let server = Server::start(ServerOptions::default()).await;
    server.register(&service).await;
    (server, service)
}

/// What the API shows of an invocation.
async fn look(server: &Server, id: &str) -> anyhow::Result<Value> {
    server.admin.get(&format!("/invocations/{id}")).await?.ok()?.json()
}

/// Waits until an invocation has this status.
async fn until(server: &Server, id: &str, status: &str) -> Value {
    eventually(PATIENCE, "the status", async || {
        let look = look(server, id).await?;
        anyhow::ensure!(look["status"] == status, "not {status}: {look:#}");
        Ok(look)
    })
    .await
}

/// `PATCH /invocations/{id}/{verb}`.
async fn operate(server: &Server, id: &str, verb: &str) -> Response {
    server.admin.patch(&format!("/invocations/{id}/{verb}"), &json!({})).await.expect("an answer")
}

/// Waits for the end of an invocation.
async fn attach(server: &Server, id: &str) -> Response {
    server.ingress.get(&format!("/restate/invocation/{id}/attach")).await.expect("an answer")
}
