//! Invariant 5: a journal entry once acknowledged to a handler is there on every later attempt.
//!
//! A deposed leader that does not know it yet may start an attempt from before an entry; that is not a later one.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_machine::StateView;
use millrace_model::{
    InvocationId, Lsn, Wire,
    journal::{Entry, JournalRow, Notification, NotificationId, NotificationResult, ty},
    table::{self, Invocations, Table},
};

use super::{Invariant, Seen, Violation};

#[derive(Default)]
struct Told {
    /// Entries as handlers saw them.
    entries: BTreeMap<u32, Bytes>,
    /// Acknowledged results of steps.
    acknowledged: BTreeMap<u32, Bytes>,
}

/// What handlers know.
#[derive(Default)]
pub struct Journal {
    told: BTreeMap<(InvocationId, Lsn), Told>,
    /// Where the log has an entry, and results of steps.
    entries: BTreeMap<(InvocationId, Lsn, u32), Lsn>,
    results: BTreeMap<(InvocationId, Lsn, u32), Lsn>,
    /// When journals of parked records were begun anew, by creation.
    rewinds: BTreeMap<(InvocationId, Lsn), Vec<Lsn>>,
}

impl Journal {
    /// Where the journal that an invocation had at `applied` began: with it, or when it left a failed run behind.
    pub fn began(&self, id: InvocationId, created: Lsn, applied: Lsn) -> Lsn {
        let rewinds = self.rewinds.get(&(id, created)).into_iter().flatten();
        rewinds.rev().copied().find(|at| *at <= applied).unwrap_or(created)
    }

    /// An attempt starts with this journal, of the state at `applied`.
    pub fn started(
        &mut self,
        id: InvocationId,
        created: Lsn,
        journal: &[JournalRow],
        applied: Lsn,
    ) -> Result<(), Violation> {
        let told = self.told.entry((id, created)).or_default();
        let later = |at: Option<&Lsn>| at.is_some_and(|at| *at > applied);
        let violation = |what: String| Err(Violation::new(Invariant::Journal, format!("{id}: {what}")));
        for (&index, entry) in &told.entries {
            if later(self.entries.get(&(id, created, index))) {
                continue;
            }
            match journal.get(index as usize) {
                Some(row) if row.encode() == *entry => {}
                Some(_) => return violation(format!("entry {index} is another one than a handler was told")),
                None => return violation(format!("entry {index}, which a handler was told, is gone")),
            }
        }
        for (&completion, value) in &told.acknowledged {
            if later(self.results.get(&(id, created, completion))) {
                continue;
            }
            let is_it = |row: &&JournalRow| match &row.entry {
                Entry::Notification(n) => n.ty == ty::RUN && n.id == NotificationId::Completion(completion),
                _ => false,
            };
            match journal.iter().find(is_it).map(|row| &row.entry) {
                Some(Entry::Notification(n)) if n.result == NotificationResult::Value(value.clone()) => {}
                Some(_) => return violation(format!("step {completion} has another result than the acknowledged one")),
                None => return violation(format!("the acknowledged result of step {completion} is gone")),
            }
        }
        for (index, row) in journal.iter().enumerate() {
            told.entries.insert(index as u32, row.encode());
        }
        Ok(())
    }

    /// An attempt was told an entry.
    pub fn told(&mut self, id: InvocationId, created: Lsn, index: u32, row: &JournalRow) {
        self.told.entry((id, created)).or_default().entries.insert(index, row.encode());
    }

    /// An attempt was told that the result of its step is kept.
    pub fn acknowledged(&mut self, id: InvocationId, created: Lsn, completion: u32, value: Bytes) {
        self.told.entry((id, created)).or_default().acknowledged.insert(completion, value);
    }

    /// Journals of active invocations only grow.
    pub(super) fn batch(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        for (id, created) in seen.rewound() {
            self.rewinds.entry((id, created)).or_default().push(seen.applied.lsn);
        }
        for ((id, index), row) in table::Journal::changes(&seen.outcome.changes) {
            let broken = |_| Violation::new(Invariant::Engine, "a row cannot be read");
            if let (Some(row), Some(active)) = (row, seen.active(*id)) {
                let created = self.began(*id, active.created_lsn, seen.applied.lsn);
                self.entries.insert((*id, created, *index), seen.applied.lsn);
                if let Entry::Notification(Notification { ty: ty::RUN, id: NotificationId::Completion(c), .. }) =
                    row.entry
                {
                    self.results.insert((*id, created, c), seen.applied.lsn);
                }
            }
            let Some(active) = seen.before.get::<Invocations>(id).map_err(broken)? else { continue };
            let Some(after) = seen.active(*id).filter(|after| after.created_lsn == active.created_lsn) else {
                continue; // It ended. Another one may have come in its place.
            };
            if self.began(*id, active.created_lsn, seen.applied.lsn) == seen.applied.lsn {
                continue;
            }
            let gone = row.is_none() && *index < after.journal_len;
            if gone || (*index < active.journal_len && row.is_some()) {
                let what = format!("{id}: entry {index} of {} was written over or removed", active.journal_len);
                return Err(Violation::new(Invariant::Journal, what));
            }
        }
        Ok(())
    }
}
