//! Bytes of segment files. `FORMAT.md` is the reference; the golden tests below keep both equal.

use bytes::Bytes;
use millrace_model::{Lsn, PartitionId};

use crate::record::{Record, RecordHeader};

/// Bytes in front of a segment's first group.
pub(super) const SEGMENT_HEADER: u64 = 64;
/// Bytes in front of a group's body.
pub(super) const GROUP_HEADER: u64 = 48;
/// Bytes in front of a record's payload.
pub(super) const RECORD_HEADER: u64 = 48;
/// Groups begin and end at multiples of this.
pub(super) const ALIGN: u64 = 8;

/// Largest group of any configuration, for reading what another one wrote.
pub(super) const GROUP_LIMIT: u64 = 16 << 20;

const SEGMENT_MAGIC: [u8; 4] = *b"MLRS";
pub(super) const GROUP_MAGIC: [u8; 4] = *b"MLRG";
const VERSION: u8 = 1;
const CRC_AT: usize = 12;

/// Drawn when a log is created; every checksum depends on it, so that bytes of another log, or bytes that somebody put
/// into a payload, are never taken for groups of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogId(pub u128);

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Header of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub log: LogId,
    /// Position of the file's first byte in the stream.
    pub start: u64,
    /// Bytes of the file.
    pub size: u64,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut out = [0; SEGMENT_HEADER as usize];
        out[0..4].copy_from_slice(&SEGMENT_MAGIC);
        out[4] = VERSION;
        out[16..24].copy_from_slice(&self.start.to_le_bytes());
        out[24..32].copy_from_slice(&self.size.to_le_bytes());
        out[32..48].copy_from_slice(&self.log.0.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `Err` says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() < SEGMENT_HEADER as usize || bytes[0..4] != SEGMENT_MAGIC {
            return Err("no segment header");
        }
        let header = Self {
            start: u64_at(bytes, 16),
            size: u64_at(bytes, 24),
            log: LogId(u128::from_le_bytes(bytes[32..48].try_into().expect("sixteen bytes"))),
        };
        match bytes[4] {
            _ if Self { ..header }.encode() == bytes[..SEGMENT_HEADER as usize] => Ok(header),
            VERSION => Err("damaged segment header"),
            _ => Err("unknown segment version"),
        }
    }
}

/// What a group holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum GroupKind {
    Records = 1,
    Table = 2,
}

/// Header of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub kind: GroupKind,
    /// Bytes of header, body and padding: a multiple of [`ALIGN`].
    pub length: u32,
    /// 1, 2, 3 … in the stream, without a gap.
    pub number: u64,
    /// Position of this group in the stream.
    pub position: u64,
    /// Everything before this position had been synced when the group was written.
    pub synced: u64,
    /// Records or table rows.
    pub count: u32,
}

impl GroupHeader {
    /// Length of a group with this body.
    pub fn length_of(body: u64) -> u64 {
        (GROUP_HEADER + body).next_multiple_of(ALIGN)
    }

    /// The header's bytes, and how many zero bytes follow the body.
    pub fn encode(&self, log: LogId, body: &[u8]) -> ([u8; GROUP_HEADER as usize], usize) {
        let mut out = [0; GROUP_HEADER as usize];
        out[0..4].copy_from_slice(&GROUP_MAGIC);
        out[4] = VERSION;
        out[5] = self.kind as u8;
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..32].copy_from_slice(&self.position.to_le_bytes());
        out[32..40].copy_from_slice(&self.synced.to_le_bytes());
        out[40..44].copy_from_slice(&self.count.to_le_bytes());
        let padding = self.length as usize - GROUP_HEADER as usize - body.len();
        let crc = crc32c::crc32c_append(group_crc(log, &out, body), &[0; ALIGN as usize][..padding]);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        (out, padding)
    }

    /// Reads a header without its checksum; `None` if it cannot be one at `position`.
    pub fn peek(bytes: &[u8], position: u64) -> Option<Self> {
        if bytes.len() < GROUP_HEADER as usize || bytes[0..4] != GROUP_MAGIC || bytes[4] != VERSION {
            return None;
        }
        let kind = match bytes[5] {
            1 => GroupKind::Records,
            2 => GroupKind::Table,
            _ => return None,
        };
        let header = Self {
            kind,
            length: u32_at(bytes, 8),
            number: u64_at(bytes, 16),
            position: u64_at(bytes, 24),
            synced: u64_at(bytes, 32),
            count: u32_at(bytes, 40),
        };
        let length = u64::from(header.length);
        let plausible = header.position == position
            && header.synced <= position
            && (GROUP_HEADER..=GROUP_LIMIT).contains(&length)
            && length.is_multiple_of(ALIGN);
        plausible.then_some(header)
    }

    /// Whether `group`, all of its bytes, is as it was written.
    pub fn verify(log: LogId, group: &[u8]) -> bool {
        let (header, rest) = group.split_at(GROUP_HEADER as usize);
        let mut header: [u8; GROUP_HEADER as usize] = header.try_into().expect("the header's length");
        let stored = u32_at(&header, CRC_AT);
        header[CRC_AT..CRC_AT + 4].fill(0);
        stored == group_crc(log, &header, rest)
    }
}

fn group_crc(log: LogId, header: &[u8], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&log.0.to_le_bytes()), header), rest)
}

/// Appends a record's bytes to the body of a group.
pub(super) fn put_record(out: &mut Vec<u8>, partition: PartitionId, header: &RecordHeader, crc: u32, payload: &[u8]) {
    out.reserve(RECORD_HEADER as usize + payload.len());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&partition.0.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(payload);
}

/// The fixed part of a stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub length: usize,
    pub crc: u32,
    pub partition: PartitionId,
    pub header: RecordHeader,
}

impl RecordHead {
    /// `None` if no correct writer can have made it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER as usize)?;
        let header = bytes[12..].first_chunk::<{ RecordHeader::LEN }>()?;
        Some(Self {
            length: u32_at(bytes, 0) as usize,
            crc: u32_at(bytes, 4),
            partition: PartitionId(u16_at(bytes, 8)),
            header: RecordHeader::decode(header)?,
        })
    }
}

/// Gives the records of a verified group to `each`, payloads as slices of `group`. `Err` is the offset within the group
/// of what no correct writer can have made.
pub(super) fn records(
    header: &GroupHeader,
    group: &Bytes,
    each: &mut dyn FnMut(PartitionId, Record),
) -> Result<(), u64> {
    let mut at = GROUP_HEADER as usize;
    for _ in 0..header.count {
        let head = RecordHead::decode(&group[at..]).ok_or(at as u64)?;
        let payload = at + RECORD_HEADER as usize;
        if head.length > group.len() - payload {
            return Err(at as u64);
        }
        let payload = group.slice(payload..payload + head.length);
        let lsn = Lsn(header.position + at as u64);
        each(head.partition, Record { lsn, header: head.header, crc: head.crc, payload });
        at += RECORD_HEADER as usize + head.length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_model::{ClusterId, LeaderEpoch};

    use super::*;

    const LOG: LogId = LogId(0x000102030405060708090a0b0c0d0e0f);

    fn hex(bytes: &[u8]) -> String {
        let words = bytes.chunks(4).map(|word| word.iter().map(|b| format!("{b:02x}")).collect::<String>());
        words.collect::<Vec<_>>().join(" ")
    }

    fn group() -> Vec<u8> {
        let epoch = LeaderEpoch(Lsn(112));
        let header = RecordHeader { part: 1, parts: 1, epoch, number: 5, cluster: ClusterId(0xc1) };
        let mut body = Vec::new();
        put_record(&mut body, PartitionId(3), &header, header.crc(b"hello"), b"hello");
        let length = GroupHeader::length_of(body.len() as u64) as u32;
        let group = GroupHeader { kind: GroupKind::Records, length, number: 9, position: 4096, synced: 4000, count: 1 };
        let (head, padding) = group.encode(LOG, &body);
        [&head[..], &body, &vec![0; padding]].concat()
    }

    #[test]
    fn golden_segment_header() {
        let header = SegmentHeader { log: LOG, start: 1 << 26, size: 1 << 20 };
        let bytes = header.encode();
        assert_eq!(
            hex(&bytes),
            "4d4c5253 01000000 00000000 19f4ca54 00000004 00000000 00001000 00000000 \
             0f0e0d0c 0b0a0908 07060504 03020100 00000000 00000000 00000000 00000000"
        );
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for at in 0..bytes.len() {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert!(SegmentHeader::decode(&bad).is_err(), "{at}");
        }
    }

    #[test]
    fn golden_group() {
        let bytes = group();
        assert_eq!(
            hex(&bytes),
            "4d4c5247 01010000 68000000 a665fd28 09000000 00000000 00100000 00000000 a00f0000 00000000 01000000 00000000 \
             05000000 4cc670ce 03000000 01000100 70000000 00000000 05000000 00000000 c1000000 00000000 00000000 00000000 \
             68656c6c 6f000000"
        );
        let header = GroupHeader::peek(&bytes, 4096).unwrap();
        assert!(GroupHeader::verify(LOG, &bytes));
        assert!(!GroupHeader::verify(LogId(1), &bytes));
        let mut found = Vec::new();
        records(&header, &Bytes::from(bytes), &mut |partition, record| found.push((partition, record))).unwrap();
        let (partition, record) = &found[0];
        assert_eq!((*partition, record.lsn, &record.payload[..]), (PartitionId(3), Lsn(4096 + 48), &b"hello"[..]));
        assert_eq!(record.crc, record.header.crc(b"hello"));
    }

    #[test]
    fn any_flipped_bit_shows() {
        let good = group();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let peeked = GroupHeader::peek(&bad, 4096);
            let whole = peeked.is_some_and(|header| header.length as usize == bad.len());
            assert!(!whole || !GroupHeader::verify(LOG, &bad), "bit {bit}");
        }
    }

    #[test]
    fn a_header_is_one_of_its_place_only() {
        let bytes = group();
        assert_eq!(GroupHeader::peek(&bytes, 4104), None);
        assert_eq!(GroupHeader::peek(&bytes[..40], 4096), None);
    }
}
