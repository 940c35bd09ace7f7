//! One node: what is started in which order, and stopped in the reverse one.
//!
//! ```text
//! start: log ─> stores, replayed ─> metadata ─> invoker ─> leaders ─> subscriptions, ingress, admin
//! stop:  ingress drains ─> subscriptions, admin ─> leaders ─> stores flushed ─> metadata ─> log
//! ```

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use millrace_admin::{Admin, AdminConfig, Leaders};
use millrace_cluster::{
    Metadata,
    meta::{
        handle::OpenOptions,
        loglet::{LogletMeta, MetaReports},
        object::KafkaCluster,
        record::Create,
        service::Defaults,
    },
};
use millrace_ingress::IngressConfig;
use millrace_invoker::{ClientConfig, HttpInvoker, InvokerConfig, InvokerParts};
use millrace_log::{AdmissionError, LocalLog, LocalLogConfig, Loglet};
use millrace_model::{Env, PartitionId, TimestampMs, codes, command::AnnounceLeader};
use millrace_partition::{DriverError, Drivers, Equipment, Handle, LeaderConfig};
use millrace_store::{PartitionStore, SharedResources, StoreConfig};
use millrace_subscriptions::Subscriptions;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::wiring::{Catalog, EndpointDiscoverer, LibrdkafkaOptions, SubscriptionReports, SystemEnv};

/// Partitions that one driver thread leads are dealt out so that this many cores have one.
const CORES_PER_DRIVER: usize = 4;
/// How often the disk is looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(1);

/// Everything a node is made of, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All data of the node.
    pub base_dir: PathBuf,
    /// Its name.
    pub node_name: String,
    /// Where others reach it.
    pub advertised_address: String,
    /// Compared with what the cluster was created with.
    pub cluster_name: String,
    /// The same.
    pub partitions: u16,
    /// Section `[ingress]`.
    pub ingress: IngressConfig,
    /// Where callers reach the ingress, if that is another address.
    pub advertised_ingress: Option<String>,
    /// Section `[admin]`.
    pub admin: AdminConfig,
    /// Section `[worker.invoker]`.
    pub invoker: InvokerConfig,
    /// Connections to services.
    pub client: ClientConfig,
    /// Section `[worker.storage]`.
    pub store: StoreConfig,
    /// Section `[log.local]`.
    pub log: LocalLogConfig,
    /// Where neither handler nor service says anything.
    pub defaults: Defaults,
    /// `[[ingress.kafka-clusters]]`.
    pub kafka_clusters: Vec<KafkaCluster>,
    /// `worker.num-timers-in-memory-limit`.
    pub timers_in_memory: usize,
    /// `worker.cleanup-interval`.
    pub cleanup_interval: Duration,
    /// Admission of new work stops when the disk is fuller than this share, 0 to 1.
    pub disk_watermark: f64,
}

/// A node that runs.
pub struct Node {
    /// Where the ingress listens.
    pub ingress_address: SocketAddr,
    /// Where the admin API listens.
    pub admin_address: SocketAddr,
    /// Reaches the leaders.
    pub handle: Handle,
    stopping: watch::Sender<bool>,
    tasks: Tasks,
    drivers: millrace_partition::Running,
    fatal: mpsc::Receiver<anyhow::Error>,
    log: Arc<LocalLog>,
}

struct Tasks {
    ingress: tokio::task::JoinHandle<()>,
    admin: tokio::task::JoinHandle<()>,
    subscriptions: tokio::task::JoinHandle<()>,
    metadata: tokio::task::JoinHandle<()>,
    /// Told to stop after everything else.
    metadata_stop: tokio::sync::oneshot::Sender<()>,
}

/// Starts a node; resolves when it serves.
pub async fn start(settings: Settings) -> anyhow::Result<Node> {
    let env: Arc<dyn Env> = Arc::new(SystemEnv);
    let runtime = tokio::runtime::Handle::current();
    let (fatal_sender, fatal) = mpsc::channel(8);

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let drivers = Drivers::new(settings.partitions, cores.div_ceil(CORES_PER_DRIVER), Arc::clone(&env));
    let handle = drivers.handle();
    let (reports, meta_reports) = MetaReports::new(drivers.sink());
    let log = LocalLog::open(settings.base_dir.join("log"), &settings.log, Arc::new(reports))
        .context("the log cannot be opened")?;
    let log = Arc::new(log);

    let opened = open_stores(&settings, Arc::clone(&log));
    let stores = tokio::task::spawn_blocking(opened).await.context("opening the stores was interrupted")??;
    let meta_log = LogletMeta::new(Arc::clone(&log) as Arc<dyn Loglet>, meta_reports);
    let (metadata, metadata_task) = Metadata::open(
        Box::new(meta_log),
        OpenOptions {
            folder: settings.base_dir.join("meta"),
            create: Create { name: settings.cluster_name.clone(), partitions: settings.partitions },
            node: settings.node_name.clone(),
            kafka_clusters: settings.kafka_clusters.clone(),
            env: Arc::clone(&env),
        },
    )
    .await
    .context("the metadata cannot be opened")?;
    let held_back = Arc::clone(&log);
    let metadata_task =
        metadata_task.with_held_back(Box::new(move || held_back.held_back().contains(&PartitionId::META)));
    let (metadata_stop, metadata_stopped) = tokio::sync::oneshot::channel::<()>();
    let failed = fatal_sender.clone();
    let metadata_running = tokio::spawn(async move {
        let stopped = async move { _ = metadata_stopped.await };
        if let Err(error) = metadata_task.run(stopped).await {
            let _ = failed.send(anyhow::Error::new(error).context("the metadata stopped")).await;
        }
    });

    let defaults = Arc::new(settings.defaults.clone());
    let catalog = Catalog::new(metadata.clone(), Arc::clone(&defaults));
    let invoker = HttpInvoker::new(
        InvokerParts {
            proposals: handle.clone(),
            registry: Arc::new(catalog.clone()),
            env: Arc::clone(&env),
            config: settings.invoker.clone(),
            client: settings.client.clone(),
            cluster_name: Some(settings.cluster_name.clone()),
        },
        runtime.clone(),
    )
    .context("the invoker cannot be started")?;

    let leader_config = LeaderConfig {
        announce: AnnounceLeader {
            cluster: metadata.schema().cluster_id(),
            node: settings.node_name.as_str().into(),
            address: settings.advertised_address.as_str().into(),
            partitions: settings.partitions,
            now: TimestampMs(0),
            nonce: 0,
        },
        timers_in_memory: settings.timers_in_memory,
        cleanup_interval_ms: settings.cleanup_interval.as_millis() as u64,
        eager_state_bytes_max: settings.invoker.eager_state_bytes_max(),
    };
    let held_back = Arc::clone(&log);
    let equipment = Equipment {
        log: Arc::clone(&log) as Arc<dyn Loglet>,
        invoker: Arc::new(invoker),
        env: Arc::clone(&env),
        config: Arc::new(leader_config),
        held_back: Some(Arc::new(move || held_back.held_back())),
    };
    let failed = fatal_sender.clone();
    let drivers = drivers
        .start(equipment, stores, move |end: Result<(), DriverError>| {
            if let Err(error) = end {
                // Full: somebody has said already why the node ends.
                let _ = failed.try_send(anyhow::Error::new(error));
            }
        })
        .context("a driver thread cannot be started")?;

    let (stopping, stopped) = watch::channel(false);
    let until_stop = || {
        let mut stopped = stopped.clone();
        async move { _ = stopped.wait_for(|stopping| *stopping).await }
    };
    let subscriptions = Subscriptions::new(metadata.clone(), handle.clone(), Arc::clone(&env), Arc::clone(&defaults));
    let board = subscriptions.board();
    let ingress =
        millrace_ingress::Server::bind(settings.ingress.clone(), handle.clone(), catalog, Arc::clone(&env)).await?;
    let ingress_address = ingress.local_addr();
    let discoverer = millrace_invoker::Discoverer::new(settings.client.clone(), Some(&settings.cluster_name), runtime)?;
    let admin = Admin {
        metadata: metadata.clone(),
        discoverer: Arc::new(EndpointDiscoverer(discoverer)),
        engine: Arc::new(Leaders::new(handle.clone())),
        subscriptions: Arc::new(SubscriptionReports { handle: handle.clone(), board, metadata }),
        options: Arc::new(LibrdkafkaOptions),
        env,
        defaults,
        ingress_endpoint: Some(
            settings.advertised_ingress.clone().unwrap_or_else(|| format!("http://{ingress_address}/")),
        ),
    };
    let admin = millrace_admin::Server::bind(&settings.admin, admin).await?;
    let admin_address = admin.local_addr();
    // What the stores hold in memory has to fit onto the disk, and once more while it is compacted.
    let reserve = settings.store.rocksdb_total_memory_size.0;
    let limits = DiskLimits { watermark: settings.disk_watermark, reserve };
    tokio::spawn(watch_disk(settings.base_dir.clone(), limits, Arc::clone(&log), handle.clone()));
    let tasks = Tasks {
        ingress: tokio::spawn(ingress.run(until_stop())),
        admin: tokio::spawn(admin.run(until_stop())),
        subscriptions: tokio::spawn(subscriptions.run(until_stop())),
        metadata: metadata_running,
        metadata_stop,
    };
    info!(ingress = %ingress_address, admin = %admin_address, partitions = settings.partitions, "millrace serves");
    Ok(Node { ingress_address, admin_address, handle, stopping, tasks, drivers, fatal, log })
}

impl Node {
    /// Serves until `shutdown` resolves or something fails for good, then stops in order.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            failed = self.fatal.recv() => Err(failed.unwrap_or_else(|| anyhow::anyhow!("the node has ended"))),
        };
        if let Err(error) = &outcome {
            error!(error = format_args!("{error:#}"), "the node cannot go on");
        } else {
            info!("shutting down: requests under way are finished first");
        }
        self.handle.stop_admission();
        self.stopping.send_replace(true);
        for (what, task) in
            [("ingress", self.tasks.ingress), ("subscriptions", self.tasks.subscriptions), ("admin", self.tasks.admin)]
        {
            if task.await.is_err() {
                warn!(what, "a part ended early");
            }
        }
        let drivers = self.drivers;
        tokio::task::spawn_blocking(move || drivers.stop()).await.context("the leaders were interrupted")?;
        let _ = self.tasks.metadata_stop.send(());
        let _ = self.tasks.metadata.await;
        // Writes what waits. Nobody appends any more.
        tokio::task::spawn_blocking(move || drop(self.log)).await.context("the log was interrupted")?;
        if outcome.is_ok() {
            info!("stopped");
        }
        outcome
    }
}

/// Opens every partition's store and lets it catch up with the log.
fn open_stores(
    settings: &Settings,
    log: Arc<LocalLog>,
) -> impl FnOnce() -> anyhow::Result<BTreeMap<PartitionId, PartitionStore>> + Send + 'static {
    let (folder, config, partitions) =
        (settings.base_dir.join("partitions"), settings.store.clone(), settings.partitions);
    move || {
        let shared = SharedResources::new(&config).context("RocksDB cannot be set up")?;
        let mut stores = BTreeMap::new();
        for p in 0..partitions {
            let partition = PartitionId(p);
            let store = PartitionStore::open(&folder.join(p.to_string()), partition, &shared)
                .with_context(|| format!("the store of partition {p} cannot be opened"))?;
            stores.insert(partition, store);
        }
        millrace_partition::replay(&log, None, &mut stores).context("the log cannot be replayed")?;
        Ok(stores)
    }
}

/// When a disk counts as full: above the watermark, a share of it, or with less than the reserve free, in bytes.
#[derive(Clone, Copy, Debug)]
struct DiskLimits {
    watermark: f64,
    reserve: u64,
}

/// Stops admission before the disk is full.
async fn watch_disk(folder: PathBuf, limits: DiskLimits, log: Arc<LocalLog>, handle: Handle) {
    let mut full = false;
    let mut interval = tokio::time::interval(DISK_INTERVAL);
    let log = Arc::downgrade(&log);
    loop {
        interval.tick().await;
        let Some(log) = log.upgrade() else { return };
        let (used, free) = disk_usage(&folder).unwrap_or((0.0, u64::MAX));
        // A backlog of the log passes by itself, and is the leaders' concern.
        let log_full = matches!(log.admission(), Err(AdmissionError::Disk { .. }));
        let now_full = used >= limits.watermark || free < limits.reserve || log_full;
        if now_full != full {
            full = now_full;
            handle.set_storage_full(full);
            if full {
                error!(
                    used,
                    free,
                    watermark = limits.watermark,
                    reserve = limits.reserve,
                    error_code = codes::LOG0004.id,
                    "the disk is almost full: no new work is taken"
                );
            } else {
                info!(used, "there is room on the disk again: new work is taken");
            }
        }
    }
}

/// Share of the file system that is used, 0 to 1, and free bytes.
fn disk_usage(folder: &Path) -> std::io::Result<(f64, u64)> {
    let stat = rustix::fs::statvfs(folder)?;
    if stat.f_blocks == 0 {
        return Ok((0.0, u64::MAX));
    }
    let used = 1.0 - stat.f_bavail as f64 / stat.f_blocks as f64;
    Ok((used, stat.f_bavail.saturating_mul(stat.f_frsize)))
}
