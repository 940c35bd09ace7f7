//! Metrics of all crates, and the node port that shows them.

mod port;
mod process;

use std::time::Duration;

use anyhow::Context;
use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use port::NodePort;

/// Which program this is; always 1.
const BUILD_INFO: &str = "millrace_build_info";
/// How often observations are folded into buckets, so that they do not wait in memory for somebody to look.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// From a hundred microseconds, below which nothing is worth looking at, to the longest wait anybody charts. Factors of
/// about 2 around a sync of the log, 3 elsewhere.
const SECONDS: [f64; 17] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];
/// Powers of 8 from 64 bytes to 16 MiB.
const BYTES: [f64; 7] = [64.0, 512.0, 4096.0, 32768.0, 262_144.0, 2_097_152.0, 16_777_216.0];
/// Anything else that is counted: records, commands, entries of a batch.
const COUNTS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0, 8192.0];

/// Begins to collect metrics. To be called once, before anything is counted.
pub fn install(cluster: &str, node: &str) -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)?
        .add_global_label("cluster_name", cluster)
        .add_global_label("node_name", node)
        .install_recorder()
        .context("metrics are collected already")?;
    millrace_log::describe();
    millrace_store::describe();
    millrace_partition::metrics::describe();
    millrace_invoker::metrics::describe();
    millrace_subscriptions::metrics::describe();
    millrace_ingress::metrics::describe();
    millrace_admin::metrics::describe();
    process::describe();
    describe_gauge!(BUILD_INFO, Unit::Count, "1, with the version as label");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}
