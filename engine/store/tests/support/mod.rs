//! Rows, changes and folders for the tests of the store.
#![allow(dead_code)]

use std::{fs, path::Path};

use bytes::Bytes;
use millrace_model::{
    ByteSize, InvocationId, LeaderEpoch, Lsn, PartitionId, PartitionKey, SourceId, SubscriptionId, Text, TimestampMs,
    command::{Lane, Message},
    invocation::{
        Completed, HandlerKind, Invocation, Lock, Milestones, ObjectKey, Promise, ResultSink, Retries, Source, Status,
        Target, Waiting,
    },
    journal::{Completion, Entry, Failure, JournalRow},
    ranges::IndexRanges,
    source::{Budget, DeadLetter, Outcomes, Parked, SourceRow},
    table::*,
};
use millrace_store::{Applied, PartitionStore, SharedResources, StoreConfig};

pub const PARTITION: PartitionId = PartitionId(3);

pub fn small_config() -> StoreConfig {
    StoreConfig { rocksdb_total_memory_size: ByteSize::mib(16), ..StoreConfig::default() }
}

/// Caches that hold a handful of rows.
pub fn tiny_caches() -> StoreConfig {
    StoreConfig {
        row_cache_size: ByteSize(2500),
        journal_cache_size: ByteSize(1500),
        state_cache_size: ByteSize(1500),
        ..small_config()
    }
}

pub fn shared() -> SharedResources {
    SharedResources::new(&small_config()).unwrap()
}

pub fn open(dir: &Path) -> PartitionStore {
    PartitionStore::open(dir, PARTITION, &shared()).unwrap()
}

pub fn applied(lsn: u64) -> Applied {
    Applied { lsn: Lsn(lsn), epoch: LeaderEpoch(Lsn(1)), number: lsn, crc: lsn as u32 ^ 0x5a5a }
}

/// The folder as a kill would leave it: names and lengths were the same before and after.
pub fn copy(from: &Path, to: &Path) {
    let list = || {
        let entries = fs::read_dir(from).unwrap().map(|entry| entry.unwrap());
        let mut list: Vec<_> =
            entries.filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?.len()))).collect();
        list.sort();
        list
    };
    loop {
        _ = fs::remove_dir_all(to);
        fs::create_dir_all(to).unwrap();
        let before = list();
        let all = before.iter().all(|(name, _)| fs::copy(from.join(name), to.join(name)).is_ok());
        if all && before == list() {
            return;
        }
    }
}

pub fn id(n: u64) -> InvocationId {
    InvocationId { key: PartitionKey(n % 5), unique: u128::from(n) + 1 }
}

pub fn object(n: u64) -> ObjectKey {
    // Keys that need escaping are among them.
    let key = ["a", "", "a\0", "a\0\u{1}", "b"][n as usize % 5];
    ObjectKey { service: "Counter".into(), key: format!("{key}{}", n / 5).into() }
}

pub fn target(n: u64) -> Target {
    let ObjectKey { service, key } = object(n);
    Target { service, handler: "add".into(), key, kind: HandlerKind::Exclusive }
}

pub fn invocation(n: u64) -> Invocation {
    Invocation {
        created_lsn: Lsn(n),
        created_at: TimestampMs(n),
        modified_at: TimestampMs(n),
        milestones: Milestones::default(),
        target: target(n),
        source: Source::Ingress,
        idempotency_key: None,
        completion_retention: 0,
        journal_retention: 0,
        random_seed: n,
        traceparent: None,
        status: Status::Running,
        journal_len: 1,
        commands: 1,
        last_notification: 0,
        awakeables: IndexRanges::default(),
        last_entry_at: TimestampMs(n),
        attempt: 0,
        last_start_at: None,
        refused: false,
        pin: None,
        pending: Vec::new(),
        awaiting: None,
        output: None,
        sinks: Vec::new(),
        retries: Retries::default(),
        last_error: None,
    }
}

pub fn completed(n: u64) -> Completed {
    Completed {
        created_lsn: Lsn(n),
        created_at: TimestampMs(n),
        completed_at: TimestampMs(n),
        milestones: Milestones::default(),
        target: target(n),
        source: Source::Ingress,
        idempotency_key: None,
        completion_retention: 0,
        journal_retention: 0,
        random_seed: n,
        traceparent: None,
        pin: None,
        attempts: 1,
        journal_len: 2,
        commands: 2,
        unstarted: false,
        result: Completion::Success(Bytes::from_static(b"done")),
        result_until: TimestampMs(n),
        expires_at: TimestampMs(n),
        journal_expires_at: TimestampMs(n),
    }
}

pub fn entry(n: u64) -> JournalRow {
    JournalRow {
        appended_at: TimestampMs(n),
        previous: 0,
        entry: Entry::Input { headers: Vec::new(), value: vec![n as u8; n as usize % 700].into() },
    }
}

pub fn lock(n: u64) -> Lock {
    Lock { holder: id(n), head: n, tail: n + 1, blocked: n.is_multiple_of(2), loads: Vec::new() }
}

pub fn source(n: u64) -> SourceId {
    SourceId { subscription: SubscriptionId(1), cluster: "main".into(), topic_id: 7, source_partition: n as u32 }
}

pub fn source_row(n: u64) -> SourceRow {
    SourceRow {
        topic: "orders".into(),
        generation: 1,
        position: n as i64,
        records: n,
        rejected: 0,
        examples: Vec::new(),
        missing: 0,
        opened_at: TimestampMs(1),
        record_at: None,
    }
}

pub fn budget(n: u64) -> Budget {
    Budget { ready_records: n as i64, ready_bytes: -(n as i64), ..Budget::ZERO }
}

pub fn message(n: u64) -> Message {
    Message::Settle { subscription: SubscriptionId(n.into()), change: budget(n) }
}

pub fn promise(n: u64) -> Promise {
    if n.is_multiple_of(2) {
        Promise::Awaited(vec![ResultSink { caller: id(n), completion: n as u32 }])
    } else {
        Promise::Completed(Completion::Success(Bytes::from_static(b"done")))
    }
}

fn failure(n: u64) -> Failure {
    Failure { code: 500, message: format!("failure {n}").into(), metadata: Vec::new() }
}

pub fn parked(n: u64) -> Parked {
    Parked {
        at: TimestampMs(n),
        failure: failure(n),
        key: "k".into(),
        topic: "orders".into(),
        source_partition: 3,
        offset: n as i64,
    }
}

pub fn dead_letter(n: u64) -> DeadLetter {
    DeadLetter {
        cluster: "main".into(),
        topic: "orders.dead".into(),
        failure: failure(n),
        at: TimestampMs(n),
        invoked: n.is_multiple_of(2),
        reader: PartitionId(1),
        bytes: 10,
        headers: Vec::new(),
        value: Bytes::from_static(b"value"),
    }
}

pub fn state_key(n: u64) -> Bytes {
    [&b"count"[..], b"", b"a\0b", b"\0", b"\xff\xff"][n as usize % 5].into()
}

pub fn lane(n: u64) -> Lane {
    if n.is_multiple_of(2) { Lane::Events } else { Lane::Control }
}

pub fn put<T: Table>(changes: &mut Changes, key: T::Key, row: T::Row) {
    T::changes_mut(changes).insert(key, Some(row));
}

pub fn delete<T: Table>(changes: &mut Changes, key: T::Key) {
    T::changes_mut(changes).insert(key, None);
}

pub const TABLE_COUNT: usize = 18;

/// What to do with the keys and rows of one table; `n` chooses them.
pub trait Visit {
    fn visit<T: Table<Row: PartialEq + std::fmt::Debug>>(&mut self, key: T::Key, row: T::Row);
}

/// Calls `visit` with a key and a row of one table; few keys, so that they are met again.
pub fn visit(table: usize, k: u64, n: u64, visit: &mut impl Visit) {
    assert_eq!(TABLES.len(), TABLE_COUNT, "a new table needs a line here");
    match table {
        0 => {
            visit.visit::<Partition>((), PartitionRow { machine_version: 1, epoch: LeaderEpoch(Lsn(n)), partitions: 8 })
        }
        1 => visit.visit::<Invocations>(id(k), invocation(n)),
        2 => visit.visit::<Ended>(id(k), completed(n)),
        3 => visit.visit::<Journal>((id(k % 4), (k / 4) as u32), entry(n)),
        4 => visit.visit::<Locks>(object(k), lock(n)),
        5 => visit.visit::<Inbox>((object(k % 3), k), Waiting::Invocation(id(n))),
        6 => visit.visit::<State>((object(k % 4), state_key(k / 4)), vec![n as u8; n as usize % 300].into()),
        7 => visit.visit::<Timers>(TimerKey { at: TimestampMs(k), id: id(k), kind: TimerKind::Sleep(k as u32) }, ()),
        8 => visit.visit::<Expiries>(ExpiryKey { at: TimestampMs(k), id: id(k), kind: ExpiryKind::Journal }, ()),
        9 => visit.visit::<Outbox>((PartitionId(k as u16 % 2), lane(k / 2), k), message(n)),
        10 => visit.visit::<OutboxLanes>((PartitionId(k as u16), lane(k)), OutboxEnds { first: n, next: n + 1 }),
        11 => visit.visit::<Received>((PartitionId(k as u16), lane(k)), n),
        12 => visit.visit::<Sources>(source(k), source_row(n)),
        13 => visit.visit::<Budgets>(SubscriptionId(k.into()), budget(n)),
        14 => visit.visit::<Promises>((object(k % 3), format!("p{k}").into()), promise(n)),
        15 => {
            let outcomes =
                Outcomes { failed: n, parked: 1, redriven: 2, dropped: 3, letters: 4, written: 5, skipped: 6 };
            visit.visit::<OutcomeCounts>(SubscriptionId(k.into()), outcomes);
        }
        16 => visit.visit::<ParkedRecords>((SubscriptionId((k % 3).into()), id(k)), parked(n)),
        17 => visit.visit::<DeadLetters>((SubscriptionId((k % 3).into()), id(k)), dead_letter(n)),
        _ => unreachable!("there are {TABLE_COUNT} tables"),
    }
}

/// Adds a change of one table.
pub struct Change<'a> {
    pub changes: &'a mut Changes,
    pub delete: bool,
}

impl Visit for Change<'_> {
    fn visit<T: Table<Row: PartialEq + std::fmt::Debug>>(&mut self, key: T::Key, row: T::Row) {
        match self.delete {
            true => delete::<T>(self.changes, key),
            false => put::<T>(self.changes, key, row),
        }
    }
}

pub fn text(text: &str) -> Text {
    text.into()
}
