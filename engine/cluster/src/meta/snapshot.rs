//! The whole metadata in one file, replaced as a whole (`engine/cluster/FORMAT.md`).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use millrace_model::{
    LeaderEpoch, Lsn,
    codes::{self, Code, Coded},
};

use super::{apply::State, log::MetaPosition};

const MAGIC: &[u8; 8] = b"MILLMETA";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 4 + 8 + 8 + 8 + 4 + 4;
const CRC_AT: usize = 12;
/// File name within the metadata folder.
pub const FILE: &str = "snapshot";
const TEMPORARY: &str = "snapshot.new";

/// Why a snapshot cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file system failed.
    #[error("the metadata snapshot {path} cannot be read or written")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not the bytes that were written.
    #[error("the metadata snapshot {path} is damaged: {what}")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where.
        what: String,
    },
    /// Without the marker that every version of it begins with.
    #[error("the metadata snapshot {path} has no version marker")]
    Unmarked {
        /// Which file.
        path: PathBuf,
    },
    /// Written by another release.
    #[error("the metadata snapshot {path} has version {found}, this server reads {FORMAT_VERSION}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

impl Coded for SnapshotError {
    fn code(&self) -> Code {
        match self {
            Self::Io { .. } => codes::META0022,
            Self::Corrupt { .. } => codes::META0005,
            Self::Version { .. } => codes::META0010,
            Self::Unmarked { .. } => codes::META0011,
        }
    }
}

/// Writes the snapshot and resolves when it would survive a crash; until then the former one stays.
pub fn write(folder: &Path, position: MetaPosition, state: &State) -> Result<(), SnapshotError> {
    let (path, temporary) = (folder.join(FILE), folder.join(TEMPORARY));
    let io = |source| SnapshotError::Io { path: path.clone(), source };
    let bytes = encode(position, &state.encode());
    let mut file = File::create(&temporary).map_err(io)?;
    file.write_all(&bytes).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&temporary, &path).map_err(io)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Reads the snapshot; `None` if there is none.
pub fn read(folder: &Path) -> Result<Option<(MetaPosition, State)>, SnapshotError> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SnapshotError::Io { path, source }),
    };
    decode(&bytes).map(Some).map_err(|fault| match fault {
        Fault::Unmarked => SnapshotError::Unmarked { path },
        Fault::Version(found) => SnapshotError::Version { path, found },
        Fault::Corrupt(what) => SnapshotError::Corrupt { path, what },
    })
}

fn encode(position: MetaPosition, state: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + state.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&position.lsn.0.to_le_bytes());
    bytes.extend_from_slice(&position.epoch.0.0.to_le_bytes());
    bytes.extend_from_slice(&position.number.to_le_bytes());
    bytes.extend_from_slice(&position.crc.to_le_bytes());
    let len = u32::try_from(state.len()).expect("the metadata of a cluster is far below 4 GiB");
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(state);
    let crc = crc32c::crc32c(&bytes[CRC_AT + 4..]);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

enum Fault {
    Unmarked,
    Version(u32),
    Corrupt(String),
}

fn decode(bytes: &[u8]) -> Result<(MetaPosition, State), Fault> {
    let corrupt = |what: &str| Fault::Corrupt(what.to_owned());
    if bytes.len() < HEADER_BYTES {
        return Err(corrupt("shorter than its header"));
    }
    if &bytes[..8] != MAGIC {
        return Err(Fault::Unmarked);
    }
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    match u32_at(8) {
        FORMAT_VERSION => {}
        found => return Err(Fault::Version(found)),
    }
    if u32_at(CRC_AT) != crc32c::crc32c(&bytes[CRC_AT + 4..]) {
        return Err(corrupt("checksum"));
    }
    if u32_at(HEADER_BYTES - 4) as usize != bytes.len() - HEADER_BYTES {
        return Err(corrupt("length"));
    }
    let position =
        MetaPosition { lsn: Lsn(u64_at(16)), epoch: LeaderEpoch(Lsn(u64_at(24))), number: u64_at(32), crc: u32_at(40) };
    let state = State::decode(&bytes[HEADER_BYTES..]).map_err(|error| Fault::Corrupt(error.to_string()))?;
    Ok((position, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::register::tests::World;

    const POSITION: MetaPosition = MetaPosition { lsn: Lsn(7), epoch: LeaderEpoch(Lsn(3)), number: 4, crc: 5 };

    #[test]
    fn golden_header() {
        let bytes = encode(POSITION, b"{}");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "4d494c4c4d4554410100000055f1e30407000000000000000300000000000000040000000000000005000000020000007b7d"
        );
    }

    #[test]
    fn a_snapshot_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        let state = World::new().0;
        write(folder.path(), POSITION, &state).unwrap();
        let later = MetaPosition { lsn: Lsn(8), ..POSITION };
        write(folder.path(), later, &state).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some((later, state)));
        assert!(!folder.path().join(TEMPORARY).exists());
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), POSITION, &World::new().0).unwrap();
        let path = folder.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(decode(&bad).is_err(), "flipped at {at}");
            assert!(decode(&good[..at]).is_err(), "cut at {at}");
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("snapshot"), "{error}");
        assert_eq!(error.code(), codes::META0005);
        for (at, code) in [(0, codes::META0011), (8, codes::META0010), (HEADER_BYTES, codes::META0005)] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, bad).unwrap();
            assert_eq!(read(folder.path()).unwrap_err().code(), code, "{at}");
        }
    }
}
