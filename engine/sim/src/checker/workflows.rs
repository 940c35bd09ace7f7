//! Workflows: a key's run is there once until its retention is over, the next one finds nothing of it; shared handlers
//! never wait for it.

use millrace_machine::{Effect, StateView};
use millrace_model::{
    Command, InvocationId,
    invocation::{Completed, HandlerKind, Status},
    table::{Ended, Invocations, State, Table},
};

use super::{Invariant, Seen, Violation};

fn violation(what: String) -> Result<(), Violation> {
    Err(Violation::new(Invariant::Exclusive, what))
}

/// Checks what came to be in a batch.
pub(super) fn batch(seen: &Seen<'_>) -> Result<(), Violation> {
    for (id, row) in Invocations::changes(&seen.outcome.changes) {
        let Some(row) = row else { continue };
        if row.target.kind == HandlerKind::Shared && matches!(row.status, Status::Inboxed { .. }) {
            return violation(format!("{id} is shared and waits for its key"));
        }
        let before = seen.before.get::<Invocations>(id).expect("the machine wrote it");
        let is_new = before.as_ref().is_none_or(|before| before.created_lsn != row.created_lsn);
        let ended =
            seen.outcome.effects.iter().any(|effect| matches!(effect, Effect::Ended { id: of, .. } if of == id));
        if row.target.kind != HandlerKind::Workflow || !is_new || ended {
            continue;
        }
        if before.is_some() {
            return violation(format!("{id} runs again before it has ended"));
        }
        retained(*id, row.random_seed, seen)?;
        let object = row.target.object().expect("workflows have keys");
        let left = seen.before.state(&object).expect("the machine wrote it");
        let gone = State::changes(&seen.outcome.changes);
        if let Some((key, _)) =
            left.iter().find(|(key, _)| !matches!(gone.get(&(object.clone(), key.clone())), Some(None)))
        {
            return violation(format!("{id} finds {key:?} of the run before it"));
        }
    }
    kept(seen)
}

/// What is kept of a run refuses another one, unless it never started.
fn retained(id: InvocationId, random_seed: u64, seen: &Seen<'_>) -> Result<(), Violation> {
    let Some(kept) = seen.before.get::<Ended>(&id).expect("the machine wrote it") else { return Ok(()) };
    if kept.random_seed == random_seed && !is_gone(id, &kept, seen) {
        return violation(format!("{id} runs once more for the same command"));
    }
    Ok(())
}

/// Purged, or its retention has let it go in this batch.
fn is_gone(id: InvocationId, kept: &Completed, seen: &Seen<'_>) -> bool {
    seen.commands.iter().any(|command| match command {
        Command::Purge { id: of, .. } => *of == id,
        Command::Expire { rows, .. } => rows.iter().any(|row| row.id == id) && kept.expires_at.0 <= seen.now,
        _ => false,
    })
}

/// The results of what has ended are there until their retention is over, unless somebody purges them.
fn kept(seen: &Seen<'_>) -> Result<(), Violation> {
    for (id, row) in Ended::changes(&seen.outcome.changes) {
        let Some(kept) = seen.before.get::<Ended>(id).expect("the machine wrote it") else { continue };
        let is_it = row.as_ref().is_some_and(|row| row.created_lsn == kept.created_lsn);
        if !is_it && !kept.unstarted && !is_gone(*id, &kept, seen) && kept.result_until.0 > seen.now {
            let (until, now) = (kept.result_until, seen.now);
            return Err(Violation::new(
                Invariant::Durable,
                format!("{id} is gone at {now}, it is kept until {until:?}"),
            ));
        }
    }
    Ok(())
}
