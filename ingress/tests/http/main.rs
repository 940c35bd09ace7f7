//! The front door over real sockets, with an engine of a few lines behind it.

mod awakeables;
mod calls;
mod errors;
mod limits;
mod results;
mod support;
mod wire;
