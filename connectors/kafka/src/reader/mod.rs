//! Reading source partitions by explicit assignment: no group, no membership, no resets.
//!
//! ```text
//!   broker ──> librdkafka ──> one queue per source partition ──(wake)──> Feed::next ──> RecordBatch
//!              fetches, decompresses, stops when a queue is full
//! ```
//!
//! A [`Reader`] is one librdkafka client; a [`Feed`] is the set of source partitions that one task reads through it.
//! librdkafka's own per-partition queue is the only buffer: who does not take from one source partition leaves its
//! queue full, librdkafka stops fetching that partition, and the others go on. There is no polling thread of ours and
//! no second queue: librdkafka calls back when a queue is no longer empty, which wakes the feed's task, and the task
//! takes a batch with one copy.
//!
//! Positions are ours: nothing is committed, nothing is reset (`auto.offset.reset=error`).

mod feed;
mod source;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rdkafka_sys as sys;

use crate::config::ConsumerConfig;
use crate::context::{Trouble, lock};
use crate::error::ClientError;
use crate::handle::{Handle, Kind};

pub use feed::{Event, Feed};
pub use source::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};

/// A source partition within its [`Feed`]; never used twice by the same feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) u64);

/// One client that reads from one cluster. Clones are the same client.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Arc<Handle>,
    assigned: Arc<Assigned>,
}

/// What is being read through this client, so that nobody reads the same twice. librdkafka would mix the two up.
#[derive(Default)]
struct Assigned(Mutex<BTreeSet<(Arc<str>, i32)>>);

impl Assigned {
    /// Reserves a source partition until the [`Claim`] is dropped.
    fn claim(self: &Arc<Self>, topic: &Arc<str>, partition: i32) -> Result<Claim, ClientError> {
        if lock(&self.0).insert((topic.clone(), partition)) {
            Ok(Claim { assigned: self.clone(), topic: topic.clone(), partition })
        } else {
            Err(ClientError::AlreadyAssigned { topic: topic.to_string(), partition })
        }
    }
}

struct Claim {
    assigned: Arc<Assigned>,
    topic: Arc<str>,
    partition: i32,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.assigned.0).remove(&(self.topic.clone(), self.partition));
    }
}

impl Reader {
    /// Makes the client; does not wait for a connection. Fails with `Create` when the properties do not go together
    /// or need something that is not built in.
    ///
    /// Must be called within a tokio runtime, in which the client's callbacks are then served.
    pub async fn start(config: &ConsumerConfig) -> Result<Self, ClientError> {
        let name = format!("reader {}", config.group_id());
        let handle = Handle::open(config.client(), Kind::Consumer, name).await?;
        Ok(Self { shared: Arc::new(Shared { handle, assigned: Arc::default() }) })
    }

    /// Makes a client and throws it away: shows, without a broker, whether the properties go together and everything
    /// they need is built in, which [`ConsumerConfig::new`] cannot tell.
    pub async fn check(config: &ConsumerConfig) -> Result<(), ClientError> {
        Self::start(config).await?.close().await;
        Ok(())
    }

    /// An empty set of source partitions for one task. A partition can be in one feed of a reader at a time.
    pub fn feed(&self) -> Feed {
        Feed::new(self.shared.clone())
    }

    /// The client's last trouble with its brokers. Stays after the trouble is over: compare `at` with the last success.
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.handle.health().last()
    }

    /// The end of a source partition as of the last fetch, without asking the broker: the offset after its last
    /// record. `None` before the first fetch.
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = std::ffi::CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive; the call reads cached numbers.
        let code = unsafe {
            let client = self.shared.handle.native();
            sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
        };
        (code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Lets go of the client and waits until it is gone. Resolves only after all clones and feeds are dropped.
    pub async fn close(self) {
        let closed = self.shared.handle.closed();
        drop(self);
        closed.await;
    }
}
