//! Commands, types 0x0400 to 0x0414.

use bytes::Bytes;

use super::nested::{FailureMessage, HeaderMessage, IdempotentRequestTarget, StateKeys, Value, Void, WorkflowTarget};

/// Journal entry 0, made by the server.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InputCommandMessage {
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<HeaderMessage>,
    #[prost(string, tag = "12")]
    pub name: String,
    #[prost(message, optional, tag = "14")]
    pub value: Option<Value>,
}

/// The result, final once End follows.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OutputCommandMessage {
    #[prost(string, tag = "12")]
    pub name: String,
    #[prost(oneof = "OutputResult", tags = "14, 15")]
    pub result: Option<OutputResult>,
}

/// Value or failure, numbered as in Output.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum OutputResult {
    #[prost(message, tag = "14")]
    Value(Value),
    #[prost(message, tag = "15")]
    Failure(FailureMessage),
}

/// A read of state that the server answers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetLazyStateCommandMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// A write of state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetStateCommandMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(message, optional, tag = "3")]
    pub value: Option<Value>,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// Removes one state entry.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClearStateCommandMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// Removes all state of the key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClearAllStateCommandMessage {
    #[prost(string, tag = "12")]
    pub name: String,
}

/// A list of state keys that the server answers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetLazyStateKeysCommandMessage {
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// A read of state that the SDK answered from Start.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetEagerStateCommandMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(string, tag = "12")]
    pub name: String,
    #[prost(oneof = "EagerStateResult", tags = "13, 14")]
    pub result: Option<EagerStateResult>,
}

/// Absent or present.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum EagerStateResult {
    #[prost(message, tag = "13")]
    Void(Void),
    #[prost(message, tag = "14")]
    Value(Value),
}

/// A list of state keys that the SDK answered from Start.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetEagerStateKeysCommandMessage {
    #[prost(string, tag = "12")]
    pub name: String,
    #[prost(message, optional, tag = "14")]
    pub value: Option<StateKeys>,
}

/// Waits for a workflow promise.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetPromiseCommandMessage {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// Looks at a workflow promise.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PeekPromiseCommandMessage {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// Completes a workflow promise.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CompletePromiseCommandMessage {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(oneof = "PromiseCompletion", tags = "2, 3")]
    pub completion: Option<PromiseCompletion>,
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// Value or failure, numbered as in CompletePromise and CompleteAwakeable.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum PromiseCompletion {
    #[prost(message, tag = "2")]
    Value(Value),
    #[prost(message, tag = "3")]
    Failure(FailureMessage),
}

/// A timer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SleepCommandMessage {
    #[prost(uint64, tag = "1")]
    pub wake_up_time: u64,
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// A call; its invocation id and its result come separately. Its texts are read without a copy, so they are checked
/// for UTF-8 later.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CallCommandMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub service_name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub handler_name: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub parameter: Bytes,
    #[prost(message, repeated, tag = "4")]
    pub headers: Vec<HeaderMessage>,
    #[prost(bytes = "bytes", tag = "5")]
    pub key: Bytes,
    #[prost(string, optional, tag = "6")]
    pub idempotency_key: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub scope: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub limit_key: Option<String>,
    #[prost(uint32, tag = "10")]
    pub invocation_id_notification_idx: u32,
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// A call without result. Numbered unlike Call from field 4 on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OneWayCallCommandMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub service_name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub handler_name: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub parameter: Bytes,
    #[prost(uint64, tag = "4")]
    pub invoke_time: u64,
    #[prost(message, repeated, tag = "5")]
    pub headers: Vec<HeaderMessage>,
    #[prost(bytes = "bytes", tag = "6")]
    pub key: Bytes,
    #[prost(string, optional, tag = "7")]
    pub idempotency_key: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub scope: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub limit_key: Option<String>,
    #[prost(uint32, tag = "10")]
    pub invocation_id_notification_idx: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// A signal to another invocation.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SendSignalCommandMessage {
    #[prost(string, tag = "1")]
    pub target_invocation_id: String,
    #[prost(oneof = "SignalIdMessage", tags = "2, 3")]
    pub signal_id: Option<SignalIdMessage>,
    #[prost(oneof = "SignalResult", tags = "4, 5, 6")]
    pub result: Option<SignalResult>,
    #[prost(string, tag = "12")]
    pub entry_name: String,
}

/// Which signal.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum SignalIdMessage {
    #[prost(uint32, tag = "2")]
    Idx(u32),
    #[prost(string, tag = "3")]
    Name(String),
}

/// What a signal carries.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum SignalResult {
    #[prost(message, tag = "4")]
    Void(Void),
    #[prost(message, tag = "5")]
    Value(Value),
    #[prost(message, tag = "6")]
    Failure(FailureMessage),
}

/// A step; its result comes in ProposeRunCompletion.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RunCommandMessage {
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// Waits for another invocation's result.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AttachInvocationCommandMessage {
    #[prost(oneof = "TargetMessage", tags = "1, 3, 4")]
    pub target: Option<TargetMessage>,
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// Looks at another invocation's result.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetInvocationOutputCommandMessage {
    #[prost(oneof = "TargetMessage", tags = "1, 3, 4")]
    pub target: Option<TargetMessage>,
    #[prost(uint32, tag = "11")]
    pub result_completion_id: u32,
    #[prost(string, tag = "12")]
    pub name: String,
}

/// Which invocation.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum TargetMessage {
    #[prost(string, tag = "1")]
    InvocationId(String),
    #[prost(message, tag = "3")]
    IdempotentRequestTarget(IdempotentRequestTarget),
    #[prost(message, tag = "4")]
    WorkflowTarget(WorkflowTarget),
}

/// Completes an awakeable by its id.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CompleteAwakeableCommandMessage {
    #[prost(string, tag = "1")]
    pub awakeable_id: String,
    #[prost(oneof = "PromiseCompletion", tags = "2, 3")]
    pub result: Option<PromiseCompletion>,
    #[prost(string, tag = "12")]
    pub name: String,
}
