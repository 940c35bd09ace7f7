//! One record: what every provider stores, and what the counting rule looks at.

use bytes::Bytes;
pub use millrace_model::Applied;
use millrace_model::{ClusterId, LeaderEpoch, Lsn};

/// Largest payload of one batch. Larger input is refused before the log.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// What stands in front of every payload, whoever stores it.
///
/// ```text
/// part u16 | parts u16 | epoch u64 | number u64 | cluster u128      little-endian, 36 bytes
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordHeader {
    /// Part `part` of `parts` of a batch, from 1.
    pub part: u16,
    /// Number of parts of the batch, at least 1.
    pub parts: u16,
    /// The appending leader's epoch; [`LeaderEpoch::ANNOUNCE`] for an announcement.
    pub epoch: LeaderEpoch,
    /// 1, 2, 3 … within the epoch, one for each record; 0 for an announcement.
    pub number: u64,
    /// The cluster that wrote it.
    pub cluster: ClusterId,
}

impl RecordHeader {
    /// Length of [`RecordHeader::encode`].
    pub const LEN: usize = 36;

    /// The header of an announcement. It is always one record.
    pub fn announcement(cluster: ClusterId) -> Self {
        Self { part: 1, parts: 1, epoch: LeaderEpoch::ANNOUNCE, number: 0, cluster }
    }

    /// Whether this record opens a leader epoch.
    pub fn is_announcement(&self) -> bool {
        self.epoch == LeaderEpoch::ANNOUNCE
    }

    /// Whether a correct writer can have made it.
    pub fn is_well_formed(&self) -> bool {
        let numbered = if self.is_announcement() { self.number == 0 && self.parts == 1 } else { self.number > 0 };
        numbered && self.part >= 1 && self.part <= self.parts
    }

    /// The stored bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0..2].copy_from_slice(&self.part.to_le_bytes());
        out[2..4].copy_from_slice(&self.parts.to_le_bytes());
        out[4..12].copy_from_slice(&self.epoch.0.0.to_le_bytes());
        out[12..20].copy_from_slice(&self.number.to_le_bytes());
        out[20..36].copy_from_slice(&self.cluster.0.to_le_bytes());
        out
    }

    /// Inverse of [`RecordHeader::encode`]; `None` if no correct writer can have made it.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let header = Self {
            part: u16_at(0),
            parts: u16_at(2),
            epoch: LeaderEpoch(Lsn(u64_at(4))),
            number: u64_at(12),
            cluster: ClusterId(u128::from_le_bytes(bytes[20..36].try_into().expect("sixteen bytes"))),
        };
        header.is_well_formed().then_some(header)
    }

    /// CRC32C over the encoded header and `payload`: the checksum in a record's identity, the same in every provider.
    pub fn crc(&self, payload: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.encode()), payload)
    }
}

/// One stored record, before anybody decided whether it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub lsn: Lsn,
    /// Who wrote it.
    pub header: RecordHeader,
    /// [`RecordHeader::crc`] of it; verified by the provider.
    pub crc: u32,
    /// Its part of the batch.
    pub payload: Bytes,
}

impl Record {
    /// Its identity, for "same history or none".
    pub fn identity(&self) -> Applied {
        let epoch = if self.header.is_announcement() { LeaderEpoch(self.lsn) } else { self.header.epoch };
        Applied { lsn: self.lsn, epoch, number: self.header.number, crc: self.crc }
    }
}

/// How many records of at most `record_max` payload bytes a batch of `len` bytes takes; at least 1.
pub fn parts(len: usize, record_max: usize) -> usize {
    len.div_ceil(record_max).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_header() {
        let header = RecordHeader {
            part: 2,
            parts: 3,
            epoch: LeaderEpoch(Lsn(0x0102030405060708)),
            number: 0x1112131415161718,
            cluster: ClusterId(0x202122232425262728292a2b2c2d2e2f),
        };
        let bytes = header.encode();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "02000300080706050403020118171615141312112f2e2d2c2b2a29282726252423222120");
        assert_eq!(RecordHeader::decode(&bytes), Some(header));
        assert_eq!(header.crc(b"payload"), 0x8e885f66);
    }

    #[test]
    fn malformed_headers_are_none() {
        let good = RecordHeader { part: 1, parts: 1, epoch: LeaderEpoch(Lsn(1)), number: 1, cluster: ClusterId(1) };
        let announcement = RecordHeader::announcement(ClusterId(1));
        for bad in [
            RecordHeader { part: 0, ..good },
            RecordHeader { part: 2, ..good },
            RecordHeader { number: 0, ..good },
            RecordHeader { number: 1, ..announcement },
            RecordHeader { parts: 2, ..announcement },
        ] {
            assert_eq!(RecordHeader::decode(&bad.encode()), None, "{bad:?}");
        }
        assert_eq!(RecordHeader::decode(&announcement.encode()), Some(announcement));
    }

    #[test]
    fn a_batch_has_at_least_one_part() {
        for (len, max, expected) in [(0, 10, 1), (1, 10, 1), (10, 10, 1), (11, 10, 2), (100, 10, 10)] {
            assert_eq!(parts(len, max), expected);
        }
    }
}
