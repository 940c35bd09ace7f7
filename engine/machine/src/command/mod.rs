//! One file per family of commands.

mod attempt;
mod operate;
mod restart;
mod shuffle;
mod source;
mod state;
mod timers;

use millrace_model::{
    Command, LeaderEpoch,
    command::{AnnounceLeader, TerminateMode},
    table::{Partition, PartitionRow},
};

use crate::{Answer, StateView, Txn, txn::MACHINE_VERSION};

impl<V: StateView> Txn<'_, V> {
    /// Applies one command. Fails only if the view cannot be read; then nothing of the batch is kept.
    pub fn apply(&mut self, command: Command) -> Result<Answer, V::Error> {
        let answer = self.apply_one(command)?;
        while let Some((id, now)) = self.next_kill() {
            self.terminate(id, TerminateMode::Kill, now)?;
        }
        Ok(answer)
    }

    fn apply_one(&mut self, command: Command) -> Result<Answer, V::Error> {
        match command {
            Command::Announce(announce) => self.announce(announce),
            Command::Invoke { invocation, known } => {
                let now = invocation.created_at;
                self.create(*invocation, known, now)
            }
            Command::Attempt(attempt) => self.attempt(*attempt),
            Command::FireTimers { now, timers } => self.fire_timers(now, timers),
            Command::Deliver { from, lane, first, messages, now } => self.deliver(from, lane, first, messages, now),
            Command::TruncateOutbox { to, lane, upto } => self.truncate_outbox(to, lane, upto),
            Command::OpenSource(open) => self.open_source(open),
            Command::Ingest(ingest) => self.ingest(*ingest),
            Command::SeekSource(seek) => self.seek_source(seek),
            Command::CloseSource { source } => self.close_source(source),
            Command::Terminate { id, mode, now } => self.terminate(id, mode, now),
            Command::Resume { id, deployment, now } => self.resume(id, deployment, now),
            Command::Purge { id, now } => self.purge(id, now),
            Command::PurgeJournal { id, .. } => self.purge_journal(id),
            Command::Expire { now, rows } => self.expire(now, rows),
            Command::Pause { id, now } => self.pause(id, now),
            Command::Signal { target, signal, result, now } => self.signal(target, signal, result, now),
            Command::MutateState { object, edit, .. } => self.mutate_state(object, edit),
            Command::RestartAsNew(restart) => self.restart_as_new(restart),
            Command::LettersWritten { subscription, ids } => self.letters_written(subscription, ids),
            Command::ForgetSubscription { subscription } => self.forget_subscription(subscription),
        }
    }

    fn announce(&mut self, announce: AnnounceLeader) -> Result<Answer, V::Error> {
        let row = match self.get::<Partition>(&())? {
            Some(row) => PartitionRow { epoch: LeaderEpoch(self.lsn), ..row },
            None => PartitionRow {
                machine_version: MACHINE_VERSION,
                epoch: LeaderEpoch(self.lsn),
                partitions: announce.partitions.max(1),
            },
        };
        self.put::<Partition>((), row);
        Ok(Answer::Done)
    }
}
