//! One file of the stream, and reading groups out of it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use millrace_model::{Lsn, PartitionId};

use super::disk::{self, Disk, DiskFile};
use super::format::{GROUP_HEADER, GroupHeader, LogId, SEGMENT_HEADER, SegmentHeader};
use crate::error::ReadError;

/// Read at least so much at a time.
const CHUNK: usize = 256 << 10;
const SUFFIX: &str = ".log";
/// A file under construction: never part of the stream.
pub(super) const UNFINISHED: &str = ".tmp";

/// A segment file. Position `start + n` of the stream is byte `n` of the file.
pub(super) struct Segment {
    pub start: u64,
    pub size: u64,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    /// Who has records in it, and their last here. Set when the next segment is begun.
    pub holders: OnceLock<Vec<(PartitionId, Lsn)>>,
}

impl Segment {
    pub fn new(disk: &dyn Disk, start: u64, size: u64, file: Arc<dyn DiskFile>) -> Arc<Self> {
        let path = disk.folder().join(name(start));
        Arc::new(Self { start, size, path, file, holders: OnceLock::new() })
    }

    /// Behind its last byte.
    pub fn end(&self) -> u64 {
        self.start + self.size
    }

    /// Where its first group is.
    pub fn first(&self) -> u64 {
        self.start + SEGMENT_HEADER
    }

    pub fn name(&self) -> String {
        name(self.start)
    }

    /// Whether any of its records of `partition` is at or behind `from`, as far as known.
    pub fn may_hold(&self, partition: PartitionId, from: Lsn) -> bool {
        let Some(holders) = self.holders.get() else { return true };
        holders.iter().any(|&(holder, last)| holder == partition && last >= from)
    }

    pub fn io_error(&self, error: io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), source: Arc::new(error) }
    }

    pub fn corrupt(&self, position: u64, what: &'static str) -> ReadError {
        ReadError::Corrupt { path: self.path.clone(), offset: position - self.start, what }
    }
}

/// Name of the file that begins at `start`.
pub(super) fn name(start: u64) -> String {
    format!("{start:020}{SUFFIX}")
}

/// Inverse of [`name`].
pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Makes a segment that is durable and empty under its final name.
pub(super) fn create(disk: &dyn Disk, log: LogId, start: u64, size: u64) -> io::Result<Arc<Segment>> {
    let unfinished = format!("{}{UNFINISHED}", name(start));
    let make = || {
        let file = disk.create(&unfinished, size)?;
        disk::write_all(&*file, 0, [&SegmentHeader { log, start, size }.encode(), &[], &[]])?;
        file.sync()?;
        disk.rename(&unfinished, &name(start))?;
        disk.sync_folder()?;
        Ok(Segment::new(disk, start, size, file))
    };
    make().inspect_err(|_| {
        // The space matters more than this error; what is left over goes at the next open.
        let _ = disk.remove(&unfinished);
    })
}

/// Reads the groups of one segment, one after the other.
pub(super) struct Groups {
    pub segment: Arc<Segment>,
    log: LogId,
    /// Bytes from `at` on.
    buf: BytesMut,
    /// Position of the next group.
    pub at: u64,
}

impl Groups {
    pub fn new(segment: Arc<Segment>, log: LogId) -> Self {
        let at = segment.first();
        Self { segment, log, buf: BytesMut::new(), at }
    }

    /// The group at the present place, all of it before `limit`; `None` if there is no good one.
    pub fn next(&mut self, limit: u64) -> io::Result<Option<(GroupHeader, Bytes)>> {
        let limit = limit.min(self.segment.end());
        if !self.fill(GROUP_HEADER, limit)? {
            return Ok(None);
        }
        let Some(header) = GroupHeader::peek(&self.buf, self.at) else { return Ok(None) };
        let length = u64::from(header.length);
        if !self.fill(length, limit)? || !GroupHeader::verify(self.log, &self.buf[..length as usize]) {
            return Ok(None);
        }
        self.at += length;
        Ok(Some((header, self.buf.split_to(length as usize).freeze())))
    }

    /// Has at least `want` bytes at hand, if that many lie before `limit`.
    fn fill(&mut self, want: u64, limit: u64) -> io::Result<bool> {
        let have = self.buf.len();
        if have as u64 >= want {
            return Ok(true);
        }
        let left = limit.saturating_sub(self.at);
        if left < want {
            return Ok(false);
        }
        // Never beyond the limit: what is there now may be written meanwhile.
        let target = (want as usize).max(CHUNK).min(usize::try_from(left).unwrap_or(usize::MAX));
        self.buf.resize(target, 0);
        let offset = self.at - self.segment.start + have as u64;
        let read = disk::read_full(&*self.segment.file, &mut self.buf[have..], offset)?;
        self.buf.truncate(have + read);
        Ok(self.buf.len() as u64 >= want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name(67_108_864), "00000000000067108864.log");
        assert_eq!(parse_name("00000000000067108864.log"), Some(67_108_864));
        for other in ["LOCK", "67108864.log", "00000000000067108864.log.tmp", "+0000000000067108864.log", "é.log"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
