//! The demo's folder: fresh for every run, one demo at a time.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// Demos at a time.
const FOLDERS_MAX: u32 = 9;

/// `demo`, or `demo-2` and so on while another demo runs, with this in it:
///
/// ```text
/// lock        held while the demo runs
/// data/       the server's data; removed at the start, since the broker for development has forgotten its records too
/// server.log  the server's log lines, of this run
/// ```
pub struct Folder {
    path: PathBuf,
    /// Dropping it gives the folder free.
    _lock: File,
}

impl Folder {
    pub fn open(parent: &Path) -> anyhow::Result<Self> {
        for number in 1..=FOLDERS_MAX {
            let path = parent.join(if number == 1 { "demo".to_owned() } else { format!("demo-{number}") });
            fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
            let lock = path.join("lock");
            let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => bail!("cannot lock {}: {error}", path.display()),
            }
            let folder = Self { path, _lock: lock };
            let data = folder.data();
            if data.exists() {
                fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
            }
            return Ok(folder);
        }
        bail!("{FOLDERS_MAX} demos run already in {}", parent.display())
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub fn log_file(&self) -> PathBuf {
        self.path.join("server.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_every_time_and_another_for_a_second_demo() {
        let parent = tempfile::tempdir().unwrap();
        let first = Folder::open(parent.path()).unwrap();
        fs::create_dir(first.data()).unwrap();
        let second = Folder::open(parent.path()).unwrap();
        assert_ne!(first.data(), second.data());
        assert!(first.data().exists());
        drop(first);
        assert!(!Folder::open(parent.path()).unwrap().data().exists());
    }
}
