//! What reaches a driver: everything that waits is taken in one go, so that one wake-up serves all of it.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use millrace_machine::Answer;
use millrace_model::{
    Command, InvocationId, PartitionId,
    command::{Attempt, Lane, Message},
};
use millrace_store::PartitionStore;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use crate::{handle::Ended, status::LeaderStatus};

/// Inputs that may wait at a driver before callers are refused.
pub const INPUTS_MAX: usize = 50_000;
/// Bytes of payload that may wait at a driver before callers are refused: those in its mailbox, and those of the batches
/// for which the log has no room yet.
pub const INPUT_BYTES_MAX: usize = 128 << 20;
/// The same before attempts wait, so that handlers that say a lot leave room for callers.
pub const ATTEMPT_BYTES_MAX: usize = INPUT_BYTES_MAX / 2;

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
    /// Bytes that the driver has taken and not given to the log.
    held: usize,
    /// Anything else happened that the driver should look at: a delivery, a slot, a stop.
    woken: bool,
    closed: bool,
}

impl Waiting {
    fn total(&self) -> usize {
        self.bytes + self.held
    }
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

    /// Adds an input of an attempt as soon as there is room for it.
    pub(crate) async fn push_when_room(&self, partition: PartitionId, input: Input, bytes: usize) -> Result<(), Full> {
        let mut input = Some(input);
        loop {
            // Listens before it looks, so that room made in between is not missed.
            let mut notified = pin!(self.room.notified());
            notified.as_mut().enable();
            {
                let waiting = self.waiting.lock();
                if waiting.closed {
                    return Err(Full::Closed);
                }
                if waiting.total() < ATTEMPT_BYTES_MAX {
                    let input = input.take().expect("added once");
                    self.add(waiting, partition, input, bytes);
                    return Ok(());
                }
            }
            notified.await;
        }
    }

    fn push(&self, partition: PartitionId, input: Input, bytes: usize, refusable: bool) -> Result<(), Full> {
        let waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Full::Closed);
        }
        if refusable && (waiting.inputs.len() >= INPUTS_MAX || waiting.total() >= INPUT_BYTES_MAX) {
            return Err(Full::Overloaded);
        }
        self.add(waiting, partition, input, bytes);
        Ok(())
    }

    fn add(&self, mut waiting: MutexGuard<'_, Waiting>, partition: PartitionId, input: Input, bytes: usize) {
        let sleeping = waiting.inputs.is_empty() && !waiting.woken;
        waiting.inputs.push((partition, input));
        waiting.bytes += bytes;
        drop(waiting);
        if sleeping {
            self.wake.notify_one();
        }
    }

    /// As many bytes wait at the driver, besides those in the mailbox.
    pub(crate) fn hold(&self, bytes: usize) {
        let mut waiting = self.waiting.lock();
        let was_full = waiting.total() >= ATTEMPT_BYTES_MAX;
        waiting.held = bytes;
        let is_full = waiting.total() >= ATTEMPT_BYTES_MAX;
        drop(waiting);
        if was_full && !is_full {
            self.room.notify_waiters();
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
        // Until the driver says what became of them.
        waiting.held += std::mem::take(&mut waiting.bytes);
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

#[cfg(test)]
mod tests {
    use millrace_model::TimestampMs;

    use super::*;

    const P: PartitionId = PartitionId(0);

    fn input() -> Input {
        let command = Command::Expire { now: TimestampMs(0), rows: Vec::new() };
        Input::Propose { command, reply: None }
    }

    #[test]
    fn what_the_driver_holds_counts() {
        let mailbox = Mailbox::default();
        assert!(mailbox.offer(P, input(), INPUT_BYTES_MAX).is_ok());
        assert!(mailbox.offer(P, input(), 1).is_err());
        let mut inputs = Vec::new();
        mailbox.take(&mut inputs, None);
        assert!(mailbox.offer(P, input(), 1).is_err(), "taken, and nowhere else yet");
        mailbox.hold(INPUT_BYTES_MAX);
        assert!(mailbox.offer(P, input(), 1).is_err(), "in batches that wait");
        mailbox.hold(INPUT_BYTES_MAX - 1);
        assert!(mailbox.offer(P, input(), 1).is_ok());
    }

    #[tokio::test]
    async fn attempts_wait_while_callers_have_room() {
        let mailbox = std::sync::Arc::new(Mailbox::default());
        mailbox.hold(ATTEMPT_BYTES_MAX);
        let waits = |mailbox: std::sync::Arc<Mailbox>| {
            tokio::spawn(async move { mailbox.push_when_room(P, input(), ATTEMPT_BYTES_MAX).await.is_ok() })
        };
        let (first, second) = (waits(mailbox.clone()), waits(mailbox.clone()));
        tokio::task::yield_now().await;
        assert!(!first.is_finished() && mailbox.offer(P, input(), 1).is_ok());
        mailbox.hold(0);
        assert!(first.await.unwrap());
        assert!(!second.is_finished(), "room for one is not room for two");
        mailbox.close();
        assert!(!second.await.unwrap());
    }
}
