//! Parts of messages.

use bytes::Bytes;

/// Present and possibly empty.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Value {
    #[prost(bytes = "bytes", tag = "1")]
    pub content: Bytes,
}

/// Present and without content.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Void {}

/// A terminal failure.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FailureMessage {
    #[prost(uint32, tag = "1")]
    pub code: u32,
    #[prost(string, tag = "2")]
    pub message: String,
    /// From version 6 on.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<FailureMetadata>,
}

/// One pair of a failure's metadata.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FailureMetadata {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// One header. Text that is read without a copy.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeaderMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// Names of state entries.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateKeys {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub keys: Vec<Bytes>,
}

/// The run of a workflow key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct WorkflowTarget {
    #[prost(string, tag = "1")]
    pub workflow_name: String,
    #[prost(string, tag = "2")]
    pub workflow_key: String,
    /// From version 7 on.
    #[prost(string, optional, tag = "3")]
    pub scope: Option<String>,
}

/// An invocation by its idempotency key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IdempotentRequestTarget {
    #[prost(string, tag = "1")]
    pub service_name: String,
    #[prost(string, optional, tag = "2")]
    pub service_key: Option<String>,
    #[prost(string, tag = "3")]
    pub handler_name: String,
    #[prost(string, tag = "4")]
    pub idempotency_key: String,
    /// From version 7 on.
    #[prost(string, optional, tag = "5")]
    pub scope: Option<String>,
}

/// What an attempt waits for (version 7). Decoded by [`crate::future::AwaitTree`], which has no recursion.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Future {
    #[prost(uint32, repeated, tag = "1")]
    pub waiting_completions: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    pub waiting_signals: Vec<u32>,
    #[prost(string, repeated, tag = "3")]
    pub waiting_named_signals: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    pub nested_futures: Vec<Future>,
    /// A [`crate::future::Combinator`] by number.
    #[prost(uint32, tag = "5")]
    pub combinator_type: u32,
}
