//! Torn tails are cut off, damage where it had been synced is an error (issue: torn write at every byte of the last
//! record, a flipped bit in the middle).

use millrace_model::codes::{self, Coded};

use super::*;
use crate::local::format::GROUP_HEADER;
use crate::local::segment;

/// A log killed after four acknowledged batches, and the offset at which the last one's group begins.
fn four() -> (SimDisk, Vec<Applied>, usize) {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let all = rig.lead(P, 3, 40);
    rig.kill();
    let last = all[3].lsn.0 - GROUP_HEADER;
    (disk, all, last as usize)
}

fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).expect("not empty") + 1
}

#[test]
fn a_torn_write_at_every_byte_of_the_last_group_is_cut_off() {
    let (disk, all, last) = four();
    let name = segment::name(0);
    let whole = disk.contents(&name);
    let end = end_of(&whole);
    for torn in last..end {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[torn..].fill(0);
        disk.put(&name, bytes);
        let rig = Rig::open(&disk).unwrap();
        assert_eq!(rig.counted(P), all[..3], "torn at {torn}");
        // It goes on as if the last one had never been.
        let more = rig.lead(P, 2, 40);
        assert_eq!(rig.counted(P), [&all[..3], &more].concat(), "torn at {torn}");
        rig.kill();
        assert_eq!(Rig::open(&disk).unwrap().counted(P), [&all[..3], &more].concat(), "torn at {torn}");
    }
}

#[test]
fn a_torn_write_that_lost_its_begin_is_cut_off() {
    let (disk, all, last) = four();
    let name = segment::name(0);
    let whole = disk.contents(&name);
    for lost in last..end_of(&whole) {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[last..=lost].fill(0);
        disk.put(&name, bytes);
        let rig = Rig::open(&disk).unwrap();
        assert_eq!(rig.counted(P), all[..3], "lost up to {lost}");
        rig.kill();
        let left = disk.contents(&name);
        let rig = Rig::open(&disk).unwrap();
        assert_eq!(rig.counted(P), all[..3]);
        assert_eq!(left[end_of(&left)..], whole[end_of(&left)..].iter().map(|_| 0).collect::<Vec<u8>>());
    }
}

#[test]
fn a_flipped_bit_in_the_middle_is_corruption_with_file_and_offset() {
    let (disk, _, last) = four();
    let name = segment::name(0);
    let whole = disk.contents(&name);
    for at in 0..last {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        disk.put(&name, bytes);
        let error = Rig::open(&disk).err().unwrap_or_else(|| panic!("the flip at {at} is not seen"));
        let OpenError::Read(ReadError::Corrupt { path, offset, .. }) = &error else { panic!("{error}") };
        assert_eq!(error.code(), codes::LOG0003);
        assert!(path.ends_with(&name), "{error}");
        assert!(*offset <= at as u64 && at as u64 - offset < 200, "{offset} for {at}");
    }
}

#[test]
fn a_flipped_bit_in_the_last_group_is_corruption_once_a_later_one_vouches() {
    let (disk, _, last) = four();
    drop(Rig::open(&disk).unwrap());
    let name = segment::name(0);
    let mut bytes = disk.contents(&name);
    bytes[last + 60] ^= 1;
    disk.put(&name, bytes);
    let error = Rig::open(&disk).err().unwrap();
    assert_eq!(error.code(), codes::LOG0003);
    assert!(error.to_string().ends_with(&format!("at offset {last}")), "{error}");
}

#[test]
fn damage_in_an_old_segment_stops_the_replay() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    rig.lead(P, 200, 500);
    drop(rig);
    for name in [segment::name(0), segment::name(32 << 10)] {
        let disk = disk.copy();
        let mut bytes = disk.contents(&name);
        let at = 9000;
        bytes[at] ^= 0x10;
        disk.put(&name, bytes);
        let rig = Rig::open(&disk).unwrap();
        let Err(ReadError::Corrupt { path, offset, .. }) = rig.replay(&|_| Applied::NONE) else { panic!("replayed") };
        assert!(path.ends_with(&name));
        assert!((8000..=9000).contains(&offset), "{offset}");
        let mut reader = rig.log.read(P, Lsn::NONE).unwrap();
        assert!(std::iter::repeat_with(|| reader.next()).any(|next| matches!(next, Err(ReadError::Corrupt { .. }))));
    }
}

#[test]
fn a_missing_segment_is_corruption() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    rig.lead(P, 100, 500);
    drop(rig);
    for start in [0, 16 << 10, 32 << 10] {
        let copy = SimDisk::new();
        for name in disk.names().into_iter().filter(|name| *name != segment::name(start)) {
            copy.put(&name, disk.contents(&name));
        }
        let opened = Rig::open(&copy);
        let error = opened.err().unwrap_or_else(|| panic!("opened without {start}"));
        assert_eq!(error.code(), codes::LOG0003, "{error}");
    }
}

#[test]
fn groups_inside_payloads_are_not_groups() {
    // The bytes of a whole log as a payload, behind which the next group is torn.
    let (disk, _, _) = four();
    let inner = disk.contents(&segment::name(0));
    let inner = &inner[..end_of(&inner)];
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let mut all = rig.lead(P, 1, 40);
    let epoch = all[0].epoch;
    all.push(rig.put(P, Kind::Commands { epoch, number: 2 }, inner));
    rig.kill();
    let name = segment::name(0);
    let mut bytes = disk.contents(&name);
    bytes[all[2].lsn.0 as usize] ^= 1;
    disk.put(&name, bytes);
    assert_eq!(Rig::open(&disk).unwrap().counted(P), all[..2]);
}

#[test]
fn a_spare_with_remains_is_not_used() {
    // A group reached the next segment, but the one before it was torn: both go, and what is written next is read back.
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let mut all = rig.lead(P, 1, 3000);
    let epoch = all[0].epoch;
    // One round over two segments.
    (2..=7).for_each(|number| {
        rig.append(P, Kind::Commands { epoch, number }, &[7; 3000]).unwrap();
    });
    let torn = applied(&rig.settle()[0]);
    rig.kill();
    assert!(disk.contents(&segment::name(16 << 10))[64..].iter().any(|byte| *byte != 0));
    let name = segment::name(0);
    let mut bytes = disk.contents(&name);
    bytes[torn.lsn.0 as usize] ^= 1;
    disk.put(&name, bytes);
    let rig = Rig::open(&disk).unwrap();
    assert!(disk.contents(&segment::name(16 << 10))[64..].iter().all(|byte| *byte == 0));
    assert_eq!(rig.counted(P), all);
    all.extend(rig.lead(P, 20, 3000));
    rig.kill();
    assert_eq!(Rig::open(&disk).unwrap().counted(P), all);
}
