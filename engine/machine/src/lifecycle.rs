//! How invocations come, wait, are told things, and end.

use millrace_model::{
    InvocationId, TimestampMs,
    command::Known,
    invocation::{
        Completed, HandlerKind, Invocation, Milestones, NewInvocation, Pending, ResultSink, Retries, Source, Status,
    },
    journal::{Completion, Entry, Failure, JournalRow},
    ranges::IndexRanges,
    source::Budget,
    table::{Ended, Expiries, ExpiryKey, ExpiryKind, Invocations, Journal, State, TimerKey, TimerKind, Timers},
};

use crate::{Answer, Effect, Past, StateView, Txn};

/// Ids of ended invocations are kept at least this long, so that a repeated command finds them (DESIGN.md section 2).
pub const KNOWN_IDS_MS: u64 = 10 * 60 * 1000;

/// A workflow's run handler was called for a key that has run.
fn already_invoked() -> Failure {
    Failure::new(409, "the workflow method was already invoked")
}

/// Repeats of the call get the same id by construction.
fn is_deterministic(new: &NewInvocation) -> bool {
    new.idempotency_key.is_some() || new.target.kind == HandlerKind::Workflow
}

impl<V: StateView> Txn<'_, V> {
    /// Makes an invocation of this partition, or finds it.
    pub(crate) fn create(&mut self, new: NewInvocation, known: Known, now: TimestampMs) -> Result<Answer, V::Error> {
        let deterministic = is_deterministic(&new);
        if (known == Known::Maybe || deterministic)
            && let Some(answer) = self.find(&new, deterministic, now)?
        {
            return Ok(answer);
        }
        let NewInvocation { id, target, source, created_at, execute_at, headers, value, .. } = new;
        let sinks = match &source {
            Source::Caller { id, completion: Some(completion), .. } => {
                vec![ResultSink { caller: *id, completion: *completion }]
            }
            _ => Vec::new(),
        };
        let mut invocation = Invocation {
            created_lsn: self.lsn,
            created_at,
            modified_at: now,
            milestones: Milestones::default(),
            target,
            source,
            idempotency_key: new.idempotency_key,
            completion_retention: new.completion_retention,
            journal_retention: new.journal_retention,
            random_seed: new.random_seed,
            traceparent: new.traceparent,
            status: Status::Running,
            journal_len: 1,
            commands: 1,
            last_notification: 0,
            awakeables: IndexRanges::default(),
            last_entry_at: now,
            attempt: 0,
            last_start_at: None,
            refused: false,
            pin: None,
            pending: Vec::new(),
            awaiting: None,
            output: None,
            sinks,
            retries: Retries::default(),
            last_error: None,
        };
        let input = Entry::Input { headers, value };
        self.put::<Journal>((id, 0), JournalRow { appended_at: now, previous: 0, entry: input });
        let execute_at = execute_at.filter(|at| *at > now);
        match execute_at {
            Some(at) => {
                invocation.status = Status::Scheduled { at };
                invocation.milestones.scheduled_at = Some(now);
                invocation.milestones.scheduled_start_at = Some(at);
                self.set_timer(TimerKey { at, id, kind: TimerKind::Start });
            }
            None => self.admit(id, &mut invocation, now)?,
        }
        self.put::<Invocations>(id, invocation);
        Ok(Answer::Accepted { known: false, execute_at, ended: None })
    }

    /// The invocation that is there already, if it counts as the same.
    fn find(&mut self, new: &NewInvocation, deterministic: bool, now: TimestampMs) -> Result<Option<Answer>, V::Error> {
        let caller = match &new.source {
            Source::Caller { id, completion: Some(completion), .. } => Some((*id, *completion)),
            _ => None,
        };
        let refuse_run = deterministic && new.target.kind == HandlerKind::Workflow;
        if let Some(mut invocation) = self.get::<Invocations>(&new.id)? {
            self.settle_record(&new.source);
            if let Some((caller, completion)) = caller {
                if refuse_run {
                    self.respond(caller, completion, Completion::Failure(already_invoked()), now)?;
                } else {
                    invocation.sinks.push(ResultSink { caller, completion });
                    self.put::<Invocations>(new.id, invocation.clone());
                }
            }
            let execute_at = match invocation.status {
                Status::Scheduled { at } => Some(at),
                _ => None,
            };
            return Ok(Some(Answer::Accepted { known: true, execute_at, ended: None }));
        }
        let Some(ended) = self.get::<Ended>(&new.id)? else {
            return Ok(None);
        };
        // The same command once more has drawn nothing anew; a later call with the same id has.
        let repeated = ended.random_seed == new.random_seed;
        if deterministic && !repeated && (ended.unstarted || now >= ended.result_until) {
            self.remove_ended(new.id, &ended, now)?;
            return Ok(None);
        }
        self.settle_record(&new.source);
        if let Some((caller, completion)) = caller {
            let result = if refuse_run { Completion::Failure(already_invoked()) } else { ended.result.clone() };
            self.respond(caller, completion, result, now)?;
        }
        let past = Past { target: ended.target, result: ended.result, result_until: ended.result_until };
        let ended = Some(Box::new(past));
        Ok(Some(Answer::Accepted { known: true, execute_at: None, ended }))
    }

    /// A record that will not wait at a lock is settled: its reader counted it as ready.
    pub(crate) fn settle_record(&mut self, source: &Source) {
        if let Source::Record(record) = source {
            let change = Budget::ZERO - Budget::ready(record.bytes);
            self.settle(record.reader, record.subscription, change);
        }
    }

    pub(crate) fn set_timer(&mut self, key: TimerKey) {
        self.put::<Timers>(key.clone(), ());
        self.effect(Effect::SetTimer { key });
    }

    /// Removes what would still come to an invocation: its timers, and its place among those who wait for promises.
    pub(crate) fn let_go(&mut self, id: InvocationId, invocation: &Invocation) -> Result<(), V::Error> {
        self.drop_timers(id, invocation);
        for (completion, pending) in &invocation.pending {
            if let (Pending::Promise { name }, Some(object)) = (pending, invocation.target.object()) {
                self.forget_waiter(object, name, &ResultSink { caller: id, completion: *completion })?;
            }
        }
        Ok(())
    }

    /// Removes the timers that an invocation still has.
    pub(crate) fn drop_timers(&mut self, id: InvocationId, invocation: &Invocation) {
        match invocation.status {
            Status::Scheduled { at } => self.delete::<Timers>(TimerKey { at, id, kind: TimerKind::Start }),
            Status::BackingOff { at } => self.delete::<Timers>(TimerKey { at, id, kind: TimerKind::Retry }),
            _ => {}
        }
        for (completion, pending) in &invocation.pending {
            if let Pending::Sleep { wake_at } = pending {
                self.delete::<Timers>(TimerKey { at: *wake_at, id, kind: TimerKind::Sleep(*completion) });
            }
        }
    }

    /// Ends an invocation that has run: callers get the result, the key goes on, the result is kept.
    pub(crate) fn end(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        result: Completion,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        self.unpark(id, &invocation, |outcomes| outcomes.dropped += 1)?;
        if let (Source::Record(record), Completion::Failure(_)) = (&invocation.source, &result) {
            self.count(record.subscription, |outcomes| outcomes.failed += 1)?;
        }
        self.let_go(id, &invocation)?;
        self.delete::<Invocations>(id);
        let kept = invocation.completion_retention.max(invocation.journal_retention).max(KNOWN_IDS_MS);
        let expires_at = now.after(kept);
        let repeats = invocation.idempotency_key.is_some() || invocation.target.kind == HandlerKind::Workflow;
        let result_until = if repeats { now.after(invocation.completion_retention) } else { expires_at };
        let journal_expires_at = now.after(invocation.journal_retention);
        let mut journal_len = invocation.journal_len;
        if invocation.journal_retention == 0 {
            self.remove_journal(id, journal_len);
            journal_len = 0;
        } else if journal_expires_at < expires_at {
            self.set_expiry(ExpiryKey { at: journal_expires_at, id, kind: ExpiryKind::Journal });
        }
        self.set_expiry(ExpiryKey { at: expires_at, id, kind: ExpiryKind::Invocation });
        for sink in std::mem::take(&mut invocation.sinks) {
            self.respond(sink.caller, sink.completion, result.clone(), now)?;
        }
        self.effect(Effect::Ended { id, target: invocation.target.clone(), result: result.clone(), result_until });
        match invocation.target.object() {
            Some(object) if invocation.target.kind.is_exclusive() => self.release(object, id, &invocation, now)?,
            _ => self.settle_record(&invocation.source),
        }
        if invocation.target.kind == HandlerKind::Workflow {
            self.set_expiry(ExpiryKey { at: result_until, id, kind: ExpiryKind::Workflow });
        }
        let times = Kept { now, result_until, expires_at, journal_expires_at };
        self.put::<Ended>(id, ended_row(invocation, journal_len, result, times));
        Ok(())
    }

    /// Ends an invocation that has not started: its callers get the failure. Its row stays a while, so that a repeat of
    /// its command does not bring it back.
    pub(crate) fn remove_unstarted(
        &mut self,
        id: InvocationId,
        mut invocation: Invocation,
        failure: Failure,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        self.drop_timers(id, &invocation);
        self.delete::<Invocations>(id);
        self.remove_journal(id, invocation.journal_len);
        match (&invocation.status, invocation.target.object()) {
            (Status::Inboxed { seq }, Some(object)) => self.leave_inbox(object, *seq, &invocation)?,
            _ => self.settle_record(&invocation.source),
        }
        let result = Completion::Failure(failure);
        for sink in std::mem::take(&mut invocation.sinks) {
            self.respond(sink.caller, sink.completion, result.clone(), now)?;
        }
        let until = now.after(KNOWN_IDS_MS);
        let (target, of_effect) = (invocation.target.clone(), result.clone());
        self.effect(Effect::Ended { id, target, result: of_effect, result_until: until });
        self.set_expiry(ExpiryKey { at: until, id, kind: ExpiryKind::Invocation });
        let times = Kept { now, result_until: until, expires_at: until, journal_expires_at: now };
        self.put::<Ended>(id, Completed { unstarted: true, ..ended_row(invocation, 0, result, times) });
        Ok(())
    }

    fn set_expiry(&mut self, key: ExpiryKey) {
        self.put::<Expiries>(key, ());
    }

    pub(crate) fn remove_journal(&mut self, id: InvocationId, len: u32) {
        for index in 0..len {
            self.delete::<Journal>((id, index));
        }
    }

    /// Removes all that is kept of an ended invocation.
    pub(crate) fn remove_ended(
        &mut self,
        id: InvocationId,
        ended: &Completed,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        self.drop_workflow(id, ended, now)?;
        self.remove_journal(id, ended.journal_len);
        self.delete::<Ended>(id);
        self.delete::<Expiries>(ExpiryKey { at: ended.expires_at, id, kind: ExpiryKind::Invocation });
        self.delete::<Expiries>(ExpiryKey { at: ended.journal_expires_at, id, kind: ExpiryKind::Journal });
        Ok(())
    }

    /// The retention of a workflow's run is over: state and promises of its key go, once.
    pub(crate) fn drop_workflow(
        &mut self,
        id: InvocationId,
        ended: &Completed,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        let expiry = ExpiryKey { at: ended.result_until, id, kind: ExpiryKind::Workflow };
        let Some(object) = ended.target.object().filter(|_| ended.target.kind == HandlerKind::Workflow) else {
            return Ok(());
        };
        if self.get::<Expiries>(&expiry)?.is_none() {
            return Ok(());
        }
        self.delete::<Expiries>(expiry);
        for key in self.state(&object)?.into_keys() {
            self.delete::<State>((object.clone(), key));
        }
        self.drop_promises(&object, now)
    }
}

/// Until when what is kept.
struct Kept {
    now: TimestampMs,
    result_until: TimestampMs,
    expires_at: TimestampMs,
    journal_expires_at: TimestampMs,
}

fn ended_row(invocation: Invocation, journal_len: u32, result: Completion, kept: Kept) -> Completed {
    let Kept { now, result_until, expires_at, journal_expires_at } = kept;
    Completed {
        created_lsn: invocation.created_lsn,
        created_at: invocation.created_at,
        completed_at: now,
        milestones: invocation.milestones,
        target: invocation.target,
        source: invocation.source,
        idempotency_key: invocation.idempotency_key,
        completion_retention: invocation.completion_retention,
        journal_retention: invocation.journal_retention,
        random_seed: invocation.random_seed,
        traceparent: invocation.traceparent,
        pin: invocation.pin,
        attempts: invocation.attempt,
        journal_len,
        commands: invocation.commands,
        unstarted: false,
        result,
        result_until,
        expires_at,
        journal_expires_at,
    }
}
