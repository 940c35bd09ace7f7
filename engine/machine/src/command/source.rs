//! Sources (DESIGN.md section 6).

use millrace_model::{
    SourceId, TimestampMs,
    command::{Ingest, IngestRecord, Known, Lane, Message, OpenSource, SeekSource},
    invocation::{NewInvocation, Source},
    source::{Budget, Rejected, SourceRow},
    table::Sources,
};

use crate::{Answer, Effect, StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    pub(super) fn open_source(&mut self, open: OpenSource) -> Result<Answer, V::Error> {
        let row = match self.get::<Sources>(&open.source)? {
            Some(row) => row,
            None => {
                let row = SourceRow {
                    topic: open.topic,
                    generation: 0,
                    position: open.position,
                    records: 0,
                    rejected: 0,
                    examples: Vec::new(),
                    missing: 0,
                    opened_at: open.now,
                    record_at: None,
                };
                self.put::<Sources>(open.source.clone(), row.clone());
                self.effect(Effect::Source { source: open.source });
                row
            }
        };
        Ok(Answer::Source(Some((row.generation, row.position))))
    }

    pub(super) fn ingest(&mut self, ingest: Ingest) -> Result<Answer, V::Error> {
        let Ingest { source, generation, from, to, records, record_at, now } = ingest;
        let Some(mut row) = self.get::<Sources>(&source)? else {
            return Ok(Answer::Source(None));
        };
        if row.generation != generation || row.position != from || to < from {
            return Ok(Answer::Source(Some((row.generation, row.position))));
        }
        for record in records {
            match record {
                IngestRecord::Invoke(new) => {
                    row.records += 1;
                    self.take_record(*new, now)?;
                }
                IngestRecord::Reject { offset, reason } => {
                    row.reject(Rejected { offset, reason, at: now });
                }
                IngestRecord::Letter { offset, reason, id, letter } => {
                    row.reject(Rejected { offset, reason, at: now });
                    self.add_letter(source.subscription, id, *letter)?;
                }
            }
        }
        row.position = to;
        row.record_at = record_at.or(row.record_at);
        let answer = Answer::Source(Some((row.generation, row.position)));
        self.put::<Sources>(source.clone(), row);
        self.effect(Effect::Source { source });
        Ok(answer)
    }

    /// A record counts at its reader from here on, until the owner of its key has settled it.
    fn take_record(&mut self, new: NewInvocation, now: TimestampMs) -> Result<(), V::Error> {
        if let Source::Record(record) = &new.source {
            self.settle(record.reader, record.subscription, Budget::ready(record.bytes));
        }
        let owner = self.owner(new.id)?;
        if owner == self.me {
            self.create(new, Known::Fresh, now)?;
            Ok(())
        } else {
            self.send(owner, Lane::Events, Message::Invoke(Box::new(new)))
        }
    }

    pub(super) fn seek_source(&mut self, seek: SeekSource) -> Result<Answer, V::Error> {
        let Some(mut row) = self.get::<Sources>(&seek.source)? else {
            return Ok(Answer::Source(None));
        };
        if row.generation == seek.generation {
            row.generation += 1;
            row.position = seek.position;
            row.missing = row.missing.saturating_add(seek.missing);
            self.put::<Sources>(seek.source.clone(), row.clone());
            self.effect(Effect::Source { source: seek.source });
        }
        Ok(Answer::Source(Some((row.generation, row.position))))
    }

    pub(super) fn close_source(&mut self, source: SourceId) -> Result<Answer, V::Error> {
        if self.get::<Sources>(&source)?.is_some() {
            self.delete::<Sources>(source.clone());
            self.effect(Effect::Source { source });
        }
        Ok(Answer::Source(None))
    }
}
