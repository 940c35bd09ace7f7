//! Reading the stream: one partition's records, all partitions at once, or one record.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use millrace_model::{ClusterId, Lsn, PartitionId};

use super::core::Core;
use super::disk;
use super::format::{self, GroupHeader, GroupKind, RECORD_HEADER, RecordHead, SEGMENT_HEADER};
use super::segment::{Groups, Segment};
use crate::counting::{CountedBatch, CountingReader};
use crate::error::ReadError;
use crate::loglet::LogReader;
use crate::record::{Applied, Record};

/// The durable groups of the stream in order, over all segments that are wanted.
struct Stream {
    core: Arc<Core>,
    groups: Option<Groups>,
    /// Number of the next group, when the one before was read.
    expected: Option<u64>,
    /// Where to look for the next segment.
    next_start: u64,
}

impl Stream {
    fn new(core: Arc<Core>) -> Self {
        Self { core, groups: None, expected: None, next_start: 0 }
    }

    /// The next group of a segment that `wants` it; `None` at the durable end.
    fn next(&mut self, wants: &dyn Fn(&Segment) -> bool) -> Result<Option<(GroupHeader, Bytes)>, ReadError> {
        let committed = self.core.committed().0;
        loop {
            if self.groups.is_none() && !self.enter(wants) {
                return Ok(None);
            }
            let groups = self.groups.as_mut().expect("entered");
            let segment = groups.segment.clone();
            if groups.at >= committed {
                return Ok(None);
            }
            let (at, expected) = (groups.at, self.expected);
            let found = groups.next(committed).map_err(|error| segment.io_error(error))?;
            if let Some((header, bytes)) = found {
                if expected.is_some_and(|expected| expected != header.number) {
                    return Err(segment.corrupt(at, "a group is missing before this one"));
                }
                self.expected = Some(header.number + 1);
                return Ok(Some((header, bytes)));
            }
            // The rest of a segment is unused if the stream goes on in the next one without a gap.
            let next = self.segment_from(segment.end());
            let first = next.map(|next| Groups::new(next, self.core.log).next(committed));
            match first.transpose().map_err(|error| segment.io_error(error))?.flatten() {
                Some((header, _)) if at > segment.first() && Some(header.number) == expected => {}
                _ => return Err(segment.corrupt(at, "damaged where it had been synced")),
            }
            self.groups = None;
            self.next_start = segment.end();
        }
    }

    /// Goes to the first wanted segment at or behind `next_start`; `false` if there is none yet.
    fn enter(&mut self, wants: &dyn Fn(&Segment) -> bool) -> bool {
        while let Some(segment) = self.segment_from(self.next_start) {
            // Not before it is durable that the segment is used at all.
            if segment.first() >= self.core.committed().0 {
                return false;
            }
            if wants(&segment) {
                self.groups = Some(Groups::new(segment, self.core.log));
                return true;
            }
            self.expected = None;
            self.next_start = segment.end();
        }
        false
    }

    fn segment_from(&self, start: u64) -> Option<Arc<Segment>> {
        self.core.lock().segments.iter().find(|segment| segment.start >= start).cloned()
    }
}

/// A cursor over one partition.
pub(super) struct PartitionReader {
    stream: Stream,
    partition: PartitionId,
    from: Lsn,
    /// Records of the last group that are still to be given out.
    ready: VecDeque<Record>,
}

impl PartitionReader {
    pub fn new(core: Arc<Core>, partition: PartitionId, from: Lsn) -> Result<Self, ReadError> {
        let reader = Self { stream: Stream::new(core), partition, from, ready: VecDeque::new() };
        reader.check()?;
        Ok(reader)
    }

    fn check(&self) -> Result<(), ReadError> {
        let trim_point = self.stream.core.lock().trim_point(self.partition);
        if self.from <= trim_point && trim_point != Lsn::NONE {
            return Err(ReadError::Trimmed { partition: self.partition, from: self.from, trim_point });
        }
        Ok(())
    }
}

impl LogReader for PartitionReader {
    fn next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                self.from = record.lsn.next();
                return Ok(Some(record));
            }
            let (partition, from) = (self.partition, self.from);
            let found = self.stream.next(&|segment| segment.end() > from.0 && segment.may_hold(partition, from))?;
            // Looked at after reading: what was just read was still there if it is not trimmed now.
            self.check()?;
            let Some((header, bytes)) = found else { return Ok(None) };
            let ready = &mut self.ready;
            each_record(&self.stream, &header, &bytes, &mut |owner, record| {
                if owner == partition && record.lsn >= from {
                    ready.push_back(record);
                }
            })?;
        }
    }
}

fn each_record(
    stream: &Stream,
    header: &GroupHeader,
    bytes: &Bytes,
    each: &mut dyn FnMut(PartitionId, Record),
) -> Result<(), ReadError> {
    if header.kind != GroupKind::Records {
        return Ok(());
    }
    let segment = &stream.groups.as_ref().expect("a group was read").segment;
    format::records(header, bytes, each)
        .map_err(|offset| segment.corrupt(header.position + offset, "a malformed record"))
}

/// What a replay read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Whose log it is; `None` if it has no record.
    pub cluster: Option<ClusterId>,
    /// Batches given out.
    pub batches: u64,
    /// Bytes of groups read.
    pub bytes: u64,
}

pub(super) fn replay_all<E: From<ReadError>>(
    core: &Arc<Core>,
    cluster: Option<ClusterId>,
    from: &dyn Fn(PartitionId) -> Applied,
    each: &mut dyn FnMut(PartitionId, CountedBatch) -> Result<(), E>,
) -> Result<Replayed, E> {
    let mut readers = BTreeMap::new();
    let mut behind = Vec::new();
    let table = core.writer().table.clone();
    for (partition, row) in table.iter() {
        let applied = from(partition);
        if applied.lsn < row.trim.lsn {
            let from = applied.lsn.next();
            return Err(ReadError::Trimmed { partition, from, trim_point: row.trim.lsn }.into());
        }
        if row.last > applied.lsn {
            behind.push((partition, applied.lsn.next()));
            readers.insert(partition, CountingReader::resume(cluster, applied));
        }
    }
    let wants = |segment: &Segment| {
        behind.iter().any(|&(partition, from)| segment.end() > from.0 && segment.may_hold(partition, from))
    };
    let mut replayed = Replayed { cluster, ..Replayed::default() };
    let mut stream = Stream::new(core.clone());
    while let Some((header, bytes)) = stream.next(&wants)? {
        replayed.bytes += bytes.len() as u64;
        let mut failed = None;
        each_record(&stream, &header, &bytes, &mut |partition, record| {
            if failed.is_none() {
                failed = replay(&mut readers, &mut replayed, partition, record, each).err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(replayed)
}

fn replay<E: From<ReadError>>(
    readers: &mut BTreeMap<PartitionId, CountingReader>,
    replayed: &mut Replayed,
    partition: PartitionId,
    record: Record,
    each: &mut dyn FnMut(PartitionId, CountedBatch) -> Result<(), E>,
) -> Result<(), E> {
    let ours = *replayed.cluster.get_or_insert(record.header.cluster);
    if record.header.cluster != ours {
        return Err(ReadError::ForeignCluster { lsn: record.lsn, theirs: record.header.cluster, ours }.into());
    }
    let Some(reader) = readers.get_mut(&partition).filter(|reader| record.lsn > reader.position()) else {
        return Ok(());
    };
    if let Some(batch) = reader.push(record)? {
        replayed.batches += 1;
        each(partition, batch)?;
    }
    Ok(())
}

pub(super) fn fetch(core: &Core, partition: PartitionId, lsn: Lsn) -> Result<Option<Applied>, ReadError> {
    let segment = {
        let state = core.lock();
        if let Some(trim) = state.trims.get(&partition) {
            if trim.lsn == lsn {
                return Ok(Some(*trim));
            }
            if lsn < trim.lsn {
                return Err(ReadError::Trimmed { partition, from: lsn, trim_point: trim.lsn });
            }
        }
        let segment = state.segments.iter().find(|segment| (segment.start..segment.end()).contains(&lsn.0));
        segment.filter(|_| lsn.0 < state.committed).cloned()
    };
    let Some(segment) = segment else { return Ok(None) };
    let offset = lsn.0 - segment.start;
    if offset < SEGMENT_HEADER {
        return Ok(None);
    }
    let mut head = [0; RECORD_HEADER as usize];
    let read = disk::read_full(&*segment.file, &mut head, offset).map_err(|error| segment.io_error(error))?;
    // The position may be anywhere, also in the middle of a record: only a checksum that fits makes it one.
    let Some(head) = RecordHead::decode(&head[..read]).filter(|head| head.partition == partition) else {
        return Ok(None);
    };
    let left = segment.size.saturating_sub(offset + RECORD_HEADER).min(format::GROUP_LIMIT);
    if head.length as u64 > left {
        return Ok(None);
    }
    let mut payload = vec![0; head.length];
    let at = offset + RECORD_HEADER;
    let read = disk::read_full(&*segment.file, &mut payload, at).map_err(|error| segment.io_error(error))?;
    if read < payload.len() || head.header.crc(&payload) != head.crc {
        return Ok(None);
    }
    let record = Record { lsn, header: head.header, crc: head.crc, payload: Bytes::new() };
    Ok(Some(record.identity()))
}
