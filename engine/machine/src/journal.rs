//! How journals grow, and who is woken by it.
//!
//! Notifications of one journal are linked backwards: `Invocation::last_notification` is the newest, each row names the
//! one before it. So what an attempt has not been sent costs what that is, however long the journal.
//!
//! What an attempt has been sent, it has judged itself before it went to wait: only a notification that it has not seen
//! can wake it. Without this rule a signal that comes again would wake for ever, or never.

use millrace_model::{
    InvocationId, TimestampMs,
    invocation::{Invocation, Retries, Status},
    journal::{Awaiting, Entry, JournalRow, Notification, NotificationId, NotificationResult, SIGNAL_AWAKEABLE_FIRST},
    table::{Invocations, Journal},
};

use crate::{Effect, StateView, Txn};

fn has_failed(notification: &Notification) -> bool {
    matches!(notification.result, NotificationResult::Failure(_))
}

impl<V: StateView> Txn<'_, V> {
    /// Appends a command. The caller stores the row.
    pub(crate) fn append(&mut self, id: InvocationId, invocation: &mut Invocation, entry: Entry, now: TimestampMs) {
        self.put::<Journal>((id, invocation.journal_len), JournalRow { appended_at: now, previous: 0, entry });
        invocation.journal_len += 1;
        invocation.modified_at = now;
    }

    /// Appends a notification and wakes or tells the invocation. The caller stores the row.
    pub(crate) fn add_notification(
        &mut self,
        id: InvocationId,
        invocation: &mut Invocation,
        notification: Notification,
        ack: Option<u32>,
        now: TimestampMs,
    ) {
        let index = invocation.journal_len;
        let leaf = invocation.awaiting.as_ref().and_then(|awaiting| awaiting.leaf(&notification.id));
        let failed = has_failed(&notification);
        let previous = std::mem::replace(&mut invocation.last_notification, index);
        let row = JournalRow { appended_at: now, previous, entry: Entry::Notification(notification) };
        if invocation.status == Status::Running {
            self.effect(Effect::Forward { id, index, row: row.clone(), ack });
        }
        self.put::<Journal>((id, index), row);
        invocation.journal_len += 1;
        invocation.modified_at = now;
        let (Some(leaf), Some(awaiting)) = (leaf, &mut invocation.awaiting) else { return };
        if invocation.status != Status::Suspended {
            // A hint of an attempt that is told of it.
            invocation.awaiting = None;
            return;
        }
        awaiting.arrive(leaf, index, failed);
        if awaiting.is_done() {
            invocation.awaiting = None;
            self.run(id, invocation, now);
        }
    }

    /// Walks the notifications of a journal from the newest to the oldest, until `f` says that it has seen enough.
    fn each_notification(
        &self,
        id: InvocationId,
        invocation: &Invocation,
        mut f: impl FnMut(u32, Notification) -> bool,
    ) -> Result<(), V::Error> {
        let mut index = invocation.last_notification;
        while index > 0 {
            let Some(JournalRow { previous, entry: Entry::Notification(notification), .. }) =
                self.get::<Journal>(&(id, index))?
            else {
                break;
            };
            if !f(index, notification) || previous >= index {
                break;
            }
            index = previous;
        }
        Ok(())
    }

    /// Is there a notification that an attempt waits for and has not been sent?
    ///
    /// * `seen`: index behind the last entry that it was sent.
    pub(crate) fn has_unseen(
        &self,
        id: InvocationId,
        invocation: &Invocation,
        awaiting: &Awaiting,
        seen: u32,
    ) -> Result<bool, V::Error> {
        let mut found = false;
        self.each_notification(id, invocation, |index, notification| {
            if index < seen {
                return false;
            }
            found = awaiting.lists(&notification.id);
            !found
        })?;
        Ok(found)
    }

    /// Was it ever cancelled?
    pub(crate) fn has_signal(
        &self,
        id: InvocationId,
        invocation: &Invocation,
        signal: &NotificationId,
    ) -> Result<bool, V::Error> {
        let mut found = false;
        self.each_notification(id, invocation, |_, notification| {
            found = notification.id == *signal;
            !found
        })?;
        Ok(found)
    }

    /// An attempt ended by suspending: the next one starts at once if there is something for it. Stores the row.
    pub(crate) fn suspend(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        mut awaiting: Awaiting,
        seen: u32,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        invocation.retries = Retries::default();
        awaiting.arrived.clear();
        if self.find_arrived(id, &invocation, &mut awaiting, seen)? && awaiting.is_done() {
            invocation.awaiting = None;
            self.run(id, &mut invocation, now);
        } else {
            invocation.status = Status::Suspended;
            invocation.awaiting = Some(awaiting);
        }
        self.put::<Invocations>(id, invocation);
        Ok(())
    }

    /// Notes which leaves are in the journal. `true`: some of them its attempt has not been sent.
    fn find_arrived(
        &self,
        id: InvocationId,
        invocation: &Invocation,
        awaiting: &mut Awaiting,
        seen: u32,
    ) -> Result<bool, V::Error> {
        // Leaves that may have been sent already: they matter for what is to come if they are parts of something larger.
        let mut older = if awaiting.tree.is_empty() { 0 } else { Self::count_older(invocation, awaiting) };
        let mut unseen = false;
        self.each_notification(id, invocation, |index, notification| {
            if index < seen && older == 0 {
                return false;
            }
            if let Some(leaf) = awaiting.leaf(&notification.id) {
                let cancelled_before = index < seen && is_reserved(&notification.id);
                if !cancelled_before {
                    awaiting.arrive(leaf, index, has_failed(&notification));
                }
                unseen |= index >= seen;
                if !is_reserved(&notification.id) {
                    older = older.saturating_sub(1);
                }
            }
            true
        })?;
        awaiting.arrived.sort_unstable_by_key(|arrived| arrived.index);
        Ok(unseen)
    }

    /// How many leaves may stand in the journal.
    fn count_older(invocation: &Invocation, awaiting: &Awaiting) -> usize {
        let is_pending = |id: &&u32| invocation.pending.iter().any(|(pending, _)| pending == *id);
        awaiting.completions.iter().filter(|id| !is_pending(id)).count()
            + awaiting.signals.iter().filter(|index| invocation.awakeables.contains(**index)).count()
            + awaiting.names.len()
    }
}

/// A cancellation, which is handled when it is seen: one before says nothing about the wait for the next.
fn is_reserved(id: &NotificationId) -> bool {
    matches!(id, NotificationId::Signal(index) if *index < SIGNAL_AWAKEABLE_FIRST)
}
