//! The row cache: stored rows of what is active, by stored key; least recently used first out.
//!
//! Of a table that is *whole* every row is in the cache, so that a key it does not have is no row at all and nobody asks
//! RocksDB. A table is whole when it was loaded without leaving anything out, until one of its rows is evicted.

use bytes::Bytes;
use lru::LruCache;

use crate::keep::keep_absence;

/// A larger row is not kept, only that it is there.
const ROW_BYTES_MAX: usize = 256 << 10;
/// Rows of one partition.
const ROWS_MAX: usize = 1 << 18;
/// What a row costs besides its key and its bytes: list node, map slot, allocator.
const ROW_OVERHEAD: usize = 136;

enum Slot {
    Row(Bytes),
    /// There is no such row.
    Absent,
    /// There is one, too large to be kept.
    Large,
}

/// What the cache knows of a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    Row(Bytes),
    Absent,
    /// Only RocksDB knows.
    No,
}

pub(crate) struct RowCache {
    rows: LruCache<Box<[u8]>, Slot>,
    bytes: usize,
    whole: [bool; 256],
}

impl RowCache {
    pub(crate) fn new() -> Self {
        Self { rows: LruCache::unbounded(), bytes: 0, whole: [false; 256] }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Known {
        match self.rows.get(key) {
            Some(Slot::Row(row)) => Known::Row(row.clone()),
            Some(Slot::Absent) => Known::Absent,
            Some(Slot::Large) => Known::No,
            None if self.whole[key[0] as usize] => Known::Absent,
            None => Known::No,
        }
    }

    /// Takes in a row that was written, or read.
    pub(crate) fn put(&mut self, key: &[u8], row: &[u8]) {
        let slot = if row.len() > ROW_BYTES_MAX { Slot::Large } else { Slot::Row(Bytes::copy_from_slice(row)) };
        self.set(key, slot);
    }

    /// Takes in that a row was deleted. `false`: there was none, so nothing has to be deleted in RocksDB.
    pub(crate) fn delete(&mut self, key: &[u8]) -> bool {
        let was_there = match self.rows.peek(key) {
            Some(slot) => !matches!(slot, Slot::Absent),
            None => !self.whole[key[0] as usize],
        };
        if keep_absence(key[0]) {
            self.absent(key);
        } else {
            self.remove(key);
        }
        was_there
    }

    /// Takes in that there is no such row.
    pub(crate) fn absent(&mut self, key: &[u8]) {
        if self.whole[key[0] as usize] {
            self.remove(key);
        } else {
            self.set(key, Slot::Absent);
        }
    }

    /// Takes in a row of a table that is being loaded. `false`: there is no room, and it was left out.
    pub(crate) fn load(&mut self, key: &[u8], row: &[u8], bytes_max: usize) -> bool {
        if self.rows.len() >= ROWS_MAX || self.bytes + key.len() + row.len() + ROW_OVERHEAD > bytes_max {
            return false;
        }
        if self.rows.peek(key).is_none() {
            self.put(key, row);
        }
        true
    }

    /// Every row of the table was loaded.
    pub(crate) fn set_whole(&mut self, tag: u8) {
        self.whole[tag as usize] = true;
    }

    /// Evicts until the bounds hold.
    pub(crate) fn trim(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max || self.rows.len() > ROWS_MAX {
            let Some((key, slot)) = self.rows.pop_lru() else { break };
            self.bytes -= weight(&key, &slot);
            if !matches!(slot, Slot::Absent) {
                self.whole[key[0] as usize] = false;
            }
        }
    }

    fn set(&mut self, key: &[u8], slot: Slot) {
        self.bytes += weight(key, &slot);
        if let Some(old) = self.rows.get_mut(key) {
            self.bytes -= weight(key, old);
            *old = slot;
        } else {
            self.rows.put(key.into(), slot);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, slot)) = self.rows.pop_entry(key) {
            self.bytes -= weight(&key, &slot);
        }
    }
}

fn weight(key: &[u8], slot: &Slot) -> usize {
    let row = match slot {
        Slot::Row(row) => row.len(),
        Slot::Absent | Slot::Large => 0,
    };
    key.len() + row + ROW_OVERHEAD
}

#[cfg(test)]
mod tests {
    use millrace_model::table::{Inbox, Locks, Table};

    use super::*;

    const LOCK: u8 = Locks::TAG;
    const INBOX: u8 = Inbox::TAG;

    fn row(bytes: &'static [u8]) -> Known {
        Known::Row(Bytes::from_static(bytes))
    }

    #[test]
    fn knows_what_it_saw() {
        let mut cache = RowCache::new();
        let (a, b) = ([LOCK, 1], [INBOX, 1]);
        assert_eq!(cache.get(&a), Known::No);
        cache.put(&a, b"1");
        cache.put(&a, b"2");
        cache.put(&b, b"3");
        assert_eq!((cache.get(&a), cache.get(&b)), (row(b"2"), row(b"3")));
        assert!(cache.delete(&a) && cache.delete(&b));
        assert_eq!((cache.get(&a), cache.get(&b)), (Known::Absent, Known::No));
        assert!(!cache.delete(&a), "known to be absent");
        assert!(cache.delete(&b), "may be in RocksDB");
        cache.absent(&b);
        assert_eq!(cache.get(&b), Known::Absent);
    }

    #[test]
    fn a_whole_table_needs_no_look_until_a_row_of_it_is_evicted() {
        let mut cache = RowCache::new();
        assert!(cache.load(&[LOCK, 1], b"1", 1000));
        cache.set_whole(LOCK);
        assert_eq!(cache.get(&[LOCK, 2]), Known::Absent);
        assert!(!cache.delete(&[LOCK, 2]));
        assert!(cache.delete(&[LOCK, 1]));
        assert_eq!(cache.bytes(), 0, "absence in a whole table costs nothing");
        cache.put(&[LOCK, 3], b"3");
        cache.put(&[LOCK, 4], b"4");
        cache.trim(ROW_OVERHEAD + 10);
        assert_eq!(cache.get(&[LOCK, 4]), row(b"4"));
        assert_eq!((cache.get(&[LOCK, 3]), cache.get(&[LOCK, 2])), (Known::No, Known::No));
        assert!(!cache.load(&[LOCK, 3], b"3", ROW_OVERHEAD + 10), "no room");
    }

    #[test]
    fn stays_within_its_bytes_and_counts_them_right() {
        let mut cache = RowCache::new();
        for i in 0..1000u32 {
            let key = [&[INBOX][..], &(i % 300).to_be_bytes()].concat();
            match i % 7 {
                0 => _ = cache.delete(&key),
                1 => cache.absent(&key),
                _ => cache.put(&key, &vec![0; i as usize % 50]),
            }
            cache.trim(10_000);
            assert!(cache.bytes() <= 10_000);
        }
        let sum: usize = cache.rows.iter().map(|(key, slot)| weight(key, slot)).sum();
        assert_eq!(cache.bytes(), sum);
        cache.trim(0);
        assert_eq!((cache.bytes(), cache.rows.len()), (0, 0));
    }

    #[test]
    fn a_large_row_is_there_but_not_kept() {
        let mut cache = RowCache::new();
        cache.set_whole(INBOX);
        cache.put(&[INBOX, 1], &vec![0; ROW_BYTES_MAX + 1]);
        assert_eq!(cache.get(&[INBOX, 1]), Known::No);
        assert_eq!(cache.get(&[INBOX, 2]), Known::Absent);
        assert!(cache.bytes() < 1000);
        assert!(cache.delete(&[INBOX, 1]), "it is in RocksDB");
    }
}
