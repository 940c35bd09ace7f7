//! The re-creation check: is a topic still the one that was read?
//!
//! librdkafka keeps its offsets silently when a topic is deleted and made again. So nothing that was fetched is taken
//! before a description of the topic, *requested after the fetch*, still shows its id. The broker that served the
//! records is the one that is asked: another one may not have heard yet of what this one has already read from. One
//! request at a time, for each broker, covers everything that came before it.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use millrace_connector_kafka::{Admin, ClientError, TopicInfo};
use parking_lot::Mutex;

struct Last {
    requested_at: Instant,
    info: TopicInfo,
}

/// The last answer of one broker. Locked while it is asked.
type Slot = Arc<tokio::sync::Mutex<Option<Last>>>;

/// Asks about one topic, for all of its readers.
pub struct TopicIdentity {
    admin: Admin,
    topic: String,
    /// By broker; `None` is whoever answers for the cluster. As many as the cluster has ever had brokers.
    slots: Mutex<BTreeMap<Option<i32>, Slot>>,
}

impl TopicIdentity {
    /// Asks through `admin`.
    pub fn new(admin: Admin, topic: String) -> Self {
        Self { admin, topic, slots: Mutex::default() }
    }

    /// The topic as `broker` sees it (`None`: as the cluster does), as of a request that was made after `moment`.
    pub async fn after(&self, moment: Instant, broker: Option<i32>) -> Result<TopicInfo, ClientError> {
        let slot = Arc::clone(self.slots.lock().entry(broker).or_default());
        // Whoever waits here finds the answer of the one before, if that was asked late enough.
        let mut last = slot.lock().await;
        if let Some(last) = &*last
            && last.requested_at > moment
        {
            return Ok(last.info);
        }
        let requested_at = Instant::now();
        let info = self.ask(broker).await?;
        *last = Some(Last { requested_at, info });
        Ok(info)
    }

    async fn ask(&self, broker: Option<i32>) -> Result<TopicInfo, ClientError> {
        let Some(broker) = broker else { return self.admin.describe_topic(&self.topic).await };
        let described = self.admin.describe_topics_at(broker, &[&self.topic]).await?;
        described.into_iter().next().expect("one answer per name").info
    }
}
