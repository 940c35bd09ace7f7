//! State of hot keys: for each object all of its state or nothing.

use std::borrow::Cow;

use bytes::Bytes;
use lru::LruCache;

/// An object with more state is read from RocksDB each time.
const OBJECT_BYTES_MAX: usize = 256 << 10;
/// The same for the number of its keys, which are kept in one sorted list.
const OBJECT_KEYS_MAX: usize = 1024;
/// What an object costs besides its rows.
const OBJECT_OVERHEAD: usize = 160;
/// What a row costs besides its bytes.
const ROW_OVERHEAD: usize = 96;

struct Object {
    /// State keys and stored rows, sorted by key.
    rows: Vec<(Bytes, Bytes)>,
    bytes: usize,
}

/// Objects by the part of their stored keys that they share.
pub(crate) struct ObjectCache {
    objects: LruCache<Box<[u8]>, Object>,
    bytes: usize,
}

/// Splits a stored key of the state into what names the object and the escaped state key. `None` if it is malformed.
pub(crate) fn split_stored(key: &[u8]) -> Option<(&[u8], &[u8])> {
    // Tag, then service and key, each escaped and ended by `00 01`.
    let mut at = 1;
    for _ in 0..2 {
        loop {
            match key.get(at..at + 2)? {
                [0, 1] => break,
                [0, _] => at += 2,
                _ => at += 1,
            }
        }
        at += 2;
    }
    Some(key.split_at(at))
}

/// A state key from its escaped form.
pub(crate) fn unescape(escaped: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = escaped.strip_suffix(&[0, 1])?;
    if !inner.contains(&0) {
        return Some(Cow::Borrowed(inner));
    }
    let mut key = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        key.push(byte);
        if byte == 0 && bytes.next() != Some(&0xff) {
            return None;
        }
    }
    Some(Cow::Owned(key))
}

impl ObjectCache {
    pub(crate) fn new() -> Self {
        Self { objects: LruCache::unbounded(), bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All state of an object, if it is known.
    pub(crate) fn rows(&mut self, object: &[u8]) -> Option<&[(Bytes, Bytes)]> {
        self.objects.get(object).map(|object| &object.rows[..])
    }

    /// One row, if the object's state is known: `Some(None)` is a key that is not there.
    pub(crate) fn row(&mut self, stored: &[u8]) -> Option<Option<Bytes>> {
        let (object, key) = split_stored(stored)?;
        let rows = &self.objects.get(object)?.rows;
        let key = unescape(key)?;
        Some(find(rows, &key).ok().map(|at| rows[at].1.clone()))
    }

    /// Takes in a row that was written or deleted.
    pub(crate) fn set(&mut self, stored: &[u8], row: Option<&[u8]>) {
        let Some((object, key)) = split_stored(stored) else { return };
        let Some(cached) = self.objects.get_mut(object) else { return };
        let Some(key) = unescape(key) else { return };
        let before = cached.bytes;
        match (find(&cached.rows, &key), row) {
            (Ok(at), Some(row)) => {
                cached.bytes += row.len();
                cached.bytes -= cached.rows[at].1.len();
                cached.rows[at].1 = Bytes::copy_from_slice(row);
            }
            (Err(at), Some(row)) => {
                cached.bytes += key.len() + row.len() + ROW_OVERHEAD;
                cached.rows.insert(at, (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(row)));
            }
            (Ok(at), None) => {
                let (key, row) = cached.rows.remove(at);
                cached.bytes -= key.len() + row.len() + ROW_OVERHEAD;
            }
            (Err(_), None) => {}
        }
        let (after, keys) = (cached.bytes, cached.rows.len());
        self.bytes = self.bytes - before + after;
        if after > OBJECT_BYTES_MAX || keys > OBJECT_KEYS_MAX {
            self.forget(object);
        }
    }

    /// Takes in all state of an object as it was read, sorted.
    pub(crate) fn fill(&mut self, object: &[u8], rows: Vec<(Bytes, Bytes)>) {
        self.forget(object);
        let of_rows: usize = rows.iter().map(|(key, row)| key.len() + row.len() + ROW_OVERHEAD).sum();
        let bytes = OBJECT_OVERHEAD + object.len() + of_rows;
        if bytes <= OBJECT_BYTES_MAX && rows.len() <= OBJECT_KEYS_MAX {
            self.bytes += bytes;
            self.objects.put(object.into(), Object { rows, bytes });
        }
    }

    /// Evicts until the bound holds.
    pub(crate) fn trim(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some((_, object)) = self.objects.pop_lru() else { break };
            self.bytes -= object.bytes;
        }
    }

    fn forget(&mut self, object: &[u8]) {
        if let Some(object) = self.objects.pop(object) {
            self.bytes -= object.bytes;
        }
    }
}

fn find(rows: &[(Bytes, Bytes)], key: &[u8]) -> Result<usize, usize> {
    rows.binary_search_by(|(of, _)| of[..].cmp(key))
}

#[cfg(test)]
mod tests {
    use millrace_model::{
        invocation::ObjectKey,
        table::{State, stored_key},
    };

    use super::*;

    fn stored(object: &str, key: &'static [u8]) -> Vec<u8> {
        let object = ObjectKey { service: "S\0".into(), key: object.into() };
        stored_key::<State>(&(object, Bytes::from_static(key)))
    }

    fn prefix(object: &str) -> Vec<u8> {
        split_stored(&stored(object, b"")).unwrap().0.to_vec()
    }

    #[test]
    fn stored_keys_are_taken_apart() {
        for object in ["", "k", "\0", "a\0b", "\u{1}"] {
            for key in [&b""[..], b"x", b"\0", b"\0\x01", b"a\0\0b", b"\xff\0\xff"] {
                let stored = stored(object, key);
                let (of, escaped) = split_stored(&stored).unwrap();
                assert_eq!(of, prefix(object));
                assert_eq!(unescape(escaped).unwrap(), key);
            }
        }
        assert_eq!(split_stored(&[0x30, b'a', 0]), None);
        assert_eq!(unescape(&[0, 2, 0, 1]), None);
        assert_eq!(unescape(b"a"), None);
    }

    #[test]
    fn keeps_all_state_of_an_object_or_none() {
        let mut cache = ObjectCache::new();
        cache.set(&stored("o", b"a"), Some(b"1"));
        assert_eq!(cache.row(&stored("o", b"a")), None, "other state of it is not known");
        cache.fill(&prefix("o"), vec![]);
        assert_eq!(cache.row(&stored("o", b"a")), Some(None));
        for key in [&b"b"[..], b"a\0", b"a", b"c"] {
            cache.set(&stored("o", key), Some(key));
        }
        cache.set(&stored("o", b"a"), Some(b"22"));
        cache.set(&stored("o", b"c"), None);
        cache.set(&stored("o", b"d"), None);
        let rows: Vec<_> = cache.rows(&prefix("o")).unwrap().iter().map(|(k, v)| (&k[..], &v[..])).collect();
        assert_eq!(rows, [(&b"a"[..], &b"22"[..]), (b"a\0", b"a\0"), (b"b", b"b")]);
        assert_eq!(cache.row(&stored("o", b"a\0")), Some(Some(Bytes::from_static(b"a\0"))));
        assert_eq!(cache.row(&stored("p", b"a")), None);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut cache = ObjectCache::new();
        for i in 0..100 {
            cache.fill(&prefix(&i.to_string()), vec![]);
            cache.set(&stored(&i.to_string(), b"k"), Some(&[0; 100]));
            cache.trim(2000);
            assert!(cache.bytes() <= 2000);
        }
        let sum: usize = cache.objects.iter().map(|(_, object)| object.bytes).sum();
        assert_eq!(cache.bytes(), sum);
        cache.set(&stored("99", b"large"), Some(&vec![0; OBJECT_BYTES_MAX]));
        assert_eq!(cache.rows(&prefix("99")), None, "too large to be kept");
        let many = |n: usize| (0..n).map(|i| (Bytes::from(format!("{i:05}")), Bytes::new())).collect::<Vec<_>>();
        cache.fill(&prefix("m"), many(OBJECT_KEYS_MAX));
        assert!(cache.rows(&prefix("m")).is_some());
        cache.fill(&prefix("m"), many(OBJECT_KEYS_MAX + 1));
        assert_eq!(cache.rows(&prefix("m")), None);
    }
}
