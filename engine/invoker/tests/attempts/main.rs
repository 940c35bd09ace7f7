//! Attempts against endpoints that behave, and that do not.

mod basics;
mod support;
