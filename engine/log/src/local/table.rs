//! What the log knows of each partition beyond its records: the last one, the trim point, whether it is sealed.
//!
//! Written as a group of its own at the begin of every segment (then its last LSNs tell who has records in the segment
//! before), at open and close, and before a segment is removed: no file goes before the trim points that allow it are
//! durable.

use millrace_model::{LeaderEpoch, Lsn, PartitionId};

use crate::record::Applied;

/// How many engine partitions one local log holds, besides the metadata.
pub(super) const PARTITIONS_MAX: u16 = 4096;
/// Bytes of one row.
pub(super) const ROW: usize = 40;

/// One partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub last: Lsn,
    pub trim: Applied,
    pub sealed: bool,
}

/// All partitions that ever had a record, a trim point or a seal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Row 0 is the metadata, row p + 1 partition p.
    rows: Vec<Row>,
}

fn slot(partition: PartitionId) -> usize {
    usize::from(partition.0.wrapping_add(1))
}

fn partition(slot: usize) -> PartitionId {
    PartitionId((slot as u16).wrapping_sub(1))
}

impl Table {
    pub fn get(&self, partition: PartitionId) -> Row {
        self.rows.get(slot(partition)).copied().unwrap_or_default()
    }

    pub fn row(&mut self, partition: PartitionId) -> &mut Row {
        let slot = slot(partition);
        if slot >= self.rows.len() {
            self.rows.resize(slot + 1, Row::default());
        }
        &mut self.rows[slot]
    }

    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, Row)> + '_ {
        let rows = self.rows.iter().enumerate().filter(|(_, row)| **row != Row::default());
        rows.map(|(slot, row)| (partition(slot), *row))
    }

    /// Who has records at or behind `start`, and their last.
    pub fn since(&self, start: u64) -> Vec<(PartitionId, Lsn)> {
        self.iter().filter(|(_, row)| row.last.0 >= start).map(|(partition, row)| (partition, row.last)).collect()
    }

    /// Appends the rows to `out` and returns how many.
    pub fn encode(&self, out: &mut Vec<u8>) -> u32 {
        let mut count = 0;
        for (partition, row) in self.iter() {
            out.extend_from_slice(&partition.0.to_le_bytes());
            out.extend_from_slice(&[u8::from(row.sealed), 0]);
            out.extend_from_slice(&row.trim.crc.to_le_bytes());
            for number in [row.last.0, row.trim.lsn.0, row.trim.epoch.0.0, row.trim.number] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            count += 1;
        }
        count
    }

    /// Inverse of [`Table::encode`]; `None` if no correct writer can have made it.
    pub fn decode(bytes: &[u8], count: u32) -> Option<Self> {
        let mut table = Self::default();
        let rows = bytes.get(..(count as usize).checked_mul(ROW)?)?;
        for row in rows.chunks_exact(ROW) {
            let u64_at = |at: usize| u64::from_le_bytes(row[at..at + 8].try_into().expect("eight bytes"));
            let partition = PartitionId(u16::from_le_bytes([row[0], row[1]]));
            if partition.0 >= PARTITIONS_MAX && partition != PartitionId::META {
                return None;
            }
            let crc = u32::from_le_bytes(row[4..8].try_into().expect("four bytes"));
            let epoch = LeaderEpoch(Lsn(u64_at(24)));
            let trim = Applied { lsn: Lsn(u64_at(16)), epoch, number: u64_at(32), crc };
            *table.row(partition) = Row { last: Lsn(u64_at(8)), trim, sealed: row[2] != 0 };
        }
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_rows() {
        let mut table = Table::default();
        let trim = Applied { lsn: Lsn(0x50), epoch: LeaderEpoch(Lsn(0x40)), number: 2, crc: 0xaabbccdd };
        *table.row(PartitionId(1)) = Row { last: Lsn(0x60), trim, sealed: true };
        table.row(PartitionId::META).last = Lsn(0x70);
        let mut bytes = Vec::new();
        assert_eq!(table.encode(&mut bytes), 2);
        let hex: String =
            bytes.chunks(8).map(|c| c.iter().map(|b| format!("{b:02x}")).collect::<String>() + " ").collect();
        assert_eq!(
            hex.trim_end(),
            "ffff000000000000 7000000000000000 0000000000000000 0000000000000000 0000000000000000 \
             01000100ddccbbaa 6000000000000000 5000000000000000 4000000000000000 0200000000000000"
        );
        assert_eq!(Table::decode(&bytes, 2), Some(table.clone()));
        assert_eq!(Table::decode(&bytes, 3), None);
        assert_eq!(table.since(0x61), [(PartitionId::META, Lsn(0x70))]);
    }
}
