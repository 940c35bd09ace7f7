//! Version 8: of the stream only, never in a journal.

use bytes::Bytes;

use super::nested::{Value, Void};

/// Reads one key of the latest committed state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetStateEphemeralCommandMessage {
    /// From 1; counted by the SDK, anew in every attempt.
    #[prost(uint32, tag = "1")]
    pub ephemeral_completion_id: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
}

/// Answers it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetStateEphemeralNotificationMessage {
    #[prost(uint32, tag = "1")]
    pub ephemeral_completion_id: u32,
    #[prost(oneof = "EphemeralState", tags = "4, 5")]
    pub result: Option<EphemeralState>,
}

/// What the key holds.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum EphemeralState {
    /// Nothing.
    #[prost(message, tag = "4")]
    Void(Void),
    #[prost(message, tag = "5")]
    Value(Value),
}
