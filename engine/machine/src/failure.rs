//! Records that fail for good (DESIGN.md section 6): parked, sent to a dead-letter topic, or skipped.
//!
//! * A parked record is a paused invocation with a row in `ParkedRecords`; it counts as held, and so does what waits
//!   behind it. It leaves that state by a resume, which starts it again, or by its end.
//! * A dead letter is a row in `DeadLetters`, made in the batch that ends the invocation, so no crash can lose one. It
//!   counts as held until its broker has acknowledged it: letters that cannot be written pause the source in the end.

use millrace_model::{
    InvocationId, SubscriptionId, TimestampMs,
    invocation::{Invocation, Pending, RecordSource, Source, Status},
    journal::{Completion, Entry, Failure, Header, JournalRow, NotificationId, SIGNAL_CANCEL},
    ranges::IndexRanges,
    source::{Budget, DeadLetter, FailurePolicy, Outcomes, Parked, origin},
    table::{DeadLetters, Invocations, Journal, OutcomeCounts, ParkedRecords},
};

use crate::{Answer, Effect, StateView, Txn};

fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a Header> {
    headers.iter().find(|header| &*header.name == name)
}

/// Its handler has returned a failure.
fn has_failed(invocation: &Invocation) -> bool {
    matches!(invocation.output, Some(Completion::Failure(_)))
}

impl<V: StateView> Txn<'_, V> {
    /// An invocation failed for good, and its subscription says what follows. One of no record ends.
    pub(crate) fn settle_failed(
        &mut self,
        id: InvocationId,
        invocation: Invocation,
        failure: Failure,
        policy: FailurePolicy,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        let Source::Record(record) = invocation.source.clone() else {
            return self.end(id, invocation, Completion::Failure(failure), now);
        };
        if self.was_canceled(id, &invocation)? {
            // Somebody wanted it to end.
            return self.end(id, invocation, Completion::Failure(failure), now);
        }
        match policy {
            FailurePolicy::Park => self.park(id, invocation, &record, failure, now),
            FailurePolicy::Skip => {
                self.count(record.subscription, |outcomes| outcomes.skipped += 1)?;
                self.end(id, invocation, Completion::Failure(failure), now)
            }
            FailurePolicy::DeadLetter { cluster, topic } => {
                if let Some(JournalRow { entry: Entry::Input { headers, value }, .. }) =
                    self.get::<Journal>(&(id, 0))?
                {
                    let letter = DeadLetter {
                        cluster,
                        topic,
                        failure: failure.clone(),
                        at: now,
                        invoked: true,
                        reader: record.reader,
                        bytes: record.bytes,
                        headers,
                        value,
                    };
                    self.add_letter(record.subscription, id, letter)?;
                }
                self.end(id, invocation, Completion::Failure(failure), now)
            }
        }
    }

    fn was_canceled(&self, id: InvocationId, invocation: &Invocation) -> Result<bool, V::Error> {
        self.has_signal(id, invocation, &NotificationId::Signal(SIGNAL_CANCEL))
    }

    fn park(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        record: &RecordSource,
        failure: Failure,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        let headers = match self.get::<Journal>(&(id, 0))? {
            Some(JournalRow { entry: Entry::Input { headers, .. }, .. }) => headers,
            _ => Vec::new(),
        };
        let number = |name| header(&headers, name).and_then(|header| header.value.parse::<i64>().ok());
        let parked = Parked {
            at: now,
            failure,
            key: invocation.target.key.clone(),
            topic: header(&headers, origin::TOPIC).map(|header| header.value.clone()).unwrap_or_default(),
            source_partition: number(origin::PARTITION).and_then(|n| n.try_into().ok()).unwrap_or_default(),
            offset: number(origin::OFFSET).unwrap_or(-1),
        };
        self.put::<ParkedRecords>((record.subscription, id), parked);
        self.count(record.subscription, |outcomes| outcomes.parked += 1)?;
        if has_failed(&invocation) {
            // Its handler has returned: nobody waits for these.
            self.drop_timers(id, &invocation);
            invocation.pending.retain(|(_, pending)| !matches!(pending, Pending::Sleep { .. } | Pending::Run));
        }
        invocation.status = Status::Paused;
        invocation.awaiting = None;
        invocation.modified_at = now;
        if invocation.target.kind.is_exclusive() {
            self.block(id, &invocation, true)?;
        } else {
            self.settle(record.reader, record.subscription, Budget::held(record.bytes) - Budget::ready(record.bytes));
        }
        self.put::<Invocations>(id, invocation);
        Ok(())
    }

    /// Is it a parked record?
    pub(crate) fn is_parked(&self, id: InvocationId, invocation: &Invocation) -> Result<bool, V::Error> {
        match &invocation.source {
            Source::Record(record) if invocation.status == Status::Paused => {
                Ok(self.get::<ParkedRecords>(&(record.subscription, id))?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// A paused invocation leaves that state: if it was parked, it is no more. `count`: as what that counts.
    pub(crate) fn unpark(
        &mut self,
        id: InvocationId,
        invocation: &Invocation,
        count: impl FnOnce(&mut Outcomes),
    ) -> Result<bool, V::Error> {
        if !self.is_parked(id, invocation)? {
            return Ok(false);
        }
        let Source::Record(record) = &invocation.source else { return Ok(false) };
        self.delete::<ParkedRecords>((record.subscription, id));
        self.count(record.subscription, count)?;
        if !invocation.target.kind.is_exclusive() {
            self.settle(record.reader, record.subscription, Budget::ready(record.bytes) - Budget::held(record.bytes));
        }
        Ok(true)
    }

    /// Can a parked record be started again? Not while results of what its failed run called are to come: the next run
    /// would take them for those of its own calls.
    pub(crate) fn can_redrive(&self, invocation: &Invocation) -> bool {
        !has_failed(invocation) || invocation.pending.is_empty()
    }

    /// Makes a parked record as if it had never run, if its handler has returned; one that used up its attempts keeps
    /// what it has done. The caller stores the row.
    pub(crate) fn rewind(&mut self, id: InvocationId, invocation: &mut Invocation) {
        if has_failed(invocation) {
            invocation.output = None;
            for index in 1..invocation.journal_len {
                self.delete::<Journal>((id, index));
            }
            invocation.journal_len = 1;
            invocation.commands = 1;
            invocation.last_notification = 0;
            invocation.awakeables = IndexRanges::default();
            invocation.refused = false;
        }
        // Whatever mended it is most likely a newer deployment.
        if invocation.commands == 1 {
            invocation.pin = None;
        }
    }

    /// Adds a letter, which counts as held from here on.
    pub(crate) fn add_letter(
        &mut self,
        subscription: SubscriptionId,
        id: InvocationId,
        letter: DeadLetter,
    ) -> Result<(), V::Error> {
        self.settle(letter.reader, subscription, Budget::held(letter.bytes));
        self.put::<DeadLetters>((subscription, id), letter);
        self.effect(Effect::Letter { subscription });
        self.count(subscription, |outcomes| outcomes.letters += 1)
    }

    pub(crate) fn letters_written(
        &mut self,
        subscription: SubscriptionId,
        ids: Vec<InvocationId>,
    ) -> Result<Answer, V::Error> {
        let mut written = 0;
        for id in ids {
            if let Some(letter) = self.get::<DeadLetters>(&(subscription, id))? {
                self.delete::<DeadLetters>((subscription, id));
                self.settle(letter.reader, subscription, Budget::ZERO - Budget::held(letter.bytes));
                written += 1;
            }
        }
        if written > 0 {
            self.count(subscription, |outcomes| outcomes.written += written)?;
        }
        Ok(Answer::Done)
    }

    pub(crate) fn forget_subscription(&mut self, subscription: SubscriptionId) -> Result<Answer, V::Error> {
        if self.get::<OutcomeCounts>(&subscription)?.is_some() {
            self.delete::<OutcomeCounts>(subscription);
        }
        Ok(Answer::Done)
    }

    pub(crate) fn count(
        &mut self,
        subscription: SubscriptionId,
        count: impl FnOnce(&mut Outcomes),
    ) -> Result<(), V::Error> {
        let mut outcomes = self.get::<OutcomeCounts>(&subscription)?.unwrap_or_default();
        count(&mut outcomes);
        self.put::<OutcomeCounts>(subscription, outcomes);
        Ok(())
    }
}
