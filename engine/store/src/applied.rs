//! The position up to which a store is applied.

use millrace_model::{LeaderEpoch, Lsn};

/// The last applied record: where it stands in the log, and what it was ("same history or none", DESIGN.md section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Of its batch.
    pub lsn: Lsn,
    /// Of the leader that wrote it.
    pub epoch: LeaderEpoch,
    /// In that epoch.
    pub number: u64,
    /// CRC32C of its payload.
    pub crc: u32,
}

impl Applied {
    const LEN: usize = 28;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.lsn.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.0.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_be_bytes());
        bytes[24..].copy_from_slice(&self.crc.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (lsn, rest) = bytes.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (number, crc) = rest.split_first_chunk()?;
        Some(Self {
            lsn: Lsn(u64::from_be_bytes(*lsn)),
            epoch: LeaderEpoch(Lsn(u64::from_be_bytes(*epoch))),
            number: u64::from_be_bytes(*number),
            crc: u32::from_be_bytes(crc.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_applied_position_comes_back() {
        let applied = Applied { lsn: Lsn(1), epoch: LeaderEpoch(Lsn(u64::MAX)), number: 3, crc: 4 };
        assert_eq!(Applied::from_bytes(&applied.to_bytes()), Some(applied));
        assert_eq!(Applied::from_bytes(&applied.to_bytes()[1..]), None);
        assert_eq!(Applied::from_bytes(&[0; Applied::LEN + 1]), None);
    }
}
