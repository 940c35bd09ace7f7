//! Endpoints that are AWS Lambda functions (`spec/service-protocol.md` section 10): their names, and HTTP in JSON.
//!
//! A request of the protocol becomes the payload of one function call, its answer the payload that the function returns.
//! Both are whole: what a function cannot answer at once it suspends on.

mod arn;
mod envelope;

pub use arn::{ArnError, FunctionArn};
pub use envelope::{Answer, EnvelopeError, decode_answer, encode_request};
