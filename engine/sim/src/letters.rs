//! Writes dead letters to a broker that loses them, or acknowledges them without anybody hearing of it.

use millrace_model::{Command, table::DeadLetters};
use millrace_partition::Input;

use crate::{
    checker::Violation,
    store::rows,
    tuning::Mutation,
    world::{Event, World},
};

impl World {
    /// Whoever leads a partition writes what it finds there, and has it noted once it is acknowledged.
    pub fn write_letters(&mut self) -> Result<(), Violation> {
        for partition in self.partitions() {
            let Some(leadership) = self.route(partition) else { continue };
            let Some(store) = self.nodes[leadership.node].store(partition) else { continue };
            for ((subscription, id), letter) in rows::<DeadLetters>(store.view()) {
                let fault = self.faulty && self.rng.chance(self.tuning.letter_faults);
                let written = (!fault || self.rng.chance(500)) && self.mutation != Mutation::NoteUnwritten;
                if written {
                    self.trace.add(self.now, format_args!("the letter {id} is written"));
                    self.check.failures.written(id, &letter)?;
                }
                if fault && self.mutation != Mutation::NoteUnwritten {
                    continue;
                }
                let twice = self.faulty && self.rng.chance(self.tuning.letter_faults);
                for _ in 0..=u32::from(twice) {
                    let command = Command::LettersWritten { subscription, ids: vec![id] };
                    let after = self.rng.delay(30);
                    self.plan(after, Event::Message(partition, Input::Propose { command, reply: None }));
                }
            }
        }
        Ok(())
    }
}
