//! The few things that the local log asks of a file system, so that tests can put a faulty one in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One folder. File names are plain, without separators.
pub trait Disk: Send + Sync + 'static {
    /// For messages.
    fn folder(&self) -> &Path;
    /// Locks the folder against everybody else until the value is dropped; `None` if somebody has it.
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// All file names.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a new file of `size` zero bytes whose space is reserved, so that writing into it cannot fail for lack of it.
    /// Replaces a file of that name.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file its final name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; open handles go on working.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// 128 random bits.
    fn draw_id(&self) -> io::Result<u128>;
}

/// One file.
pub trait DiskFile: Send + Sync {
    /// Its length.
    fn size(&self) -> io::Result<u64>;
    /// Reads at most `buf.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes the pieces one behind the other. May write less than all.
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Makes contents and size durable.
    fn sync(&self) -> io::Result<()>;
    /// Reserves space up to `size`; what is not written is zeros.
    fn reserve(&self, size: u64) -> io::Result<()>;
    /// Where anything at or behind `from` may have been written, in order; all else is reserved zeros.
    fn written(&self, from: u64) -> io::Result<Vec<Range<u64>>>;
}

/// Writes all of `head`, `body` and `tail`.
pub(super) fn write_all(file: &dyn DiskFile, mut offset: u64, parts: [&[u8]; 3]) -> io::Result<()> {
    let mut left: [&[u8]; 3] = parts;
    while left.iter().any(|part| !part.is_empty()) {
        let slices = left.map(IoSlice::new);
        let mut written = match file.write_at(&slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        offset += written as u64;
        for part in &mut left {
            let taken = written.min(part.len());
            *part = &part[taken..];
            written -= taken;
        }
    }
    Ok(())
}

/// Reads until `buf` is full or the file ends; returns how much.
pub(super) fn read_full(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A real folder.
pub struct OsDisk {
    folder: PathBuf,
}

impl OsDisk {
    /// Makes the folder, and those above it, if it is not there.
    pub fn new(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        if !folder.is_dir() {
            std::fs::create_dir_all(&folder)?;
            // The folder's own name must survive as well as what is in it.
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { folder })
    }
}

/// An advisory lock on a folder, held by its file `LOCK` until dropped.
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks `folder` for this process; `None` if somebody, this process included, has it locked.
    pub fn take(folder: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("LOCK"))?;
        // SAFETY: the descriptor is open for the duration of the call.
        let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        match locked {
            0 => Ok(Some(Self { _file: file })),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }
}

impl Disk for OsDisk {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        Ok(FolderLock::take(&self.folder)?.map(|lock| Box::new(lock) as Box<dyn Send + Sync>))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.folder)?;
        // A name that is not UTF-8 is none of ours.
        entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
        reserve(&file, size)?;
        Ok(Arc::new(OsFile { file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.folder.join(name))?;
        Ok(Arc::new(OsFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn draw_id(&self) -> io::Result<u128> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(u128::from_le_bytes(bytes))
    }
}

struct OsFile {
    file: File,
}

impl DiskFile for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: `IoSlice` has the layout of `iovec`, and the pieces outlive the call.
        let written = unsafe {
            libc::pwritev(self.file.as_raw_fd(), pieces.as_ptr().cast(), pieces.len() as libc::c_int, offset)
        };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        reserve(&self.file, size)
    }

    fn written(&self, from: u64) -> io::Result<Vec<Range<u64>>> {
        forget_cached(&self.file, from);
        let mut found = Vec::new();
        let mut at = from;
        while let Some(start) = seek(&self.file, at, libc::SEEK_DATA)? {
            at = seek(&self.file, start, libc::SEEK_HOLE)?.unwrap_or(self.size()?).max(start + 1);
            found.push(start..at);
        }
        Ok(found)
    }
}

/// `None` if there is nothing of the kind before the end of the file.
fn seek(file: &File, from: u64, whence: libc::c_int) -> io::Result<Option<u64>> {
    let offset = libc::off_t::try_from(from).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open. The file offset that this moves is used by nobody.
    let found = unsafe { libc::lseek(file.as_raw_fd(), offset, whence) };
    match u64::try_from(found) {
        Ok(found) => Ok(Some(found)),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            // A file system that cannot tell: everything may be data.
            error if error.raw_os_error() == Some(libc::EINVAL) => {
                let is_inside = whence == libc::SEEK_DATA && from < file.metadata()?.len();
                Ok(is_inside.then_some(from))
            }
            error => Err(error),
        },
    }
}

/// Reserved space that was once read is in the page cache, and then counts as data: a start would read all of it again.
#[cfg(not(target_os = "macos"))]
fn forget_cached(file: &File, from: u64) {
    let from = libc::off_t::try_from(from).unwrap_or(libc::off_t::MAX);
    // SAFETY: the descriptor is open. It is advice about clean pages; an error changes nothing but the time it takes.
    let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), from, 0, libc::POSIX_FADV_DONTNEED) };
}

#[cfg(target_os = "macos")]
fn forget_cached(_file: &File, _from: u64) {}

#[cfg(not(target_os = "macos"))]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    let size = libc::off_t::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open for the duration of the call.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(target_os = "macos")]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    let have = file.metadata()?.len();
    if have >= size {
        return Ok(());
    }
    let mut store = libc::fstore_t {
        fst_flags: libc::F_ALLOCATEALL,
        fst_posmode: libc::F_PEOFPOSMODE,
        fst_offset: 0,
        fst_length: libc::off_t::try_from(size - have).map_err(|_| io::ErrorKind::InvalidInput)?,
        fst_bytesalloc: 0,
    };
    // SAFETY: the descriptor is open and `store` is what the call expects.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PREALLOCATE, &mut store) } == -1 {
        return Err(io::Error::last_os_error());
    }
    file.set_len(size)
}
