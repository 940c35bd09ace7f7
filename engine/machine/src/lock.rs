//! The lock of a key, who waits for it, and how its records count in the budgets of their readers.

use millrace_model::{
    InvocationId, TimestampMs,
    invocation::{Invocation, KeyLoad, Lock, ObjectKey, RecordSource, Source, Status, Waiting},
    source::Budget,
    table::{Inbox, Invocations, Locks},
};

use crate::{Effect, StateView, Txn};

/// How the unsettled records of one key count: up to its share as ready, unless its head is blocked.
fn split(load: &KeyLoad, blocked: bool) -> Budget {
    let ready = if blocked { 0 } else { load.records.min(u64::from(load.key_share)) };
    let ready_bytes = match load.records {
        0 => 0,
        records => (u128::from(load.bytes) * u128::from(ready) / u128::from(records)) as u64,
    };
    Budget {
        ready_records: ready as i64,
        ready_bytes: ready_bytes as i64,
        held_records: (load.records - ready) as i64,
        held_bytes: (load.bytes - ready_bytes) as i64,
    }
}

impl<V: StateView> Txn<'_, V> {
    /// Changes a lock and tells the readers how their records count now.
    fn reload(&mut self, lock: &mut Lock, change: impl FnOnce(&mut Lock)) {
        let before: Vec<_> = lock.loads.iter().map(|l| (l.reader, l.subscription, split(l, lock.blocked))).collect();
        change(lock);
        for (reader, subscription, was) in before {
            self.settle(reader, subscription, Budget::ZERO - was);
        }
        for load in &lock.loads {
            self.settle(load.reader, load.subscription, split(load, lock.blocked));
        }
        lock.loads.retain(|load| load.records > 0);
    }

    /// A record of a key with a lock has come: its reader counts it as ready until now.
    fn load(&mut self, lock: &mut Lock, record: &RecordSource) {
        self.settle(record.reader, record.subscription, Budget::ZERO - Budget::ready(record.bytes));
        self.reload(lock, |lock| {
            let found = lock
                .loads
                .iter_mut()
                .find(|load| load.subscription == record.subscription && load.reader == record.reader);
            match found {
                Some(load) => {
                    load.key_share = record.key_share;
                    load.records += 1;
                    load.bytes += u64::from(record.bytes);
                }
                None => lock.loads.push(KeyLoad {
                    subscription: record.subscription,
                    reader: record.reader,
                    key_share: record.key_share,
                    records: 1,
                    bytes: u64::from(record.bytes),
                }),
            }
        });
    }

    /// A record of a key with a lock is settled.
    fn unload(lock: &mut Lock, record: &RecordSource) {
        let found =
            lock.loads.iter_mut().find(|load| load.subscription == record.subscription && load.reader == record.reader);
        if let Some(load) = found {
            load.records = load.records.saturating_sub(1);
            load.bytes = load.bytes.saturating_sub(u64::from(record.bytes));
        }
    }

    /// Runs an invocation that may start now, or queues it behind its key. The caller stores the row.
    pub(crate) fn admit(
        &mut self,
        id: InvocationId,
        invocation: &mut Invocation,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        let object = match invocation.target.object() {
            Some(object) if invocation.target.kind.is_exclusive() => object,
            _ => {
                self.run(id, invocation, now);
                return Ok(());
            }
        };
        let mut lock = match self.get::<Locks>(&object)? {
            None => {
                self.run(id, invocation, now);
                Lock { holder: id, head: 0, tail: 0, blocked: false, loads: Vec::new() }
            }
            Some(mut lock) => {
                let seq = lock.tail;
                lock.tail += 1;
                invocation.status = Status::Inboxed { seq };
                invocation.milestones.inboxed_at = Some(now);
                self.put::<Inbox>((object.clone(), seq), Waiting::Invocation(id));
                lock
            }
        };
        if let Source::Record(record) = &invocation.source {
            self.load(&mut lock, record);
        }
        self.put::<Locks>(object, lock);
        Ok(())
    }

    /// It runs from now on, and has no attempt. The caller stores the row.
    pub(crate) fn run(&mut self, id: InvocationId, invocation: &mut Invocation, now: TimestampMs) {
        invocation.status = Status::Running;
        invocation.milestones.running_at.get_or_insert(now);
        self.effect(Effect::Start { id });
    }

    /// The holder has ended: the next one in the inbox takes over in this batch.
    pub(crate) fn release(
        &mut self,
        object: ObjectKey,
        id: InvocationId,
        ended: &Invocation,
        now: TimestampMs,
    ) -> Result<(), V::Error> {
        let Some(mut lock) = self.get::<Locks>(&object)?.filter(|lock| lock.holder == id) else {
            return Ok(());
        };
        self.reload(&mut lock, |lock| {
            lock.blocked = false;
            if let Source::Record(record) = &ended.source {
                Self::unload(lock, record);
            }
        });
        while lock.head < lock.tail {
            let place = (object.clone(), lock.head);
            lock.head += 1;
            let Some(next) = self.get::<Inbox>(&place)? else {
                continue; // Killed while it waited.
            };
            self.delete_once::<Inbox>(place);
            let next = match next {
                Waiting::Invocation(next) => next,
                Waiting::Edit(edit) => {
                    self.edit_state(&object, &edit)?;
                    continue;
                }
            };
            let Some(mut invocation) = self.get::<Invocations>(&next)? else {
                continue;
            };
            self.run(next, &mut invocation, now);
            invocation.modified_at = now;
            self.put::<Invocations>(next, invocation);
            lock.holder = next;
            self.put::<Locks>(object, lock);
            return Ok(());
        }
        self.delete::<Locks>(object);
        Ok(())
    }

    /// One that waits is gone.
    pub(crate) fn leave_inbox(&mut self, object: ObjectKey, seq: u64, left: &Invocation) -> Result<(), V::Error> {
        self.delete_once::<Inbox>((object.clone(), seq));
        if let (Source::Record(record), Some(mut lock)) = (&left.source, self.get::<Locks>(&object)?) {
            self.reload(&mut lock, |lock| Self::unload(lock, record));
            self.put::<Locks>(object, lock);
        }
        Ok(())
    }

    /// The holder of a key begins to fail, or can go on: what waits behind it is held, or ready again.
    pub(crate) fn block(&mut self, id: InvocationId, holder: &Invocation, blocked: bool) -> Result<(), V::Error> {
        let Some(object) = holder.target.object().filter(|_| holder.target.kind.is_exclusive()) else {
            return Ok(());
        };
        if let Some(mut lock) = self.get::<Locks>(&object)?
            && lock.holder == id
            && lock.blocked != blocked
        {
            self.reload(&mut lock, |lock| lock.blocked = blocked);
            self.put::<Locks>(object, lock);
        }
        Ok(())
    }
}
