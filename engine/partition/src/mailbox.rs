//! What reaches a driver: everything that waits is taken in one go, so that one wake-up serves all of it.

use std::time::{Duration, Instant};

use millrace_machine::Answer;
use millrace_model::{
    Command, InvocationId, PartitionId,
    command::{Attempt, Lane, Message},
};
use millrace_store::PartitionStore;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use crate::{handle::Ended, status::LeaderStatus};

/// Inputs that may wait at a driver before callers are refused.
pub const INPUTS_MAX: usize = 50_000;
/// Bytes of payload that may wait at a driver before callers are refused and attempts wait.
pub const INPUT_BYTES_MAX: usize = 128 << 20;

/// A closure that reads a partition between two batches. It must be quick: the driver waits for it.
pub type ReadFn = Box<dyn FnOnce(&PartitionStore, &LeaderStatus) + Send>;

/// One thing for a partition's leader.
pub enum Input {
    /// A command, and who wants to know what became of it.
    Propose {
        /// It.
        command: Command,
        /// Told once it is applied.
        reply: Option<oneshot::Sender<Answer>>,
    },
    /// A command that makes an invocation, and who waits for its end.
    ProposeAndWait {
        /// It.
        command: Command,
        /// Which invocation.
        id: InvocationId,
        /// Told when the invocation has ended.
        reply: oneshot::Sender<Option<Ended>>,
    },
    /// What an attempt sent. `lazy`: it may wait for the next batch.
    Attempt {
        /// It.
        attempt: Box<Attempt>,
        /// Starts no batch of its own.
        lazy: bool,
    },
    /// An attempt is over, behind its last proposal.
    AttemptClosed {
        /// Which invocation.
        id: InvocationId,
        /// Which attempt.
        attempt: u32,
    },
    /// Who waits for the end of an invocation.
    Attach {
        /// Which.
        id: InvocationId,
        /// Told when it has ended, or `None` if it is not known.
        reply: oneshot::Sender<Option<Ended>>,
    },
    /// A look at the state.
    Read(ReadFn),
    /// Messages of another partition's outbox.
    Deliver {
        /// Whose.
        from: PartitionId,
        /// Which lane.
        lane: Lane,
        /// Sequence number of the first.
        first: u64,
        /// In order.
        messages: Vec<Message>,
    },
    /// What another partition takes next of this one's outbox.
    Delivered {
        /// Which partition.
        by: PartitionId,
        /// Which lane.
        lane: Lane,
        /// Sequence number.
        next: u64,
    },
}

#[derive(Default)]
struct Waiting {
    inputs: Vec<(PartitionId, Input)>,
    bytes: usize,
    /// Anything else happened that the driver should look at: a delivery, a slot, a stop.
    woken: bool,
    closed: bool,
}

/// A driver's mailbox.
#[derive(Default)]
pub struct Mailbox {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    room: Notify,
}

/// The mailbox takes nothing more now.
pub(crate) enum Full {
    /// Too much waits.
    Overloaded,
    /// The driver has stopped.
    Closed,
}

impl Mailbox {
    /// Adds an input that may be refused.
    pub(crate) fn offer(&self, partition: PartitionId, input: Input, bytes: usize) -> Result<(), Full> {
        self.push(partition, input, bytes, true)
    }

    /// Adds an input whose number is bounded elsewhere: by the attempts that run.
    pub(crate) fn force(&self, partition: PartitionId, input: Input, bytes: usize) -> Result<(), Full> {
        self.push(partition, input, bytes, false)
    }

    fn push(&self, partition: PartitionId, input: Input, bytes: usize, refusable: bool) -> Result<(), Full> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Full::Closed);
        }
        if refusable && (waiting.inputs.len() >= INPUTS_MAX || waiting.bytes >= INPUT_BYTES_MAX) {
            return Err(Full::Overloaded);
        }
        let sleeping = waiting.inputs.is_empty() && !waiting.woken;
        waiting.inputs.push((partition, input));
        waiting.bytes += bytes;
        drop(waiting);
        if sleeping {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits until there is room again.
    pub(crate) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            {
                let waiting = self.waiting.lock();
                if waiting.closed || waiting.bytes < INPUT_BYTES_MAX {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Makes the driver look around.
    pub fn wake(&self) {
        let mut waiting = self.waiting.lock();
        let sleeping = waiting.inputs.is_empty() && !waiting.woken;
        waiting.woken = true;
        drop(waiting);
        if sleeping {
            self.wake.notify_one();
        }
    }

    /// Takes all that waits, in order, into `inputs` (which must be empty; its capacity is reused). Waits for the first
    /// until `deadline`; `None` waits for ever.
    pub(crate) fn take(&self, inputs: &mut Vec<(PartitionId, Input)>, deadline: Option<Instant>) {
        let mut waiting = self.waiting.lock();
        while waiting.inputs.is_empty() && !waiting.woken {
            match deadline {
                None => self.wake.wait(&mut waiting),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO || self.wake.wait_for(&mut waiting, left).timed_out() {
                        break;
                    }
                }
            }
        }
        waiting.woken = false;
        std::mem::swap(&mut waiting.inputs, inputs);
        let was_full = waiting.bytes >= INPUT_BYTES_MAX;
        waiting.bytes = 0;
        drop(waiting);
        if was_full {
            self.room.notify_waiters();
        }
    }

    /// Refuses everything from now on; what waits is dropped, which tells its senders.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.bytes = 0;
        let dropped = std::mem::take(&mut waiting.inputs);
        drop(waiting);
        drop(dropped);
        self.room.notify_waiters();
        self.wake.notify_one();
    }
}
