//! Invariant 3: at most one attempt of an exclusive handler per (service, key) whose commands count; others wait in
//! arrival order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millrace_machine::{Effect, StateView};
use millrace_model::{
    Command, InvocationId, Lsn,
    command::{Action, CommandEffect, Message},
    invocation::{NewInvocation, ObjectKey, Status},
    journal::Entry,
    table::{Invocations, Journal, Table, TimerKind},
};

use super::{Invariant, Seen, Violation};
use crate::attempt::writer_of;

/// A queue per key, as the log says it must be.
#[derive(Default)]
pub struct Exclusive {
    queues: BTreeMap<ObjectKey, VecDeque<InvocationId>>,
    objects: BTreeMap<InvocationId, ObjectKey>,
    started: BTreeSet<InvocationId>,
    /// Attempts that wrote into a journal, the last one last.
    writers: BTreeMap<(InvocationId, Lsn), Vec<u64>>,
}

impl Exclusive {
    pub(super) fn batch(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        let mut may_write: BTreeSet<InvocationId> =
            self.queues.values().filter_map(|queue| queue.front()).copied().collect();
        for command in seen.commands {
            self.arrivals(command, seen);
        }
        for effect in &seen.outcome.effects {
            match effect {
                Effect::Start { id } => {
                    if let Some(object) = self.objects.get(id)
                        && self.started.insert(*id)
                        && self.queues[object].front() != Some(id)
                    {
                        let what =
                            format!("{id} starts before {:?} of {object:?} has ended", self.queues[object].front());
                        return Err(Violation::new(Invariant::Exclusive, what));
                    }
                    may_write.insert(*id);
                }
                Effect::Ended { id, .. } => {
                    self.started.remove(id);
                    if let Some(object) = self.objects.remove(id) {
                        let queue = self.queues.get_mut(&object).expect("it is in it");
                        queue.retain(|waiting| waiting != id);
                        if queue.is_empty() {
                            self.queues.remove(&object);
                        }
                    }
                }
                _ => {}
            }
        }
        self.writes(seen, &may_write)
    }

    /// Every command in a journal is of the newest attempt, and of the holder of its key.
    fn writes(&mut self, seen: &Seen<'_>, may_write: &BTreeSet<InvocationId>) -> Result<(), Violation> {
        for ((id, _), row) in Journal::changes(&seen.outcome.changes) {
            let Some(Entry::Command { raw, .. }) = row.as_ref().map(|row| &row.entry) else { continue };
            if self.objects.contains_key(id) && !may_write.contains(id) {
                let what = format!("{id} wrote without holding its key");
                return Err(Violation::new(Invariant::Exclusive, what));
            }
            let writer = writer_of(raw).expect("attempts sign their commands");
            let created = seen.active(*id).map(|row| row.created_lsn).unwrap_or_default();
            let writers = self.writers.entry((*id, created)).or_default();
            match writers.iter().position(|of| *of == writer) {
                None => writers.push(writer),
                Some(at) if at + 1 == writers.len() => {}
                Some(_) => {
                    let what = format!("attempt {writer} of {id} wrote behind a later one: {writers:?}");
                    return Err(Violation::new(Invariant::Exclusive, what));
                }
            }
        }
        Ok(())
    }

    fn arrivals(&mut self, command: &Command, seen: &Seen<'_>) {
        match command {
            Command::Invoke { invocation, .. } => self.arrival(invocation, seen),
            Command::Ingest(ingest) => {
                for record in &ingest.records {
                    if let millrace_model::command::IngestRecord::Invoke(new) = record {
                        self.arrival(new, seen);
                    }
                }
            }
            Command::Deliver { messages, .. } => {
                for message in messages {
                    if let Message::Invoke(new) = message {
                        self.arrival(new, seen);
                    }
                }
            }
            Command::Attempt(attempt) => {
                for action in &attempt.actions {
                    if let Action::Command { effect: CommandEffect::Call(callee), .. } = action {
                        self.arrival(&callee.invocation, seen);
                    }
                }
            }
            Command::RestartAsNew(restart) => self.enter(restart.new, seen),
            Command::FireTimers { timers, .. } => {
                for timer in timers.iter().filter(|timer| timer.kind == TimerKind::Start) {
                    self.enter(timer.id, seen);
                }
            }
            _ => {}
        }
    }

    fn arrival(&mut self, new: &NewInvocation, seen: &Seen<'_>) {
        // One that is there already may wait for its time: it arrives when its timer fires.
        let known = seen.before.get::<Invocations>(&new.id).expect("the machine wrote it").is_some();
        if !known && new.id.key.partition(seen.partitions) == seen.partition {
            self.enter(new.id, seen);
        }
    }

    /// It waits for its key from now on, unless it did already or waits for its time.
    fn enter(&mut self, id: InvocationId, seen: &Seen<'_>) {
        let Some(row) = seen.active(id) else { return };
        if !row.target.kind.is_exclusive()
            || matches!(row.status, Status::Scheduled { .. })
            || self.objects.contains_key(&id)
        {
            return;
        }
        let object = row.target.object().expect("exclusive handlers have keys");
        self.queues.entry(object.clone()).or_default().push_back(id);
        self.objects.insert(id, object);
    }
}
