//! `millrace serve`: runs a node until it is told to stop.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use millrace_model::{Code, Coded};
use tracing::{error, info, warn};

use super::{FAILED, sources::SourceArgs};
use crate::{config::Config, metrics, serve, shutdown, telemetry};

/// Starts a node.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    sources: SourceArgs,
    /// Prints the effective settings, secrets masked, instead of starting.
    #[arg(long)]
    dump_config: bool,
}

impl Serve {
    pub fn run(&self) -> ExitCode {
        let config = match self.sources.load() {
            Ok(config) => config,
            Err(code) => return code,
        };
        if self.dump_config {
            print!("{}", config.dump());
            return ExitCode::SUCCESS;
        }
        if let Err(error) = telemetry::init(&config.node) {
            eprintln!("log lines cannot be written: {error:#}");
            return ExitCode::from(FAILED);
        }
        match node(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let error_code = code_of(&error).map_or("", |code| code.id);
                error!(error = format_args!("{error:#}"), error_code, "the node has ended");
                ExitCode::from(FAILED)
            }
        }
    }
}

fn node(config: &Config) -> anyhow::Result<()> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let settings = config.settings();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = %settings.node_name,
        cluster = %settings.cluster_name,
        base_dir = %settings.base_dir.display(),
        "millrace starts"
    );
    let exporter = (!config.node.disable_prometheus)
        .then(|| metrics::install(&settings.cluster_name, &settings.node_name))
        .transpose()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.node.default_thread_pool_size {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.thread_name("millrace").enable_all().build().context("threads cannot be started")?;
    let ended = runtime.block_on(async {
        let signals = shutdown::Signals::install(config.dump())?;
        let port = metrics::NodePort::bind(config.node.bind_address, exporter).await?;
        let node = serve::start(settings).await?;
        let port = tokio::spawn(port.run());
        let (stop, asked) = signals.stop(config.shutdown_timeout());
        let ended = tokio::select! {
            ended = node.run(stop) => ended,
            () = asked.too_long() => Err(anyhow::anyhow!("the stop took longer than shutdown-timeout")),
        };
        port.abort();
        ended
    });
    // What still runs on other threads has nothing left to do that counts.
    runtime.shutdown_background();
    ended
}

/// The code of what an error was made of, if that has one.
fn code_of(error: &anyhow::Error) -> Option<Code> {
    fn of<E: std::error::Error + Coded + 'static>(cause: &(dyn std::error::Error + 'static)) -> Option<Code> {
        cause.downcast_ref::<E>().map(Coded::code)
    }
    error.chain().find_map(|cause| {
        of::<millrace_log::OpenError>(cause)
            .or_else(|| of::<millrace_log::ReadError>(cause))
            .or_else(|| of::<millrace_store::StoreError>(cause))
            .or_else(|| of::<millrace_partition::LeaderError>(cause))
            .or_else(|| of::<millrace_cluster::meta::OpenError>(cause))
            .or_else(|| of::<millrace_ingress::StartError>(cause))
            .or_else(|| of::<millrace_admin::StartError>(cause))
    })
}
