//! What an attempt has sent and not yet proposed. Pure.
//!
//! Most of what a handler sends is not waited for: it is held back for a moment, because what follows mostly comes at
//! once and can be in the same proposal, so the same batch and the same sync. What somebody waits for goes out with
//! everything before it. Not proposing something yet is the same to a handler as a network that takes its time: it is
//! told of nothing before that is durable.

use std::collections::{BTreeMap, BTreeSet};

use millrace_model::{
    Env, InvocationId, Text, TimestampMs, codes,
    command::{Action, CommandEffect},
    invocation::{Invocation, Pending, Target},
    journal::{Awaiting, Completion, Entry, NotificationId},
};
use millrace_protocol::{Event, session::AttemptError as SdkError};

use crate::{
    registry::Registry,
    resolve::{self, Caller},
    trouble::Trouble,
};

/// Actions in one proposal: more of them go into several.
const ACTIONS_MAX: usize = 1000;
/// Payload in one proposal, a single larger command excepted. A batch of the log holds 64 MiB.
const BYTES_MAX: usize = 4 << 20;
/// A timer further away than this is worth a suspension: a new attempt costs a few milliseconds.
pub(crate) const FAR_MS: u64 = 1000;
/// What an action costs besides its payload.
const ACTION_BYTES: usize = 64;

/// How the attempt ended, by its own word.
#[derive(Debug, PartialEq)]
pub(crate) enum Terminal {
    End,
    Suspension(Awaiting),
    Error(Box<SdkError>),
}

/// Whose commands these are.
pub(crate) struct Who<'a> {
    pub(crate) id: InvocationId,
    pub(crate) target: &'a Target,
    pub(crate) traceparent: Option<&'a Text>,
    pub(crate) registry: &'a dyn Registry,
    pub(crate) env: &'a dyn Env,
}

/// What goes into one proposal.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Batch {
    pub(crate) actions: Vec<Action>,
    /// Payload.
    pub(crate) bytes: usize,
    /// It needs no batch of the log of its own.
    pub(crate) lazy: bool,
    /// Indices of the commands whose storing is to be acknowledged.
    pub(crate) acks: Vec<u32>,
}

/// The attempt so far.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    held: Vec<Action>,
    bytes: usize,
    /// Indices of held commands that are to be acknowledged.
    acks: Vec<u32>,
    /// Somebody waits for what is held.
    urgent: bool,
    /// Something that is held should be in the log soon even if nobody waits for it.
    solid: bool,
    /// The latest hint, not proposed yet: what it waits for and what it had seen then.
    hint: Option<(Option<Awaiting>, u32)>,
    /// The hint as the leader has it.
    proposed_hint: Option<Awaiting>,
    /// What the handler said last that it waits for, if nothing else goes on in it.
    idle_on: Option<Awaiting>,
    /// See [`Plan::take_look`].
    look: bool,
    /// Timers that have not fired.
    sleeps: BTreeMap<u32, TimestampMs>,
    /// Promises that are not completed: that may take as long as it likes.
    promises: BTreeSet<u32>,
    /// Steps without result.
    runs: BTreeSet<u32>,
    terminal: Option<Terminal>,
    /// The last output is a failure.
    fails: bool,
}

impl Plan {
    pub(crate) fn new(invocation: &Invocation) -> Self {
        let fails = matches!(invocation.output, Some(Completion::Failure(_)));
        let mut plan = Self { proposed_hint: invocation.awaiting.clone(), fails, ..Self::default() };
        for (completion, pending) in &invocation.pending {
            match pending {
                Pending::Sleep { wake_at } => drop(plan.sleeps.insert(*completion, *wake_at)),
                Pending::Run => drop(plan.runs.insert(*completion)),
                Pending::Promise { .. } => drop(plan.promises.insert(*completion)),
                Pending::Call { .. } | Pending::Attach { .. } | Pending::Output { .. } => {}
            }
        }
        plan
    }

    /// Takes an event. An error fails the attempt; what is held stays good.
    ///
    /// * `seen`: journal entries that the handler had certainly been sent.
    pub(crate) fn on_event(&mut self, event: Event, seen: u32, now: TimestampMs, who: &Who<'_>) -> Result<(), Trouble> {
        match event {
            Event::Command(mut event) => {
                let Who { id, target, traceparent, registry, env } = *who;
                let caller = Caller { id, target, traceparent, registry, env, now };
                let effect = resolve::effect(&mut event, &caller)?;
                if let CommandEffect::Run { completion } = effect
                    && !self.runs.insert(completion)
                {
                    return Err(Trouble::new(codes::RT0012, format!("two steps with completion id {completion}")));
                }
                self.note(&effect, now);
                self.hold(event.raw.len());
                if event.ack_requested {
                    self.acks.push(event.command_index);
                    self.urgent = true;
                }
                let (index, ty, raw) = (event.command_index, event.ty, event.raw);
                self.held.push(Action::Command { index, ty, raw, effect });
            }
            Event::RunProposal { completion_id, result, ack } => {
                // The leader would refuse it, and all behind it with it.
                if !self.runs.remove(&completion_id) {
                    let what = format!("a step result with completion id {completion_id}, for which no step waits");
                    return Err(Trouble::new(codes::RT0012, what));
                }
                self.urgent = true;
                self.hold(match &result {
                    Completion::Success(value) => value.len(),
                    Completion::Failure(failure) => failure.message.len(),
                });
                self.held.push(Action::RunResult { completion: completion_id, result, ack });
            }
            Event::AwaitingOn { tree, executing_side_effects } => {
                let awaiting = (!executing_side_effects).then(|| tree.to_awaiting());
                self.idle_on.clone_from(&awaiting);
                self.look = self.urgent && self.waits_long(now);
                self.hint = (awaiting != self.proposed_hint).then_some((awaiting, seen));
            }
            Event::Suspension(tree) => self.terminal = Some(Terminal::Suspension(tree.to_awaiting())),
            Event::Error(error) => self.terminal = Some(Terminal::Error(error)),
            Event::End => self.terminal = Some(Terminal::End),
            _ => return Err(Trouble::new(codes::RT0012, "a message that has no meaning here")),
        }
        Ok(())
    }

    /// Counts an action that is about to be held; what the handler waited for is over by it.
    fn hold(&mut self, bytes: usize) {
        self.bytes += bytes + ACTION_BYTES;
        self.hint = None;
        self.proposed_hint = None;
        self.idle_on = None;
    }

    fn note(&mut self, effect: &CommandEffect, now: TimestampMs) {
        match effect {
            CommandEffect::GetState { .. }
            | CommandEffect::GetStateKeys { .. }
            | CommandEffect::Call(_)
            | CommandEffect::PeekPromise { .. }
            | CommandEffect::CompletePromise { .. }
            | CommandEffect::Attach { .. }
            | CommandEffect::GetOutput { .. } => self.urgent = true,
            // It may be completed already.
            CommandEffect::GetPromise { completion, .. } => {
                self.promises.insert(*completion);
                self.urgent = true;
            }
            CommandEffect::Output { failure, .. } => {
                self.fails = failure.is_some();
                self.solid = true;
            }
            CommandEffect::Sleep { wake_at, completion } => {
                self.sleeps.insert(*completion, *wake_at);
                // A suspension is about to follow, and there is time for it.
                let far = wake_at.since(now) > FAR_MS;
                self.urgent |= !far;
                self.solid = true;
            }
            // Its result makes it worth a batch.
            CommandEffect::Run { .. } => {}
            CommandEffect::None
            | CommandEffect::SetState { .. }
            | CommandEffect::ClearState { .. }
            | CommandEffect::ClearAllState
            | CommandEffect::SendSignal { .. } => self.solid = true,
        }
    }

    /// A notification is sent to the handler: it may go on.
    pub(crate) fn on_sent(&mut self, entry: &Entry) {
        let Entry::Notification(notification) = entry else { return };
        if let NotificationId::Completion(completion) = notification.id {
            self.sleeps.remove(&completion);
            self.promises.remove(&completion);
        }
        let lists = |awaiting: &Awaiting| awaiting.lists(&notification.id);
        if self.hint.as_ref().is_some_and(|(awaiting, _)| awaiting.as_ref().is_some_and(lists)) {
            self.hint = None;
        }
        if self.idle_on.as_ref().is_some_and(lists) {
            self.idle_on = None;
        }
        if self.proposed_hint.as_ref().is_some_and(lists) {
            self.proposed_hint = None;
        }
    }

    /// What is held should be proposed now.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// No more should be held.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= ACTIONS_MAX || self.bytes >= BYTES_MAX
    }

    /// Something is held that should be proposed before long.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty() || self.hint.is_some()
    }

    /// Nothing is coming that would be worth keeping the stream open for.
    pub(crate) fn may_suspend(&self, now: TimestampMs) -> bool {
        !self.urgent && self.waits_long(now)
    }

    /// The handler waits for nothing but what may take as long as it likes.
    fn waits_long(&self, now: TimestampMs) -> bool {
        let Some(Awaiting { completions, .. }) = &self.idle_on else { return false };
        let far = |at: &TimestampMs| at.since(now) > FAR_MS;
        completions.iter().all(|id| self.promises.contains(id) || self.sleeps.get(id).is_some_and(far))
    }

    /// It began to wait for something that may take long or be there already: worth a look at
    /// [`Plan::may_suspend`] when the answer would have come. Once.
    pub(crate) fn take_look(&mut self) -> bool {
        std::mem::take(&mut self.look)
    }

    /// Takes what is held.
    pub(crate) fn take(&mut self) -> Batch {
        let mut actions = std::mem::take(&mut self.held);
        let lazy = !self.urgent && !self.solid;
        let bytes = std::mem::take(&mut self.bytes);
        (self.urgent, self.solid) = (false, false);
        if let Some((awaiting, seen)) = self.hint.take() {
            self.proposed_hint.clone_from(&awaiting);
            actions.push(Action::AwaitingOn { awaiting, seen });
        }
        Batch { actions, bytes, lazy, acks: std::mem::take(&mut self.acks) }
    }

    /// Takes what is held behind the last hint, which means nothing any more, like acknowledgements.
    pub(crate) fn take_last(&mut self) -> Batch {
        self.hint = None;
        Batch { lazy: false, acks: Vec::new(), ..self.take() }
    }

    /// The attempt has said how it ended.
    pub(crate) fn is_over(&self) -> bool {
        self.terminal.is_some()
    }

    /// If it ends, it ends with a failure.
    pub(crate) fn fails(&self) -> bool {
        self.fails
    }

    /// How it ended.
    pub(crate) fn terminal(&mut self) -> Option<Terminal> {
        self.terminal.take()
    }
}

#[cfg(test)]
mod tests;
