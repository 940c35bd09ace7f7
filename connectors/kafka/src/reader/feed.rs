//! The source partitions of one task, taken from in turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::Notify;

use super::source::{Fetch, Source, Taken};
use super::{Reader, Shared, SourceId};
use crate::context::{Listener, Trouble, lock};
use crate::error::ClientError;
use crate::record::RecordBatch;

/// Source partitions of one feed. Each costs a queue and its prefetch.
const FEED_SOURCES_MAX: usize = 4096;

/// What a feed tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    Records(RecordBatch),
    /// The log has nothing at `position`: it was trimmed above it, or ends below it. The source stands still until
    /// [`Feed::seek`] or [`Feed::unassign`].
    OffsetOutOfRange {
        source: SourceId,
        position: i64,
        reason: String,
    },
    /// The topic or the partition does not exist (any more). Reading goes on by itself if it comes back, at the old
    /// position: ask for the topic's id before taking anything from it.
    TopicUnknown {
        source: SourceId,
        reason: String,
    },
    /// Something else with this source partition, such as a missing ACL or a corrupt batch. Retried by the client.
    SourceFailed {
        source: SourceId,
        code: RDKafkaErrorCode,
        reason: String,
    },
    /// Brokers cannot be reached or do not let us in. Informational: the client tries for ever.
    BrokerDown {
        reason: String,
    },
    /// The client is of no more use: drop this reader and start another.
    Fatal {
        reason: String,
    },
}

/// Where librdkafka's threads leave word for the feed's task.
pub(super) struct Mailbox {
    /// At most one entry per source, see `SourceWake::ready`.
    ready: Mutex<Vec<SourceId>>,
    /// The latest trouble not yet told; an older one is overwritten.
    trouble: Mutex<Option<Trouble>>,
    notify: Notify,
}

impl Mailbox {
    pub(super) fn push(&self, id: SourceId) {
        lock(&self.ready).push(id);
        self.notify.notify_one();
    }
}

impl Listener for Mailbox {
    fn on_trouble(&self, trouble: &Trouble) {
        *lock(&self.trouble) = Some(trouble.clone());
        self.notify.notify_one();
    }
}

/// A set of source partitions, owned by the one task that reads them.
///
/// Dropping it stops their reading in the background and never blocks.
pub struct Feed {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    sources: BTreeMap<SourceId, Source>,
    /// Sources that may have something, in the order in which they get their turn.
    run: VecDeque<SourceId>,
    next_id: u64,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let mailbox = Arc::new(Mailbox { ready: Mutex::default(), trouble: Mutex::default(), notify: Notify::new() });
        let as_listener: Arc<dyn Listener> = mailbox.clone();
        shared.handle.health().listen(Arc::downgrade(&as_listener) as Weak<dyn Listener>);
        Self { shared, mailbox, sources: BTreeMap::new(), run: VecDeque::new(), next_id: 0 }
    }

    /// Starts reading a source partition at `offset`; never blocks.
    ///
    /// * Nothing is checked against the cluster: a wrong offset or name is an [`Event`] later.
    /// * Errors: `AlreadyAssigned` while this or another feed of the reader has it (also for the moment in which a
    ///   dropped feed is still letting go of it: [`close`](Self::close) waits), `LimitReached`, `Invalid`.
    pub fn assign(&mut self, topic: &str, partition: i32, offset: i64) -> Result<SourceId, ClientError> {
        if self.sources.len() >= FEED_SOURCES_MAX {
            return Err(ClientError::LimitReached { what: "source partitions of a feed", limit: FEED_SOURCES_MAX });
        }
        let id = SourceId(self.next_id);
        let Shared { handle, assigned } = &*self.shared;
        let source = Source::start(handle, assigned, &self.mailbox, id, topic, partition, offset)?;
        self.next_id += 1;
        self.sources.insert(id, source);
        Ok(id)
    }

    /// Goes on at `offset`. Nothing that was fetched before is handed out afterwards; the next batch has `from = offset`.
    ///
    /// Not cancel safe: a source whose seek was dropped half way fails every later one and must be assigned anew.
    pub async fn seek(&mut self, source: SourceId, offset: i64) -> Result<(), ClientError> {
        let found = self.sources.get_mut(&source).ok_or_else(|| unknown(source))?;
        found.seek(offset).await
    }

    /// Stops reading a source partition; when it resolves, the partition can be assigned elsewhere.
    pub async fn unassign(&mut self, source: SourceId) {
        if let Some(mut found) = self.sources.remove(&source) {
            let fetch = found.take_fetch();
            // Fails only when the runtime is going down, and then `fetch` was dropped all the same.
            let _ = tokio::task::spawn_blocking(move || drop(fetch)).await;
        }
    }

    /// Stops reading everything; when it resolves, the partitions can be assigned elsewhere.
    pub async fn close(mut self) {
        let fetches = self.take_fetches();
        let _ = tokio::task::spawn_blocking(move || drop(fetches)).await;
    }

    /// Takes nothing more from a source until [`resume`](Self::resume). What is prefetched stays (at most
    /// `queued.max.messages.kbytes` and one fetch), and the other sources are not held up.
    pub fn pause(&mut self, source: SourceId) {
        if let Some(found) = self.sources.get_mut(&source) {
            found.paused = true;
        }
    }

    pub fn resume(&mut self, source: SourceId) {
        let Some(found) = self.sources.get_mut(&source) else { return };
        if std::mem::take(&mut found.paused) {
            // It may have been skipped while paused, so it gets a turn in any case.
            enqueue(&mut self.run, found);
            self.mailbox.notify.notify_one();
        }
    }

    pub fn is_paused(&self, source: SourceId) -> bool {
        self.sources.get(&source).is_some_and(|found| found.paused)
    }

    /// The next offset to be handed out.
    pub fn position(&self, source: SourceId) -> Option<i64> {
        Some(self.sources.get(&source)?.position)
    }

    /// The end of the source partition as of the last fetch; see [`Reader::high_watermark`].
    pub fn high_watermark(&self, source: SourceId) -> Option<i64> {
        let found = self.sources.get(&source)?;
        Reader { shared: self.shared.clone() }.high_watermark(&found.topic, found.partition)
    }

    /// The next event of any source that is not paused, waiting for one. Sources take turns, one batch each.
    ///
    /// Cancel safe. Waits for ever if nothing is assigned and no broker is in trouble.
    pub async fn next(&mut self) -> Event {
        // Other tasks get their turn even while there is always something to read.
        tokio::task::consume_budget().await;
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.mailbox.notify.notified().await;
        }
    }

    /// The same without waiting. `None`: nothing is there now.
    pub fn try_next(&mut self) -> Option<Event> {
        if let Some(trouble) = lock(&self.mailbox.trouble).take() {
            let reason = trouble.reason;
            return Some(if trouble.fatal { Event::Fatal { reason } } else { Event::BrokerDown { reason } });
        }
        for id in lock(&self.mailbox.ready).drain(..) {
            if let Some(source) = self.sources.get_mut(&id) {
                enqueue(&mut self.run, source);
            }
        }
        while let Some(id) = self.run.pop_front() {
            let Some(source) = self.sources.get_mut(&id) else { continue };
            source.queued = false;
            if source.paused {
                continue; // `resume` puts it back.
            }
            let taken = source.take();
            if source.has_more() {
                enqueue(&mut self.run, source);
            }
            match taken {
                Taken::Nothing => {}
                Taken::Batch(batch) => return Some(Event::Records(batch)),
                Taken::Error(code, reason) => return Some(sort(id, source.position, code, reason)),
            }
        }
        None
    }

    fn take_fetches(&mut self) -> Vec<Fetch> {
        self.sources.values_mut().filter_map(Source::take_fetch).collect()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let fetches = self.take_fetches();
        if fetches.is_empty() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            // If the runtime is going down the closure is dropped, and the fetches with it, right here.
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(fetches))),
            Err(_) => drop(fetches),
        }
    }
}

/// Gives a source a turn, unless it has one.
fn enqueue(run: &mut VecDeque<SourceId>, source: &mut Source) {
    if !std::mem::replace(&mut source.queued, true) {
        run.push_back(source.id);
    }
}

fn unknown(source: SourceId) -> ClientError {
    ClientError::Invalid { operation: "seek", reason: format!("source {} is not assigned", source.0) }
}

fn sort(source: SourceId, position: i64, code: RDKafkaErrorCode, reason: String) -> Event {
    use RDKafkaErrorCode as C;
    match code {
        C::AutoOffsetReset | C::OffsetOutOfRange | C::LogTruncation => {
            Event::OffsetOutOfRange { source, position, reason }
        }
        C::UnknownTopic | C::UnknownTopicOrPartition | C::UnknownPartition | C::UnknownTopicId => {
            Event::TopicUnknown { source, reason }
        }
        C::Fatal => Event::Fatal { reason },
        _ => Event::SourceFailed { source, code, reason },
    }
}
