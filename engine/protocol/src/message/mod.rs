//! The protobuf messages, field for field as `spec/service_protocol.proto` numbers them.
//!
//! Wire types: the rest of the crate turns them into [`crate::command`] and [`crate::session`] types at once. They are
//! public for whoever plays the other side: test endpoints and the simulator.

pub mod command;
pub mod control;
pub mod ephemeral;
pub mod nested;
pub mod notification;

pub use command::*;
pub use control::*;
pub use ephemeral::*;
pub use nested::*;
pub use notification::*;
