//! The bytes of the position up to which a store is applied.

use millrace_model::{Applied, LeaderEpoch, Lsn};

/// Length of [`to_bytes`].
const LEN: usize = 28;

pub(crate) fn to_bytes(applied: Applied) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&applied.lsn.0.to_be_bytes());
    bytes[8..16].copy_from_slice(&applied.epoch.0.0.to_be_bytes());
    bytes[16..24].copy_from_slice(&applied.number.to_be_bytes());
    bytes[24..].copy_from_slice(&applied.crc.to_be_bytes());
    bytes
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Applied> {
    let (lsn, rest) = bytes.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (number, crc) = rest.split_first_chunk()?;
    Some(Applied {
        lsn: Lsn(u64::from_be_bytes(*lsn)),
        epoch: LeaderEpoch(Lsn(u64::from_be_bytes(*epoch))),
        number: u64::from_be_bytes(*number),
        crc: u32::from_be_bytes(crc.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_applied_position_comes_back() {
        let applied = Applied { lsn: Lsn(1), epoch: LeaderEpoch(Lsn(u64::MAX)), number: 3, crc: 4 };
        assert_eq!(from_bytes(&to_bytes(applied)), Some(applied));
        assert_eq!(from_bytes(&to_bytes(applied)[1..]), None);
        assert_eq!(from_bytes(&[0; LEN + 1]), None);
    }
}
