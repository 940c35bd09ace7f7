//! Garbage on every port, in every answer of a deployment and in every discovery document (invariant 8): an error with a
//! code, nothing lost, nobody else disturbed, bounded memory.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bodies;
mod deployments;
mod discovery;
#[cfg(target_os = "linux")]
mod disk;
mod flood;
mod ports;
mod wire;
