//! Codes of starting: folders that are not what they should be, and data of another release.

use std::path::PathBuf;

use bytes::Bytes;
use millrace_model::{
    Wire,
    invocation::Invocation,
    table::{Invocations, Table},
};
use serde_json::{Value, json};

use crate::{
    attempts::{look, patient, register, stepping, until_failed},
    support::{Attempt, Endpoint, PATIENCE, Server, ServerOptions, eventually},
};

/// Marker, version, checksum, position and length; then the state as JSON. `engine/cluster/FORMAT.md`.
const SNAPSHOT_HEADER: usize = 48;
const CHECKSUM_AT: usize = 12;

/// Changes metadata until there is a snapshot of it; where that is.
async fn snapshot(server: &Server, service: &str) -> PathBuf {
    let path = server.base_dir().join("meta/snapshot");
    for n in 0..2000 {
        if path.exists() {
            return path;
        }
        let change = json!({"public": n % 2 == 0});
        let changed = server.admin.patch(&format!("/services/{service}"), &change).await.unwrap();
        assert_eq!(changed.status, 200, "{}", changed.text());
    }
    panic!("no snapshot after 2000 changes");
}

/// How a start ends that is to fail: its code stands in the log.
fn fails(server: &mut Server, code: &str) {
    server.allow("the node has ended");
    server.spawn();
    let ended = server.wait();
    assert_eq!(ended.code(), Some(1), "{code}");
    assert!(server.log.count(code) > 0, "{code} is not in the log");
}

#[tokio::test]
async fn metadata_that_is_not_what_was_written() {
    let mut server = Server::start(ServerOptions::default()).await;
    let endpoint = Endpoint::start(patient("Kept"), |_: Attempt| async {}).await;
    register(&server, &endpoint).await;
    let path = snapshot(&server, "Kept").await;
    assert!(server.stop().success());
    let good = std::fs::read(&path).unwrap();
    // A damaged body; another version; no marker.
    for (at, code) in [(SNAPSHOT_HEADER + 5, "META0005"), (8, "META0010"), (0, "META0011")] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        fails(&mut server, code);
        assert_eq!(std::fs::read(&path).unwrap(), bad, "it is left as it is");
    }
    std::fs::write(&path, &good).unwrap();
    server.start_again().await;
    let services = server.admin.get("/services").await.unwrap().json().unwrap();
    assert_eq!(services["services"][0]["name"], "Kept");
}

/// Another release registered it, which speaks other versions.
#[tokio::test]
async fn a_deployment_of_another_release() {
    let mut server = Server::start(ServerOptions::default()).await;
    let endpoint = Endpoint::start(patient("Newer"), |_: Attempt| async {}).await;
    register(&server, &endpoint).await;
    let path = snapshot(&server, "Newer").await;
    assert!(server.stop().success());
    let mut bytes = std::fs::read(&path).unwrap();
    let mut state: Value = serde_json::from_slice(&bytes[SNAPSHOT_HEADER..]).unwrap();
    let mut changed = 0;
    for object in state["objects"].as_array_mut().unwrap() {
        if let Some(range) = find(object, "min-protocol-version") {
            range["min-protocol-version"] = json!(200);
            range["max-protocol-version"] = json!(201);
            changed += 1;
        }
    }
    assert_eq!(changed, 1, "{state:#}");
    bytes.truncate(SNAPSHOT_HEADER);
    bytes.extend(serde_json::to_vec(&state).unwrap());
    let length = (bytes.len() - SNAPSHOT_HEADER) as u32;
    bytes[SNAPSHOT_HEADER - 4..SNAPSHOT_HEADER].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[CHECKSUM_AT + 4..]);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    server.start_again().await;
    let id = server.send("Newer/on", json!(1)).await.unwrap();
    until_failed(&server, &id, "RT0013").await;
}

/// The object, at any depth, that has this field.
fn find<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    if value.get(field).is_some() {
        return Some(value);
    }
    match value {
        Value::Object(fields) => fields.iter_mut().find_map(|(_, value)| find(value, field)),
        Value::Array(items) => items.iter_mut().find_map(|value| find(value, field)),
        _ => None,
    }
}

/// A database of the server that has ended.
fn database(server: &Server, partition: usize) -> rocksdb::DB {
    let path = server.base_dir().join("partitions").join(partition.to_string());
    rocksdb::DB::open(&rocksdb::Options::default(), path).unwrap()
}

#[tokio::test]
async fn a_store_without_its_marker() {
    let mut server = Server::start(ServerOptions::default()).await;
    assert!(server.stop().success());
    let store = database(&server, 1);
    assert!(store.get([0, 1]).unwrap().is_some(), "engine/store/FORMAT.md");
    let marker = store.get([0, 1]).unwrap().unwrap();
    store.delete([0, 1]).unwrap();
    drop(store);
    fails(&mut server, "RT0009");
    database(&server, 1).put([0, 1], marker).unwrap();
    server.start_again().await;
}

/// Began on a version that this release does not speak.
#[tokio::test]
async fn an_invocation_of_another_release() {
    let mut server = Server::start(ServerOptions::default()).await;
    let endpoint = stepping("Pinned", Bytes::new()).await;
    register(&server, &endpoint).await;
    let id = server.send("Pinned/on", json!(1)).await.unwrap();
    eventually(PATIENCE, "it is pinned", async || {
        let look = look(&server, &id).await?;
        anyhow::ensure!(look["pinned_service_protocol_version"] == 7, "{look:#}");
        Ok(())
    })
    .await;
    assert!(server.stop().success());
    let mut changed = 0;
    for partition in 0..4 {
        let store = database(&server, partition);
        let rows: Vec<_> = store
            .iterator(rocksdb::IteratorMode::From(&[Invocations::TAG], rocksdb::Direction::Forward))
            .map(Result::unwrap)
            .take_while(|(key, _)| key[0] == Invocations::TAG)
            .collect();
        for (key, row) in rows {
            let mut invocation = Invocation::decode(Bytes::from(row)).unwrap();
            invocation.pin.as_mut().unwrap().protocol_version = 200;
            store.put(key, invocation.encode()).unwrap();
            changed += 1;
        }
    }
    assert_eq!(changed, 1);
    server.start_again().await;
    until_failed(&server, &id, "RT0014").await;
}

#[tokio::test]
async fn two_servers_on_one_folder() {
    let server = Server::start(ServerOptions::default()).await;
    let mut second = server.command();
    for name in ["MILLRACE_INGRESS__BIND_ADDRESS", "MILLRACE_ADMIN__BIND_ADDRESS", "MILLRACE_BIND_ADDRESS"] {
        second.env(name, "127.0.0.1:0");
    }
    server.allow("the node has ended");
    let ended = tokio::task::spawn_blocking(move || second.status().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(server.log.count("RT0005") > 0);
    assert_eq!(server.admin.get("/health").await.unwrap().status, 200);
}
