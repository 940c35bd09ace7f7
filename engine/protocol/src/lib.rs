//! The service protocol that handlers' SDKs speak, server side; versions 5 to 7, and 8 as an experiment (`spec/service-protocol.md`).
//!
//! Pure: bytes in, events out. Sockets, timers, the journal and the meaning of commands belong to others.
//!
//! ```text
//!  response body ──> Session::on_bytes ──> frame::Decoder ──> next_event ──> Event::{Command, RunProposal, …}
//!  request body  <── Session::encode_start / encode_entry / encode_run_ack <── journal, as stored
//! ```
//!
//! * [`session`] — one attempt: what may come when, and command indices.
//! * [`command`] — what a command means; its payload is stored and replayed as received.
//! * [`entry`] — journal entries as frames.
//! * [`future`] — what a suspended attempt waits for.
//! * [`version`] — negotiation and content types.
//! * [`discovery`] and [`rule`] — the manifest, and the input and output rules it declares for handlers.
//! * [`lambda`] — the same as payloads of function calls.

pub mod command;
pub mod discovery;
pub mod entry;
pub mod error;
pub mod frame;
pub mod future;
pub mod lambda;
pub mod message;
pub mod rule;
pub mod session;
pub mod ty;
pub mod version;

mod wire;

pub use command::{AttachTarget, Callee, Command};
pub use discovery::Manifest;
pub use error::ProtocolError;
pub use future::AwaitTree;
pub use rule::{InputRule, OutputRule};
pub use session::{CommandEvent, Event, Mode, Session, StartInfo};
pub use version::ProtocolVersion;
