//! Invariant 4: every offset of a source from its start position on is settled exactly once, as an invocation or as a
//! counted outcome; records of one source partition with one key are handled in offset order.
//!
//! What a handler did shows in the state of its object: a list of the numbers of all that ran there.

use std::collections::{BTreeMap, BTreeSet};

use millrace_machine::{Effect, MemoryView, StateView};
use millrace_model::{
    Command, InvocationId, SourceId,
    command::{Ingest, IngestRecord, Message},
    invocation::{HandlerKind, ObjectKey},
    journal::{Completion, Entry},
    table::{Journal, State},
};

use super::{Invariant, Seen, Violation};
use crate::{
    program::{LOG_KEY, Program, WORKFLOW},
    store::rows,
};

/// Where a record stood in the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic_id: u128,
    pub source_partition: u32,
    pub offset: i64,
}

#[derive(Clone, Copy)]
struct Source {
    generation: u32,
    /// Where the generation started.
    start: i64,
    position: i64,
}

#[derive(Clone, Copy, Default)]
struct Runs {
    /// Ended well: has run to its end.
    certain: u32,
    /// Ended otherwise: may have got as far as its write.
    possible: u32,
}

/// All sources and what became of their records.
#[derive(Default)]
pub struct Sources {
    produced: BTreeMap<u64, Place>,
    open: BTreeMap<SourceId, Source>,
    settled: BTreeSet<(SourceId, u32, i64)>,
    /// Invocations of records in the order in which they were taken in.
    order: BTreeMap<InvocationId, (u64, SourceId)>,
    /// Those that came to their key.
    at_key: BTreeSet<InvocationId>,
    /// Order of the last one that arrived at a key, by source.
    arrived: BTreeMap<(ObjectKey, SourceId), u64>,
    /// Record invocations that have not ended.
    unsettled: BTreeSet<InvocationId>,
    runs: BTreeMap<u64, Runs>,
    /// By number of the record, when it was taken in.
    taken_as: BTreeMap<u64, u64>,
    taken: u64,
}

fn violation(what: String) -> Result<(), Violation> {
    Err(Violation::new(Invariant::Sources, what))
}

fn program_of(id: InvocationId, seen: &Seen<'_>) -> Option<Program> {
    let input = seen.before.get::<Journal>(&(id, 0)).expect("the machine wrote it");
    let Some(Entry::Input { value, .. }) = input.map(|row| row.entry) else { return None };
    Some(Program::decode(&value).expect("the workload made it"))
}

impl Sources {
    /// The broker has a new record.
    pub fn produced(&mut self, number: u64, place: Place) {
        self.produced.insert(number, place);
    }

    /// Records taken in.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn batch(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        for command in seen.commands {
            match command {
                Command::OpenSource(open) => {
                    let position = open.position;
                    let source = Source { generation: 0, start: position, position };
                    self.open.entry(open.source.clone()).or_insert(source);
                }
                Command::SeekSource(seek) => {
                    if let Some(source) = self.open.get_mut(&seek.source)
                        && source.generation == seek.generation
                    {
                        let (generation, position) = (seek.generation + 1, seek.position);
                        *source = Source { generation, start: position, position };
                    }
                }
                Command::CloseSource { source } => _ = self.open.remove(source),
                Command::Ingest(ingest) => self.ingest(ingest, seen)?,
                Command::Deliver { messages, .. } => {
                    for message in messages {
                        if let Message::Invoke(new) = message {
                            self.arrival(new.id, seen)?;
                        }
                    }
                }
                _ => {}
            }
        }
        for effect in &seen.outcome.effects {
            if let Effect::Ended { id, target, result, .. } = effect
                && target.kind != HandlerKind::Workflow
            {
                self.ended(*id, result, seen)?;
            }
        }
        for (id, _) in seen.rewound() {
            // Its failed run may have got as far as its write.
            if let Some(program) = program_of(id, seen).filter(|program| program.keyed) {
                self.runs.entry(program.number).or_default().possible += 1;
            }
        }
        Ok(())
    }

    fn ingest(&mut self, ingest: &Ingest, seen: &Seen<'_>) -> Result<(), Violation> {
        let Some(source) = self.open.get_mut(&ingest.source) else { return Ok(()) };
        if source.generation != ingest.generation || source.position != ingest.from {
            return Ok(());
        }
        source.position = ingest.to;
        let mut next = ingest.from;
        for record in &ingest.records {
            let (offset, made) = match record {
                IngestRecord::Reject { offset, .. } | IngestRecord::Letter { offset, .. } => (*offset, None),
                IngestRecord::Invoke(new) => {
                    let program = Program::decode(&new.value).expect("the workload made it");
                    let place = self.produced[&program.number];
                    let of = &ingest.source;
                    if (place.topic_id, place.source_partition) != (of.topic_id, of.source_partition) {
                        return violation(format!("{place:?} was taken in as a record of {of:?}"));
                    }
                    (place.offset, Some((new.id, program.number)))
                }
            };
            if offset < next || offset >= ingest.to {
                return violation(format!("offset {offset} is not in {next}..{}", ingest.to));
            }
            next = offset + 1;
            if !self.settled.insert((ingest.source.clone(), ingest.generation, offset)) {
                return violation(format!("offset {offset} of {:?} was settled before", ingest.source));
            }
            if let Some((id, number)) = made {
                self.taken += 1;
                self.taken_as.insert(number, self.taken);
                self.order.insert(id, (self.taken, ingest.source.clone()));
                if !self.unsettled.insert(id) {
                    return violation(format!("{id} was made before"));
                }
            }
        }
        for record in &ingest.records {
            if let IngestRecord::Invoke(new) = record {
                self.arrival(new.id, seen)?;
            }
        }
        Ok(())
    }

    /// A record's invocation came to its key.
    fn arrival(&mut self, id: InvocationId, seen: &Seen<'_>) -> Result<(), Violation> {
        let Some((order, source)) = self.order.get(&id) else { return Ok(()) };
        let Some(object) = seen.active(id).and_then(|row| row.target.object()) else { return Ok(()) };
        if !self.at_key.insert(id) {
            return Ok(()); // Delivered again.
        }
        let last = self.arrived.entry((object, source.clone())).or_default();
        if *order < *last {
            let what = format!("record {order} of {source:?}, {id}, came to its key behind record {last}");
            return violation(what);
        }
        *last = *order;
        Ok(())
    }

    fn ended(&mut self, id: InvocationId, result: &Completion, seen: &Seen<'_>) -> Result<(), Violation> {
        if !self.unsettled.remove(&id) && self.order.contains_key(&id) {
            return violation(format!("the record of {id} ended twice"));
        }
        if let Some(program) = program_of(id, seen).filter(|program| program.keyed) {
            let runs = self.runs.entry(program.number).or_default();
            match result {
                Completion::Success(_) => runs.certain += 1,
                Completion::Failure(_) => runs.possible += 1,
            }
        }
        Ok(())
    }

    /// Everything has ended: was it done, once, in order?
    pub fn finished<'a>(
        &self,
        views: impl Iterator<Item = &'a MemoryView>,
        alive: &[(SourceId, u64, i64)],
        ends: &[(SourceId, i64)],
    ) -> Result<(), Violation> {
        if let Some(id) = self.unsettled.first() {
            return violation(format!("the record of {id} was never settled"));
        }
        for (source, end) in ends {
            if self.open.get(source).is_none_or(|open| open.position != *end) {
                return violation(format!("{source:?} was not read up to {end}"));
            }
        }
        for (source, number, offset) in alive {
            let open = self.open[source];
            let settled = self.settled.contains(&(source.clone(), open.generation, *offset));
            if *offset >= open.start && !settled {
                return violation(format!("record {number} at {offset} of {source:?} was left out"));
            }
        }
        self.lists(views)
    }

    fn lists<'a>(&self, views: impl Iterator<Item = &'a MemoryView>) -> Result<(), Violation> {
        let mut found: BTreeMap<u64, u32> = BTreeMap::new();
        for view in views {
            for ((object, key), list) in rows::<State>(view) {
                assert!(key == LOG_KEY, "handlers write nothing else");
                if *object.service == *WORKFLOW {
                    continue; // It goes with its run.
                }
                let numbers = list.chunks_exact(8).map(|n| u64::from_le_bytes(n.try_into().expect("eight bytes")));
                let mut last: BTreeMap<(u128, u32), u64> = BTreeMap::new();
                for number in numbers {
                    *found.entry(number).or_default() += 1;
                    let once = self.runs.get(&number).is_some_and(|runs| runs.certain + runs.possible == 1);
                    let taken = self.taken_as.get(&number).filter(|_| once);
                    if let (Some(place), Some(&taken)) = (self.produced.get(&number), taken) {
                        let last = last.entry((place.topic_id, place.source_partition)).or_default();
                        if taken < *last {
                            return violation(format!("{place:?} was handled behind a later record by {object:?}"));
                        }
                        *last = taken;
                    }
                }
            }
        }
        for (number, runs) in &self.runs {
            let times = found.remove(number).unwrap_or(0);
            if times < runs.certain || times > runs.certain + runs.possible {
                let place = self.produced.get(number);
                let (certain, possible) = (runs.certain, runs.possible);
                return violation(format!(
                    "{number} {place:?} ran {times} times, not {certain} to {}",
                    certain + possible
                ));
            }
        }
        match found.first_key_value() {
            None => Ok(()),
            Some((number, times)) => violation(format!("{number} ran {times} times and never ended")),
        }
    }
}
