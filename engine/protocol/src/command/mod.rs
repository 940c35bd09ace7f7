//! What commands mean.
//!
//! Decoding keeps the payload aside: that is what is stored and replayed, byte for byte, with whatever fields a newer
//! SDK put in. Byte strings, and the texts of a callee, are slices of it.

mod decode;

use bytes::Bytes;
use millrace_model::{
    AwakeableId, InvocationId, Text,
    journal::{Completion, Header, NotificationId, NotificationResult},
};

pub use decode::{PARTS_MAX, decode};
pub(crate) use decode::{check_parts, cid, completion, message, shorten};

/// A command of the handler, decoded. Completion ids (`cid`) are never 0; state keys are UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// The result, if End follows; the last one counts.
    Output {
        result: Completion,
    },
    /// Answered with GetLazyStateCompletion.
    GetLazyState {
        key: Bytes,
        cid: u32,
    },
    /// Answered with GetLazyStateKeysCompletion.
    GetLazyStateKeys {
        cid: u32,
    },
    /// Already answered by the SDK.
    GetEagerState {
        key: Bytes,
    },
    /// Already answered by the SDK.
    GetEagerStateKeys,
    /// An empty value is a value.
    SetState {
        key: Bytes,
        value: Bytes,
    },
    ClearState {
        key: Bytes,
    },
    ClearAllState,
    /// Milliseconds since the epoch, by the handler's clock; the past fires at once.
    Sleep {
        wake_up_time_ms: u64,
        cid: u32,
    },
    /// Two notifications, the invocation id first.
    Call {
        callee: Box<Callee>,
        invocation_id_cid: u32,
        result_cid: u32,
    },
    /// `invoke_time_ms` in the past or 0 is now.
    OneWayCall {
        callee: Box<Callee>,
        invoke_time_ms: u64,
        invocation_id_cid: u32,
    },
    /// A step; its result follows as a proposal.
    Run {
        cid: u32,
    },

    GetPromise {
        key: Text,
        cid: u32,
    },
    PeekPromise {
        key: Text,
        cid: u32,
    },
    CompletePromise {
        key: Text,
        result: Completion,
        cid: u32,
    },
    /// A signal by number or name, with void, value or failure. Number 1 cancels the target.
    SendSignal {
        target: InvocationId,
        signal: NotificationId,
        result: NotificationResult,
    },
    AttachInvocation {
        target: AttachTarget,
        cid: u32,
    },
    GetInvocationOutput {
        target: AttachTarget,
        cid: u32,
    },
    /// `None` for ids of the old form (`prom_1…`), which nobody waits for.
    CompleteAwakeable {
        id: Option<AwakeableId>,
        result: Completion,
    },
}

/// Whom a call goes to, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callee {
    pub service: Text,
    pub handler: Text,
    /// The wire cannot tell an absent key from an empty one.
    pub key: Text,
    pub parameter: Bytes,
    /// In order, names with their case kept; repeats stay.
    pub headers: Vec<Header>,
    /// `Some("")` is what the handler asked for, and not allowed.
    pub idempotency_key: Option<Text>,
    pub scope: Option<Text>,
    pub limit_key: Option<Text>,
}

/// Which invocation to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachTarget {
    Invocation(InvocationId),
    Idempotent {
        service: Text,
        /// `None` for a plain service.
        key: Option<Text>,
        handler: Text,
        idempotency_key: Text,
        scope: Option<Text>,
    },
    Workflow {
        workflow: Text,
        key: Text,
        scope: Option<Text>,
    },
}

#[cfg(test)]
mod tests;
