//! A caller over HTTP, with the patience of an ingress: it fixes the id before the first send and repeats the same
//! command at the next leader until it is answered.

use millrace_machine::Answer;
use millrace_model::{
    Command, TimestampMs,
    command::Known,
    invocation::{HandlerKind, NewInvocation},
    journal::Completion,
};
use millrace_partition::{Ended, Input};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::rng::Rng;

/// How long it waits for one leader.
const PATIENCE_MS: u64 = 1500;

enum State {
    New,
    Accepting(oneshot::Receiver<Answer>),
    Waiting(oneshot::Receiver<Option<Ended>>),
    Answered,
}

/// One call.
pub struct Client {
    pub invocation: NewInvocation,
    state: State,
    sent: bool,
    since: u64,
    /// The result, if it waited for it.
    pub result: Option<Completion>,
}

impl Client {
    /// Not sent yet.
    pub fn new(invocation: NewInvocation) -> Self {
        Self { invocation, state: State::New, sent: false, since: 0, result: None }
    }

    /// It runs a workflow: others may have done so before it.
    pub fn is_run(&self) -> bool {
        self.invocation.target.kind == HandlerKind::Workflow
    }

    /// It knows that its call is in the log.
    pub fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered)
    }

    /// Looks for an answer. `Some`: send this to a leader of the partition.
    pub fn step(&mut self, now: u64, rng: &mut Rng) -> Option<Input> {
        let lost = match &mut self.state {
            State::New => true,
            State::Answered => false,
            State::Accepting(answer) => match answer.try_recv() {
                Ok(_) => {
                    self.state = State::Answered;
                    false
                }
                Err(error) => error == TryRecvError::Closed || now > self.since + PATIENCE_MS,
            },
            State::Waiting(ended) => match ended.try_recv() {
                Ok(None) => true,
                Ok(Some(ended)) => {
                    self.result = Some(ended.result);
                    self.state = State::Answered;
                    false
                }
                Err(error) => error == TryRecvError::Closed,
            },
        };
        if !lost {
            return None;
        }
        if self.is_run() && !self.sent {
            self.invocation.created_at = TimestampMs(now);
        }
        let deterministic = self.invocation.idempotency_key.is_some() || self.is_run();
        let known = if self.sent || deterministic { Known::Maybe } else { Known::Fresh };
        (self.sent, self.since) = (true, now);
        let command = Command::Invoke { invocation: Box::new(self.invocation.clone()), known };
        Some(if rng.chance(500) {
            let (reply, ended) = oneshot::channel();
            self.state = State::Waiting(ended);
            Input::ProposeAndWait { command, id: self.invocation.id, reply }
        } else {
            let (reply, answer) = oneshot::channel();
            self.state = State::Accepting(answer);
            Input::Propose { command, reply: Some(reply) }
        })
    }
}
