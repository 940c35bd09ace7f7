//! Eight idle stores cost little: memory and threads. Alone in its process.

mod support;

use std::fs;

use millrace_model::{PartitionId, table::Changes};
use millrace_store::{PartitionStore, SharedResources, StoreConfig};
use support::*;

/// Measured: 5.5 MiB.
const IDLE_BYTES_MAX: usize = 20 << 20;
/// One for flushes, one for compactions, one that RocksDB keeps for periodic work.
const THREADS_MAX: usize = 4;

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
#[cfg(target_os = "linux")]
fn eight_idle_stores_are_small() {
    let dir = tempfile::tempdir().unwrap();
    let (memory, before) = (resident(), threads());
    let shared = SharedResources::new(&StoreConfig::default()).unwrap();
    let mut stores: Vec<_> = (0..8)
        .map(|p| PartitionStore::open(&dir.path().join(p.to_string()), PartitionId(p), &shared).unwrap())
        .collect();
    let opened = resident() - memory;
    for store in &mut stores {
        let mut changes = Changes::default();
        (0..TABLE_COUNT).for_each(|table| visit(table, 1, 1, &mut Change { changes: &mut changes, delete: false }));
        store.commit(&changes, applied(1)).unwrap();
        store.flush(true).unwrap();
        store.commit(&changes, applied(2)).unwrap();
        store.observe();
    }
    let (used, started) = (resident() - memory, threads() - before);
    println!("opened {} KiB, used {} KiB, {started} threads", opened >> 10, used >> 10);
    assert!(used < IDLE_BYTES_MAX, "{used} bytes");
    assert!(started <= THREADS_MAX, "{started} threads");
}
