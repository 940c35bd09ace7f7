//! The state machine of a partition: `apply(state, command) -> (changes, effects)`.
//!
//! Pure and deterministic: no clock, no randomness, no I/O, no look at metadata. Every replica that applies the same
//! log gets the same bytes. Rejecting a command is an outcome, never an error: apply is total over whatever the log
//! holds.
//!
//! A batch is one [`Txn`]: each command reads the committed state with what the batch has already changed on top, and
//! the batch ends as one [`Outcome`].

mod command;
mod effect;
mod entry;
mod failure;
mod journal;
mod lifecycle;
mod lock;
mod memory;
mod message;
mod txn;
mod view;

pub use effect::{Answer, Effect, Past, Refusal};
pub use lifecycle::KNOWN_IDS_MS;
pub use memory::{ContentHash, MemoryView};
pub use txn::{MACHINE_VERSION, Outcome, Txn};
pub use view::StateView;
