//! A fake invoker: takes jobs, counts slots. What the attempts do is in `attempt.rs`.

use std::sync::{Mutex, MutexGuard};

use millrace_partition::{AttemptJob, Invoker};

struct State {
    free: usize,
    jobs: Vec<AttemptJob>,
}

/// The slots of one process.
pub struct FakeInvoker(Mutex<State>);

impl FakeInvoker {
    /// With `slots` slots.
    pub fn new(slots: usize) -> Self {
        Self(Mutex::new(State { free: slots, jobs: Vec::new() }))
    }

    /// What was started since the last call.
    pub fn take_jobs(&self) -> Vec<AttemptJob> {
        std::mem::take(&mut self.state().jobs)
    }

    /// An attempt is over.
    pub fn free(&self) {
        self.state().free += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Invoker for FakeInvoker {
    fn try_reserve(&self) -> bool {
        let mut state = self.state();
        let free = state.free > 0;
        state.free -= usize::from(free);
        free
    }

    fn release(&self) {
        self.free();
    }

    fn start(&self, job: AttemptJob) {
        self.state().jobs.push(job);
    }
}
