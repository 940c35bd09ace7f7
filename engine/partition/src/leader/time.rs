//! What time brings: timers, the end of retentions, batches that waited for company long enough.

use std::ops::ControlFlow;

use millrace_model::{
    Command, TimestampMs,
    table::{self, Expiries, ExpiryKey, TimerKey, Timers},
};

use super::{EXPIRE_LATE_MS, EXPIRE_MAX, EXPIRE_PAUSE_LATE_MS, EXPIRE_PAUSE_MS, IN_FLIGHT_MAX, LAZY_MAX_MS, Leader};
use crate::{error::LeaderError, store::Store};

impl<S: Store> Leader<S>
where
    S::Error: std::error::Error + Send + Sync + 'static,
{
    /// Time has come to `now`: timers fire, retentions end, the outbox moves.
    pub fn on_time(&mut self, now: TimestampMs) -> Result<(), LeaderError> {
        self.now = now;
        if self.epoch.is_none() {
            return Ok(());
        }
        loop {
            let timers = self.timers.due(now);
            if !timers.is_empty() {
                self.push(Command::FireTimers { now, timers }, true);
                continue;
            }
            match self.timers.wants().cloned() {
                Some(from) => self.load_timers(Some(&from))?,
                None => break,
            }
        }
        if now >= self.next_cleanup {
            self.clean_up(now)?;
        }
        Ok(())
    }

    /// When [`Leader::on_time`] has something to do again.
    pub fn next_time(&self) -> TimestampMs {
        if self.epoch.is_none() {
            return TimestampMs(u64::MAX);
        }
        // While the log is behind, its reports are what to wait for.
        let can_append = self.ready.is_empty() && self.in_flight.len() < IN_FLIGHT_MAX;
        let lazy = (can_append && !self.building.is_empty()).then(|| self.building_since.after(LAZY_MAX_MS));
        let next = [self.timers.next(), lazy].into_iter().flatten();
        next.fold(self.next_cleanup, TimestampMs::min)
    }

    pub(super) fn load_timers(&mut self, from: Option<&TimerKey>) -> Result<(), LeaderError> {
        let mut keys = Vec::new();
        let max = self.timers.load_max() + 1;
        self.scan::<Timers>(from, &mut |key, ()| {
            // The scan includes where it starts; the queue has had that one.
            if Some(&key) != from {
                keys.push(key);
            }
            if keys.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        self.timers.load(keys);
        Ok(())
    }

    /// Costs what expires: a scan from where the last one ended, and one command.
    fn clean_up(&mut self, now: TimestampMs) -> Result<(), LeaderError> {
        let mut rows = Vec::new();
        let from = self.cleanup_from.clone();
        self.scan::<Expiries>(from.as_ref(), &mut |key, ()| {
            if key.at > now || rows.len() == EXPIRE_MAX {
                return ControlFlow::Break(());
            }
            rows.push(key);
            ControlFlow::Continue(())
        })?;
        let interval = self.config.cleanup_interval_ms.max(1);
        let late = |first: &ExpiryKey| now.since(first.at) > interval.saturating_add(EXPIRE_LATE_MS);
        self.next_cleanup = now.after(match rows.first() {
            Some(first) if rows.len() == EXPIRE_MAX && late(first) => EXPIRE_PAUSE_LATE_MS,
            Some(_) if rows.len() == EXPIRE_MAX => EXPIRE_PAUSE_MS,
            _ => interval,
        });
        if let Some(last) = rows.last() {
            self.cleanup_from = Some(last.clone());
            self.push(Command::Expire { now, rows }, false);
        }
        Ok(())
    }

    /// A retention that ends before where the next clean-up would begin: it was proposed long ago, or is short.
    pub(super) fn note_expiries(&mut self, changes: &table::Changes) {
        if let Some(from) = &self.cleanup_from
            && <Expiries as table::Table>::changes(changes).range(..from).any(|(_, row)| row.is_some())
        {
            self.cleanup_from = None;
        }
    }
}
