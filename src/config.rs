//! All settings of a node: defaults < file < environment < flags.
//!
//! ```text
//! TOML file ─┐
//! MILLRACE_… ┼─> layers (dotted key -> value, origin) ─> moved, unused ─> sections, checked ─> Config ─> Settings
//! flags ─────┘
//! ```
//!
//! Nothing is reported one at a time: every key that cannot be used, in any layer, is one [`Fault`]; together they
//! are what [`load`] fails with. Sections are the structs of the crates that use them.

mod fault;
mod kafka;
mod layers;
mod node;
mod policies;
mod secrets;
mod sections;
mod settings;
mod unused;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use millrace_admin::AdminConfig;
use millrace_cluster::meta::object::KafkaCluster;
use millrace_invoker::{ClientConfig, DefaultRetryPolicy, InvokerConfig};
use millrace_log::LocalLogConfig;
use millrace_store::StoreConfig;

pub use fault::{Fault, Faults};
pub use layers::{Layers, Origin};
pub use node::{IngressSection, LogFormat, NodeSection, WorkerSection};

/// Every setting with its default, as `millrace config --defaults` prints them.
pub const DEFAULTS: &str = include_str!("config/defaults.toml");

/// What can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Top level.
    pub node: NodeSection,
    /// Top level: connections to services.
    pub client: ClientConfig,
    /// `[default-retry-policy]`
    pub retry: DefaultRetryPolicy,
    /// `[worker]`
    pub worker: WorkerSection,
    /// `[worker.invoker]`
    pub invoker: InvokerConfig,
    /// `[worker.storage]`
    pub store: StoreConfig,
    /// `[log.local]`
    pub log: LocalLogConfig,
    /// `[ingress]`
    pub ingress: IngressSection,
    /// `[[ingress.kafka-clusters]]`
    pub kafka_clusters: Vec<KafkaCluster>,
    /// `[admin]`
    pub admin: AdminConfig,
    /// Settings that are understood and have no effect here, one line each.
    pub warnings: Vec<String>,
    layers: Layers,
}

/// Where settings come from.
#[derive(Debug, Default)]
pub struct Sources {
    /// TOML file.
    pub file: Option<PathBuf>,
    /// Environment, all of it.
    pub environment: Vec<(String, String)>,
    /// Flags as dotted keys.
    pub flags: Vec<(String, String)>,
}

/// Reads and checks all of it.
pub fn load(sources: &Sources) -> Result<Config, Faults> {
    let mut faults = Faults::default();
    let mut layers = Layers::default();
    if let Some(path) = &sources.file {
        layers.add_file(path, &mut faults);
    }
    layers.add_environment(&sources.environment);
    layers.add_flags(&sources.flags);
    let deprecated = policies::translate(&mut layers, &mut faults);
    let mut warnings = unused::set_aside(&mut layers);
    warnings.extend(deprecated);
    let config = sections::check(layers, warnings, &mut faults);
    faults.into_result(config)
}

impl Config {
    /// The effective settings as TOML, secrets masked. Loading it again gives the same, apart from secrets.
    pub fn dump(&self) -> String {
        let mut all = Layers::default();
        all.add_text(DEFAULTS, Origin::Default).expect("our own file is TOML");
        all.add(&self.layers);
        kafka::mask(&mut all);
        secrets::mask(&mut all);
        all.to_toml()
    }
}
