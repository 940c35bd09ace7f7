//! Attempts against endpoints that behave, and that do not.

mod balance;
mod basics;
mod discovery;
mod failures;
mod http1;
mod sdk;
mod support;
mod tls;
