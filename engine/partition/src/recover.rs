//! The start of an embedded node: its stores catch up with the log, which is read once for all of them.

use std::collections::BTreeMap;

use millrace_log::{LocalLog, Loglet, same_history};
use millrace_model::{Applied, ClusterId, Lsn, PartitionId};
use millrace_store::PartitionStore;
use tracing::info;

use crate::{error::LeaderError, leader::follow, store::Store};

/// Applies to every store what the log has behind it, without effects. `cluster`: whose log it must be, if known.
///
/// Called once, before anything is appended. Refuses another history than a store's.
pub fn replay(
    log: &LocalLog,
    cluster: Option<ClusterId>,
    stores: &mut BTreeMap<PartitionId, PartitionStore>,
) -> Result<(), LeaderError> {
    let mut from = BTreeMap::new();
    for (partition, store) in &*stores {
        let applied = Store::applied(store);
        same_history(log, *partition, applied)?;
        from.insert(*partition, applied);
    }
    // The metadata reads its own part.
    let trimmed = match log.trim_point(PartitionId::META) {
        Lsn::NONE => None,
        lsn => log.fetch(PartitionId::META, lsn)?,
    };
    from.insert(PartitionId::META, trimmed.unwrap_or(Applied::NONE));
    let mut batches = 0u64;
    log.replay_all::<LeaderError>(
        cluster,
        &|partition| from.get(&partition).copied().unwrap_or(Applied::NONE),
        &mut |partition, counted| {
            let Some(store) = stores.get_mut(&partition) else { return Ok(()) };
            batches += 1;
            if batches.is_multiple_of(50_000) {
                info!(partition = partition.0, lsn = counted.lsn.0, batches, "replaying the log");
            }
            follow(store, partition, &counted)
        },
    )?;
    info!(batches, partitions = stores.len(), "replayed the log");
    Ok(())
}
