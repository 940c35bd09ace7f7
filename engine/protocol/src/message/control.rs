//! Control messages, types 0x0000 to 0x0007.

use bytes::Bytes;

use super::nested::{FailureMessage, Future};

/// First on every stream.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StartMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    #[prost(string, tag = "2")]
    pub debug_id: String,
    #[prost(uint32, tag = "3")]
    pub known_entries: u32,
    #[prost(message, repeated, tag = "4")]
    pub state_map: Vec<StateEntry>,
    #[prost(bool, tag = "5")]
    pub partial_state: bool,
    #[prost(string, tag = "6")]
    pub key: String,
    #[prost(uint32, tag = "7")]
    pub retry_count_since_last_stored_entry: u32,
    #[prost(uint64, tag = "8")]
    pub duration_since_last_stored_entry: u64,
    #[prost(uint64, tag = "9")]
    pub random_seed: u64,
    #[prost(string, optional, tag = "10")]
    pub scope: Option<String>,
    #[prost(string, optional, tag = "11")]
    pub limit_key: Option<String>,
    #[prost(string, optional, tag = "12")]
    pub idempotency_key: Option<String>,
}

/// One entry of the eager state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateEntry {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// Terminal: nothing to do before one of these arrives. Fields 1 to 3 up to version 6, field 4 from 7 on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SuspensionMessage {
    #[prost(uint32, repeated, tag = "1")]
    pub waiting_completions: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    pub waiting_signals: Vec<u32>,
    #[prost(string, repeated, tag = "3")]
    pub waiting_named_signals: Vec<String>,
    #[prost(message, optional, tag = "4")]
    pub awaiting_on: Option<Future>,
}

/// Terminal: the attempt failed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ErrorMessage {
    #[prost(uint32, tag = "1")]
    pub code: u32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(string, tag = "3")]
    pub stacktrace: String,
    #[prost(uint32, optional, tag = "4")]
    pub related_command_index: Option<u32>,
    #[prost(string, optional, tag = "5")]
    pub related_command_name: Option<String>,
    #[prost(uint32, optional, tag = "6")]
    pub related_command_type: Option<u32>,
    #[prost(uint64, optional, tag = "8")]
    pub next_retry_delay: Option<u64>,
    /// 0 retry, 1 pause, 2 fail.
    #[prost(uint32, tag = "9")]
    pub behavior: u32,
}

/// Terminal: the last Output is the result.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct EndMessage {}

/// Answers the ACK bit of a command.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct CommandAckMessage {
    #[prost(uint32, tag = "1")]
    pub command_index: u32,
}

/// The result of a step.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ProposeRunCompletionMessage {
    #[prost(uint32, tag = "1")]
    pub result_completion_id: u32,
    #[prost(oneof = "ProposedResult", tags = "14, 15")]
    pub result: Option<ProposedResult>,
}

/// Unlike everywhere else the value is bare bytes.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum ProposedResult {
    #[prost(bytes = "bytes", tag = "14")]
    Value(Bytes),
    #[prost(message, tag = "15")]
    Failure(FailureMessage),
}

/// A hint at what the attempt waits for (version 7).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AwaitingOnMessage {
    #[prost(message, optional, tag = "1")]
    pub awaiting_on: Option<Future>,
    #[prost(bool, tag = "2")]
    pub executing_side_effects: bool,
}

/// The step's result is durable (version 7).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ProposeRunCompletionAckMessage {
    #[prost(uint32, tag = "1")]
    pub completion_id: u32,
}
