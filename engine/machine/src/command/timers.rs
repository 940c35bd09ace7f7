//! What time brings: timers and the end of retentions.

use millrace_model::{
    TimestampMs,
    invocation::{Pending, Status},
    journal::NotificationResult,
    table::{Ended, Expiries, ExpiryKey, ExpiryKind, Invocations, TimerKey, TimerKind, Timers},
};

use crate::{Answer, StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    /// A timer whose time has not come stays; one whose invocation no longer waits for it goes without effect.
    pub(super) fn fire_timers(&mut self, now: TimestampMs, timers: Vec<TimerKey>) -> Result<Answer, V::Error> {
        for timer in timers {
            if timer.at <= now {
                self.fire(&timer, now)?;
                self.delete::<Timers>(timer);
            }
        }
        Ok(Answer::Done)
    }

    fn fire(&mut self, timer: &TimerKey, now: TimestampMs) -> Result<(), V::Error> {
        let id = timer.id;
        let Some(mut invocation) = self.get::<Invocations>(&id)? else {
            return Ok(());
        };
        match (timer.kind, &invocation.status) {
            (TimerKind::Start, Status::Scheduled { at }) if *at == timer.at => self.admit(id, &mut invocation, now)?,
            (TimerKind::Retry, Status::BackingOff { at }) if *at == timer.at => self.run(id, &mut invocation, now),
            (TimerKind::Sleep(completion), _) => {
                let due = (completion, Pending::Sleep { wake_at: timer.at });
                if !invocation.pending.contains(&due) {
                    return Ok(());
                }
                return self.complete(id, completion, NotificationResult::Void, now);
            }
            _ => return Ok(()),
        }
        invocation.modified_at = now;
        self.put::<Invocations>(id, invocation);
        Ok(())
    }

    pub(super) fn expire(&mut self, now: TimestampMs, rows: Vec<ExpiryKey>) -> Result<Answer, V::Error> {
        for row in rows {
            if row.at > now {
                continue;
            }
            if let Some(mut ended) = self.get::<Ended>(&row.id)? {
                match row.kind {
                    ExpiryKind::Invocation if ended.expires_at == row.at => self.remove_ended(row.id, &ended, now)?,
                    ExpiryKind::Journal if ended.journal_expires_at == row.at => {
                        self.remove_journal(row.id, ended.journal_len);
                        ended.journal_len = 0;
                        self.put::<Ended>(row.id, ended);
                    }
                    ExpiryKind::Workflow if ended.result_until == row.at => {
                        self.drop_workflow(row.id, &ended, now)?;
                    }
                    _ => {}
                }
            }
            self.delete::<Expiries>(row);
        }
        Ok(Answer::Done)
    }
}
