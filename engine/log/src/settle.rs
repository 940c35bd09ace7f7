//! What a leader may conclude from delivery reports (DESIGN.md section 4, item 4). Pure; the same for every provider.
//!
//! Reports that follow each other without a gap, from one's own announcement on, prove that the appends count. Anything
//! else is settled by reading with the counting rule, so that own records found there count. A delivery that failed, a
//! reported batch that does not count, a later announcement or a trimmed gap end the leadership.
//!
//! ```text
//! announced, appended, on_delivery ──> poll: Announced, Committed, Over
//!                                 Read ──> the owner reads ──> on_counted … on_read ──> poll
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_model::{LeaderEpoch, Lsn};

use crate::counting::CountedBatch;
use crate::loglet::{Delivery, Kind, Outcome};
use crate::record::Applied;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The own announcement is committed here, and everything before it has been given out: the leadership begins, with
    /// `lsn` as its epoch. If it was found by reading, it was given to [`Settle::on_counted`] before.
    Announced(Applied),
    /// The oldest own batch that is not committed yet is committed here. Apply the copy at hand.
    Committed(Applied),
    /// Read on from behind `behind` with a resumed [`CountingReader`](crate::CountingReader), give every counted batch
    /// to [`Settle::on_counted`] and apply it, then call [`Settle::on_read`]. Later reports wait meanwhile.
    Read {
        /// The last batch given out.
        behind: Applied,
        /// How far.
        upto: Upto,
    },
    /// The leadership ended. Own batches that are not committed are unknown until the log has been read on.
    Over(Over),
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upto {
    /// Up to and including this record.
    At(Lsn),
    /// Up to a tail asked for after this decision.
    Tail,
}

/// Why a leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A delivery failed: everything later of this epoch is void.
    Lost,
    /// The reported batch does not count where it was reported.
    NotCounted,
    /// There is a later announcement.
    Deposed,
    /// A part of the gap is trimmed.
    Trimmed,
}

/// Whose batch was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The oldest own batch that was not committed yet: it is now, and must not be applied a second time.
    Own,
    /// Of another leader, or an announcement.
    Other,
}

/// The delivery reports of one leadership of one partition.
#[derive(Debug)]
pub struct Settle {
    /// Last batch given out.
    applied: Applied,
    /// Last record known: everything up to here has been looked at or proven.
    position: Lsn,
    epoch: Option<LeaderEpoch>,
    /// Own batches in the order of appending that are not committed.
    waiting: VecDeque<Kind>,
    /// Payload of the own announcement, until it is committed.
    announced: Option<Bytes>,
    /// Reports in their order that were not decided; the first one caused the read, if one is under way.
    reports: VecDeque<Delivery>,
    reading: Option<Upto>,
    /// Last announcement that the read under way came across, and whether it is the own one as far as can be told.
    announcement: Option<(Applied, bool)>,
    decisions: VecDeque<Decision>,
    over: bool,
    /// Reports of an earlier leadership that are still to come, and first.
    stale: usize,
    /// Reports of this leadership that are still to come.
    unreported: usize,
}

impl Settle {
    /// A leadership that begins behind `applied`: its announcement is appended next. `stale` is what is left of
    /// [`Settle::unreported`] of the one before on this provider, whose reports come first; 0 if there was none.
    pub fn new(applied: Applied, stale: usize) -> Self {
        Self {
            applied,
            position: applied.lsn,
            epoch: None,
            waiting: VecDeque::new(),
            announced: None,
            reports: VecDeque::new(),
            reading: None,
            announcement: None,
            decisions: VecDeque::new(),
            over: false,
            stale,
            unreported: 0,
        }
    }

    /// The announcement was accepted by the provider, first of all. Its payload tells it from others if the report names
    /// no place: no two announcements, of whichever nodes, may have the same.
    pub fn announced(&mut self, payload: Bytes) {
        self.announced = Some(payload);
        self.appended(Kind::Announce);
    }

    /// Commands were accepted by the provider. An announcement, too, with a provider that always names the place; but
    /// [`Settle::announced`] is right with any.
    pub fn appended(&mut self, kind: Kind) {
        let is_next = match kind {
            Kind::Announce => self.epoch.is_none() && self.waiting.is_empty(),
            Kind::Commands { epoch, .. } => self.epoch == Some(epoch),
        };
        assert!(is_next, "one announcement, then commands of its epoch");
        self.waiting.push_back(kind);
        self.unreported += 1;
    }

    /// Reports that are still to come, of this leadership or of those before it.
    pub fn unreported(&self) -> usize {
        self.stale + self.unreported
    }

    /// Own batches that are not committed.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The last batch given out, own or not.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// The next report for this partition, in the order in which the provider gave them: also when the leadership is over.
    /// Ends in decisions to [`Settle::poll`].
    pub fn on_delivery(&mut self, delivery: &Delivery) {
        if self.stale > 0 {
            self.stale -= 1;
            return;
        }
        self.unreported = self.unreported.checked_sub(1).expect("every append is reported once");
        if self.over {
            return;
        }
        if matches!(delivery.outcome, Outcome::Failed(_)) {
            // Also while reading: nothing may be appended after a loss, however the read ends.
            return self.end(Over::Lost);
        }
        if self.reading.is_none() && self.reports.is_empty() {
            // The usual way: nothing to keep.
            if !self.decide(delivery) {
                self.reports.push_back(delivery.clone());
            }
        } else {
            self.reports.push_back(delivery.clone());
        }
    }

    /// The next decision.
    pub fn poll(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    /// A counted batch of the read under way, in order. The caller applies it if this is `Ok`.
    ///
    /// `Err`: the leadership is over (it is not in [`Settle::poll`] then). The batch is a later announcement, or
    /// contradicts what this leader appended; it may be applied as a follower does.
    pub fn on_counted(&mut self, batch: &CountedBatch) -> Result<Whose, Over> {
        if self.over {
            return Ok(Whose::Other);
        }
        let whose = match self.epoch {
            None => {
                if batch.is_announcement() {
                    let is_own = self.announced.as_ref().is_none_or(|announced| *announced == batch.payload);
                    self.announcement = Some((batch.applied(), is_own));
                } else if let Some((_, is_own)) = &mut self.announcement {
                    // Nothing was appended in the own epoch yet.
                    *is_own = false;
                }
                Whose::Other
            }
            Some(epoch) if batch.epoch != epoch => return self.refuse(Over::Deposed),
            Some(_) => match self.waiting.front() {
                Some(kind) if *kind == batch.kind() => {
                    self.waiting.pop_front();
                    Whose::Own
                }
                _ => return self.refuse(Over::NotCounted),
            },
        };
        self.applied = batch.applied();
        Ok(whose)
    }

    /// The read under way has looked at every record up to `position`, and at all up to its end.
    pub fn on_read(&mut self, position: Lsn) {
        if self.over {
            return;
        }
        let upto = self.reading.take().expect("a read is under way");
        self.position = self.position.max(position);
        let report = self.reports.pop_front().expect("the report that caused the read");
        if self.epoch.is_none() {
            self.settle_announcement(upto);
        } else if self.is_waiting(report.kind) {
            return self.end(Over::NotCounted);
        }
        while !self.over && self.reading.is_none() {
            let Some(report) = self.reports.pop_front() else { return };
            if !self.decide(&report) {
                self.reports.push_front(report);
                return;
            }
        }
    }

    /// The read under way found its beginning trimmed.
    pub fn on_trimmed(&mut self) {
        self.end(Over::Trimmed);
    }

    fn settle_announcement(&mut self, upto: Upto) {
        match self.announcement.take() {
            Some((found, true)) if upto == Upto::At(found.lsn) || (upto == Upto::Tail && self.announced.is_some()) => {
                self.waiting.pop_front();
                self.announced = None;
                self.epoch = Some(found.epoch);
                self.decisions.push_back(Decision::Announced(found));
            }
            Some(_) => self.end(Over::Deposed),
            None => self.end(Over::NotCounted),
        }
    }

    /// Decides about a report with nothing before it undecided. `false`: it has to be settled by reading.
    fn decide(&mut self, delivery: &Delivery) -> bool {
        if !self.is_waiting(delivery.kind) {
            return true; // A read found it already.
        }
        let front = self.waiting.front().expect("it is waiting");
        assert_eq!(*front, delivery.kind, "reports come in the order of appending");
        let upto = match delivery.outcome {
            Outcome::Placed { after, lsn, crc } if after == self.position && lsn > after => {
                self.commit(delivery, lsn, crc);
                return true;
            }
            Outcome::Placed { lsn, .. } if lsn <= self.position => {
                // It was read over, or proven to be another one.
                self.end(Over::NotCounted);
                return true;
            }
            Outcome::Placed { lsn, .. } => Upto::At(lsn),
            Outcome::Somewhere => Upto::Tail,
            Outcome::Failed(_) => {
                self.end(Over::Lost);
                return true;
            }
        };
        self.reading = Some(upto);
        self.announcement = None;
        self.decisions.push_back(Decision::Read { behind: self.applied, upto });
        false
    }

    fn commit(&mut self, delivery: &Delivery, lsn: Lsn, crc: u32) {
        self.waiting.pop_front();
        self.position = lsn;
        match delivery.kind {
            Kind::Announce => {
                let epoch = LeaderEpoch(lsn);
                self.applied = Applied { lsn, epoch, number: 0, crc };
                self.epoch = Some(epoch);
                self.announced = None;
                self.decisions.push_back(Decision::Announced(self.applied));
            }
            Kind::Commands { epoch, number } => {
                assert_eq!(self.epoch, Some(epoch), "a leader appends in its own epoch");
                self.applied = Applied { lsn, epoch, number: number + u64::from(delivery.parts) - 1, crc };
                self.decisions.push_back(Decision::Committed(self.applied));
            }
        }
    }

    fn is_waiting(&self, kind: Kind) -> bool {
        let number = |kind| match kind {
            Kind::Announce => 0,
            Kind::Commands { number, .. } => number,
        };
        self.waiting.front().is_some_and(|front| number(*front) <= number(kind))
    }

    fn refuse(&mut self, over: Over) -> Result<Whose, Over> {
        self.over = true;
        self.decisions.clear();
        Err(over)
    }

    fn end(&mut self, over: Over) {
        if !self.over {
            self.over = true;
            self.decisions.push_back(Decision::Over(over));
        }
    }
}

#[cfg(test)]
mod tests;
