//! One source partition being read: librdkafka's fetcher, its queue, and what was taken but not yet handed out.

use std::collections::VecDeque;
use std::ffi::CString;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::feed::Mailbox;
use super::{Assigned, Claim, SourceId};
use crate::error::ClientError;
use crate::handle::Handle;
use crate::queue::{Queue, Wake};
use crate::record::{Fetched, Message, RecordBatch, copy_out};

/// Records of one batch. Large enough that the cost of a batch does not matter, small enough to be fair.
pub const BATCH_RECORDS_MAX: usize = 1024;

/// Bytes of one batch, unless its first record alone is larger. Copying this much takes about 50 µs of an async thread.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Tells the feed that the source's queue has something.
pub(super) struct SourceWake {
    id: SourceId,
    /// Set from the callback until the source is looked at, so that it is in the mailbox at most once.
    ready: AtomicBool,
    mailbox: Arc<Mailbox>,
}

impl Wake for SourceWake {
    fn wake(&self) {
        if !self.ready.swap(true, Ordering::AcqRel) {
            self.mailbox.push(self.id);
        }
    }
}

/// What a look at a source gave.
pub(super) enum Taken {
    Nothing,
    Batch(RecordBatch),
    /// An error entry of the queue, at the position where the source stands.
    Error(RDKafkaErrorCode, String),
}

/// librdkafka's side of a source: a reference to the topic, the queue, and whether it fetches. Dropping it blocks for a
/// moment (until librdkafka's main thread has stopped the fetcher), so the feed drops it on a blocking thread.
pub(super) struct Fetch {
    queue: Queue<SourceWake>,
    topic: *mut sys::rd_kafka_topic_t,
    partition: i32,
    started: bool,
    /// Given back after the fetcher stopped, so that whoever claims next cannot overtake it.
    _claim: Claim,
}

// SAFETY: librdkafka's objects may be used from any thread.
unsafe impl Send for Fetch {}
// SAFETY: as above; every mutation needs `&mut`.
unsafe impl Sync for Fetch {}

impl Fetch {
    fn start(&mut self, offset: i64) -> Result<(), ClientError> {
        // SAFETY: topic and queue are alive. The call only enqueues.
        let failed =
            unsafe { sys::rd_kafka_consume_start_queue(self.topic, self.partition, offset, self.queue.ptr()) != 0 };
        if failed {
            return Err(last_error("start of a source partition"));
        }
        self.started = true;
        Ok(())
    }

    /// Stops fetching and makes everything fetched so far void. Blocks.
    fn stop(&mut self) {
        if std::mem::take(&mut self.started) {
            // SAFETY: the topic is alive. An error means that it was not fetching.
            unsafe { sys::rd_kafka_consume_stop(self.topic, self.partition) };
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.stop();
        // SAFETY: our reference, given back once.
        unsafe { sys::rd_kafka_topic_destroy(self.topic) };
    }
}

fn last_error(operation: &'static str) -> ClientError {
    // SAFETY: reads a thread-local.
    let code = RDKafkaErrorCode::from(unsafe { sys::rd_kafka_last_error() });
    ClientError::of(operation, code, code.to_string(), Duration::ZERO)
}

pub(super) struct Source {
    pub id: SourceId,
    pub topic: Arc<str>,
    pub partition: i32,
    /// The next offset to hand out.
    pub position: i64,
    pub paused: bool,
    /// It is in the feed's run queue.
    pub queued: bool,
    /// Taken from the queue, not handed out: what did not fit into a batch.
    pending: VecDeque<Message>,
    /// An error that came after them.
    failed: Option<(RDKafkaErrorCode, String)>,
    /// `None` while a blocking thread repositions it, and for ever if that was interrupted.
    fetch: Option<Fetch>,
    wake: Arc<SourceWake>,
}

impl Source {
    pub fn start(
        handle: &Arc<Handle>,
        assigned: &Arc<Assigned>,
        mailbox: &Arc<Mailbox>,
        id: SourceId,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Self, ClientError> {
        check_position(partition, offset)?;
        let c_topic = c_topic(topic)?;
        let topic: Arc<str> = topic.into();
        let claim = assigned.claim(&topic, partition)?;
        let wake = Arc::new(SourceWake { id, ready: AtomicBool::new(false), mailbox: mailbox.clone() });
        // SAFETY: the client is alive; the default topic configuration is taken from the client's.
        let native = unsafe { sys::rd_kafka_topic_new(handle.native(), c_topic.as_ptr(), ptr::null_mut()) };
        if native.is_null() {
            return Err(last_error("start of a source partition"));
        }
        let queue = Queue::new(handle, wake.clone());
        let mut fetch = Fetch { queue, topic: native, partition, started: false, _claim: claim };
        fetch.start(offset)?;
        let pending = VecDeque::new();
        Ok(Self {
            id,
            topic,
            partition,
            position: offset,
            paused: false,
            queued: false,
            pending,
            failed: None,
            fetch: Some(fetch),
            wake,
        })
    }

    /// Goes on at `offset`, whatever was before; nothing fetched earlier is handed out any more.
    pub async fn seek(&mut self, offset: i64) -> Result<(), ClientError> {
        check_position(self.partition, offset)?;
        self.pending.clear();
        self.failed = None;
        let Some(mut fetch) = self.fetch.take() else {
            return Err(ClientError::Closed { operation: "seek", reason: "an earlier seek was interrupted".into() });
        };
        let restart = move || {
            fetch.stop();
            fetch.start(offset).map(|()| fetch)
        };
        self.fetch = Some(tokio::task::spawn_blocking(restart).await.map_err(crate::handle::stopped)??);
        self.position = offset;
        Ok(())
    }

    /// Gives up librdkafka's side, to be dropped where blocking is allowed.
    pub fn take_fetch(&mut self) -> Option<Fetch> {
        self.pending.clear();
        self.fetch.take()
    }

    /// True when something could be taken without waiting.
    pub fn has_more(&self) -> bool {
        !self.pending.is_empty()
            || self.failed.is_some()
            || self.fetch.as_ref().is_some_and(|fetch| fetch.queue.len() > 0)
    }

    /// Takes the next batch or error.
    ///
    /// From here on a new entry in an empty queue wakes the feed again.
    pub fn take(&mut self) -> Taken {
        self.wake.ready.store(false, Ordering::Release);
        self.refill();
        if self.pending.is_empty()
            && let Some((code, reason)) = self.failed.take()
        {
            return Taken::Error(code, reason);
        }
        let (count, bytes) = self.measure();
        let broker = self.pending.front().map(Message::broker);
        // Everything in librdkafka's hands came before now.
        let received_at = Instant::now();
        let records = copy_out(&self.pending.make_contiguous()[..count], bytes);
        self.pending.drain(..count);
        let from = self.position;
        let mut to = records.last().map_or(from, |record| record.offset + 1);
        if self.pending.is_empty() {
            to = to.max(self.read_up_to().unwrap_or(to));
        }
        if to == from {
            return Taken::Nothing;
        }
        self.position = to;
        Taken::Batch(RecordBatch {
            source: self.id,
            topic: self.topic.clone(),
            source_partition: self.partition,
            from,
            to,
            records,
            bytes,
            received_at,
            broker,
        })
    }

    /// Moves messages from librdkafka's queue into `pending`, which is then at most one batch long.
    fn refill(&mut self) {
        let Some(fetch) = &self.fetch else { return };
        while self.pending.len() < BATCH_RECORDS_MAX && self.failed.is_none() {
            // SAFETY: the queue is alive and belongs to this source.
            match unsafe { Fetched::take(fetch.queue.ptr()) } {
                Some(Fetched::Record(message)) => self.pending.push_back(message),
                Some(Fetched::Error(code, reason)) => self.failed = Some((code, reason)),
                None => return,
            }
        }
    }

    /// How many messages at the front are one batch, and their size. A batch comes from one broker.
    fn measure(&self) -> (usize, usize) {
        let mut bytes = 0;
        let broker = self.pending.front().map(Message::broker);
        for (count, message) in self.pending.iter().enumerate() {
            let size = message.size();
            if count > 0 && (bytes + size > BATCH_BYTES_MAX || Some(message.broker()) != broker) {
                return (count, bytes);
            }
            bytes += size;
        }
        (self.pending.len(), bytes)
    }

    /// The offset up to which librdkafka handed out or skipped everything: past the last record, and past transaction
    /// markers, which are never handed out. librdkafka forgets it when the fetcher is stopped.
    fn read_up_to(&self) -> Option<i64> {
        let fetch = self.fetch.as_ref()?;
        let mut list = rdkafka::TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, self.partition);
        // SAFETY: client and list are alive; the call fills the list's only element.
        let (code, element) = unsafe {
            let code = sys::rd_kafka_position(fetch.queue.handle().native(), list.ptr());
            (code, &*(*list.ptr()).elems)
        };
        let ok = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        (code == ok && element.err == ok && element.offset >= 0).then_some(element.offset)
    }
}

fn check_position(partition: i32, offset: i64) -> Result<(), ClientError> {
    if partition < 0 || offset < 0 {
        let reason = format!("partition {partition}, offset {offset}: neither may be negative");
        return Err(ClientError::Invalid { operation: "start of a source partition", reason });
    }
    Ok(())
}

pub(super) fn c_topic(topic: &str) -> Result<CString, ClientError> {
    if topic.is_empty() {
        return Err(ClientError::Invalid { operation: "topic name", reason: "is empty".into() });
    }
    CString::new(topic)
        .map_err(|_| ClientError::Invalid { operation: "topic name", reason: "contains a NUL byte".into() })
}
