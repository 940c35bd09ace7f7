//! Trimming removes files, survives, and never takes what somebody needs.

use super::*;

fn segments(disk: &SimDisk) -> usize {
    disk.names().iter().filter(|name| name.ends_with(".log")).count()
}

#[test]
fn files_go_when_everybody_in_them_has_trimmed() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let of_q = rig.lead(Q, 1, 10);
    let of_p = rig.lead(P, 200, 500);
    let all = segments(&disk);
    rig.log.trim(P, of_p[150]);
    (0..2).for_each(|_| rig.log.step());
    assert_eq!(segments(&disk), all, "the other partition holds the oldest");
    assert_eq!(rig.log.held_back(), [Q]);
    rig.log.trim(Q, of_q[1]);
    (0..2).for_each(|_| rig.log.step());
    let left = segments(&disk);
    assert!(left <= all - 4, "{left} of {all}");
    assert!(rig.log.held_back().is_empty());
    rig.kill();
    let rig = Rig::open(&disk).unwrap();
    assert_eq!(segments(&disk), left);
    assert_eq!((rig.log.trim_point(P), rig.log.trim_point(Q)), (of_p[150].lsn, of_q[1].lsn));
    let found = rig.replay(&|partition| if partition == P { of_p[150] } else { of_q[1] }).unwrap();
    assert_eq!(found, of_p[151..].iter().map(|at| (P, *at)).collect::<Vec<_>>());
    // A store from before the trim point is not let in.
    assert!(matches!(rig.replay(&|_| Applied::NONE), Err(ReadError::Trimmed { .. })));
    crate::same_history(&rig.log, Q, of_q[1]).unwrap();
    // And reports still know what is before.
    rig.append(Q, Kind::Announce, b"").unwrap();
    let Outcome::Placed { after, .. } = rig.settle()[0].outcome else { panic!("placed") };
    assert_eq!(after, of_q[1].lsn);
}

#[test]
fn a_stop_between_trim_point_and_removal_is_made_up_for() {
    let disk = SimDisk::new();
    let rig = Rig::open(&disk).unwrap();
    let of_p = rig.lead(P, 200, 500);
    rig.log.trim(P, of_p[200]);
    rig.log.core.writer().round(&rig.log.core);
    assert!(!rig.log.core.lock().removable.is_empty());
    let all = segments(&disk);
    rig.kill();
    let rig = Rig::open(&disk).unwrap();
    assert!(segments(&disk) < all / 2);
    rig.lead(P, 2, 10);
}

#[test]
fn a_trim_beyond_the_end_is_ignored() {
    let rig = Rig::open(&SimDisk::new()).unwrap();
    let of_p = rig.lead(P, 1, 10);
    rig.log.trim(P, Applied { lsn: Lsn(u64::MAX), ..of_p[1] });
    assert_eq!(rig.log.trim_point(P), Lsn::NONE);
}

#[test]
fn nobody_is_named_below_the_limit() {
    let rig = Rig::open(&SimDisk::new()).unwrap();
    rig.lead(P, 60, 500);
    assert!(rig.log.held_back().is_empty());
    rig.lead(P, 200, 500);
    assert_eq!(rig.log.held_back(), [P]);
}
