//! How many invocations are in which state, kept up with every batch.

use millrace_machine::StateView;
use millrace_model::{
    invocation::{Invocation, Status},
    journal::Completion,
    table::{Changes, Ended, Invocations, Table},
};

/// Names of the states, in the words of the product documentation.
pub const STATES: [&str; 6] = ["scheduled", "pending", "running", "suspended", "backing-off", "paused"];

/// Counts of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Active invocations, by state: see [`STATES`].
    pub active: [u64; STATES.len()],
    /// Ended well since the leadership began.
    pub succeeded: u64,
    /// Ended with a failure since the leadership began.
    pub failed: u64,
}

fn state(invocation: &Invocation) -> usize {
    match invocation.status {
        Status::Scheduled { .. } => 0,
        Status::Inboxed { .. } => 1,
        Status::Running => 2,
        Status::Suspended => 3,
        Status::BackingOff { .. } => 4,
        Status::Paused => 5,
    }
}

impl Census {
    /// One that was there when the leadership began.
    pub(crate) fn found(&mut self, invocation: &Invocation) {
        self.active[state(invocation)] += 1;
    }

    /// What a batch is about to change in `before`.
    pub(crate) fn note<V: StateView>(&mut self, before: &V, changes: &Changes) -> Result<(), V::Error> {
        for (id, after) in Invocations::changes(changes) {
            let was = before.get::<Invocations>(id)?.map(|row| state(&row));
            let is = after.as_ref().map(state);
            if was != is {
                if let Some(was) = was {
                    self.active[was] = self.active[was].saturating_sub(1);
                }
                if let Some(is) = is {
                    self.active[is] += 1;
                }
            }
        }
        // A row of an ended invocation is written once, and once more without its journal.
        for (id, ended) in Ended::changes(changes) {
            let ends = Invocations::changes(changes).get(id).is_some_and(Option::is_none);
            match ended {
                Some(ended) if ends => match ended.result {
                    Completion::Success(_) => self.succeeded += 1,
                    Completion::Failure(_) => self.failed += 1,
                },
                _ => {}
            }
        }
        Ok(())
    }
}
