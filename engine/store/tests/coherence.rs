//! Random commits, reads, flushes, kills and reopenings: the store is always a committed prefix, and whatever it answers
//! is what the view in memory answers (invariants 2 and 5 of DESIGN.md).

mod support;

use std::fmt::Debug;

use millrace_machine::{MemoryView, StateView};
use millrace_model::table::{Changes, Table};
use millrace_store::{PartitionStore, SharedResources, StoreConfig};
use proptest::{collection::vec, prelude::*};
use support::*;

/// Keys of a table.
const KEYS: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    /// Table, key, value; no value is a deletion.
    Commit(Vec<(usize, u64, Option<u64>)>),
    Read(Vec<(usize, u64)>),
    State(u64),
    Journal(u64, u32),
    Flush(bool),
    Reclaim,
    Reopen,
    /// Everything that is not in files is gone.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Deletions as often as writes, so that tables stay small and rows come and go.
    let change = (0..TABLE_COUNT, 0..KEYS, proptest::option::of(0..2000u64));
    let step = prop_oneof![
        8 => vec(change, 0..12).prop_map(Step::Commit),
        6 => vec((0..TABLE_COUNT, 0..KEYS), 1..12).prop_map(Step::Read),
        4 => (0..4u64).prop_map(Step::State),
        4 => (0..4u64, 0..6u32).prop_map(|(n, len)| Step::Journal(n, len)),
        1 => any::<bool>().prop_map(Step::Flush),
        1 => Just(Step::Reclaim),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ];
    vec(step, 1..80)
}

struct Same<'a>(&'a PartitionStore, &'a MemoryView);

impl Visit for Same<'_> {
    fn visit<T: Table<Row: PartialEq + Debug>>(&mut self, key: T::Key, _: T::Row) {
        let (store, memory) = (self.0.get::<T>(&key).unwrap(), self.1.get::<T>(&key).unwrap());
        assert_eq!(store, memory, "{}", T::NAME);
    }
}

struct World {
    /// Goes before its folder.
    store: Option<PartitionStore>,
    dirs: tempfile::TempDir,
    dir: usize,
    shared: SharedResources,
    /// State after each batch, the empty one first.
    history: Vec<MemoryView>,
}

impl World {
    fn new(config: &StoreConfig) -> Self {
        let (dirs, shared) = (tempfile::tempdir().unwrap(), SharedResources::new(config).unwrap());
        let mut world = Self { dirs, dir: 0, shared, store: None, history: vec![MemoryView::new()] };
        world.open();
        world
    }

    fn path(&self) -> std::path::PathBuf {
        self.dirs.path().join(self.dir.to_string())
    }

    fn open(&mut self) {
        self.store = Some(PartitionStore::open(&self.path(), PARTITION, &self.shared).unwrap());
    }

    fn lsn(&self) -> u64 {
        self.store.as_ref().unwrap().applied().map_or(0, |applied| applied.lsn.0)
    }

    fn step(&mut self, step: Step) {
        let memory = self.history.last().unwrap();
        let store = self.store.as_mut().unwrap();
        match step {
            Step::Commit(list) => {
                let (mut changes, mut memory) = (Changes::default(), memory.clone());
                for (table, k, n) in list {
                    visit(table, k, n.unwrap_or(0), &mut Change { changes: &mut changes, delete: n.is_none() });
                }
                memory.commit(&changes);
                store.commit(&changes, applied(self.history.len() as u64)).unwrap();
                self.history.push(memory);
            }
            Step::Read(list) => {
                list.into_iter().for_each(|(table, k)| visit(table, k, 0, &mut Same(store, memory)));
            }
            Step::State(n) => assert_eq!(store.state(&object(n)).unwrap(), memory.state(&object(n)).unwrap()),
            Step::Journal(n, len) => {
                assert_eq!(store.journal(id(n), len).ok(), memory.journal(id(n), len).ok());
            }
            Step::Flush(wait) => store.flush(wait).unwrap(),
            Step::Reclaim => store.reclaim().unwrap(),
            Step::Reopen => {
                let before = store.applied();
                store.flush(true).unwrap();
                self.store = None;
                self.open();
                assert_eq!(self.store.as_ref().unwrap().applied(), before);
            }
            Step::Kill => {
                // So that files do not change while they are copied.
                while store.handle().flushing() {
                    std::thread::yield_now();
                }
                let durable = store.durable().unwrap();
                let from = self.path();
                self.dir += 1;
                copy(&from, &self.path());
                self.store = None;
                self.open();
                assert_eq!(self.store.as_ref().unwrap().applied(), durable);
                self.history.truncate(self.lsn() as usize + 1);
            }
        }
        assert_eq!(self.lsn() as usize, self.history.len() - 1);
    }

    fn check_all(&self) {
        let (store, memory) = (self.store.as_ref().unwrap(), self.history.last().unwrap());
        for k in 0..KEYS {
            (0..TABLE_COUNT).for_each(|table| visit(table, k, 0, &mut Same(store, memory)));
        }
        assert_eq!(store.content_hash().unwrap(), memory.content_hash());
    }
}

fn run(config: StoreConfig, steps: Vec<Step>) {
    let mut world = World::new(&config);
    steps.into_iter().for_each(|step| world.step(step));
    world.check_all();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_caches_that_hold_all(steps in steps()) {
        run(small_config(), steps);
    }

    #[test]
    fn with_caches_that_evict_all_the_time(steps in steps()) {
        run(tiny_caches(), steps);
    }
}
