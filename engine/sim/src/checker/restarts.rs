//! Restarts as new: whatever clean-up and operators do at the same time, the new invocation has the old one's target and
//! input, and comes to be if the old one is there with its input.

use millrace_machine::StateView;
use millrace_model::{
    Command, InvocationId,
    command::RestartAsNew,
    invocation::HandlerKind,
    journal::Entry,
    table::{Ended, Invocations, Journal, Table},
};

use super::{Invariant, Seen, Violation};

fn violation(what: String) -> Result<(), Violation> {
    Err(Violation::new(Invariant::Durable, what))
}

/// Checks what a batch restarted from the input alone.
pub(super) fn batch(seen: &Seen<'_>) -> Result<(), Violation> {
    seen.commands.iter().try_for_each(|command| match command {
        Command::RestartAsNew(restart) => restarted(restart, seen),
        _ => Ok(()),
    })
}

/// What else the batch may have done to one of the two.
fn touched(id: InvocationId, seen: &Seen<'_>) -> bool {
    seen.commands.iter().any(|command| match command {
        Command::Purge { id: of, .. } | Command::PurgeJournal { id: of, .. } | Command::Terminate { id: of, .. } => {
            *of == id
        }
        Command::Expire { rows, .. } => rows.iter().any(|row| row.id == id),
        _ => false,
    })
}

fn restarted(restart: &RestartAsNew, seen: &Seen<'_>) -> Result<(), Violation> {
    let RestartAsNew { id, new, .. } = *restart;
    let old = seen.before.get::<Ended>(&id).expect("the machine wrote it");
    let was = seen.before.get::<Journal>(&(id, 0)).expect("the machine wrote it").map(|row| row.entry);
    let Some(made) = seen.active(new).filter(|row| row.created_lsn == seen.applied.lsn) else {
        let known = seen.before.get::<Invocations>(&new).expect("the machine wrote it").is_some()
            || seen.before.get::<Ended>(&new).expect("the machine wrote it").is_some();
        let can =
            old.is_some_and(|old| !old.unstarted && old.journal_len > 0 && old.target.kind != HandlerKind::Workflow);
        if can && was.is_some() && !known && !touched(id, seen) && !touched(new, seen) {
            return violation(format!("{id} has ended, and {new} was not made of it"));
        }
        return Ok(());
    };
    let Some(old) = old else { return Ok(()) };
    let input = match Journal::changes(&seen.outcome.changes).get(&(new, 0)) {
        Some(Some(row)) => Some(&row.entry),
        _ => None,
    };
    match (input, &was) {
        (Some(Entry::Input { value, .. }), Some(Entry::Input { value: was, .. }))
            if value == was && made.target == old.target =>
        {
            Ok(())
        }
        _ => violation(format!("{new} is not what {id} was, or made of nothing")),
    }
}
