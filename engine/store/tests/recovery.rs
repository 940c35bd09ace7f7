//! What is left after a crash, after damage, and in a copy.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use millrace_machine::{MemoryView, StateView};
use millrace_model::{
    Applied, Coded, Lsn, PartitionId,
    codes::{self, Code},
    journal::Entry,
    table::{Changes, Ended, Invocations, Journal, Partition},
};
use millrace_store::{FORMAT_VERSION, PartitionStore, StoreError};
use support::*;

/// Invocations `n..n + count` in one batch.
fn batch(n: u64, count: u64) -> Changes {
    let mut changes = Changes::default();
    for n in n..n + count {
        put::<Invocations>(&mut changes, id(n), invocation(n));
        put::<Journal>(&mut changes, (id(n), 0), entry(n));
    }
    changes
}

/// The LSN of what is durable.
fn durable(answer: Result<Option<Applied>, StoreError>) -> Lsn {
    answer.unwrap().map_or(Lsn::NONE, |applied| applied.lsn)
}

fn try_open(dir: &Path) -> Result<PartitionStore, StoreError> {
    PartitionStore::open(dir, PARTITION, &shared())
}

fn check_error(result: Result<PartitionStore, StoreError>, code: Code, text: &str) {
    let error = result.err().expect("it does not open");
    assert_eq!(error.code(), code, "{error:?}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_new_store_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("deep/3");
    let store = open(&dir);
    assert_eq!((store.applied(), durable(store.durable())), (None, Lsn::NONE));
    assert_eq!(store.content_hash().unwrap(), MemoryView::new().content_hash());
    store.flush(true).unwrap();
    assert_eq!(durable(store.durable()), Lsn::NONE);
}

#[test]
fn a_kill_leaves_what_was_flushed_whole() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = open(dir.path());
    let mut model = MemoryView::new();
    for lsn in 1..=20 {
        let changes = batch(lsn * 10, 10);
        store.commit(&changes, applied(lsn * 7)).unwrap();
        model.commit(&changes);
    }
    assert_eq!(durable(store.durable()), Lsn::NONE);
    store.flush(true).unwrap();
    assert_eq!(durable(store.durable()), Lsn(140));
    for lsn in 21..=30 {
        store.commit(&batch(lsn * 10, 10), applied(lsn * 7)).unwrap();
    }
    assert_eq!(durable(store.durable()), Lsn(140), "what is in memory is not durable");
    assert_eq!(store.applied(), Some(applied(210)));

    copy(dir.path(), image.path());
    let mut killed = open(image.path());
    assert_eq!(killed.applied(), Some(applied(140)));
    assert_eq!(durable(killed.durable()), Lsn(140));
    assert_eq!(killed.content_hash().unwrap(), model.content_hash());

    // Replay from there is the same as never having been killed.
    for lsn in 21..=30 {
        killed.commit(&batch(lsn * 10, 10), applied(lsn * 7)).unwrap();
    }
    assert_eq!(killed.content_hash().unwrap(), store.content_hash().unwrap());
}

#[test]
fn a_kill_before_the_first_flush_leaves_an_empty_store() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = open(dir.path());
    store.commit(&batch(1, 10), applied(1)).unwrap();
    copy(dir.path(), image.path());
    let killed = open(image.path());
    assert_eq!(killed.applied(), None);
    assert_eq!(killed.content_hash().unwrap(), MemoryView::new().content_hash());
}

#[test]
fn closing_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&batch(1, 10), applied(1)).unwrap();
    let hash = store.content_hash().unwrap();
    store.flush(true).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!((store.applied(), store.content_hash().unwrap()), (Some(applied(1)), hash));
}

#[test]
fn a_flush_that_nobody_waits_for_is_seen_when_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&batch(1, 1000), applied(1)).unwrap();
    let handle = store.handle();
    store.flush(false).unwrap();
    store.flush(false).unwrap();
    while handle.flushing() {
        std::thread::yield_now();
    }
    assert_eq!(durable(handle.durable()), Lsn(1));
}

#[test]
#[should_panic(expected = "batch 5 is applied behind batch 5")]
fn no_batch_is_applied_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&batch(1, 1), applied(5)).unwrap();
    _ = store.commit(&batch(1, 1), applied(5));
}

#[test]
fn a_store_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    check_error(try_open(dir.path()), codes::RT0005, "is open elsewhere");
    let handle = store.handle();
    drop(store);
    check_error(try_open(dir.path()), codes::RT0005, "is open elsewhere");
    drop(handle);
    open(dir.path());
}

#[test]
fn the_store_of_another_partition_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let other = PartitionStore::open(dir.path(), PartitionId(4), &shared());
    check_error(other, codes::STO0004, "is of partition 3, not of partition 4");
    open(dir.path());
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let raw = rocksdb::DB::open_default(dir.path()).unwrap();
    let newer = [(FORMAT_VERSION + 1).to_be_bytes(), PARTITION.0.to_be_bytes()].concat();
    raw.put([0, 1], newer).unwrap();
    drop(raw);
    check_error(try_open(dir.path()), codes::STO0003, "has format 2, this release knows formats up to 1");
}

#[test]
fn rows_that_are_not_ours_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let raw = rocksdb::DB::open_default(dir.path()).unwrap_or_else(|_| unreachable!());
    raw.put(b"k", b"v").unwrap();
    drop(raw);
    check_error(try_open(dir.path()), codes::RT0009, "no version marker");

    for (key, row) in [(&[0u8, 1][..], &[1u8][..]), (&[0, 1], &[0, 1, 0]), (&[0, 2], &[0; 5])] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let raw = rocksdb::DB::open_default(dir.path()).unwrap();
        raw.put(key, row).unwrap();
        drop(raw);
        check_error(try_open(dir.path()), codes::STO0001, "of partition 3 is damaged");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_damage_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&batch(1, 1), applied(1)).unwrap();
    drop(store);
    let raw = rocksdb::DB::open_default(dir.path()).unwrap();
    raw.put(millrace_model::table::stored_key::<Invocations>(&id(1)), b"\xff").unwrap();
    raw.put(millrace_model::table::stored_key::<Ended>(&id(1)), b"").unwrap();
    raw.put([Ended::TAG_OF, 1, 2, 3], b"").unwrap();
    drop(raw);
    let store = open(dir.path());
    for error in [
        store.get::<Invocations>(&id(1)).unwrap_err(),
        store.get::<Ended>(&id(1)).unwrap_err(),
        store.scan::<Ended>(None, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap_err(),
        store.journal(id(1), 2).unwrap_err(),
    ] {
        assert_eq!(error.code(), codes::STO0001, "{error}");
    }
    assert!(matches!(store.get::<Journal>(&(id(1), 0)).unwrap().unwrap().entry, Entry::Input { .. }));
}

trait TagOf {
    const TAG_OF: u8;
}
impl<T: millrace_model::table::Table> TagOf for T {
    const TAG_OF: u8 = T::TAG;
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "sst")).collect()
}

/// A flipped bit at many places of a table file: an error that names the file, or the right rows; never wrong ones.
#[test]
fn a_flipped_bit_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut changes = batch(0, 300);
    for n in 0..300 {
        put::<Ended>(&mut changes, id(n), completed(n));
    }
    store.commit(&changes, applied(1)).unwrap();
    store.flush(true).unwrap();
    let hash = store.content_hash().unwrap();
    drop(store);
    let [table] = &tables(dir.path())[..] else { panic!("one flush makes one file") };
    let good = fs::read(table).unwrap();
    let mut found = 0;
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(table, bad).unwrap();
        let error = match try_open(dir.path()) {
            Ok(store) => match store.content_hash() {
                Ok(read) => {
                    assert_eq!(read, hash, "byte {at}: other rows without an error");
                    continue;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        found += 1;
        assert_eq!(error.code(), codes::STO0001, "byte {at}: {error:?}");
        let name = table.file_name().unwrap().to_str().unwrap();
        assert!(error.to_string().contains(name), "byte {at}: {error}");
    }
    assert!(found > 20, "{found}");
    fs::write(table, good).unwrap();
    assert_eq!(open(dir.path()).content_hash().unwrap(), hash);
}

#[test]
fn damage_of_one_partition_stops_no_other() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = shared();
    let mut sound = PartitionStore::open(b.path(), PartitionId(4), &shared).unwrap();
    {
        let mut store = PartitionStore::open(a.path(), PARTITION, &shared).unwrap();
        let mut changes = Changes::default();
        for n in 0..300 {
            put::<Ended>(&mut changes, id(n), completed(n));
        }
        store.commit(&changes, applied(1)).unwrap();
        store.flush(true).unwrap();
    }
    let [table] = &tables(a.path())[..] else { panic!("one flush makes one file") };
    let mut bytes = fs::read(table).unwrap();
    // Behind the first block, which is read when the store is opened.
    bytes[12_000] ^= 1;
    fs::write(table, bytes).unwrap();
    let store = PartitionStore::open(a.path(), PARTITION, &shared).unwrap();
    let errors = (0..300).filter_map(|n| store.get::<Ended>(&id(n)).err()).map(|error| error.code());
    assert!(errors.map(|code| assert_eq!(code, codes::STO0001)).count() > 0);
    sound.commit(&batch(1, 10), applied(1)).unwrap();
    sound.flush(true).unwrap();
    assert!(sound.get::<Invocations>(&id(1)).unwrap().is_some());
}

#[test]
fn a_missing_file_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&batch(1, 10), applied(1)).unwrap();
    drop(store);
    let [table] = &tables(dir.path())[..] else { panic!("one flush makes one file") };
    fs::remove_file(table).unwrap();
    check_error(try_open(dir.path()), codes::STO0001, "of partition 3 is damaged");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_io_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    check_error(try_open(&dir.path().join("file/3")), codes::STO0002, "cannot use");
}

#[test]
fn a_checkpoint_is_the_store_at_that_moment() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = copies.path().join("snapshot");
    let mut store = open(dir.path());
    store.commit(&batch(1, 100), applied(1)).unwrap();
    store.flush(true).unwrap();
    store.commit(&batch(101, 100), applied(2)).unwrap();
    assert_eq!(store.checkpoint(&copy).unwrap(), Some(applied(2)));
    assert_eq!(durable(store.durable()), Lsn(2));
    let hash = store.content_hash().unwrap();
    store.commit(&batch(201, 100), applied(3)).unwrap();

    let restored = open(&copy);
    assert_eq!((restored.applied(), durable(restored.durable())), (Some(applied(2)), Lsn(2)));
    assert_eq!(restored.content_hash().unwrap(), hash);
    assert!(store.checkpoint(&copy).is_err(), "it is there already");
    assert!(store.get::<Partition>(&()).unwrap().is_none(), "a failed checkpoint stops nothing");
}
