//! The beginning of a leadership, and of attempts.
//!
//! Invocations that could run and have no slot wait in memory only up to [`STARTS_MAX`] a partition: what is beyond is
//! in the store anyway, as every active invocation is, and is looked for when those in memory have had their turn.

use std::{collections::BinaryHeap, ops::ControlFlow};

use millrace_model::{
    invocation::Status,
    table::{Budgets, Invocations, OutboxLanes},
};

use super::{Leader, Surroundings};
use crate::{
    attempts::STARTS_MAX,
    census::Census,
    error::LeaderError,
    invoker::{AttemptJob, Invoker},
    store::Store,
};

impl<S: Store> Leader<S>
where
    S::Error: std::error::Error + Send + Sync + 'static,
{
    /// Costs what is active: the invocations that run, the timers in memory, the lanes, the budgets.
    pub(super) fn take_over(&mut self, around: &Surroundings<'_>) -> Result<(), LeaderError> {
        let mut census = Census::default();
        self.scan::<Invocations>(None, &mut |_, row| {
            census.found(&row);
            ControlFlow::Continue(())
        })?;
        self.census = census;
        self.load_starts()?;
        self.load_timers(None)?;
        let mut lanes = Vec::new();
        self.scan::<OutboxLanes>(None, &mut |key, ends| {
            lanes.push((key, ends));
            ControlFlow::Continue(())
        })?;
        for ((to, lane), ends) in lanes {
            self.outbox.restore(to, lane, ends);
        }
        let mut budgets = Vec::new();
        self.scan::<Budgets>(None, &mut |subscription, budget| {
            budgets.push((subscription, budget));
            ControlFlow::Continue(())
        })?;
        around.board.reset(self.partition, budgets);
        // Those of the leader before: whoever writes them looks.
        around.board.letters_are_there();
        Ok(())
    }

    /// Queues what runs and has no attempt, oldest first. One that waits for something that has not come sleeps on.
    fn load_starts(&mut self) -> Result<(), LeaderError> {
        // One more than fits, so that the queue knows that there are more.
        let mut oldest = BinaryHeap::new();
        self.scan::<Invocations>(None, &mut |id, row| {
            if row.status == Status::Running && row.awaiting.is_none() && !self.attempts.is_live(id) {
                oldest.push((row.created_lsn, id));
                if oldest.len() > STARTS_MAX + 1 {
                    oldest.pop();
                }
            }
            ControlFlow::Continue(())
        })?;
        for (_, id) in oldest.into_sorted_vec() {
            self.attempts.start(id);
        }
        Ok(())
    }

    /// Starts attempts as long as there are slots.
    pub fn start_attempts(&mut self, invoker: &dyn Invoker) -> Result<(), LeaderError> {
        if self.epoch.is_none() {
            return Ok(());
        }
        if self.attempts.take_overflow() {
            self.load_starts()?;
        }
        while self.attempts.has_starts() && invoker.try_reserve() {
            let Some(job) = self.next_job(invoker)? else {
                invoker.release();
                break;
            };
            invoker.start(job);
        }
        Ok(())
    }

    /// Some wait for a slot.
    pub fn wants_slots(&self) -> bool {
        self.attempts.has_starts()
    }

    fn next_job(&mut self, invoker: &dyn Invoker) -> Result<Option<AttemptJob>, LeaderError> {
        while let Some(next) = self.attempts.next() {
            let id = next.id;
            let Some(invocation) = self.store.get::<Invocations>(&id).map_err(LeaderError::store)? else {
                continue;
            };
            if invocation.status != Status::Running || self.attempts.is_live(id) {
                continue;
            }
            let journal = self.store.journal(id, invocation.journal_len).map_err(LeaderError::store)?;
            let (state, state_complete) = match invocation.target.object() {
                Some(object) if invoker.wants_state(&invocation.target) => {
                    self.eager_state(self.store.state(&object).map_err(LeaderError::store)?)
                }
                _ => (Vec::new(), false),
            };
            let attempt = invocation.attempt + 1;
            let feed = self.attempts.started(next, attempt);
            let partition = self.partition;
            return Ok(Some(AttemptJob { partition, id, attempt, invocation, journal, state, state_complete, feed }));
        }
        Ok(None)
    }

    fn eager_state<B: AsRef<[u8]>>(&self, mut state: Vec<(B, B)>) -> (Vec<(B, B)>, bool) {
        let mut bytes = 0;
        let fits = state
            .iter()
            .take_while(|(key, value)| {
                bytes += key.as_ref().len() + value.as_ref().len();
                bytes <= self.config.eager_state_bytes_max
            })
            .count();
        let complete = fits == state.len();
        state.truncate(fits);
        (state, complete)
    }
}
