//! The end of a deleted subscription: its last offsets are committed, then its sources go, then its tombstone.
//!
//! Whatever is interrupted is done again: nothing goes before what is in front of it is done. A new subscription of the
//! same group waits for it, so that it goes on exactly where the deleted one stopped.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use millrace_cluster::{
    Metadata,
    meta::{
        object::Subscription,
        options::of_the_client,
        subscribe::{SubscribeError, bury},
    },
};
use millrace_connector_kafka::{ClientError, Commit, ConsumerConfig};
use millrace_machine::Answer;
use millrace_model::{
    Command, PartitionId, SourceId,
    command::{SeekReason, SeekSource},
};
use millrace_partition::Handle;

use crate::{
    clients::Clients,
    reconcile::{OpenSource, reader},
    worker::{Trouble, close_sources, open_sources},
};

/// How long the last offsets are tried at a time: others wait for it.
const LAST_COMMIT_LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Burial<'a> {
    pub(crate) metadata: &'a Metadata,
    pub(crate) handle: &'a Handle,
    pub(crate) clients: &'a Clients,
}

impl Burial<'_> {
    /// Ends a deleted subscription that nobody reads for any more. `false`: to be tried again.
    pub(crate) async fn bury(&self, tombstone: &Arc<Subscription>) -> bool {
        let id = tombstone.id;
        match self.end(tombstone).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(trouble) => {
                tracing::warn!(subscription = %id, error = %trouble, "could not close its sources");
                return false;
            }
        }
        for p in 0..self.handle.partitions() {
            if self.handle.propose(PartitionId(p), Command::ForgetSubscription { subscription: id }).await.is_err() {
                return false;
            }
        }
        let gone = self.metadata.change(move |schema| Ok::<_, SubscribeError>((bury(schema, id)?, ()))).await;
        // Gone already, by somebody else's hand, is gone.
        gone.is_ok()
    }

    /// What the last readers proposed may still be under way, so the positions are asked for through the log, behind it.
    async fn end(&self, tombstone: &Arc<Subscription>) -> Result<bool, Trouble> {
        let open = open_sources(self.handle, tombstone.id).await?;
        let mut positions = BTreeMap::new();
        for (id, source) in &open {
            positions.insert(id.source_partition, self.final_position(id, source).await?);
        }
        if self.metadata.schema().kafka_cluster(&tombstone.cluster).is_none() {
            let cluster = tombstone.cluster.as_str();
            tracing::info!(subscription = %tombstone.id, cluster, "its cluster is gone: its last offsets are not written");
        } else if !positions.is_empty() {
            match self.commit(tombstone, &positions).await {
                Ok(()) => {}
                Err(error) if error.is_retriable() => {
                    tracing::debug!(subscription = %tombstone.id, error = %error, "could not write its last offsets yet");
                    return Ok(false);
                }
                Err(error) => {
                    tracing::warn!(subscription = %tombstone.id, error = %error, "could not write its last offsets");
                }
            }
        }
        Ok(close_sources(self.handle, open.into_keys()).await)
    }

    async fn commit(&self, tombstone: &Subscription, positions: &BTreeMap<u32, i64>) -> Result<(), ClientError> {
        let schema = self.metadata.schema();
        let invalid = |reason| ClientError::Invalid { operation: "last offsets", reason };
        let cluster = schema
            .kafka_cluster(&tombstone.cluster)
            .ok_or_else(|| invalid(format!("Kafka cluster '{}' is not configured", tombstone.cluster)))?;
        let config = crate::cluster_config(cluster).map_err(invalid)?;
        let options = of_the_client(&tombstone.options);
        let consumer =
            ConsumerConfig::new(&config, &options, &tombstone.id.to_string()).map_err(ClientError::Options)?;
        let admin = self.clients.admin(cluster, &config).await?.with_limit(LAST_COMMIT_LIMIT);
        let commits: Vec<_> = positions
            .iter()
            .map(|(q, offset)| Commit {
                topic: &tombstone.topic,
                partition: *q as i32,
                offset: *offset,
                metadata: "millrace",
            })
            .collect();
        admin.commit(consumer.group_id(), &commits).await
    }

    /// A seek of a generation that no source reaches changes nothing and is answered with the position.
    async fn final_position(&self, id: &SourceId, known: &OpenSource) -> Result<i64, Trouble> {
        let nothing = SeekSource {
            source: id.clone(),
            generation: u32::MAX,
            position: known.position,
            missing: 0,
            reason: SeekReason::Operator,
        };
        let partition = reader(id.source_partition, self.handle.partitions());
        match self.handle.propose(partition, Command::SeekSource(nothing)).await? {
            Answer::Source(Some((_, position))) => Ok(position),
            _ => Ok(known.position),
        }
    }
}
