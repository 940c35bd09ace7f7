//! Notifications, types 0x8002 to 0xFBFF, which all share one layout.

use super::nested::{FailureMessage, StateKeys, Value, Void};

/// Any notification. [`crate::entry`] writes them without it; this is the reader's side.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NotificationMessage {
    #[prost(oneof = "NotificationIdMessage", tags = "1, 2, 3")]
    pub id: Option<NotificationIdMessage>,
    #[prost(oneof = "NotificationResult", tags = "4, 5, 6, 16, 17")]
    pub result: Option<NotificationResult>,
}

/// Which wait it ends.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum NotificationIdMessage {
    #[prost(uint32, tag = "1")]
    CompletionId(u32),
    #[prost(uint32, tag = "2")]
    SignalId(u32),
    #[prost(string, tag = "3")]
    SignalName(String),
}

/// What it brings.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum NotificationResult {
    #[prost(message, tag = "4")]
    Void(Void),
    #[prost(message, tag = "5")]
    Value(Value),
    #[prost(message, tag = "6")]
    Failure(FailureMessage),
    #[prost(string, tag = "16")]
    InvocationId(String),
    #[prost(message, tag = "17")]
    StateKeys(StateKeys),
}
