//! The server, as `millrace serve` would start it.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Mutex,
};

use anyhow::{Context, anyhow};
use millrace::{
    config::{self, Config, Sources},
    metrics,
    serve::{self, Node},
};
use tracing_subscriber::{EnvFilter, fmt};

use crate::{folder::Folder, ports};

/// The name of the broker for development in sources of subscriptions.
pub const KAFKA_CLUSTER: &str = "dev";

/// Where to reach what.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
    pub node: SocketAddr,
}

pub struct Server {
    pub node: Node,
    pub addresses: Addresses,
}

/// Settings: the environment's (`MILLRACE_…`), the demo's own folder and broker, and ports that are free.
pub fn configure(folder: &Folder, bootstrap: &str, any_ports: bool) -> anyhow::Result<Config> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let sources = Sources {
        file: None,
        environment: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
        flags: vec![
            ("base-dir".to_owned(), folder.data().display().to_string()),
            (
                "ingress.kafka-clusters".to_owned(),
                format!("[{{name=\"{KAFKA_CLUSTER}\",brokers=[\"PLAINTEXT://{bootstrap}\"]}}]"),
            ),
        ],
    };
    let mut config = config::load(&sources).map_err(|faults| anyhow!("{faults}"))?;
    // All are held until each has one, so that none gets another's. The server binds by itself.
    let held: Vec<TcpListener> =
        [&mut config.ingress.bind_address, &mut config.admin.bind_address, &mut config.node.bind_address]
            .into_iter()
            .map(|address| {
                let listener = ports::listen(if any_ports { 0 } else { address.port() })?;
                *address = listener.local_addr()?;
                Ok(listener)
            })
            .collect::<anyhow::Result<_>>()?;
    drop(held);
    Ok(config)
}

/// Log lines go to a file: the screen belongs to the tour.
pub fn log_to(path: &Path, config: &Config) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let filter = EnvFilter::try_new(&config.node.log_filter)?;
    let lines = fmt().with_env_filter(filter).with_ansi(false).with_writer(Mutex::new(file));
    lines.try_init().map_err(|error| anyhow!(error))
}

impl Server {
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let settings = config.settings();
        let exporter = metrics::install(&settings.cluster_name, &settings.node_name)?;
        let port = metrics::NodePort::bind(config.node.bind_address, Some(exporter)).await?;
        let node_address = port.local_addr()?;
        let node = serve::start(settings).await.context("the server cannot be started")?;
        // Ends with the process: it may be asked for its metrics to the last.
        tokio::spawn(port.run());
        let addresses = Addresses { ingress: node.ingress_address, admin: node.admin_address, node: node_address };
        Ok(Self { node, addresses })
    }
}
