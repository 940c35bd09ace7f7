//! Error codes, each provoked from outside. `table.rs` says for every code which test does it.

#[path = "../support/mod.rs"]
mod support;
#[path = "../hostile/wire.rs"]
mod wire;

mod attempts;
mod registration;
mod startup;
