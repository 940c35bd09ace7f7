//! Attempts against endpoints that behave, and that do not.

mod answers;
mod balance;
mod basics;
mod commands;
mod discovery;
mod failures;
mod http1;
mod points;
mod sdk;
mod settings;
mod support;
mod tls;
