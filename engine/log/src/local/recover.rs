//! What the bytes say at open: where the stream ends, whether its end is torn or its middle damaged.
//!
//! Only the end is read here. Everything before the position that the last segment's first group calls synced must be
//! good; it is checked when it is read, by the one pass of `replay_all`.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{self, Disk};
use super::format::{
    self, ALIGN, GROUP_HEADER, GROUP_MAGIC, GroupHeader, GroupKind, LogId, SEGMENT_HEADER, SegmentHeader,
};
use super::segment::{self, Groups, Segment, UNFINISHED};
use super::state::Sizes;
use super::table::Table;
use crate::error::{OpenError, ReadError};

/// How much of a file is looked at or copied at a time.
const CHUNK: usize = 1 << 20;

/// A log as found, with its end made clean.
pub(super) struct Recovered {
    pub log: LogId,
    /// Oldest to active.
    pub segments: VecDeque<Arc<Segment>>,
    pub spares: VecDeque<Arc<Segment>>,
    /// Where the next group goes.
    pub end: u64,
    /// Its number.
    pub number: u64,
    pub table: Table,
    /// The table as last made durable as such: what it says is trimmed may be removed.
    pub tabled: Table,
}

/// Finds the stream of a folder, or begins one.
pub(super) fn recover(disk: &dyn Disk, sizes: &Sizes) -> Result<Recovered, OpenError> {
    let write_error = |source: io::Error| OpenError::Write { path: disk.folder().to_owned(), source: Arc::new(source) };
    let found = list(disk)?;
    if found.is_empty() {
        let log = LogId(disk.draw_id().map_err(write_error)?);
        let first = segment::create(disk, log, 0, sizes.segment).map_err(write_error)?;
        let (end, segments) = (first.first(), VecDeque::from([first]));
        let (table, tabled, spares) = (Table::default(), Table::default(), VecDeque::new());
        return Ok(Recovered { log, segments, spares, end, number: 1, table, tabled });
    }
    let (log, segments) = open_all(disk, &found)?;
    let (tail, tables) = find_end(log, &segments)?;
    // A segment is left for the next one, whose table says who has records in it.
    for (at, table) in tables.iter().enumerate().take(tail.at + 1).skip(1) {
        let table = table.as_ref().ok_or_else(|| segments[at].corrupt(segments[at].first(), "no group"))?;
        let known = segments[at - 1].holders.set(table.since(segments[at - 1].start));
        assert!(known.is_ok(), "recovery is the first to know");
    }
    check_begin(&segments[0], tables[0].as_ref(), &tail.tabled)?;
    make_clean(disk, log, segments, tail)
}

/// What is gone before the oldest segment must be known as trimmed.
fn check_begin(oldest: &Segment, table: Option<&Table>, tabled: &Table) -> Result<(), ReadError> {
    let missing = || oldest.corrupt(oldest.start, "a missing segment before this one");
    match table {
        _ if oldest.start == 0 => Ok(()),
        Some(table) if table.iter().all(|(partition, row)| row.last <= tabled.get(partition).trim.lsn) => Ok(()),
        _ => Err(missing()),
    }
}

fn list(disk: &dyn Disk) -> Result<Vec<u64>, OpenError> {
    let io_error = |source: io::Error| ReadError::Io { path: disk.folder().to_owned(), source: Arc::new(source) };
    let names = disk.list().map_err(io_error)?;
    for unfinished in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
        disk.remove(unfinished).map_err(io_error)?;
    }
    let mut starts: Vec<_> = names.iter().filter_map(|name| segment::parse_name(name)).collect();
    starts.sort_unstable();
    Ok(starts)
}

fn open_all(disk: &dyn Disk, starts: &[u64]) -> Result<(LogId, Vec<Arc<Segment>>), ReadError> {
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let mut log = None;
    for &start in starts {
        let path = disk.folder().join(segment::name(start));
        let io_error = |source: io::Error| ReadError::Io { path: path.clone(), source: Arc::new(source) };
        let corrupt = |what| ReadError::Corrupt { path: path.clone(), offset: 0, what };
        let file = disk.open(&segment::name(start)).map_err(io_error)?;
        let mut bytes = [0; SEGMENT_HEADER as usize];
        let read = disk::read_full(&*file, &mut bytes, 0).map_err(io_error)?;
        let header = SegmentHeader::decode(&bytes[..read]).map_err(corrupt)?;
        if header.start != start || *log.get_or_insert(header.log) != header.log || header.size <= SEGMENT_HEADER {
            return Err(corrupt("a segment of another place or log"));
        }
        if segments.last().is_some_and(|last| last.end() != start) {
            return Err(corrupt("a missing segment before this one"));
        }
        segments.push(Segment::new(disk, start, header.size, file));
    }
    Ok((log.expect("at least one segment"), segments))
}

/// Where the good groups end.
struct Tail {
    /// Segment that the end lies in.
    at: usize,
    end: u64,
    number: u64,
    /// Largest position that a good group calls synced.
    synced: u64,
    table: Table,
    tabled: Table,
}

/// Returns the tail, and the table that each segment begins with.
fn find_end(log: LogId, segments: &[Arc<Segment>]) -> Result<(Tail, Vec<Option<Table>>), ReadError> {
    let mut tables = Vec::with_capacity(segments.len());
    let mut last = None;
    for (at, segment) in segments.iter().enumerate() {
        let first = Groups::new(segment.clone(), log).next(segment.end());
        let first = first.map_err(|error| segment.io_error(error))?;
        tables.push(first.as_ref().map(|(header, bytes)| decode_table(segment, header, bytes)).transpose()?);
        if let Some((header, _)) = first {
            last = Some((at, header.synced));
        }
    }
    let (last, synced) = match last {
        Some(last) => last,
        // Only a log that was never written to has no group.
        None if segments[0].start == 0 => (0, 0),
        None => return Err(segments[0].corrupt(segments[0].first(), "no group")),
    };
    let from = segments.iter().take(last + 1).rposition(|segment| segment.start <= synced);
    Ok((scan(log, segments, from.unwrap_or(0))?, tables))
}

fn decode_table(segment: &Segment, header: &GroupHeader, bytes: &Bytes) -> Result<Table, ReadError> {
    let table = (header.kind == GroupKind::Table).then(|| Table::decode(&bytes[GROUP_HEADER as usize..], header.count));
    table.flatten().ok_or_else(|| segment.corrupt(header.position, "no table"))
}

/// Reads groups from the begin of segment `from` on until there is no further good one.
fn scan(log: LogId, segments: &[Arc<Segment>], from: usize) -> Result<Tail, ReadError> {
    let end = segments[from].first();
    let empty = Table::default();
    let mut tail = Tail { at: from, end, number: 1, synced: 0, table: empty.clone(), tabled: empty };
    let mut expected = None;
    loop {
        let mut groups = Groups::new(segments[tail.at].clone(), log);
        while let Some((header, bytes)) = next_in_order(&mut groups, expected)? {
            note(&mut tail, &groups.segment, &header, &bytes)?;
            expected = Some(tail.number);
        }
        // The rest of a segment is unused if the stream goes on in the next one without a gap.
        let Some(next) = segments.get(tail.at + 1) else { break };
        let mut groups = Groups::new(next.clone(), log);
        if expected.is_none() || next_in_order(&mut groups, expected)?.is_none() {
            break;
        }
        (tail.at, tail.end) = (tail.at + 1, next.first());
    }
    check_torn(log, segments, &tail)?;
    Ok(tail)
}

fn next_in_order(groups: &mut Groups, expected: Option<u64>) -> Result<Option<(GroupHeader, Bytes)>, ReadError> {
    let found = groups.next(groups.segment.end()).map_err(|error| groups.segment.io_error(error))?;
    Ok(found.filter(|(header, _)| expected.is_none_or(|expected| header.number == expected)))
}

fn note(tail: &mut Tail, segment: &Segment, header: &GroupHeader, bytes: &Bytes) -> Result<(), ReadError> {
    match header.kind {
        GroupKind::Table => {
            tail.table = decode_table(segment, header, bytes)?;
            tail.tabled = tail.table.clone();
        }
        GroupKind::Records => {
            let table = &mut tail.table;
            format::records(header, bytes, &mut |partition, record| table.row(partition).last = record.lsn)
                .map_err(|offset| segment.corrupt(header.position + offset, "a malformed record"))?;
        }
    }
    tail.end = header.position + u64::from(header.length);
    tail.number = header.number + 1;
    tail.synced = tail.synced.max(header.synced);
    Ok(())
}

/// The end is torn, which is cut off, unless a later good group says that its place had been synced.
fn check_torn(log: LogId, segments: &[Arc<Segment>], tail: &Tail) -> Result<(), ReadError> {
    let torn = &segments[tail.at];
    let damaged = || torn.corrupt(tail.end, "damaged where it had been synced");
    if tail.synced > tail.end {
        return Err(damaged());
    }
    for segment in &segments[tail.at..] {
        let from = if segment.start == torn.start { tail.end } else { segment.first() };
        if search(log, segment, from, tail.end).map_err(|error| segment.io_error(error))? {
            return Err(damaged());
        }
    }
    Ok(())
}

/// Whether a good group anywhere from `from` on calls something behind `end` synced.
fn search(log: LogId, segment: &Segment, from: u64, end: u64) -> io::Result<bool> {
    let mut found = false;
    each_written(segment, from, &mut |at, bytes| {
        for offset in (0..bytes.len()).step_by(ALIGN as usize) {
            if !found && bytes[offset..].starts_with(&GROUP_MAGIC) {
                found = vouches(log, segment, at + offset as u64, end)?;
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Gives what was written from `from` (a multiple of [`ALIGN`]) on to `each`, in pieces with their positions, which are
/// multiples of it too.
fn each_written(segment: &Segment, from: u64, each: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buf = vec![0; CHUNK];
    for range in segment.file.written(from - segment.start)? {
        let mut offset = range.start / ALIGN * ALIGN;
        while offset < range.end {
            let want = buf.len().min((range.end - offset).next_multiple_of(ALIGN) as usize);
            let read = disk::read_full(&*segment.file, &mut buf[..want], offset)?;
            each(segment.start + offset, &buf[..read])?;
            if read < want {
                break;
            }
            offset += read as u64;
        }
    }
    Ok(())
}

fn vouches(log: LogId, segment: &Segment, position: u64, end: u64) -> io::Result<bool> {
    let offset = position - segment.start;
    let mut header = [0; GROUP_HEADER as usize];
    disk::read_full(&*segment.file, &mut header, offset)?;
    let Some(found) = GroupHeader::peek(&header, position).filter(|found| found.synced > end) else {
        return Ok(false);
    };
    let mut group = vec![0; found.length as usize];
    let read = disk::read_full(&*segment.file, &mut group, offset)?;
    Ok(read == group.len() && GroupHeader::verify(log, &group))
}

fn write_error(segment: &Segment, source: io::Error) -> OpenError {
    OpenError::Write { path: segment.path.clone(), source: Arc::new(source) }
}

/// Cuts off what is torn, so that it can never be taken for a part of what is written next, and makes the rest durable.
fn make_clean(
    disk: &dyn Disk,
    log: LogId,
    mut segments: Vec<Arc<Segment>>,
    tail: Tail,
) -> Result<Recovered, OpenError> {
    let mut spares = VecDeque::from(segments.split_off(tail.at + 1));
    let active = segments[tail.at].clone();
    let mut clean = 0;
    for spare in &spares {
        if !is_clean(spare, spare.first()).map_err(|error| spare.io_error(error))? {
            break;
        }
        clean += 1;
    }
    // Newest first, each durable before the next, so that what is there never has a gap.
    while spares.len() > clean {
        let spare = spares.pop_back().expect("more than the clean ones");
        disk.remove(&spare.name()).and_then(|()| disk.sync_folder()).map_err(|error| write_error(&spare, error))?;
    }
    make_durable(&segments, &tail).map_err(|error| write_error(&active, error))?;
    let Tail { end, number, table, tabled, .. } = tail;
    Ok(Recovered { log, segments: segments.into(), spares, end, number, table, tabled })
}

/// Rewrites what may not be durable, and makes zeros of what is torn. Its space stays reserved.
fn make_durable(segments: &[Arc<Segment>], tail: &Tail) -> io::Result<()> {
    rewrite(segments, tail.synced, tail.end)?;
    let active = &segments[tail.at];
    if !is_clean(active, tail.end)? {
        tracing::warn!(path = %active.path.display(), offset = tail.end - active.start, "cut off a torn tail");
        active.file.reserve(active.size)?;
        let zeros = vec![0; CHUNK];
        let torn = tail.end - active.start;
        for range in active.file.written(torn)? {
            let mut offset = range.start.max(torn);
            while offset < range.end.min(active.size) {
                let length = zeros.len().min((range.end.min(active.size) - offset) as usize);
                disk::write_all(&*active.file, offset, [&zeros[..length], &[], &[]])?;
                offset += length as u64;
            }
        }
    }
    active.file.sync()
}

/// Whether the segment has its full size and holds nothing but zeros from `position` on.
fn is_clean(segment: &Segment, position: u64) -> io::Result<bool> {
    if segment.file.size()? != segment.size {
        return Ok(false);
    }
    let mut is_zero = true;
    each_written(segment, position, &mut |_, bytes| {
        is_zero &= bytes.iter().all(|byte| *byte == 0);
        Ok(())
    })?;
    Ok(is_zero)
}

/// Writes what nothing calls synced once more: after a failed sync the system's cache may claim what the disk does not
/// have, and forget to write it.
fn rewrite(segments: &[Arc<Segment>], from: u64, end: u64) -> io::Result<()> {
    let mut buf = vec![0; CHUNK];
    for segment in segments.iter().filter(|segment| segment.end() > from) {
        let mut at = from.max(segment.first());
        let until = end.min(segment.end());
        while at < until {
            let want = buf.len().min((until - at) as usize);
            let read = disk::read_full(&*segment.file, &mut buf[..want], at - segment.start)?;
            if read == 0 {
                break;
            }
            disk::write_all(&*segment.file, at - segment.start, [&buf[..read], &[], &[]])?;
            at += read as u64;
        }
        segment.file.sync()?;
    }
    Ok(())
}
