//! The HTTP front door: calls, sends and results of invocations (`spec/ingress-api.md`).
//!
//! ```text
//! connection (server) ─> path ─> route ─> headers, body, delay ─> NewInvocation ─> Backend ─> reply
//!                         pure    Routes      request, body          handler/      the leaders
//! ```
//!
//! Owns: HTTP/1.0, 1.1 and 2 on one port, what may be called and how, ids of what is made here, limits on requests.
//! Relies on: [`Backend`] for everything durable, [`Routes`] for the catalogue of services.
//! Never: looks into payloads, retries, keeps an invocation's fate anywhere but in the log. A caller that goes away
//! takes nothing back.

pub mod backend;
pub mod config;
pub mod metrics;
pub mod routes;

mod api;
mod body;
mod cors;
mod delay;
mod error;
mod handler;
mod path;
mod query;
mod reply;
mod request;
mod server;

pub use backend::Backend;
pub use config::IngressConfig;
pub use routes::{HandlerRoute, RouteTable, Routes, ServiceRoute, SharedRoutes};
pub use server::{Server, StartError};
