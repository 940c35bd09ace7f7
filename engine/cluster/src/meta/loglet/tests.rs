//! The metadata on the log of a node, over several starts.

use std::path::Path;

use millrace_log::{LocalLog, LocalLogConfig};
use millrace_model::{ByteSize, Env, TimestampMs};
use tokio::sync::oneshot;

use super::*;
use crate::meta::{
    Create, Metadata, OpenOptions,
    register::{Breaking, register, tests},
    service::{ServiceSchema, ServiceType},
};

struct Counting(std::sync::atomic::AtomicU64);

impl Env for Counting {
    fn now(&self) -> TimestampMs {
        TimestampMs(1)
    }
    fn random(&self) -> u64 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

struct Nobody;

impl DeliverySink for Nobody {
    fn delivered(&self, _: &[Delivery]) {}
}

async fn run<T>(folder: &Path, env: &Arc<Counting>, work: impl AsyncFnOnce(Metadata) -> T) -> T {
    let (sink, reports) = MetaReports::new(Arc::new(Nobody));
    let config = LocalLogConfig { segment_size: ByteSize::mib(1), ..LocalLogConfig::default() };
    let log = LocalLog::open(folder.join("log"), &config, Arc::new(sink)).unwrap();
    let log: Arc<dyn Loglet> = Arc::new(log);
    let options = OpenOptions {
        folder: folder.join("meta"),
        create: Create { name: "c".into(), partitions: 4 },
        node: "n1".into(),
        kafka_clusters: vec![],
        env: env.clone(),
    };
    let (metadata, task) = Metadata::open(Box::new(LogletMeta::new(log, reports)), options).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(task.run(async move { drop(stopped.await) }));
    let result = work(metadata).await;
    drop(stop);
    running.await.unwrap().unwrap();
    result
}

async fn add(metadata: &Metadata, id: u128, service: &str, documentation: usize) {
    let service = ServiceSchema {
        documentation: Some("x".repeat(documentation)),
        ..tests::service(service, ServiceType::Service)
    };
    let registration = tests::registration(id, &format!("http://{id}/"), tests::endpoint(vec![service]));
    let done = metadata.change(move |schema| {
        let registered = register(schema, &registration, false, Breaking::Refused)?;
        Ok::<_, crate::meta::register::RegisterError>((registered.unwrap().change, ()))
    });
    done.await.unwrap().unwrap();
}

#[tokio::test]
async fn metadata_survives_restarts_on_the_local_log() {
    let folder = tempfile::tempdir().unwrap();
    let env = Arc::new(Counting(1.into()));
    let cluster = run(folder.path(), &env, async |metadata| {
        add(&metadata, 1, "A", 0).await;
        // Several segments, and several parts if the provider splits.
        add(&metadata, 2, "Large", 3 << 20).await;
        metadata.schema().cluster_id()
    })
    .await;
    run(folder.path(), &env, async |metadata| {
        assert_eq!((metadata.schema().cluster_id(), metadata.schema().version()), (cluster, 2));
        add(&metadata, 3, "A", 0).await;
        metadata.checkpoint().await.unwrap().unwrap();
        add(&metadata, 4, "B", 0).await;
    })
    .await;
    run(folder.path(), &env, async |metadata| {
        let schema = metadata.schema();
        let services: Vec<_> = schema.services().map(|s| (s.name.to_string(), s.revision)).collect();
        assert_eq!(services, [("A".to_owned(), 2), ("B".to_owned(), 1), ("Large".to_owned(), 1)]);
        assert_eq!(schema.version(), 4);
    })
    .await;
    // Without the snapshot what it covered is gone, and that is said instead of being guessed.
    std::fs::remove_file(folder.path().join("meta/snapshot")).unwrap();
    let (sink, reports) = MetaReports::new(Arc::new(Nobody));
    let log = LocalLog::open(folder.path().join("log"), &LocalLogConfig::default(), Arc::new(sink)).unwrap();
    let mut log = LogletMeta::new(Arc::new(log), reports);
    let error = log.replay(None, MetaPosition::default(), &mut |_, _| ()).unwrap_err();
    assert_eq!(error.code(), millrace_model::codes::LOG0008);
}
