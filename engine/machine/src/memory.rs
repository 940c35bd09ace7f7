//! A partition's state in memory: for tests and the simulation. The store keeps the same bytes in RocksDB.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use millrace_model::{
    DecodeError, InvocationId, Text, Wire,
    invocation::ObjectKey,
    journal::JournalRow,
    table::{Changes, Journal, OrderedKey, Promises, State, Table, key_of_stored, stored_key},
};

use crate::StateView;

/// The stored rows of one partition by their stored keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryView {
    rows: BTreeMap<Vec<u8>, Bytes>,
}

impl MemoryView {
    /// Nothing is in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what one batch changed.
    pub fn commit(&mut self, changes: &Changes) {
        changes.for_each(|_, key, row| match row {
            Some(row) => _ = self.rows.insert(key.to_vec(), Bytes::copy_from_slice(row)),
            None => _ = self.rows.remove(key),
        });
    }

    /// Rows in all tables.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// There is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Stored keys and rows of all tables, in key order.
    pub fn stored(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows.iter().map(|(key, row)| (&key[..], &row[..]))
    }

    /// Calls `f` with the rows of a table in key order, beginning with `from`, until it breaks.
    pub fn scan<T: Table>(
        &self,
        from: Option<&T::Key>,
        f: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        let first = from.map_or_else(|| vec![T::TAG], stored_key::<T>);
        for (key, row) in self.rows.range(first..).take_while(|(key, _)| key[0] == T::TAG) {
            let key = key_of_stored::<T>(key).ok_or(DecodeError::Malformed(T::NAME))?;
            if f(key, T::Row::decode(row.clone())?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The first `len` entries of a journal. One that is missing is an error.
    pub fn journal(&self, id: InvocationId, len: u32) -> Result<Vec<JournalRow>, DecodeError> {
        (0..len).map(|index| self.get::<Journal>(&(id, index))?.ok_or(DecodeError::End)).collect()
    }

    /// Rows of one object in a table, by what stands behind the object in their keys.
    fn of_object<T: Table>(&self, object: &ObjectKey) -> impl Iterator<Item = (Vec<u8>, &Bytes)> {
        let mut prefix = vec![T::TAG];
        object.put_key(&mut prefix);
        let len = prefix.len();
        let first = prefix.clone();
        self.rows
            .range(first..)
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(move |(key, row)| (key[len..].to_vec(), row))
    }

    /// Equal to the store's when keys and rows of all tables are.
    pub fn content_hash(&self) -> u64 {
        let mut hash = ContentHash::default();
        self.stored().for_each(|(key, row)| hash.add(key, row));
        hash.finish()
    }
}

impl StateView for MemoryView {
    type Error = DecodeError;

    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, DecodeError> {
        self.rows.get(&stored_key::<T>(key)).map(|row| T::Row::decode(row.clone())).transpose()
    }

    fn state(&self, object: &ObjectKey) -> Result<Vec<(Bytes, Bytes)>, DecodeError> {
        self.of_object::<State>(object)
            .map(|(key, row)| {
                let key = Bytes::get_key(&mut &key[..]).ok_or(DecodeError::Malformed(State::NAME))?;
                Ok((key, Bytes::decode(row.clone())?))
            })
            .collect()
    }

    fn promises(&self, object: &ObjectKey) -> Result<Vec<Text>, DecodeError> {
        self.of_object::<Promises>(object)
            .map(|(key, _)| Text::get_key(&mut &key[..]).ok_or(DecodeError::Malformed(Promises::NAME)))
            .collect()
    }
}

/// A hash over stored keys and rows in key order: tells states apart that should be the same (invariant 2 of
/// DESIGN.md). FNV-1a over lengths and bytes; not for bytes that somebody chose to collide.
#[derive(Clone, Copy, Debug)]
pub struct ContentHash(u64);

impl Default for ContentHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl ContentHash {
    /// Adds the next row.
    pub fn add(&mut self, key: &[u8], row: &[u8]) {
        for part in [key, row] {
            // The length first, so that no byte can move from one part to the next.
            let len = (part.len() as u64).to_le_bytes();
            for &byte in len.iter().chain(part) {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }

    /// The hash of what was added.
    pub fn finish(self) -> u64 {
        self.0
    }
}
