use std::path::Path;

use millrace_model::{
    Lsn, TimestampMs,
    codes::{self, Coded},
};

use super::*;
use crate::meta::{
    log::MemoryLog,
    object::{Object, ObjectRef, Revisions},
    record::Item,
};

struct Fixed;

impl Env for Fixed {
    fn now(&self) -> TimestampMs {
        TimestampMs(1_000)
    }
    fn random(&self) -> u64 {
        7
    }
}

fn options(folder: &Path) -> OpenOptions {
    OpenOptions {
        folder: folder.join("meta"),
        create: Create { name: "c".into(), partitions: 4 },
        node: "n1".into(),
        kafka_clusters: vec![],
        env: Arc::new(Fixed),
    }
}

/// One run of a process on `log`.
async fn run<T>(log: &MemoryLog, folder: &Path, work: impl AsyncFnOnce(Metadata) -> T) -> T {
    let (metadata, task) = Metadata::open(Box::new(log.clone()), options(folder)).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(task.run(async move {
        let _ = stopped.await;
    }));
    let result = work(metadata).await;
    let _ = stop.send(());
    let _ = running.await.unwrap();
    result
}

fn revisions(service: &str, last: u32) -> Object {
    Object::Revisions(Revisions { service: service.into(), last })
}

async fn put(metadata: &Metadata, service: &'static str, last: u32) -> Result<Result<u32, ()>, ChangeError> {
    metadata
        .change(move |schema| Ok((Change { items: vec![schema.state().put_item(revisions(service, last))] }, last)))
        .await
}

#[tokio::test]
async fn changes_survive_a_restart_with_and_without_snapshot() {
    let (folder, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    let id = run(&log, folder.path(), async |metadata| {
        let mut changed = metadata.changed();
        assert_eq!(put(&metadata, "A", 1).await.unwrap(), Ok(1));
        assert!(changed.has_changed().unwrap());
        assert_eq!(*changed.borrow_and_update(), 1);
        assert_eq!(metadata.schema().version(), 1);
        metadata.schema().cluster_id()
    })
    .await;
    let before = log.len();
    run(&log, folder.path(), async |metadata| {
        assert_eq!((metadata.schema().version(), metadata.schema().cluster_id()), (1, id));
        put(&metadata, "B", 1).await.unwrap().unwrap();
        metadata.checkpoint().await.unwrap().unwrap();
        put(&metadata, "C", 1).await.unwrap().unwrap();
    })
    .await;
    assert!(log.len() < before, "trimmed behind the snapshot");
    run(&log, folder.path(), async |metadata| {
        assert_eq!(metadata.schema().version(), 3);
        assert_eq!(metadata.schema().state().revisions.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn many_changes_leave_a_short_log() {
    let (folder, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    run(&log, folder.path(), async |metadata| {
        for n in 0..600 {
            put(&metadata, "A", n).await.unwrap().unwrap();
        }
    })
    .await;
    assert!(log.len() <= SNAPSHOT_RECORDS as usize, "{}", log.len());
    run(&log, folder.path(), async |metadata| assert_eq!(metadata.schema().version(), 600)).await;
}

#[tokio::test]
async fn an_author_that_is_late_decides_again_and_then_gives_up() {
    let (folder, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    run(&log, folder.path(), async |metadata| {
        let stale = Change { items: vec![Item::Keep { was: 9, object: ObjectRef::Revisions("A".into()) }] };
        let mut times = 0;
        let again = stale.clone();
        let done = metadata.change(move |_| {
            times += 1;
            let change = if times < 3 { again.clone() } else { Change { items: vec![] } };
            Ok::<_, ()>((change, times))
        });
        assert_eq!(done.await.unwrap(), Ok(3));
        let never = metadata.change(move |_| Ok::<_, ()>((stale.clone(), ()))).await;
        assert!(matches!(never, Err(ChangeError::Conflict)));
        assert_eq!(metadata.schema().version(), 0);
        let refused = metadata.change(|_| Err::<(Change, ()), _>("no")).await;
        assert_eq!(refused.unwrap(), Err("no"));
    })
    .await;
}

#[tokio::test]
async fn a_log_that_fails_closes_the_metadata_for_changes() {
    let (folder, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    let (metadata, task) = Metadata::open(Box::new(log.clone()), options(folder.path())).await.unwrap();
    let running = tokio::spawn(task.run(std::future::pending()));
    put(&metadata, "A", 1).await.unwrap().unwrap();
    log.fail_at(Lsn(4));
    let error = put(&metadata, "A", 2).await.unwrap_err();
    assert_eq!(error.code(), codes::LOG0002);
    assert!(running.await.unwrap().is_err());
    assert!(matches!(put(&metadata, "A", 3).await, Err(ChangeError::Closed)));
    assert_eq!(metadata.schema().version(), 1, "what is known is still readable");
    run(&log, folder.path(), async |metadata| assert_eq!(metadata.schema().version(), 2)).await;
}

#[tokio::test]
async fn what_was_created_is_compared() {
    let (folder, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    run(&log, folder.path(), async |_| ()).await;
    for (name, partitions, key) in [("d", 4, "cluster-name"), ("c", 5, "default-num-partitions")] {
        let create = Create { name: name.into(), partitions };
        let opened = Metadata::open(Box::new(log.clone()), OpenOptions { create, ..options(folder.path()) }).await;
        match opened {
            Err(OpenError::Mismatch { key: found, .. }) => assert_eq!(found, key),
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
}

#[tokio::test]
async fn unknown_records_stop_the_node() {
    let (folder, mut log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    run(&log, folder.path(), async |_| ()).await;
    log.append(br#"{"v":1,"cluster":"00000000000000070000000000000007","at":1,"body":{"twist":{}}}"#.to_vec())
        .await
        .unwrap();
    let Err(error) = Metadata::open(Box::new(log), options(folder.path())).await else { panic!("opened") };
    assert_eq!(error.code(), codes::META0019);
}

#[tokio::test]
async fn another_history_is_refused() {
    let (folder, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    run(&log, folder.path(), async |metadata| {
        put(&metadata, "A", 1).await.unwrap().unwrap();
        metadata.checkpoint().await.unwrap().unwrap();
    })
    .await;
    let other = MemoryLog::default();
    let Err(error) = Metadata::open(Box::new(other), options(folder.path())).await else { panic!("opened") };
    assert_eq!(error.code(), codes::LOG0007);
}

#[tokio::test]
async fn what_could_not_be_read_back_is_not_written() {
    let (folder, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    run(&log, folder.path(), async |metadata| {
        let mut deep = serde_json::json!(null);
        for _ in 0..124 {
            deep = serde_json::json!([deep]);
        }
        assert!(serde_json::from_str::<serde_json::Value>(&deep.to_string()).is_ok(), "by itself it could be");
        let before = log.len();
        let done = metadata.change(move |schema| {
            let handler = crate::meta::HandlerSchema {
                name: "h".into(),
                kind: millrace_model::invocation::HandlerKind::Plain,
                input: Default::default(),
                output: Default::default(),
                input_json_schema: Some(deep.clone()),
                output_json_schema: None,
                documentation: None,
                metadata: Default::default(),
                settings: Default::default(),
            };
            use crate::meta::register::{Breaking, register, tests};
            let service = crate::meta::ServiceSchema {
                handlers: vec![handler],
                ..tests::service("A", crate::meta::ServiceType::Service)
            };
            let registration = tests::registration(1, "http://1/", tests::endpoint(vec![service]));
            let registered = register(schema, &registration, false, Breaking::Refused).unwrap().unwrap();
            Ok::<_, ()>((registered.change, ()))
        });
        assert_eq!(done.await.unwrap_err().code(), codes::META0018);
        assert_eq!(log.len(), before);
        put(&metadata, "A", 1).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_log_that_is_held_back_gets_room() {
    let (folder, log) = (tempfile::tempdir().unwrap(), MemoryLog::default());
    let (metadata, mut task) = Metadata::open(Box::new(log.clone()), options(folder.path())).await.unwrap();
    let held = log.clone();
    task.held_back = Some((Box::new(move || !held.is_empty()), Duration::from_millis(1)));
    let running = tokio::spawn(task.run(std::future::pending()));
    put(&metadata, "A", 1).await.unwrap().unwrap();
    let trimmed = async {
        while !log.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), trimmed).await.unwrap();
    running.abort();
    run(&log, folder.path(), async |metadata| assert_eq!(metadata.schema().version(), 1)).await;
}
