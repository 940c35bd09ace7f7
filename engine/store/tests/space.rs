//! Room on the disk: what is deleted gives it back, and none left is an error that loses nothing.

mod support;

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use millrace_model::{
    Coded, codes,
    table::{Changes, Ended, Expiries, ExpiryKey, ExpiryKind, State},
};
use millrace_store::{PartitionStore, StoreError};
use support::*;

const ROW_BYTES: usize = 1000;

/// Bytes that no compression makes smaller.
fn noise(n: u64, len: usize) -> bytes::Bytes {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    std::iter::repeat_with(word).flat_map(u64::to_le_bytes).take(len).collect::<Vec<_>>().into()
}

fn table_files(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().filter_map(Result::ok);
    let tables = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "sst"));
    // A file may be removed between the list and the look.
    tables.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// What expires: an ended invocation, its expiry, and something large.
fn rows(changes: &mut Changes, n: u64, there: bool) {
    let key = ExpiryKey { at: millrace_model::TimestampMs(n), id: id(n), kind: ExpiryKind::Invocation };
    if there {
        put::<Ended>(changes, id(n), completed(n));
        put::<Expiries>(changes, key, ());
        put::<State>(changes, (object(n), state_key(0)), noise(n, ROW_BYTES));
    } else {
        delete::<Ended>(changes, id(n));
        delete::<Expiries>(changes, key);
        delete::<State>(changes, (object(n), state_key(0)));
    }
}

/// Without a flush that anybody asks for, and without further load.
#[test]
fn what_is_deleted_gives_back_its_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let total = 40_000;
    let mut lsn = 0;
    let mut each = |store: &mut PartitionStore, there: bool| {
        for first in (0..total).step_by(500) {
            let mut changes = Changes::default();
            (first..first + 500).for_each(|n| rows(&mut changes, n, there));
            lsn += 1;
            store.commit(&changes, applied(lsn)).unwrap();
            store.reclaim().unwrap();
        }
    };
    each(&mut store, true);
    store.flush(true).unwrap();
    let full = table_files(dir.path());
    assert!(full > total * ROW_BYTES as u64, "{full} bytes");
    each(&mut store, false);
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        store.reclaim().unwrap();
        let left = table_files(dir.path());
        if left < full / 5 {
            break;
        }
        assert!(Instant::now() < give_up, "{left} bytes of {full} are left");
        std::thread::yield_now();
    }
}

/// Names the folder for the part of a test that runs in a process of its own, on a file system of its own.
const SMALL_DISK: &str = "MILLRACE_TEST_SMALL_DISK";

/// A real `ENOSPC`: a file system of a few MiB, in a mount namespace.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_that_loses_nothing() {
    if let Ok(dir) = std::env::var(SMALL_DISK) {
        return on_a_small_disk(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=8m small \"$0\" || exit 77; exec \"$1\" --exact \"$2\" --nocapture";
    let ran = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .arg("a_full_disk_is_an_error_that_loses_nothing")
        .env(SMALL_DISK, dir.path())
        .output();
    match ran {
        Ok(output) if output.status.success() => {}
        // No such tool, or a container that may not make namespaces or mount.
        Err(error) => eprintln!("skipped: {error}"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            let refused = output.status.code() == Some(77) || text.starts_with("unshare:");
            assert!(refused, "{text}");
            eprintln!("skipped: {text}");
        }
    }
}

fn on_a_small_disk(dir: &Path) {
    let (folder, filler) = (dir.join("3"), dir.join("filler"));
    let mut store = open(&folder);
    let commit = |store: &mut PartitionStore, n: u64| {
        let mut changes = Changes::default();
        put::<State>(&mut changes, (object(n), state_key(0)), noise(n, 100_000));
        store.commit(&changes, applied(n))
    };
    commit(&mut store, 1).unwrap();
    store.flush(true).unwrap();
    // All but some KiB.
    let room = free_bytes(dir).saturating_sub(64 << 10);
    fs::write(&filler, vec![1; room as usize]).unwrap();
    commit(&mut store, 2).unwrap();
    let full = store.flush(true).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    assert_eq!(full.code(), codes::STO0005);
    // Nothing that was durable is lost, and nothing is said to be that is not.
    assert_eq!(store.durable().unwrap(), Some(applied(1)));
    // From then on the partition takes nothing more, rather than go on beside its files.
    let refused = (3..100).find_map(|n| commit(&mut store, n).err()).expect("commits are refused");
    assert_eq!(refused.code(), codes::STO0005, "{refused:?}");
    assert!(matches!(commit(&mut store, 200), Err(StoreError::Stopped { .. })));
    drop(store);
    fs::remove_file(filler).unwrap();
    let mut store = open(&folder);
    assert_eq!(store.applied(), Some(applied(1)));
    commit(&mut store, 2).unwrap();
    store.flush(true).unwrap();
    assert_eq!(store.durable().unwrap(), Some(applied(2)));
    println!("the disk was full, and nothing was lost");
}

/// Free bytes, as `df` says.
fn free_bytes(dir: &Path) -> u64 {
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(dir).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().nth(1).unwrap().trim().parse().unwrap()
}
