//! [`Metadata`]: how everybody reads it, and how it is changed.
//!
//! One task writes. It decides against the newest state, appends, waits until that is durable, applies, publishes, and
//! answers; so a change that was answered is in every schema that is read afterwards.

use std::{collections::BTreeMap, future::Future, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use millrace_model::{ClusterId, Env};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::{
    apply::{Applied, State},
    error::{ChangeError, OpenError},
    log::{MetaEntry, MetaLog, MetaLogError, MetaPosition},
    object::{ClusterOrigin, KafkaCluster},
    record::{Body, Change, Create, RECORD_BYTES_MAX, RECORD_VERSION, Record},
    schema::Schema,
    snapshot::{self, SnapshotError},
};

/// Changes that may wait. People and deployment scripts make them, one at a time.
const REQUESTS_MAX: usize = 256;
/// How often a change is decided anew when others came first.
const DECISIONS_MAX: usize = 16;
/// Records after which the whole is written down and the log trimmed: a replay stays far below a second.
const SNAPSHOT_RECORDS: u64 = 256;
/// The same in bytes, for large manifests.
const SNAPSHOT_BYTES: u64 = 16 << 20;

/// What a change's author decides against a schema: what to change, and what to answer once that is done.
pub type Decision<T, E> = Result<(Change, T), E>;

type Decide = Box<dyn FnMut(&Schema) -> Option<Change> + Send>;

enum Request {
    Change { decide: Decide, done: oneshot::Sender<Result<(), ChangeError>> },
    Checkpoint { done: oneshot::Sender<Result<(), SnapshotError>> },
}

struct Shared {
    schema: ArcSwap<Schema>,
    changed: watch::Sender<u64>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Metadata {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

impl Metadata {
    /// What is committed now.
    pub fn schema(&self) -> Arc<Schema> {
        self.shared.schema.load_full()
    }

    /// Carries [`Schema::version`]; resolves when that changes after the receiver last looked. The schema is there
    /// before it resolves.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Changes the metadata and resolves when the change is durable and in [`Metadata::schema`].
    ///
    /// * `decide` is called with the newest schema, and again if others changed the same objects meanwhile. It may
    ///   take some milliseconds. An empty change writes nothing.
    /// * `Ok(Err(_))`: what the author decided; nothing happened.
    /// * Dropping the future takes nothing back.
    pub async fn change<T, E>(
        &self,
        mut decide: impl FnMut(&Schema) -> Decision<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, ChangeError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let decided = Arc::new(Mutex::new(None));
        let slot = decided.clone();
        let decide = Box::new(move |schema: &Schema| {
            let (change, answer) = match decide(schema) {
                Ok((change, answer)) => (Some(change), Ok(answer)),
                Err(error) => (None, Err(error)),
            };
            *slot.lock() = Some(answer);
            change
        });
        let (done, outcome) = oneshot::channel();
        self.offer(Request::Change { decide, done })?;
        outcome.await.map_err(|_| ChangeError::Unknown)??;
        let answer = decided.lock().take();
        Ok(answer.expect("a change that was made was decided"))
    }

    /// Writes a snapshot and trims the log behind it, whatever has changed since the last one: for a log whose oldest
    /// segment is held back by the metadata.
    pub async fn checkpoint(&self) -> Result<Result<(), SnapshotError>, ChangeError> {
        let (done, outcome) = oneshot::channel();
        self.offer(Request::Checkpoint { done })?;
        outcome.await.map_err(|_| ChangeError::Closed)
    }

    fn offer(&self, request: Request) -> Result<(), ChangeError> {
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ChangeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ChangeError::Closed,
        })
    }
}

/// Whether the metadata's records keep the log from removing its oldest part.
pub type HeldBack = Box<dyn Fn() -> bool + Send + Sync>;

/// How often that is asked: a log under full load writes some GiB meanwhile at most.
const HELD_BACK_PERIOD: Duration = Duration::from_secs(10);

/// What opening needs.
pub struct OpenOptions {
    /// Holds the snapshot; made if it is not there.
    pub folder: PathBuf,
    /// What the cluster is created with if the log is empty, and compared with what it was created with otherwise.
    pub create: Create,
    /// Name of this node, for people who read the log.
    pub node: String,
    /// Kafka clusters of this node's configuration.
    pub kafka_clusters: Vec<KafkaCluster>,
    /// Time, and the cluster's id if it is new.
    pub env: Arc<dyn Env>,
}

/// Writes the metadata; nothing changes while it does not run.
pub struct MetadataTask {
    log: Box<dyn MetaLog>,
    state: State,
    position: MetaPosition,
    folder: PathBuf,
    configured: BTreeMap<String, Arc<KafkaCluster>>,
    env: Arc<dyn Env>,
    cluster: ClusterId,
    records: u64,
    bytes: u64,
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    held_back: Option<(HeldBack, Duration)>,
}

impl Metadata {
    /// Reads snapshot and log, announces this process as the writer, and creates the cluster if it is new. Reads files
    /// of some MiB on the calling thread.
    pub async fn open(mut log: Box<dyn MetaLog>, options: OpenOptions) -> Result<(Metadata, MetadataTask), OpenError> {
        let OpenOptions { folder, create, node, kafka_clusters, env } = options;
        std::fs::create_dir_all(&folder).map_err(|source| SnapshotError::Io { path: folder.clone(), source })?;
        let (mut position, mut state) = snapshot::read(&folder)?.unwrap_or_default();
        let (records, bytes, found) = replay(&mut *log, &mut position, &mut state)?;
        let cluster = found.unwrap_or_else(|| ClusterId(env.random_unique()));

        // No two announcements may be the same bytes: that is how one is told from another.
        let nonce = format!("{:032x}", env.random_unique());
        let announcement = serde_json::json!({"v": RECORD_VERSION, "node": node, "at": env.now().0, "nonce": nonce});
        position = log.lead(cluster, announcement.to_string().into_bytes()).await?;
        match &state.identity {
            None => {
                let record = Record { v: RECORD_VERSION, cluster, at: env.now(), body: Body::Create(create) };
                position = log.append(record.encode()).await?;
                state.apply(record).expect("nothing was created before");
                info!(cluster = format_args!("{:032x}", cluster.0), "cluster created");
            }
            Some(identity) => {
                compare("cluster-name", &create.name, &identity.name)?;
                compare("default-num-partitions", &create.partitions, &identity.partitions)?;
            }
        }

        let configured: BTreeMap<_, _> = kafka_clusters
            .into_iter()
            .map(|cluster| (cluster.name.clone(), Arc::new(KafkaCluster { origin: ClusterOrigin::Config, ..cluster })))
            .collect();
        let schema = Schema::new(state.clone(), &configured, None);
        let changed = watch::Sender::new(schema.version());
        let shared = Arc::new(Shared { schema: ArcSwap::from_pointee(schema), changed });
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let metadata = Metadata { shared: shared.clone(), requests: sender };
        let task = MetadataTask {
            log,
            state,
            position,
            folder,
            configured,
            env,
            cluster,
            records,
            bytes,
            shared,
            requests,
            held_back: None,
        };
        Ok((metadata, task))
    }
}

fn compare<T: PartialEq + ToString>(key: &'static str, configured: &T, created: &T) -> Result<(), OpenError> {
    if configured == created {
        return Ok(());
    }
    Err(OpenError::Mismatch { key, configured: configured.to_string(), created: created.to_string() })
}

/// Brings `state` to the tail. Returns how many records and bytes that took, and whose log it is.
fn replay(
    log: &mut dyn MetaLog,
    position: &mut MetaPosition,
    state: &mut State,
) -> Result<(u64, u64, Option<ClusterId>), OpenError> {
    let (mut records, mut bytes, mut fault) = (0, 0, None);
    let (known, from) = (state.identity.as_ref().map(|identity| identity.cluster), *position);
    let mut each = |at: MetaPosition, entry: MetaEntry| {
        if fault.is_some() {
            return;
        }
        if let MetaEntry::Record(payload) = entry {
            records += 1;
            bytes += payload.len() as u64;
            fault = match Record::decode(&payload) {
                Err(source) => Some(OpenError::Record { lsn: at.lsn, source }),
                Ok(record) => state.apply(record).err().map(|source| OpenError::Apply { lsn: at.lsn, source }),
            };
        }
        *position = at;
    };
    let found = log.replay(known, from, &mut each)?;
    fault.map_or(Ok((records, bytes, found)), Err)
}

impl MetadataTask {
    /// Asks `held_back` now and then, and makes room by a snapshot if it says so: metadata changes rarely, and shares its
    /// log with partitions that write much.
    pub fn with_held_back(self, held_back: HeldBack) -> Self {
        Self { held_back: Some((held_back, HELD_BACK_PERIOD)), ..self }
    }

    /// Runs until `shutdown` resolves or the log fails. A change in progress is finished first.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), MetaLogError> {
        tokio::pin!(shutdown);
        let mut ticks = tokio::time::interval(self.held_back.as_ref().map_or(HELD_BACK_PERIOD, |(_, period)| *period));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let asks = self.held_back.is_some();
        loop {
            let request = tokio::select! {
                biased;
                () = &mut shutdown => return Ok(()),
                _ = ticks.tick(), if asks => {
                    if self.held_back.as_ref().is_some_and(|(held_back, _)| held_back()) {
                        self.snapshot_or_warn();
                    }
                    continue;
                }
                request = self.requests.recv() => match request {
                    Some(request) => request,
                    None => return Ok(()),
                },
            };
            match request {
                Request::Checkpoint { done } => {
                    let _ = done.send(self.snapshot());
                }
                Request::Change { decide, done } => {
                    let outcome = self.change(decide).await;
                    let failed = match &outcome {
                        Err(ChangeError::Log(error)) => Some(error.clone()),
                        _ => None,
                    };
                    let _ = done.send(outcome);
                    if let Some(failed) = failed {
                        error!(error = %failed, "the metadata takes no changes any more");
                        return Err(failed);
                    }
                    if self.records >= SNAPSHOT_RECORDS || self.bytes >= SNAPSHOT_BYTES {
                        self.snapshot_or_warn();
                    }
                }
            }
        }
    }

    async fn change(&mut self, mut decide: Decide) -> Result<(), ChangeError> {
        for _ in 0..DECISIONS_MAX {
            let change = match decide(&self.shared.schema.load()) {
                Some(change) if !change.items.is_empty() => change,
                _ => return Ok(()),
            };
            let body = Body::Change(change);
            let record = Record { v: RECORD_VERSION, cluster: self.cluster, at: self.env.now(), body };
            let bytes = record.encode();
            if bytes.len() > RECORD_BYTES_MAX {
                return Err(ChangeError::TooLarge { bytes: bytes.len(), max: RECORD_BYTES_MAX });
            }
            // What is appended must be readable at the next start, down to how deep its JSON is nested; and what is
            // applied is what a reader of the log applies.
            let record = Record::decode(&bytes).map_err(|error| ChangeError::Unreadable(error.to_string()))?;
            self.records += 1;
            self.bytes += bytes.len() as u64;
            self.position = self.log.append(bytes).await?;
            let applied = self.state.apply(record).expect("our own cluster's, and created");
            if applied == Applied::Done {
                self.publish();
                return Ok(());
            }
        }
        Err(ChangeError::Conflict)
    }

    fn publish(&self) {
        let schema = Schema::new(self.state.clone(), &self.configured, Some(&self.shared.schema.load()));
        let version = schema.version();
        self.shared.schema.store(Arc::new(schema));
        self.shared.changed.send_replace(version);
    }

    /// The log keeps everything until the next attempt, so that a failure costs room, not truth.
    fn snapshot_or_warn(&mut self) {
        if let Err(error) = self.snapshot() {
            warn!(%error, "could not write a metadata snapshot");
        }
    }

    fn snapshot(&mut self) -> Result<(), SnapshotError> {
        snapshot::write(&self.folder, self.position, &self.state)?;
        self.log.trim(self.position);
        (self.records, self.bytes) = (0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
