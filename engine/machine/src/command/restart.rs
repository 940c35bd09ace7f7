//! New invocations from the input of ended ones.

use std::collections::BTreeSet;

use millrace_model::{
    InvocationId,
    command::{Known, RestartAsNew},
    invocation::{Completed, HandlerKind, NewInvocation, Pin, Source, Status},
    journal::{Entry, JournalRow, NotificationId, SIGNAL_AWAKEABLE_FIRST, SIGNAL_CANCEL, completion_ids, ty},
    table::{Ended, Invocations, Journal},
};

use crate::{Answer, Refusal, StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    pub(super) fn restart_as_new(&mut self, restart: RestartAsNew) -> Result<Answer, V::Error> {
        let RestartAsNew { id, new, from, deployment, random_seed, now } = restart;
        if self.get::<Invocations>(&new)?.is_some() || self.get::<Ended>(&new)?.is_some() {
            return Ok(Answer::Done); // The same command once more.
        }
        let ended = match self.get::<Ended>(&id)?.filter(|ended| !ended.unstarted) {
            Some(ended) => ended,
            None => return Ok(Answer::Refused(self.why_not_ended(id)?)),
        };
        if ended.target.kind == HandlerKind::Workflow {
            return Ok(Answer::Refused(Refusal::Workflow));
        }
        if deployment.is_some() && ended.pin.is_none() {
            return Ok(Answer::Refused(Refusal::NotPinned));
        }
        let input = if ended.journal_len > 0 { self.get::<Journal>(&(id, 0))? } else { None };
        let Some(JournalRow { entry: Entry::Input { headers, value }, .. }) = input else {
            return Ok(Answer::Refused(Refusal::NoInput));
        };
        let Some(prefix) = self.prefix(id, &ended, from)? else {
            return Ok(Answer::Refused(Refusal::Unresolved));
        };
        // What is replayed must draw the same numbers, and speak the same version of the protocol.
        let (random_seed, kept) = if from > 0 { (ended.random_seed, ended.pin) } else { (random_seed, None) };
        let moved = ended.pin.zip(deployment).map(|(pin, deployment)| Pin { deployment, ..pin });
        self.create(
            NewInvocation {
                id: new,
                target: ended.target,
                source: Source::RestartAsNew { from: id },
                created_at: now,
                execute_at: None,
                idempotency_key: None,
                completion_retention: ended.completion_retention,
                journal_retention: ended.journal_retention,
                random_seed,
                traceparent: ended.traceparent,
                headers,
                value,
            },
            Known::Fresh,
            now,
        )?;
        if let Some(mut row) = self.get::<Invocations>(&new)? {
            row.pin = moved.or(kept);
            for entry in prefix {
                let index = row.journal_len;
                let mut previous = 0;
                if let Entry::Notification(notification) = &entry {
                    previous = std::mem::replace(&mut row.last_notification, index);
                    if let NotificationId::Signal(signal) = notification.id
                        && signal >= SIGNAL_AWAKEABLE_FIRST
                    {
                        row.awakeables.insert(signal);
                    }
                } else {
                    row.commands += 1;
                }
                self.put::<Journal>((new, index), JournalRow { appended_at: now, previous, entry });
                row.journal_len += 1;
            }
            self.put::<Invocations>(new, row);
        }
        Ok(Answer::Done)
    }

    /// Entries behind the input up to index `from`, and the results of their commands wherever they stand. `None`: some
    /// have none, or the journal ends before.
    fn prefix(&self, id: InvocationId, ended: &Completed, from: u32) -> Result<Option<Vec<Entry>>, V::Error> {
        if from >= ended.journal_len {
            return Ok(None);
        }
        let mut entries = Vec::new();
        let mut open = BTreeSet::new();
        for index in 1..ended.journal_len {
            if index > from && open.is_empty() {
                break;
            }
            let Some(JournalRow { entry, .. }) = self.get::<Journal>(&(id, index))? else { return Ok(None) };
            let copied = match &entry {
                // It ended with this.
                Entry::Command { ty: ty::OUTPUT, .. } if index <= from => return Ok(None),
                Entry::Command { ty, raw } if index <= from => {
                    open.extend(completion_ids(*ty, raw));
                    true
                }
                Entry::Notification(notification) => match &notification.id {
                    NotificationId::Completion(completion) => open.remove(completion),
                    // Nobody has cancelled the new one.
                    signal => index <= from && *signal != NotificationId::Signal(SIGNAL_CANCEL),
                },
                Entry::Input { .. } | Entry::Command { .. } => false,
            };
            if copied {
                entries.push(entry);
            }
        }
        Ok(open.is_empty().then_some(entries))
    }

    fn why_not_ended(&self, id: InvocationId) -> Result<Refusal, V::Error> {
        Ok(match self.get::<Invocations>(&id)?.map(|row| row.status) {
            Some(Status::Scheduled { .. } | Status::Inboxed { .. }) => Refusal::NotStarted,
            Some(_) => Refusal::NotEnded,
            None => Refusal::NotFound,
        })
    }
}
