//! The cost table of DESIGN.md section 11: what is read from RocksDB, and what is not.

mod support;

use bytes::Bytes;
use millrace_machine::StateView;
use millrace_model::table::{
    Changes, Ended, Expiries, ExpiryKey, ExpiryKind, Inbox, Invocations, Journal, Locks, OutboxLanes, Partition,
    Received, Sources, State,
};
use millrace_model::{PartitionId, TimestampMs};
use millrace_store::{PartitionStore, ReadStats, SharedResources};
use support::*;

struct Driver {
    store: PartitionStore,
    lsn: u64,
    _dir: tempfile::TempDir,
}

impl Driver {
    fn new(config: millrace_store::StoreConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared = SharedResources::new(&config).unwrap();
        Self { store: PartitionStore::open(dir.path(), PARTITION, &shared).unwrap(), lsn: 0, _dir: dir }
    }

    fn commit(&mut self, fill: impl FnOnce(&mut Changes)) {
        let mut changes = Changes::default();
        fill(&mut changes);
        self.lsn += 1;
        self.store.commit(&changes, applied(self.lsn)).unwrap();
    }

    fn rocksdb_reads(&self) -> u64 {
        let ReadStats { gets, seeks, .. } = self.store.reads();
        gets + seeks
    }

    /// An exclusive call with a little state, as the state machine reads and writes it.
    fn invocation(&mut self, n: u64, o: u64) {
        // Arrival.
        assert_eq!(self.store.get::<Invocations>(&id(n)).unwrap(), None);
        assert_eq!(self.store.get::<Locks>(&object(o)).unwrap(), None);
        assert_eq!(self.store.get::<Received>(&(PartitionId(1), lane(0))).unwrap(), None);
        self.commit(|changes| {
            put::<Invocations>(changes, id(n), invocation(n));
            put::<Journal>(changes, (id(n), 0), entry(n));
            put::<Locks>(changes, object(o), lock(n));
        });
        // The attempt starts.
        assert!(self.store.get::<Invocations>(&id(n)).unwrap().is_some());
        assert_eq!(self.store.journal(id(n), 1).unwrap().len(), 1);
        let state = self.store.state(&object(o)).unwrap();
        // It sets state and ends.
        assert!(self.store.get::<Invocations>(&id(n)).unwrap().is_some());
        assert!(self.store.get::<Locks>(&object(o)).unwrap().is_some());
        assert_eq!(self.store.get::<Inbox>(&(object(o), 1)).unwrap(), None);
        assert_eq!(self.store.get::<State>(&(object(o), state_key(0))).unwrap().is_some(), !state.is_empty());
        self.commit(|changes| {
            delete::<Invocations>(changes, id(n));
            put::<Ended>(changes, id(n), completed(n));
            put::<Journal>(changes, (id(n), 1), entry(n));
            delete::<Locks>(changes, object(o));
            put::<State>(changes, (object(o), state_key(0)), Bytes::copy_from_slice(&n.to_be_bytes()));
            let at = ExpiryKey { at: TimestampMs(n), id: id(n), kind: ExpiryKind::Invocation };
            put::<Expiries>(changes, at, ());
        });
    }
}

#[test]
fn the_simplest_invocation_reads_nothing() {
    let mut driver = Driver::new(small_config());
    for n in 0..100 {
        assert_eq!(driver.store.get::<Partition>(&()).unwrap(), None);
        driver.commit(|changes| {
            put::<Invocations>(changes, id(n), invocation(n));
            put::<Journal>(changes, (id(n), 0), entry(n));
        });
        driver.store.journal(id(n), 1).unwrap();
        driver.store.get::<Invocations>(&id(n)).unwrap().unwrap();
        driver.commit(|changes| {
            delete::<Invocations>(changes, id(n));
            put::<Ended>(changes, id(n), completed(n));
            put::<Journal>(changes, (id(n), 1), entry(n));
        });
    }
    assert_eq!(driver.rocksdb_reads(), 0);
}

#[test]
fn a_hot_key_reads_its_state_once() {
    let mut driver = Driver::new(small_config());
    for n in 0..200 {
        driver.invocation(n, n % 4);
    }
    assert_eq!(driver.store.reads(), ReadStats { hits: driver.store.reads().hits, gets: 0, seeks: 4 });
    driver.store.flush(true).unwrap();
    for n in 200..400 {
        driver.invocation(n, n % 4);
    }
    assert_eq!(driver.rocksdb_reads(), 4, "a flush changes nothing");
}

#[test]
fn after_a_restart_what_is_active_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut changes = Changes::default();
    for n in 0..50 {
        put::<Invocations>(&mut changes, id(n), invocation(n));
        put::<Locks>(&mut changes, object(n), lock(n));
        put::<Sources>(&mut changes, source(n), source_row(n));
    }
    store.commit(&changes, applied(1)).unwrap();
    drop(store);
    let store = open(dir.path());
    for n in 0..100 {
        assert_eq!(store.get::<Invocations>(&id(n)).unwrap().is_some(), n < 50);
        assert_eq!(store.get::<Locks>(&object(n)).unwrap(), (n < 50).then(|| lock(n)));
        assert_eq!(store.get::<Sources>(&source(n)).unwrap().is_some(), n < 50);
        assert_eq!(store.get::<OutboxLanes>(&(PartitionId(1), lane(n))).unwrap(), None);
    }
    assert_eq!(store.reads(), ReadStats { hits: 400, gets: 0, seeks: 0 });
}

#[test]
fn caches_stay_within_their_bounds_and_rows_are_read_again() {
    let mut driver = Driver::new(tiny_caches());
    for n in 0..100 {
        driver.commit(|changes| {
            put::<Invocations>(changes, id(n), invocation(n));
            put::<Locks>(changes, object(n), lock(n));
            put::<Journal>(changes, (id(n), 0), entry(n));
        });
    }
    assert_eq!(driver.rocksdb_reads(), 0);
    for n in 0..100 {
        assert_eq!(driver.store.get::<Invocations>(&id(n)).unwrap(), Some(invocation(n)));
        assert_eq!(driver.store.get::<Locks>(&object(n)).unwrap(), Some(lock(n)));
        assert_eq!(driver.store.journal(id(n), 1).unwrap(), [entry(n)]);
    }
    assert!(driver.store.reads().gets > 150, "{:?}", driver.store.reads());
    assert!(driver.store.reads().seeks > 80, "{:?}", driver.store.reads());
}

#[test]
fn absence_is_remembered() {
    let mut driver = Driver::new(tiny_caches());
    // Push rows of the table out, so that a missing key says nothing any more.
    driver.commit(|changes| (0..100).for_each(|n| put::<Locks>(changes, object(n), lock(n))));
    let before = driver.rocksdb_reads();
    for _ in 0..10 {
        assert_eq!(driver.store.get::<Locks>(&object(1000)).unwrap(), None);
    }
    assert_eq!(driver.rocksdb_reads(), before + 1);
    driver.commit(|changes| put::<Locks>(changes, object(1000), lock(1)));
    assert_eq!(driver.store.get::<Locks>(&object(1000)).unwrap(), Some(lock(1)));
    driver.commit(|changes| delete::<Locks>(changes, object(1000)));
    assert_eq!(driver.store.get::<Locks>(&object(1000)).unwrap(), None, "a released lock is known to be free");
    assert_eq!(driver.rocksdb_reads(), before + 1);
}

#[test]
fn large_state_is_not_kept() {
    let mut driver = Driver::new(small_config());
    let key = |n| (object(1), state_key(n));
    driver.store.state(&object(1)).unwrap();
    driver.commit(|changes| put::<State>(changes, key(0), vec![1; 100_000].into()));
    driver.store.state(&object(1)).unwrap();
    assert_eq!(driver.rocksdb_reads(), 1);
    driver.commit(|changes| put::<State>(changes, key(1), vec![2; 300_000].into()));
    assert_eq!(driver.store.state(&object(1)).unwrap().len(), 2);
    assert_eq!(driver.store.state(&object(1)).unwrap().len(), 2);
    assert_eq!(driver.rocksdb_reads(), 3);
    driver.commit(|changes| delete::<State>(changes, key(1)));
    assert_eq!(driver.store.state(&object(1)).unwrap().len(), 1);
    assert_eq!(driver.store.state(&object(1)).unwrap().len(), 1);
    assert_eq!(driver.rocksdb_reads(), 4, "small again");
}

#[test]
fn an_idle_partition_gives_back_what_others_may_take() {
    let config = millrace_store::StoreConfig { row_cache_size: millrace_model::ByteSize(40_000), ..small_config() };
    let shared = SharedResources::new(&config).unwrap();
    let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let open = |i: usize| PartitionStore::open(dirs[i].path(), PARTITION, &shared).unwrap();
    let mut idle = open(0);
    let mut changes = Changes::default();
    (0..100).for_each(|n| put::<Locks>(&mut changes, object(n), lock(n)));
    idle.commit(&changes, applied(1)).unwrap();
    let _others: Vec<_> = (1..4).map(open).collect();
    idle.observe();
    (0..100).for_each(|n| assert_eq!(idle.get::<Locks>(&object(n)).unwrap(), Some(lock(n))));
    assert!(idle.reads().gets > 30, "{:?}", idle.reads());
}

#[test]
fn caches_are_shared_fairly() {
    let config = millrace_store::StoreConfig { row_cache_size: millrace_model::ByteSize(40_000), ..small_config() };
    let shared = SharedResources::new(&config).unwrap();
    let dirs: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut stores: Vec<_> =
        dirs.iter().map(|dir| PartitionStore::open(dir.path(), PARTITION, &shared).unwrap()).collect();
    let mut changes = Changes::default();
    (0..500).for_each(|n| put::<Locks>(&mut changes, object(n), lock(n)));
    stores.iter_mut().for_each(|store| store.commit(&changes, applied(1)).unwrap());
    let kept = |store: &PartitionStore| {
        let before = store.reads();
        (400..500).rev().for_each(|n| _ = store.get::<Locks>(&object(n)).unwrap());
        store.reads().hits - before.hits
    };
    let with_others = kept(&stores[0]);
    assert!((10..100).contains(&with_others), "{with_others}");
    stores.truncate(1);
    stores[0].commit(&Changes::default(), applied(2)).unwrap();
    _ = kept(&stores[0]);
    assert_eq!(kept(&stores[0]), 100, "alone it may take all");
}
