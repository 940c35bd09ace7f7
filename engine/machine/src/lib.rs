//! The state machine of a partition: `apply(state, command) -> (changes, effects)`.
//!
//! Pure and deterministic: no clock, no randomness, no I/O, no look at metadata. Every replica that applies the same
//! log gets the same bytes. Rejecting a command is an outcome, never an error: apply is total over whatever the log
//! holds.

pub mod effect;
pub mod view;

pub use effect::{Answer, Effect, Refusal};
pub use view::StateView;
