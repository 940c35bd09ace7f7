//! The second thread: reserves segments ahead and removes trimmed ones, away from the path of appends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::segment::{self, Segment};
use super::state::{Phase, State};

/// How long after a failed reservation the next one is tried.
const RETRY: Duration = Duration::from_secs(1);

impl Core {
    /// The keeper's thread.
    pub fn run_keeper(&self) {
        loop {
            let done = self.keep();
            let mut state = self.lock();
            if !matches!(state.phase, Phase::Open) {
                return;
            }
            if done && self.has_work(&state) {
                continue;
            }
            state.keeper_sleeps = true;
            if !done {
                let (woken, _) = self.to_keep.wait_timeout(state, RETRY).expect("no holder of this lock panics");
                state = woken;
            } else {
                state = self.to_keep.wait(state).expect("no holder of this lock panics");
            }
            state.keeper_sleeps = false;
        }
    }

    fn has_work(&self, state: &State) -> bool {
        !state.removable.is_empty() || !self.sizes.is_reserved(&state.spares)
    }

    /// Removes what is removable, then reserves until enough is reserved. `false`: something failed, try again later.
    pub fn keep(&self) -> bool {
        let mut done = true;
        if let Err(error) = self.remove() {
            tracing::warn!(%error, folder = %self.disk.folder().display(), "a trimmed segment could not be removed");
            done = false;
        }
        loop {
            let state = self.lock();
            if !matches!(state.phase, Phase::Open) || self.sizes.is_reserved(&state.spares) {
                self.metrics.segments.set((state.segments.len() + state.spares.len()) as f64);
                return done;
            }
            let start = state.next_start;
            drop(state);
            let created = segment::create(&*self.disk, self.log, start, self.sizes.segment);
            let failed = created.is_err();
            self.reserved(created);
            if failed {
                return false;
            }
        }
    }

    /// Oldest first, each durable before the next, so that what is there never has a gap.
    fn remove(&self) -> io::Result<()> {
        loop {
            let Some(segment) = self.lock().removable.front().cloned() else { return Ok(()) };
            match self.disk.remove(&segment.name()) {
                // It was removed before, but that failed to become durable.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
            self.disk.sync_folder()?;
            self.lock().removable.pop_front();
            tracing::debug!(path = %segment.path.display(), "removed a trimmed segment");
        }
    }

    fn reserved(&self, created: io::Result<Arc<Segment>>) {
        let mut state = self.lock();
        match created {
            Ok(spare) => {
                state.next_start = spare.end();
                state.spares.push_back(spare);
                if state.disk_full.take().is_some() && self.sizes.is_reserved(&state.spares) {
                    tracing::info!("segments are reserved again, admission is open");
                }
                // A table may have waited for room.
                if state.unneeded(&state.trims) > 0 || state.sealed.values().any(Option::is_none) {
                    state.table_wanted = true;
                    self.wake_writer(&mut state);
                }
            }
            Err(error) => {
                if state.disk_full.is_none() {
                    let folder = self.disk.folder().display();
                    tracing::warn!(error_code = "LOG0004", %folder, %error, "no room for another segment, admission is closed");
                }
                state.disk_full = Some(Arc::new(error));
            }
        }
    }
}
