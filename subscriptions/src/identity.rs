//! The re-creation check: is a topic still the one that was read?
//!
//! librdkafka keeps its offsets silently when a topic is deleted and made again. So nothing that was fetched is taken
//! before a description of the topic, *requested after the fetch*, still shows its id. One request at a time covers
//! everything that came before it.

use std::time::Instant;

use millrace_connector_kafka::{Admin, ClientError, TopicInfo};
use tokio::sync::Mutex;

struct Last {
    requested_at: Instant,
    info: TopicInfo,
}

/// Asks about one topic, for all of its readers.
pub struct TopicIdentity {
    admin: Admin,
    topic: String,
    last: Mutex<Option<Last>>,
}

impl TopicIdentity {
    /// Asks through `admin`.
    pub fn new(admin: Admin, topic: String) -> Self {
        Self { admin, topic, last: Mutex::new(None) }
    }

    /// The topic as of a request that was made after `moment`.
    pub async fn after(&self, moment: Instant) -> Result<TopicInfo, ClientError> {
        // Whoever waits here finds the answer of the one before, if that was asked late enough.
        let mut last = self.last.lock().await;
        if let Some(last) = &*last
            && last.requested_at > moment
        {
            return Ok(last.info);
        }
        let requested_at = Instant::now();
        let info = self.admin.describe_topic(&self.topic).await?;
        *last = Some(Last { requested_at, info });
        Ok(info)
    }
}
