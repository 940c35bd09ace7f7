//! Log positions and leader epochs.

use std::fmt;

/// The place of a batch in the log of one partition. Only grows; may skip.
///
/// [`Lsn::NONE`] is before every batch. Meaning of the number is the provider's own (`engine/log/FORMAT.md`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before all batches.
    pub const NONE: Lsn = Lsn(0);

    /// The smallest position behind this one.
    pub fn next(self) -> Lsn {
        Lsn(self.0.checked_add(1).expect("a log holds fewer than 2^64 batches"))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The LSN of a leader's own `AnnounceLeader` batch: the fence of section 3 of DESIGN.md.
///
/// An announcement itself carries [`LeaderEpoch::ANNOUNCE`], because its epoch is not known before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub Lsn);

impl LeaderEpoch {
    /// What the header of an announcement carries in place of an epoch.
    pub const ANNOUNCE: LeaderEpoch = LeaderEpoch(Lsn::NONE);
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
