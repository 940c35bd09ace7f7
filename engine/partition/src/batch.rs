//! Batches in the making and under way.

use bytes::Bytes;
use millrace_machine::Answer;
use millrace_model::{
    Command, InvocationId, PartitionId,
    command::{BatchEncoder, Lane},
};
use tokio::sync::oneshot;

use crate::handle::Ended;

/// A batch is closed when it has this many bytes; one command may make it larger.
pub const BATCH_BYTES_TARGET: usize = 1 << 20;
/// Or this many commands.
pub const BATCH_COMMANDS_MAX: usize = 4096;

/// Who wants to know that a batch is applied.
pub(crate) enum Hook {
    /// What became of command `at`.
    Reply { at: usize, reply: oneshot::Sender<Answer> },
    /// Command `at` makes an invocation; tell when it has ended.
    Ended { at: usize, id: InvocationId, reply: oneshot::Sender<Option<Ended>> },
    /// Command `at` took messages of another partition.
    Delivered { at: usize, from: PartitionId, lane: Lane },
    /// Everything an attempt has proposed is applied or void.
    Closed { id: InvocationId, attempt: u32 },
}

/// Commands that are applied atomically.
#[derive(Default)]
pub(crate) struct Batch {
    encoder: BatchEncoder,
    payload: Option<Bytes>,
    pub(crate) commands: Vec<Command>,
    pub(crate) hooks: Vec<Hook>,
    /// Something in it cannot wait for the next batch.
    pub(crate) urgent: bool,
    /// Something in it is a hint of an attempt.
    pub(crate) has_hints: bool,
}

impl Batch {
    pub(crate) fn push(&mut self, command: Command) -> usize {
        self.encoder.push(&command);
        self.commands.push(command);
        self.commands.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.encoder.len() >= BATCH_BYTES_TARGET || self.commands.len() >= BATCH_COMMANDS_MAX
    }

    /// Bytes that it waits with for its place in the log.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(self.encoder.len(), Bytes::len)
    }

    /// The bytes for the log. Nothing may be added behind it.
    pub(crate) fn payload(&mut self) -> &Bytes {
        let encoder = &mut self.encoder;
        self.payload.get_or_insert_with(|| std::mem::take(encoder).finish())
    }

    /// The log has them.
    pub(crate) fn drop_payload(&mut self) {
        self.payload = None;
    }
}
