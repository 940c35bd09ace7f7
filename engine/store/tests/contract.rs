//! What every view of a partition's state promises to the state machine; the store and the view in memory run it.

mod support;

use bytes::Bytes;
use millrace_machine::{MemoryView, StateView};
use millrace_model::{
    InvocationId, Text,
    invocation::Waiting,
    journal::JournalRow,
    table::{Changes, Ended, Inbox, Invocations, Journal, Locks, Promises, State, Table},
};
use millrace_store::PartitionStore;
use support::*;

trait Provider: StateView<Error: std::fmt::Debug> {
    fn commit(&mut self, changes: &Changes);
    fn journal(&self, id: InvocationId, len: u32) -> Option<Vec<JournalRow>>;
    fn content_hash(&self) -> u64;
    fn keys<T: Table>(&self, from: Option<&T::Key>, limit: usize) -> Vec<T::Key>;
}

impl Provider for MemoryView {
    fn commit(&mut self, changes: &Changes) {
        MemoryView::commit(self, changes);
    }
    fn journal(&self, id: InvocationId, len: u32) -> Option<Vec<JournalRow>> {
        MemoryView::journal(self, id, len).ok()
    }
    fn content_hash(&self) -> u64 {
        MemoryView::content_hash(self)
    }
    fn keys<T: Table>(&self, from: Option<&T::Key>, limit: usize) -> Vec<T::Key> {
        let mut keys = Vec::new();
        self.scan::<T>(from, &mut collect::<T>(&mut keys, limit)).unwrap();
        keys
    }
}

impl Provider for PartitionStore {
    fn commit(&mut self, changes: &Changes) {
        let next = self.applied().map_or(1, |applied| applied.lsn.0 + 3);
        PartitionStore::commit(self, changes, applied(next)).unwrap();
    }
    fn journal(&self, id: InvocationId, len: u32) -> Option<Vec<JournalRow>> {
        PartitionStore::journal(self, id, len).ok()
    }
    fn content_hash(&self) -> u64 {
        PartitionStore::content_hash(self).unwrap()
    }
    fn keys<T: Table>(&self, from: Option<&T::Key>, limit: usize) -> Vec<T::Key> {
        let mut keys = Vec::new();
        self.scan::<T>(from, &mut collect::<T>(&mut keys, limit)).unwrap();
        keys
    }
}

fn collect<T: Table>(
    keys: &mut Vec<T::Key>,
    limit: usize,
) -> impl FnMut(T::Key, T::Row) -> std::ops::ControlFlow<()> + '_ {
    move |key, _| {
        keys.push(key);
        if keys.len() == limit { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    }
}

/// Every table: what was put is read, what was deleted is not, whatever was read before.
fn rows_come_back(view: &mut impl Provider) {
    struct Expect<'a, V>(&'a V, bool);
    impl<V: Provider> Visit for Expect<'_, V> {
        fn visit<T: Table<Row: PartialEq + std::fmt::Debug>>(&mut self, key: T::Key, row: T::Row) {
            let expected = self.1.then_some(row);
            assert_eq!(self.0.get::<T>(&key).unwrap(), expected, "{}", T::NAME);
        }
    }
    let empty = view.content_hash();
    let mut hashes = vec![empty];
    for (n, delete) in [(1, false), (2, false), (0, true), (0, true), (3, false), (0, true)] {
        let mut changes = Changes::default();
        for table in 0..TABLE_COUNT {
            visit(table, 0, n, &mut Change { changes: &mut changes, delete });
        }
        view.commit(&changes);
        for table in 0..TABLE_COUNT {
            visit(table, 0, n, &mut Expect(view, !delete));
            if table != 0 {
                visit(table, 1, n, &mut Expect(view, false));
            }
        }
        hashes.push(view.content_hash());
    }
    assert_eq!(hashes.iter().filter(|hash| **hash == empty).count(), 4, "{hashes:x?}");
    assert_eq!(view.get::<Ended>(&id(77)).unwrap(), None);
}

fn state_is_that_of_the_object_alone(view: &mut impl Provider) {
    let mut changes = Changes::default();
    for o in 0..5 {
        for k in 0..5 {
            put::<State>(&mut changes, (object(o), state_key(k)), vec![o as u8, k as u8].into());
        }
    }
    view.commit(&changes);
    let mut keys: Vec<_> = (0..5).map(state_key).collect();
    keys.sort();
    for o in 0..5 {
        let state = view.state(&object(o)).unwrap();
        assert_eq!(state.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), keys);
        assert!(state.iter().all(|(_, value)| value[0] == o as u8));
    }
    assert!(view.state(&object(9)).unwrap().is_empty());

    let mut changes = Changes::default();
    delete::<State>(&mut changes, (object(1), state_key(0)));
    delete::<State>(&mut changes, (object(9), state_key(0)));
    put::<State>(&mut changes, (object(1), state_key(1)), Bytes::from_static(b"new"));
    put::<State>(&mut changes, (object(9), state_key(2)), Bytes::from_static(b"first"));
    view.commit(&changes);
    let state = view.state(&object(1)).unwrap();
    assert_eq!((state.len(), &state[0]), (4, &(state_key(1), Bytes::from_static(b"new"))));
    assert_eq!(view.get::<State>(&(object(1), state_key(0))).unwrap(), None);
    assert_eq!(view.get::<State>(&(object(1), state_key(1))).unwrap(), Some(Bytes::from_static(b"new")));
    assert_eq!(view.state(&object(9)).unwrap(), [(state_key(2), Bytes::from_static(b"first"))]);
    assert_eq!(view.state(&object(2)).unwrap().len(), 5);
}

fn promises_are_those_of_the_workflow_alone(view: &mut impl Provider) {
    let mut changes = Changes::default();
    for o in 0..5 {
        for (n, name) in ["b", "a\0", "a"].into_iter().enumerate() {
            put::<Promises>(&mut changes, (object(o), name.into()), promise(n as u64));
        }
    }
    view.commit(&changes);
    for o in 0..5 {
        let names = view.promises(&object(o)).unwrap();
        assert_eq!(names, ["a", "a\0", "b"].map(Text::from));
    }
    assert_eq!(view.promises(&object(9)).unwrap(), [] as [Text; 0]);
    let mut changes = Changes::default();
    delete::<Promises>(&mut changes, (object(1), "a".into()));
    view.commit(&changes);
    assert_eq!(view.promises(&object(1)).unwrap(), ["a\0", "b"].map(Text::from));
}

fn journals_are_read_in_order(view: &mut impl Provider) {
    let mut changes = Changes::default();
    for (i, index) in [(1, 0), (1, 1), (1, 2), (2, 0), (257, 0)] {
        put::<Journal>(&mut changes, (id(i), index), entry(i * 10 + u64::from(index)));
    }
    view.commit(&changes);
    assert_eq!(view.journal(id(1), 3), Some(vec![entry(10), entry(11), entry(12)]));
    assert_eq!(view.journal(id(1), 2), Some(vec![entry(10), entry(11)]));
    assert_eq!(view.journal(id(1), 0), Some(vec![]));
    assert_eq!(view.journal(id(2), 1), Some(vec![entry(20)]));
    assert_eq!(view.journal(id(2), 2), None, "an entry is missing");
    assert_eq!(view.journal(id(3), 1), None);
    let mut changes = Changes::default();
    put::<Journal>(&mut changes, (id(2), 1), entry(21));
    delete::<Journal>(&mut changes, (id(1), 2));
    put::<Invocations>(&mut changes, id(1), invocation(1));
    view.commit(&changes);
    assert_eq!(view.journal(id(2), 2), Some(vec![entry(20), entry(21)]));
    assert_eq!(view.journal(id(1), 3), None);
    // The invocation ends, its journal stays.
    let mut changes = Changes::default();
    delete::<Invocations>(&mut changes, id(1));
    put::<Journal>(&mut changes, (id(1), 2), entry(12));
    view.commit(&changes);
    assert_eq!(view.journal(id(1), 3), Some(vec![entry(10), entry(11), entry(12)]));
}

fn scans_follow_the_order_of_keys(view: &mut impl Provider) {
    let mut changes = Changes::default();
    for k in 0..20 {
        put::<Locks>(&mut changes, object(k), lock(k));
        put::<Inbox>(&mut changes, (object(k), k * 1000), Waiting::Invocation(id(k)));
    }
    view.commit(&changes);
    let mut all: Vec<_> = (0..20).map(object).collect();
    all.sort();
    assert_eq!(view.keys::<Locks>(None, usize::MAX), all);
    assert_eq!(view.keys::<Locks>(Some(&all[7]), 3), all[7..10]);
    assert_eq!(view.keys::<Inbox>(None, usize::MAX).len(), 20);
    assert_eq!(view.keys::<Invocations>(None, usize::MAX), []);
}

/// The same commits, the same content: whatever was deleted on the way.
fn content_hash_is_of_the_content(view: &mut impl Provider, other: &mut impl Provider) {
    let mut changes = Changes::default();
    for k in 0..10 {
        for table in 0..TABLE_COUNT {
            visit(table, k, k, &mut Change { changes: &mut changes, delete: false });
        }
    }
    view.commit(&changes);
    assert_ne!(view.content_hash(), other.content_hash());
    for table in 0..TABLE_COUNT {
        let mut gone = Changes::default();
        visit(table, 99, 1, &mut Change { changes: &mut gone, delete: table == 0 });
        other.commit(&gone);
        let mut gone = Changes::default();
        visit(table, 99, 1, &mut Change { changes: &mut gone, delete: true });
        other.commit(&gone);
    }
    other.commit(&changes);
    assert_eq!(view.content_hash(), other.content_hash());
}

macro_rules! suite {
    ($($test:ident),*) => {$(
        mod $test {
            use super::*;

            #[test]
            fn memory() {
                super::$test(&mut MemoryView::new());
            }

            #[test]
            fn store() {
                let dir = tempfile::tempdir().unwrap();
                super::$test(&mut open(dir.path()));
            }

            /// Every read goes to RocksDB, and everything is in files.
            #[test]
            fn store_without_memory() {
                let dir = tempfile::tempdir().unwrap();
                super::$test(&mut without_memory(dir.path()));
            }
        }
    )*};
}
suite!(
    rows_come_back,
    state_is_that_of_the_object_alone,
    promises_are_those_of_the_workflow_alone,
    journals_are_read_in_order,
    scans_follow_the_order_of_keys
);

fn without_memory(dir: &std::path::Path) -> PartitionStore {
    use millrace_model::ByteSize;
    use millrace_store::{SharedResources, StoreConfig};
    let none = ByteSize(0);
    let config =
        StoreConfig { row_cache_size: none, journal_cache_size: none, state_cache_size: none, ..small_config() };
    PartitionStore::open(dir, PARTITION, &SharedResources::new(&config).unwrap()).unwrap()
}

#[test]
fn store_and_memory_have_the_same_content_hash() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    content_hash_is_of_the_content(&mut open(a.path()), &mut MemoryView::new());
    content_hash_is_of_the_content(&mut MemoryView::new(), &mut open(b.path()));
}
