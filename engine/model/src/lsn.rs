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

/// A place in a log together with the identity of the record there: what a store keeps with its applied LSN, what
/// counting resumes from, and what is compared before anybody continues a log. The default is before everything.
///
/// For a batch it is that of its last record; for an announcement `epoch` is its own LSN and `number` 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Applied {
    /// Place of the record.
    pub lsn: Lsn,
    /// Epoch in force behind this record.
    pub epoch: LeaderEpoch,
    /// Number of the record in its epoch.
    pub number: u64,
    /// Checksum over its header and payload, the same in every provider.
    pub crc: u32,
}

impl Applied {
    /// Nothing is applied.
    pub const NONE: Applied = Applied { lsn: Lsn::NONE, epoch: LeaderEpoch::ANNOUNCE, number: 0, crc: 0 };
}
