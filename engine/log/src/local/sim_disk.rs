//! A folder in memory that loses power, runs full and fails on demand. For tests and the simulation.
//!
//! What was not synced may survive a power loss or not, sector by sector and name by name. After a failed sync, what it
//! should have covered counts as clean but is not durable, as with a real page cache.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;
/// How finely it tells what was written.
const BLOCK: usize = 4096;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write takes only some of its bytes. Not an error.
    ShortWrite,
    /// A write or sync fails.
    Error,
    /// The power goes: this and everything later fails, until [`SimDisk::power_loss`].
    PowerOff,
}

/// The folder. Cloning gives another handle.
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    folder: PathBuf,
}

struct Inner {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    locked: bool,
    capacity: u64,
    /// Writes and syncs so far.
    ops: u64,
    faults: BTreeMap<u64, Fault>,
    is_off: bool,
}

#[derive(Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// A small generator of pseudo-random numbers (xorshift), so that a seed decides everything.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Any seed will do.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        let inner = Inner {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            locked: false,
            capacity: u64::MAX,
            ops: 0,
            faults: BTreeMap::new(),
            is_off: false,
        };
        Self { inner: Arc::new(Mutex::new(inner)), folder: PathBuf::from("sim") }
    }
}

impl SimDisk {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock_inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }

    /// The `n`-th write or sync from now (0: the next) goes wrong.
    pub fn plan(&self, n: u64, fault: Fault) {
        let mut inner = self.lock_inner();
        let op = inner.ops + n;
        inner.faults.insert(op, fault);
    }

    /// Bytes that all files together may take.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock_inner().capacity = bytes;
    }

    /// Bytes that all files take.
    pub fn used(&self) -> u64 {
        self.lock_inner().used()
    }

    /// The power comes back: of everything that was not synced, `dice` decide what survived.
    pub fn power_loss(&self, dice: &mut Dice) {
        let mut inner = self.lock_inner();
        for file in &mut inner.files {
            file.lose(dice);
        }
        let (live, durable) = (std::mem::take(&mut inner.names), std::mem::take(&mut inner.durable_names));
        let all: BTreeSet<_> = live.keys().chain(durable.keys()).cloned().collect();
        for name in all {
            let either = [live.get(&name), durable.get(&name)];
            if let Some(&file) = either[dice.below(2) as usize] {
                inner.names.insert(name, file);
            }
        }
        inner.durable_names = inner.names.clone();
        inner.is_off = false;
        inner.faults.clear();
    }

    /// The process was killed, and another one may try again: everything that was written is there, synced or not.
    pub fn restart(&self) {
        let mut inner = self.lock_inner();
        inner.is_off = false;
        inner.faults.clear();
    }

    /// All file names.
    pub fn names(&self) -> Vec<String> {
        self.lock_inner().names.keys().cloned().collect()
    }

    /// What a reader of the file would see.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let inner = self.lock_inner();
        inner.files[inner.names[name]].live.clone()
    }

    /// Replaces a file's contents, durably.
    pub fn put(&self, name: &str, contents: Vec<u8>) {
        let mut inner = self.lock_inner();
        let file = File { live: contents.clone(), durable: contents, dirty: BTreeSet::new() };
        inner.files.push(file);
        let id = inner.files.len() - 1;
        inner.names.insert(name.to_owned(), id);
        inner.durable_names.insert(name.to_owned(), id);
    }

    /// An independent copy of the folder, unlocked.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for name in self.names() {
            copy.put(&name, self.contents(&name));
        }
        copy
    }
}

impl Inner {
    fn used(&self) -> u64 {
        let ids: BTreeSet<_> = self.names.values().collect();
        ids.into_iter().map(|&id| self.files[id].live.len() as u64).sum()
    }

    /// Counts a write or sync; what goes wrong with it.
    fn op(&mut self) -> io::Result<Option<Fault>> {
        let fault = self.faults.get(&self.ops).copied();
        self.ops += 1;
        if fault == Some(Fault::PowerOff) {
            self.is_off = true;
        }
        if self.is_off { Err(io::Error::other("the power is off")) } else { Ok(fault) }
    }

    fn id(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn resize(&mut self, id: usize, size: u64) -> io::Result<()> {
        let more = size.saturating_sub(self.files[id].live.len() as u64);
        if self.used() + more > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files[id].live.resize(size as usize, 0);
        Ok(())
    }
}

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
    }

    fn keep(&mut self, sector: usize) {
        let end = ((sector + 1) * SECTOR).min(self.live.len());
        let start = (sector * SECTOR).min(end);
        self.durable[start..end].copy_from_slice(&self.live[start..end]);
    }

    fn lose(&mut self, dice: &mut Dice) {
        if self.durable.len() != self.live.len() && dice.below(2) == 0 {
            self.live.truncate(self.durable.len());
        }
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            if dice.below(2) == 0 {
                self.keep(sector);
            }
        }
        self.live = self.durable.clone();
    }
}

struct Lock(SimDisk);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.lock_inner().locked = false;
    }
}

impl Disk for SimDisk {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let was_locked = std::mem::replace(&mut self.lock_inner().locked, true);
        Ok((!was_locked).then(|| Box::new(Lock(self.clone())) as Box<dyn Send + Sync>))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock_inner();
        inner.op()?;
        inner.files.push(File::default());
        let id = inner.files.len() - 1;
        inner.names.insert(name.to_owned(), id);
        inner.resize(id, size)?;
        Ok(Arc::new(SimFile { disk: self.clone(), id }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.lock_inner().id(name)?;
        Ok(Arc::new(SimFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock_inner();
        inner.op()?;
        let id = inner.id(from)?;
        inner.names.remove(from);
        inner.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock_inner();
        inner.op()?;
        inner.id(name)?;
        inner.names.remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut inner = self.lock_inner();
        if inner.op()? == Some(Fault::Error) {
            return Err(io::Error::other("told to fail"));
        }
        inner.durable_names = inner.names.clone();
        Ok(())
    }

    fn draw_id(&self) -> io::Result<u128> {
        Ok(0x5eed)
    }
}

struct SimFile {
    disk: SimDisk,
    id: usize,
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock_inner().files[self.id].live.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.disk.lock_inner();
        let live = &inner.files[self.id].live;
        let start = live.len().min(offset as usize);
        let length = buf.len().min(live.len() - start);
        buf[..length].copy_from_slice(&live[start..start + length]);
        Ok(length)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.lock_inner();
        let bytes = pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<_>>();
        let fault = inner.op();
        // A write that fails, or that the power interrupts, may have done its work or a part of it.
        let length = if matches!(fault, Ok(None)) { bytes.len() } else { bytes.len().div_ceil(2) };
        inner.files[self.id].write(offset as usize, &bytes[..length]);
        match fault? {
            Some(Fault::Error) => Err(io::Error::other("told to fail")),
            _ => Ok(length),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock_inner();
        let fault = inner.op()?;
        let file = &mut inner.files[self.id];
        if fault == Some(Fault::Error) {
            file.durable.resize(file.live.len(), 0);
            file.dirty.clear();
            return Err(io::Error::other("told to fail"));
        }
        file.sync();
        Ok(())
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        let mut inner = self.disk.lock_inner();
        let size = size.max(inner.files[self.id].live.len() as u64);
        inner.resize(self.id, size)
    }

    fn written(&self, from: u64) -> io::Result<Vec<Range<u64>>> {
        let inner = self.disk.lock_inner();
        let blocks = inner.files[self.id].live.chunks(BLOCK).enumerate();
        let written = blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0));
        let ranges = written.map(|(at, block)| (at * BLOCK) as u64..(at * BLOCK + block.len()) as u64);
        Ok(ranges.filter(|range| range.end > from).map(|range| range.start.max(from)..range.end).collect())
    }
}
