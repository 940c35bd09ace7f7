//! Invariant 6: a timer never fires early and always fires; a completion is delivered once; a message between
//! partitions is applied once.

use std::collections::{BTreeMap, BTreeSet};

use millrace_machine::{Effect, StateView};
use millrace_model::{
    Command, InvocationId, Lsn, PartitionId,
    command::{Action, CommandEffect, Lane, Message},
    invocation::{Pending, Status},
    journal::{Entry, JournalRow, Notification, NotificationId, SIGNAL_CANCEL, ty},
    table::{Invocations, Journal, Received, Table},
};

use super::{Checker, Invariant, Seen, Violation};

/// Completions that came, messages that were sent and received.
#[derive(Default)]
pub struct Once {
    completions: BTreeSet<(InvocationId, Lsn, u32)>,
    sent: BTreeMap<(PartitionId, PartitionId, Lane, u64), Message>,
    /// Last sequence number by sender, receiver and lane.
    received: BTreeMap<(PartitionId, PartitionId, Lane), u64>,
}

fn violation(what: String) -> Result<(), Violation> {
    Err(Violation::new(Invariant::Once, what))
}

impl Once {
    pub(super) fn batch(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        for effect in &seen.outcome.effects {
            if let Effect::Send { to, lane, seq, message } = effect {
                self.sent.insert((seen.partition, *to, *lane, *seq), message.clone());
            }
        }
        for (id, created) in seen.rewound() {
            let of_it: Vec<_> = self.completions.range((id, created, 0)..=(id, created, u32::MAX)).copied().collect();
            of_it.iter().for_each(|completion| _ = self.completions.remove(completion));
        }
        self.messages(seen)?;
        self.completions(seen)?;
        Self::timers(seen)
    }

    /// Leaves in a delivery what is new and follows without a gap.
    pub(super) fn accept(&mut self, to: PartitionId, command: &mut Command) {
        let Command::Deliver { from, lane, first, messages, .. } = command else { return };
        let last = self.received.entry((*from, to, *lane)).or_default();
        if *first > *last + 1 {
            return messages.clear();
        }
        let known = (*last + 1 - *first).min(messages.len() as u64);
        messages.drain(..known as usize);
        *first += known;
        *last += messages.len() as u64;
    }

    fn messages(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        for command in seen.commands {
            let Command::Deliver { from, lane, first, messages, .. } = command else { continue };
            for (seq, message) in (*first..).zip(messages) {
                if self.sent.get(&(*from, seen.partition, *lane, seq)) != Some(message) {
                    let to = seen.partition;
                    return violation(format!("partition {to} took another message {seq} of {from} than was sent"));
                }
            }
        }
        for ((from, lane), row) in Received::changes(&seen.outcome.changes) {
            let ours = self.received.get(&(*from, seen.partition, *lane)).copied().filter(|last| *last > 0);
            if ours != *row {
                return violation(format!("partition {} has received {row:?} of {from}, not {ours:?}", seen.partition));
            }
        }
        Ok(())
    }

    fn completions(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        for ((id, _), row) in Journal::changes(&seen.outcome.changes) {
            let Some(Entry::Notification(notification)) = row.as_ref().map(|row| &row.entry) else { continue };
            let NotificationId::Completion(completion) = notification.id else { continue };
            let before = seen.before.get::<Invocations>(id).expect("the machine wrote it");
            let created = before.as_ref().or(seen.active(*id).as_ref()).map(|row| row.created_lsn);
            // Made and ended in one batch: nothing can have come twice.
            let Some(created) = created else { continue };
            if !self.completions.insert((*id, created, completion)) {
                return violation(format!("completion {completion} of {id} came twice"));
            }
            if notification.ty == ty::SLEEP {
                Self::slept(seen, *id, completion, notification)?;
            }
        }
        Ok(())
    }

    fn slept(seen: &Seen<'_>, id: InvocationId, completion: u32, what: &Notification) -> Result<(), Violation> {
        let pending = seen.before.get::<Invocations>(&id).expect("the machine wrote it");
        let stored = pending.iter().flat_map(|row| &row.pending).find_map(|(of, pending)| match pending {
            Pending::Sleep { wake_at } if *of == completion => Some(*wake_at),
            _ => None,
        });
        let wake_at = stored.or_else(|| {
            seen.commands.iter().find_map(|command| match command {
                Command::Attempt(attempt) if attempt.id == id => {
                    attempt.actions.iter().find_map(|action| match action {
                        Action::Command { effect: CommandEffect::Sleep { wake_at, completion: of }, .. }
                            if *of == completion =>
                        {
                            Some(*wake_at)
                        }
                        _ => None,
                    })
                }
                _ => None,
            })
        });
        match wake_at {
            Some(at) if at.0 <= seen.now => Ok(()),
            at => violation(format!("{what:?} of {id} came at {}, due at {at:?}", seen.now)),
        }
    }

    /// What waited for a time goes on no earlier, unless somebody asked for it.
    fn timers(seen: &Seen<'_>) -> Result<(), Violation> {
        for (id, row) in Invocations::changes(&seen.outcome.changes) {
            let Some(row) = row else { continue };
            let Some(before) = seen.before.get::<Invocations>(id).expect("the machine wrote it") else { continue };
            let (Status::Scheduled { at } | Status::BackingOff { at }) = before.status else { continue };
            let asked = seen.commands.iter().any(|command| {
                matches!(command,
                    Command::Resume { id: of, .. } | Command::Terminate { id: of, .. } | Command::Pause { id: of, .. }
                        if of == id)
            });
            let cancelled =
                Journal::changes(&seen.outcome.changes).range((*id, 0)..=(*id, u32::MAX)).any(|(_, row)| {
                    matches!(row, Some(JournalRow { entry: Entry::Notification(notification), .. })
                    if notification.id == NotificationId::Signal(SIGNAL_CANCEL))
                });
            if row.status != before.status && !asked && !cancelled && at.0 > seen.now {
                return violation(format!("{id} goes on at {}, its timer is due at {at:?}", seen.now));
            }
        }
        Ok(())
    }
}

impl Checker {
    /// Everything that was sent has arrived.
    pub fn all_delivered(&self) -> Result<(), Violation> {
        for (from, to, lane, seq) in self.once.sent.keys() {
            if self.once.received.get(&(*from, *to, *lane)).is_none_or(|last| last < seq) {
                return violation(format!("message {seq} from {from} to {to} never arrived"));
            }
        }
        Ok(())
    }
}
