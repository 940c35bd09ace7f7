//! A deterministic simulation of the engine: the real leaders, followers, counting rule and state machine, over a log,
//! a broker and handlers that do everything they may do at the worst moment.
//!
//! One seed decides all: sizes, faults, work, the order of everything. Time is virtual, there is one thread.
//!
//! ```text
//! chaos ──> nodes (leaders, followers, stores) <──> network (the memory log, with fates for every append)
//!             │   ^
//!             v   │                                  checker: a reference replica and one file per invariant
//!          attempts, readers <──> broker
//! ```
//!
//! Checks invariants 2 to 7 of DESIGN.md. `tests/broken.rs` breaks rules on purpose and sees that it is noticed.

mod attempt;
mod broker;
mod chaos;
pub mod checker;
mod client;
mod invoker;
mod letters;
mod network;
mod node;
mod program;
mod reader;
mod rng;
mod run;
mod store;
mod trace;
mod tuning;
mod world;

pub use checker::{Invariant, Violation};
pub use run::{Report, run};
pub use store::{SimStore, rows};
pub use tuning::Mutation;
