//! A set of numbers that mostly come in order.

use crate::codec::wire_newtype;

/// Ranges that a set may have; what would need more is not remembered.
pub const RANGES_MAX: usize = 1024;

/// Sorted, disjoint, not adjacent: first and last of each range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexRanges(Vec<(u32, u32)>);
wire_newtype!(IndexRanges);

impl IndexRanges {
    /// Is it in the set?
    pub fn contains(&self, index: u32) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= index);
        behind > 0 && index <= self.0[behind - 1].1
    }

    /// Adds it. `false`: it was there already.
    pub fn insert(&mut self, index: u32) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= index);
        if behind > 0 && index <= self.0[behind - 1].1 {
            return false;
        }
        let joins_before = behind > 0 && self.0[behind - 1].1 + 1 == index;
        let joins_behind = self.0.get(behind).is_some_and(|(first, _)| first - 1 == index);
        match (joins_before, joins_behind) {
            (true, true) => {
                self.0[behind - 1].1 = self.0[behind].1;
                self.0.remove(behind);
            }
            (true, false) => self.0[behind - 1].1 = index,
            (false, true) => self.0[behind].0 = index,
            (false, false) if self.0.len() < RANGES_MAX => self.0.insert(behind, (index, index)),
            (false, false) => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn holds_what_was_added() {
        let (mut ranges, mut set, mut n) = (IndexRanges::default(), BTreeSet::new(), 7u32);
        for _ in 0..2000 {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let index = n >> 23;
            assert_eq!(ranges.insert(index), set.insert(index), "{index}");
        }
        for index in 0..600 {
            assert_eq!(ranges.contains(index), set.contains(&index), "{index}");
        }
        assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ranges:?}");
        for index in [0, u32::MAX] {
            let mut ranges = IndexRanges::default();
            assert!(ranges.insert(index) && !ranges.insert(index));
        }
    }

    #[test]
    fn stays_small() {
        let mut ranges = IndexRanges::default();
        for index in 0..4 * RANGES_MAX as u32 {
            ranges.insert(index * 2);
        }
        assert_eq!(ranges.0.len(), RANGES_MAX);
    }
}
