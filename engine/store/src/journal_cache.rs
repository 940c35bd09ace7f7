//! Journals of active invocations: for each the first entries, as many as are known, as stored rows.

use bytes::Bytes;
use lru::LruCache;
use millrace_model::{
    InvocationId,
    table::{Invocations, Journal, Table},
};

/// A longer journal is not kept: it would push out thousands of others.
const JOURNAL_BYTES_MAX: usize = 1 << 20;
/// What a journal costs besides its rows.
const JOURNAL_OVERHEAD: usize = 160;
/// What a row costs besides its bytes.
const ROW_OVERHEAD: usize = 64;

struct Entries {
    /// Row i is entry i of the journal.
    rows: Vec<Bytes>,
    bytes: usize,
}

pub(crate) struct JournalCache {
    journals: LruCache<InvocationId, Entries>,
    bytes: usize,
}

/// Invocation and entry index of a stored key of the journal.
pub(crate) fn entry_of_stored(key: &[u8]) -> Option<(InvocationId, u32)> {
    let (id, index) = key.strip_prefix(&[Journal::TAG])?.split_last_chunk::<4>()?;
    Some((InvocationId::from_bytes(id)?, u32::from_be_bytes(*index)))
}

/// Invocation of a stored key of the active ones.
pub(crate) fn invocation_of_stored(key: &[u8]) -> Option<InvocationId> {
    InvocationId::from_bytes(key.strip_prefix(&[Invocations::TAG])?)
}

impl JournalCache {
    pub(crate) fn new() -> Self {
        Self { journals: LruCache::unbounded(), bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// One entry, if it is known.
    pub(crate) fn row(&mut self, id: InvocationId, index: u32) -> Option<Bytes> {
        self.journals.get(&id)?.rows.get(index as usize).cloned()
    }

    /// The first `len` entries, if all of them are known.
    pub(crate) fn rows(&mut self, id: InvocationId, len: u32) -> Option<&[Bytes]> {
        self.journals.get(&id)?.rows.get(..len as usize)
    }

    /// Takes in an entry that was written.
    pub(crate) fn put(&mut self, id: InvocationId, index: u32, row: &[u8]) {
        let index = index as usize;
        let Some(entries) = self.journals.get_mut(&id) else {
            if index == 0 && row.len() <= JOURNAL_BYTES_MAX {
                self.fill(id, vec![Bytes::copy_from_slice(row)]);
            }
            return;
        };
        let (before, known) = (entries.bytes, entries.rows.len());
        if index < known {
            entries.bytes += row.len();
            entries.bytes -= entries.rows[index].len();
            entries.rows[index] = Bytes::copy_from_slice(row);
        } else if index == known {
            entries.bytes += row.len() + ROW_OVERHEAD;
            entries.rows.push(Bytes::copy_from_slice(row));
        } else {
            return; // Behind a gap: only RocksDB has what lies between.
        }
        let after = entries.bytes;
        self.bytes = self.bytes - before + after;
        if after > JOURNAL_BYTES_MAX {
            self.forget(id);
        }
    }

    /// Takes in that an entry was deleted.
    pub(crate) fn delete(&mut self, id: InvocationId, index: u32) {
        if let Some(entries) = self.journals.peek_mut(&id) {
            let gone: usize =
                entries.rows.drain((index as usize).min(entries.rows.len())..).map(|r| r.len() + ROW_OVERHEAD).sum();
            entries.bytes -= gone;
            self.bytes -= gone;
            if entries.rows.is_empty() {
                self.forget(id);
            }
        }
    }

    /// Drops what is known: the invocation has ended.
    pub(crate) fn forget(&mut self, id: InvocationId) {
        if let Some(entries) = self.journals.pop(&id) {
            self.bytes -= entries.bytes;
        }
    }

    /// Takes in a journal that was read: its first entries.
    pub(crate) fn fill(&mut self, id: InvocationId, rows: Vec<Bytes>) {
        let bytes = JOURNAL_OVERHEAD + rows.iter().map(|row| row.len() + ROW_OVERHEAD).sum::<usize>();
        self.forget(id);
        if bytes <= JOURNAL_BYTES_MAX {
            self.bytes += bytes;
            self.journals.put(id, Entries { rows, bytes });
        }
    }

    /// Evicts until the bound holds.
    pub(crate) fn trim(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some((_, entries)) = self.journals.pop_lru() else { break };
            self.bytes -= entries.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::{PartitionKey, table::stored_key};

    use super::*;

    fn id(unique: u128) -> InvocationId {
        InvocationId { key: PartitionKey(7), unique }
    }

    fn known(cache: &mut JournalCache, id: InvocationId) -> Vec<Bytes> {
        (0..).map_while(|index| cache.row(id, index)).collect()
    }

    #[test]
    fn stored_keys_are_taken_apart() {
        assert_eq!(entry_of_stored(&stored_key::<Journal>(&(id(3), 9))), Some((id(3), 9)));
        assert_eq!(entry_of_stored(&stored_key::<Invocations>(&id(3))), None);
        assert_eq!(invocation_of_stored(&stored_key::<Invocations>(&id(3))), Some(id(3)));
        assert_eq!(entry_of_stored(&[Journal::TAG]), None);
    }

    #[test]
    fn knows_the_first_entries_without_a_gap() {
        let mut cache = JournalCache::new();
        cache.put(id(1), 1, b"b");
        assert!(known(&mut cache, id(1)).is_empty(), "entry 0 is not known");
        cache.put(id(1), 0, b"a");
        cache.put(id(1), 1, b"b");
        cache.put(id(1), 3, b"d");
        assert_eq!(known(&mut cache, id(1)), [&b"a"[..], b"b"]);
        cache.put(id(1), 0, b"aa");
        assert_eq!(known(&mut cache, id(1)), [&b"aa"[..], b"b"]);
        assert_eq!(cache.rows(id(1), 2).unwrap().len(), 2);
        assert!(cache.rows(id(1), 3).is_none());
        cache.delete(id(1), 1);
        cache.delete(id(1), 5);
        assert_eq!(known(&mut cache, id(1)), [&b"aa"[..]]);
        cache.delete(id(1), 0);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn stays_within_its_bytes() {
        let mut cache = JournalCache::new();
        for unique in 0..100 {
            cache.put(id(unique), 0, &[0; 100]);
            cache.put(id(unique), 1, &[0; 100]);
            cache.trim(2000);
            assert!(cache.bytes() <= 2000);
        }
        assert_eq!(known(&mut cache, id(99)).len(), 2);
        cache.put(id(99), 2, &vec![0; JOURNAL_BYTES_MAX]);
        assert!(known(&mut cache, id(99)).is_empty(), "too long to be kept");
        cache.fill(id(99), vec![Bytes::from(vec![0; JOURNAL_BYTES_MAX])]);
        assert!(known(&mut cache, id(99)).is_empty());
        let sum: usize = cache.journals.iter().map(|(_, entries)| entries.bytes).sum();
        assert_eq!(cache.bytes(), sum);
    }
}
