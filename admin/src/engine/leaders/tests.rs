use millrace_model::{
    Applied, LeaderEpoch, Lsn, TimestampMs,
    invocation::{Invocation, Lock, Target},
    journal::Notification,
    table::{Changes, Table},
};
use millrace_store::{SharedResources, StoreConfig};

use super::*;
use crate::explain::tests::row;

struct Rig {
    store: PartitionStore,
    lsn: u64,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shared = SharedResources::new(&StoreConfig::default()).unwrap();
        let store = PartitionStore::open(&folder.path().join("p0"), PartitionId(0), &shared).unwrap();
        Self { store, lsn: 0, _folder: folder }
    }

    fn put<T: Table>(&mut self, rows: impl IntoIterator<Item = (T::Key, T::Row)>) {
        let mut changes = Changes::default();
        T::changes_mut(&mut changes).extend(rows.into_iter().map(|(key, row)| (key, Some(row))));
        self.lsn += 1;
        let applied = Applied { lsn: Lsn(self.lsn), epoch: LeaderEpoch(Lsn(1)), number: self.lsn, crc: 0 };
        self.store.commit(&changes, applied).unwrap();
    }
}

fn id(unique: u128) -> InvocationId {
    InvocationId { key: PartitionKey(9), unique }
}

#[test]
fn an_invocation_is_found_with_its_journal_and_what_it_waits_for() {
    let mut rig = Rig::new();
    let status = LeaderStatus { running: [(id(1), 3)].into(), ..LeaderStatus::default() };
    assert_eq!(look_at_invocation(&rig.store, &status, id(1)).unwrap(), None);

    let long = Invocation { journal_len: 300, ..row(Status::Running) };
    let waiting = Invocation { journal_len: 0, ..row(Status::Inboxed { seq: 6 }) };
    let object = waiting.target.object().unwrap();
    let lock = Lock { holder: id(1), head: 5, tail: 7, blocked: false, loads: vec![] };
    rig.put::<Invocations>([(id(1), long), (id(2), waiting)]);
    rig.put::<Locks>([(object, lock.clone())]);
    let command = Entry::Command { ty: 0x0411, raw: bytes::Bytes::from_static(b"abc") };
    rig.put::<Journal>((0..300).map(|index| {
        ((id(1), index), JournalRow { appended_at: TimestampMs(1), previous: 0, entry: command.clone() })
    }));
    match look_at_invocation(&rig.store, &status, id(1)).unwrap().unwrap() {
        InvocationLook::Active { journal, attempt, lock, .. } => {
            assert_eq!((journal.len(), journal[0].index, journal[99].index), (100, 200, 299));
            assert_eq!((journal[0].bytes, attempt, lock), (3, Some(3), None));
        }
        other => panic!("{other:?}"),
    }
    match look_at_invocation(&rig.store, &status, id(2)).unwrap().unwrap() {
        InvocationLook::Active { lock: found, .. } => assert_eq!(found, Some(lock)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_shows_its_own_inbox_only() {
    let mut rig = Rig::new();
    let object = ObjectKey { service: "S".into(), key: "k".into() };
    let neighbour = ObjectKey { service: "S".into(), key: "l".into() };
    assert_eq!(look_at_key(&rig.store, &LeaderStatus::default(), &object).unwrap(), KeyLook::default());
    let lock = Lock { holder: id(1), head: 3, tail: 50, blocked: true, loads: vec![] };
    let target = Target { service: "S".into(), key: "k".into(), ..row(Status::Paused).target };
    rig.put::<Invocations>([(id(1), Invocation { target, ..row(Status::Paused) })]);
    rig.put::<Locks>([(object.clone(), lock.clone())]);
    let waiting = |n| Waiting::Invocation(id(n));
    rig.put::<Inbox>([
        ((object.clone(), 3), waiting(3)),
        ((object.clone(), 9), waiting(9)),
        ((neighbour, 4), waiting(4)),
    ]);
    let look = look_at_key(&rig.store, &LeaderStatus::default(), &object).unwrap();
    assert_eq!((look.lock, look.waiting), (Some(lock), vec![id(3), id(9)]));
    assert_eq!(look.holder.unwrap().status, Status::Paused);
}

#[test]
fn pinned_invocations_are_counted_page_by_page() {
    let mut rig = Rig::new();
    let count = PAGE_ROWS as u128 + 500;
    let rows = (1..=count).map(|n| {
        let pin = if n % 2 == 0 { row(Status::Paused).pin } else { None };
        (id(n), Invocation { pin, ..row(Status::Paused) })
    });
    rig.put::<Invocations>(rows);
    let deployment = row(Status::Paused).pin.unwrap().deployment;
    let first = pinned_page(&rig.store, deployment, None).unwrap();
    assert_eq!((first.found, first.next), (PAGE_ROWS / 2, Some(id(PAGE_ROWS as u128 + 1))));
    let second = pinned_page(&rig.store, deployment, first.next).unwrap();
    assert_eq!((second.found, second.next), (250, None));
}

#[test]
fn sizes_of_notifications_are_those_of_their_values() {
    let of = |result| {
        let notification =
            Notification { ty: 0x800C, id: millrace_model::journal::NotificationId::Completion(1), result };
        line(4, &JournalRow { appended_at: TimestampMs(1), previous: 0, entry: Entry::Notification(notification) })
    };
    let sleep = of(NotificationResult::Void);
    assert_eq!((sleep.index, sleep.ty, sleep.command, sleep.bytes), (4, 0x800C, false, 0));
    assert_eq!(of(NotificationResult::Value(bytes::Bytes::from_static(b"12"))).bytes, 2);
}
