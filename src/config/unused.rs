//! Settings of the product documentation that mean nothing here, and older names.
//!
//! Harmless ones are set aside with a warning, so that a file that served the peer serves here. What would promise
//! something that is not there (more nodes, another log) stays and becomes a fault.

use super::layers::Layers;

/// Present names of settings. The last of several is the present one.
const RENAMED: [(&[&str], &[&str]); 4] = [
    (&["rocksdb-total-memory-size"], &["worker", "storage", "rocksdb-total-memory-size"]),
    (&["rocksdb-total-memtables-ratio"], &["worker", "storage", "rocksdb-total-memtables-ratio"]),
    (&["ingress", "advertised-address"], &["ingress", "advertised-ingress-endpoint"]),
    (&["admin", "advertised-address"], &["admin", "advertised-admin-endpoint"]),
];

const ONE_NODE: &str = "there is one node";
const OWN_LOG: &str = "the log has its own settings in [log.local]";
const STORAGE: &str = "the store tunes itself";
const TRACES: &str = "traces are not exported";

/// A key, or with a dot or a hyphen at its end all that begin like it; and why it has no effect.
const UNUSED: [(&str, &str); 37] = [
    ("auto-provision", ONE_NODE),
    ("force-node-id", ONE_NODE),
    ("location", ONE_NODE),
    ("disable-telemetry", "nothing is ever sent"),
    ("tracing-", TRACES),
    ("tokio-console-bind-address", "there is no console in this build"),
    ("initialization-timeout", ONE_NODE),
    ("metadata-update-interval", ONE_NODE),
    ("metadata-fetch-from-peer-timeout", ONE_NODE),
    ("gossip-", ONE_NODE),
    ("metadata-client.", ONE_NODE),
    ("metadata-server.", ONE_NODE),
    ("network-error-retry-policy.", ONE_NODE),
    ("networking.", ONE_NODE),
    ("log-server.", OWN_LOG),
    ("bifrost.", OWN_LOG),
    ("storage-", STORAGE),
    ("rocksdb-high-priority-bg-threads", STORAGE),
    ("rocksdb-bg-threads", STORAGE),
    ("rocksdb-write-stall-threshold", STORAGE),
    ("rocksdb-enable-stall-on-memory-limit", STORAGE),
    ("rocksdb-perf-level", STORAGE),
    ("worker.internal-queue-length", "batches take all that waits"),
    ("worker.max-command-batch-size", "batches take all that waits"),
    ("worker.snapshots.object-store-retry-policy.", ONE_NODE),
    ("worker.storage.rocksdb-disable-", STORAGE),
    ("worker.storage.rocksdb-memory-", STORAGE),
    ("worker.storage.rocksdb-compaction-", STORAGE),
    ("worker.storage.rocksdb-statistics-level", STORAGE),
    ("worker.storage.rocksdb-log-", STORAGE),
    ("worker.storage.num-partitions-to-share-memory-budget", STORAGE),
    ("worker.invoker.in-memory-queue-length-limit", "what waits is on disk"),
    ("admin.heartbeat-interval", ONE_NODE),
    ("admin.log-trim-check-interval", "the log is trimmed as it is flushed"),
    ("admin.disable-web-ui", "there is no web interface in this build"),
    ("admin.disable-cluster-controller", ONE_NODE),
    ("admin.query-engine.", "queries need no memory limit of their own"),
];

/// Takes them out; returns what to warn of.
pub fn set_aside(layers: &mut Layers) -> Vec<String> {
    for (from, to) in RENAMED {
        layers.rename(from, to);
    }
    let mut warnings = Vec::new();
    layers.retain(|key, leaf| {
        let key = key.join(".");
        let matches = |pattern: &str| match pattern.ends_with(['.', '-']) {
            true => key.starts_with(pattern),
            false => key == pattern,
        };
        let Some((_, reason)) = UNUSED.iter().find(|(pattern, _)| matches(pattern)) else { return true };
        warnings.push(format!("{key} ({}) has no effect: {reason}", leaf.origin));
        false
    });
    warnings
}
