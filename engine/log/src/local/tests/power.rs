//! Invariant 1: whatever a power loss leaves of what was not synced, no acknowledged append is lost; and nothing that
//! was read once is different later.

use std::collections::BTreeMap;

use super::*;
use crate::local::sim_disk::{Dice, Fault};

#[test]
fn no_acknowledged_append_is_lost() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let disk = SimDisk::new();
        let mut acknowledged: BTreeMap<PartitionId, Vec<Applied>> = BTreeMap::new();
        let mut trimmed: BTreeMap<PartitionId, Applied> = BTreeMap::new();
        for life in 0..4 {
            disk.plan(dice.below(120), if dice.below(4) == 0 { Fault::Error } else { Fault::PowerOff });
            live(&disk, &mut dice, &mut acknowledged, &mut trimmed);
            if dice.below(4) > 0 {
                disk.power_loss(&mut dice)
            } else {
                disk.restart()
            }
            let rig = Rig::open(&disk).unwrap_or_else(|error| panic!("seed={seed} life={life}: {error}"));
            check(&rig, &acknowledged, &trimmed, &format!("seed={seed} life={life}"));
            rig.kill();
        }
    }
}

/// One process, until something fails or it has done enough.
fn live(
    disk: &SimDisk,
    dice: &mut Dice,
    acknowledged: &mut BTreeMap<PartitionId, Vec<Applied>>,
    trimmed: &mut BTreeMap<PartitionId, Applied>,
) {
    let Ok(rig) = Rig::open(disk) else { return };
    let mut next: BTreeMap<PartitionId, (LeaderEpoch, u64)> = BTreeMap::new();
    for _ in 0..80 {
        for _ in 0..=dice.below(4) {
            let partition = [P, Q, PartitionId::META][dice.below(3) as usize];
            let kind = next.get(&partition).map_or(Kind::Announce, |&(epoch, number)| Kind::Commands { epoch, number });
            // One announcement at a time: numbers need the epoch.
            if kind == Kind::Announce {
                rig.settle_into(acknowledged, &mut next);
            }
            let payload = vec![dice.below(256) as u8; dice.below(6000) as usize];
            if kind == Kind::Announce && payload.len() > 3000 {
                continue;
            }
            let Ok(used) = rig.append(partition, kind, &payload) else { continue };
            match kind {
                Kind::Announce => rig.settle_into(acknowledged, &mut next),
                Kind::Commands { epoch, number } => {
                    next.insert(partition, (epoch, number + u64::from(used)));
                }
            }
        }
        rig.settle_into(acknowledged, &mut next);
        let partition = [P, Q, PartitionId::META][dice.below(3) as usize];
        if let Some(known) = acknowledged.get(&partition).filter(|_| dice.below(3) == 0) {
            let upto = known[dice.below(known.len() as u64) as usize];
            // A trim is only as good as the store that it relies on, so it is remembered before it is asked for.
            if upto.lsn > trimmed.get(&partition).map_or(Lsn::NONE, |at| at.lsn) {
                trimmed.insert(partition, upto);
            }
            rig.log.trim(partition, upto);
        }
    }
    if dice.below(2) == 0 { drop(rig) } else { rig.kill() }
}

impl Rig {
    fn settle_into(
        &self,
        acknowledged: &mut BTreeMap<PartitionId, Vec<Applied>>,
        next: &mut BTreeMap<PartitionId, (LeaderEpoch, u64)>,
    ) {
        for report in self.settle() {
            if let Outcome::Placed { .. } = report.outcome {
                let at = applied(&report);
                acknowledged.entry(report.partition).or_default().push(at);
                next.entry(report.partition).or_insert((at.epoch, 1));
            }
        }
    }
}

fn check(
    rig: &Rig,
    acknowledged: &BTreeMap<PartitionId, Vec<Applied>>,
    trimmed: &BTreeMap<PartitionId, Applied>,
    context: &str,
) {
    let from = |partition| trimmed.get(&partition).copied().unwrap_or_default();
    let mut counted: BTreeMap<PartitionId, Vec<Applied>> = BTreeMap::new();
    for (partition, at) in rig.replay(&from).unwrap_or_else(|error| panic!("{context}: {error}")) {
        counted.entry(partition).or_default().push(at);
    }
    for (&partition, known) in acknowledged {
        let counted = counted.remove(&partition).unwrap_or_default();
        let from = from(partition);
        for at in known.iter().filter(|at| at.lsn > from.lsn) {
            assert!(counted.contains(at), "{context}: {at:?} of {partition} is lost");
        }
        if from != Applied::NONE {
            crate::same_history(&rig.log, partition, from).unwrap_or_else(|error| panic!("{context}: {error}"));
        }
    }
}
