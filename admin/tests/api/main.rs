//! The API over a real socket: answers are those of `spec/admin-api.md`.

mod cli;
mod deployments;
mod general;
mod invocations;
mod lambda;
mod state;
mod subscriptions;
mod support;
