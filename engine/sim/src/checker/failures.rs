//! Invariant 4 for records that fail for good: what the policy of that moment says happens to them, once; one that is
//! parked stays until somebody asks for it; a letter stays until its broker has it.
//!
//! That what is behind a parked record waits, in order, is seen by `exclusive.rs`.

use std::collections::{BTreeMap, BTreeSet};

use millrace_machine::{Effect, MemoryView, StateView};
use millrace_model::{
    Command, InvocationId,
    command::{Action, Attempt, Decision, IngestRecord},
    invocation::{Invocation, Source, Status},
    journal::{Completion, Entry, NotificationId, SIGNAL_CANCEL},
    source::{DeadLetter, FailurePolicy, Outcomes},
    table::{DeadLetters, Invocations, Journal, OutcomeCounts, ParkedRecords, Table},
};

use super::{Invariant, Seen, Violation};
use crate::{reader::SUBSCRIPTION, store::rows};

/// Letters that were made, and those that the broker has.
#[derive(Default)]
pub struct Failures {
    made: BTreeMap<InvocationId, DeadLetter>,
    written: BTreeSet<InvocationId>,
    /// Failures of attempts that the policy let pass.
    skipped: u64,
}

fn violation(what: String) -> Result<(), Violation> {
    Err(Violation::new(Invariant::Sources, what))
}

fn get<T: Table>(view: &MemoryView, key: &T::Key) -> Option<T::Row> {
    view.get::<T>(key).expect("the machine wrote it")
}

/// The policy that an attempt names, if it says that its record failed for good.
fn failed_by<'a>(attempt: &'a Attempt, before: &Invocation) -> Option<&'a FailurePolicy> {
    let mut failed = matches!(before.output, Some(Completion::Failure(_)));
    for action in &attempt.actions {
        match action {
            Action::Command { effect: millrace_model::command::CommandEffect::Output { failure, .. }, .. } => {
                failed = failure.is_some();
            }
            Action::Fail { decision: Decision::Settle { policy, .. }, .. } => return Some(policy),
            Action::EndBy { policy } if failed => return Some(policy),
            _ => {}
        }
    }
    None
}

impl Failures {
    /// The broker has a letter, perhaps once more.
    pub fn written(&mut self, id: InvocationId, letter: &DeadLetter) -> Result<(), Violation> {
        if self.made.get(&id) != Some(letter) {
            return violation(format!("a letter of {id} was written that nobody has made"));
        }
        self.written.insert(id);
        Ok(())
    }

    pub(super) fn batch(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        for command in seen.commands {
            if let Command::Attempt(attempt) = command {
                self.attempt(attempt, seen)?;
            }
        }
        self.letters(seen)?;
        for ((_, id), row) in ParkedRecords::changes(&seen.outcome.changes) {
            let before = get::<ParkedRecords>(seen.before, &(SUBSCRIPTION, *id));
            if row.is_none() && before.is_some() && !Self::touched(*id, seen) {
                return violation(format!("{id} was parked, and nobody asked for it"));
            }
        }
        Ok(())
    }

    /// An operator meant it in this batch.
    fn touched(id: InvocationId, seen: &Seen<'_>) -> bool {
        seen.commands.iter().any(|command| {
            matches!(command,
                Command::Resume { id: of, .. } | Command::Terminate { id: of, .. } | Command::Pause { id: of, .. }
                    if *of == id)
        })
    }

    /// If it counts, the record ends or is parked as its policy says.
    fn attempt(&mut self, attempt: &Attempt, seen: &Seen<'_>) -> Result<(), Violation> {
        let id = attempt.id;
        let Some(before) = get::<Invocations>(seen.before, &id) else { return Ok(()) };
        let Source::Record(_) = before.source else { return Ok(()) };
        let Some(policy) = failed_by(attempt, &before) else { return Ok(()) };
        let stale = before.created_lsn != attempt.created_lsn || attempt.attempt < before.attempt;
        let refused =
            seen.outcome.effects.iter().any(|effect| matches!(effect, Effect::Refuse { id: of, .. } if *of == id));
        // Then it may be void, or somebody else's doing.
        if stale || before.status != Status::Running || before.refused || refused || Self::touched(id, seen) {
            return Ok(());
        }
        let cancelled = (1..before.journal_len).any(|index| {
            matches!(get::<Journal>(seen.before, &(id, index)).map(|row| row.entry),
                Some(Entry::Notification(notification)) if notification.id == NotificationId::Signal(SIGNAL_CANCEL))
        });
        let key = (SUBSCRIPTION, id);
        let has_ended =
            seen.outcome.effects.iter().any(|effect| matches!(effect, Effect::Ended { id: of, .. } if *of == id));
        let has_letter = DeadLetters::changes(&seen.outcome.changes).get(&key).is_some_and(Option::is_some);
        let is_parked = ParkedRecords::changes(&seen.outcome.changes).get(&key).is_some_and(Option::is_some)
            && seen.active(id).is_some_and(|row| row.status == Status::Paused);
        let expected = match policy {
            _ if cancelled => (true, false, false),
            FailurePolicy::Park => (false, false, true),
            FailurePolicy::Skip => (true, false, false),
            FailurePolicy::DeadLetter { .. } => (true, true, false),
        };
        if (has_ended, has_letter, is_parked) != expected {
            return violation(format!(
                "{id} failed for good, {policy:?}, cancelled {cancelled}: ended {has_ended}, letter {has_letter}, \
                 parked {is_parked}"
            ));
        }
        self.skipped += u64::from(*policy == FailurePolicy::Skip && !cancelled);
        Ok(())
    }

    fn letters(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        for ((_, id), row) in DeadLetters::changes(&seen.outcome.changes) {
            let before = get::<DeadLetters>(seen.before, &(SUBSCRIPTION, *id));
            match row {
                Some(letter) => {
                    let rejected = seen.commands.iter().any(|command| match command {
                        Command::Ingest(ingest) => ingest.records.iter().any(
                            |record| matches!(record, IngestRecord::Letter { id: of, letter: l, .. } if of == id && **l == *letter),
                        ),
                        _ => false,
                    });
                    let ended = seen.outcome.effects.iter().any(|effect| {
                        matches!(effect, Effect::Ended { id: of, result: Completion::Failure(failure), .. }
                            if of == id && *failure == letter.failure)
                    });
                    if letter.invoked != ended || letter.invoked == rejected {
                        return violation(format!("a letter of {id} for nothing"));
                    }
                    let input = get::<Journal>(seen.before, &(*id, 0)).map(|row| row.entry);
                    if let (true, Some(Entry::Input { value, .. })) = (letter.invoked, input)
                        && value != letter.value
                    {
                        return violation(format!("the letter of {id} does not hold its record"));
                    }
                    if self.made.insert(*id, letter.clone()).is_some() {
                        return violation(format!("a second letter of {id}"));
                    }
                }
                None if before.is_some() && !self.written.contains(id) => {
                    return violation(format!("the letter of {id} is gone, and the broker does not have it"));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Everything has ended: every letter is with the broker, and the counts are right.
    pub fn finished<'a>(&self, views: impl Iterator<Item = &'a MemoryView>) -> Result<(), Violation> {
        if let Some(id) = self.made.keys().find(|id| !self.written.contains(id)) {
            return violation(format!("the letter of {id} was never written"));
        }
        let counts = views.flat_map(rows::<OutcomeCounts>).map(|(_, outcomes)| outcomes);
        let counts = counts.fold(Outcomes::default(), |sum, outcomes| sum + outcomes);
        let made = self.made.len() as u64;
        if (counts.letters, counts.written) != (made, made)
            || counts.parked != counts.redriven + counts.dropped
            || counts.skipped < self.skipped
        {
            return violation(format!("{made} letters, at least {} skipped, counted as {counts:?}", self.skipped));
        }
        Ok(())
    }
}
