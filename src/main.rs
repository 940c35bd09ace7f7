//! The `millrace` binary.

mod serve;
mod wiring;

use std::{path::PathBuf, time::Duration};

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(std::env::var("MILLRACE_LOG_FILTER").unwrap_or("info".into())).init();
    let env = |key: &str, default: &str| std::env::var(key).unwrap_or(default.to_owned());
    let mut clusters = Vec::new();
    if let Ok(text) = std::env::var("MILLRACE_INGRESS__KAFKA_CLUSTERS") {
        let table: toml::Table = format!("c = {text}").parse()?;
        for c in table["c"].as_array().unwrap() {
            let brokers: Vec<_> = c["brokers"].as_array().unwrap().iter().map(|b| b.as_str().unwrap().to_owned()).collect();
            clusters.push(millrace_cluster::meta::object::KafkaCluster {
                name: c["name"].as_str().unwrap().to_owned(),
                properties: [("bootstrap.servers", brokers.join(","))].into_iter().collect(),
                created_at: Default::default(),
                origin: millrace_cluster::meta::object::ClusterOrigin::Config,
            });
        }
    }
    let settings = serve::Settings {
        base_dir: PathBuf::from(env("MILLRACE_BASE_DIR", "millrace-data")),
        node_name: "n".into(),
        advertised_address: "http://127.0.0.1:5122/".into(),
        cluster_name: "localcluster".into(),
        partitions: env("MILLRACE_DEFAULT_NUM_PARTITIONS", "8").parse()?,
        ingress: millrace_ingress::IngressConfig { bind_address: env("MILLRACE_INGRESS__BIND_ADDRESS", "0.0.0.0:8080").parse()?, ..Default::default() },
        advertised_ingress: None,
        admin: millrace_admin::AdminConfig { bind_address: env("MILLRACE_ADMIN__BIND_ADDRESS", "0.0.0.0:9070").parse()?, ..Default::default() },
        invoker: Default::default(),
        client: Default::default(),
        store: Default::default(),
        log: Default::default(),
        defaults: Default::default(),
        kafka_clusters: clusters,
        timers_in_memory: 1024,
        cleanup_interval: Duration::from_secs(60),
        disk_watermark: 0.95,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let node = serve::start(settings).await?;
        node.run(async { _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap().recv().await }).await
    })
}
