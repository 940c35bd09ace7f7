//! `kill -9` of the server and of handler processes at moments drawn at random: what was acknowledged stays, and happens
//! once. `MILLRACE_TESTS_SEED` repeats the moments of a run, as far as a clock can.

#[path = "../support/mod.rs"]
mod support;
#[path = "../hostile/wire.rs"]
mod wire;

mod accepted;
mod counters;
mod order;
mod sleepers;
mod startup;
mod steps;
mod timers;
mod trimming;
mod world;
