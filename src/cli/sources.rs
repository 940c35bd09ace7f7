//! Flags about settings, shared by verbs.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::MISCONFIGURED;
use crate::config::{self, Config, Sources};

/// Where settings come from, and the most used of them. A flag wins over the environment, that over the file.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// TOML file with settings; `millrace config --defaults` prints them all.
    #[arg(long, alias = "config-path", short = 'c', env = "MILLRACE_CONFIG", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Any setting, such as `ingress.bind-address=127.0.0.1:8080`. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Folder of everything that lasts.
    #[arg(long, value_name = "FOLDER")]
    base_dir: Option<String>,
    /// Name of the cluster.
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,
    /// Name of this node.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// The node port: /metrics and /health.
    #[arg(long, value_name = "ADDRESS")]
    bind_address: Option<String>,
    /// Where other nodes reach this one.
    #[arg(long, value_name = "URL")]
    advertised_address: Option<String>,
    /// Which log lines are written, such as `warn,millrace=debug`.
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
    /// pretty, compact or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Log lines without colours.
    #[arg(long)]
    log_disable_ansi_codes: bool,
    /// Where traces go. Accepted, and warned of: this release exports none.
    #[arg(long, value_name = "URL")]
    tracing_endpoint: Option<String>,
    /// No conveniences of development. Accepted, and warned of: one node has none that matter.
    #[arg(long)]
    production: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

impl SourceArgs {
    /// All layers.
    fn sources(&self) -> Sources {
        let named = [
            ("base-dir", &self.base_dir),
            ("cluster-name", &self.cluster_name),
            ("node-name", &self.node_name),
            ("bind-address", &self.bind_address),
            ("advertised-address", &self.advertised_address),
            ("log-filter", &self.log_filter),
            ("log-format", &self.log_format),
            ("tracing-endpoint", &self.tracing_endpoint),
        ];
        let mut flags = self.set.clone();
        flags.extend(named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
        if self.log_disable_ansi_codes {
            flags.push(("log-disable-ansi-codes".to_owned(), "true".to_owned()));
        }
        if self.production {
            flags.push(("auto-provision".to_owned(), "false".to_owned()));
        }
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Sources { file: self.config_file.clone(), environment, flags }
    }

    /// The settings, or every fault on stderr.
    pub fn load(&self) -> Result<Config, ExitCode> {
        config::load(&self.sources()).map_err(|faults| {
            eprintln!("{faults}");
            eprintln!("the configuration cannot be used; `millrace explain RT0002` says more");
            ExitCode::from(MISCONFIGURED)
        })
    }
}
