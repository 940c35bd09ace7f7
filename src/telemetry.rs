//! Log lines.

use std::io::{IsTerminal, stderr};

use anyhow::anyhow;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, NodeSection};

/// Writes log lines to stderr from now on. `RUST_LOG` counts more than the setting. Errors: called twice.
pub fn init(config: &NodeSection) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text)?,
        _ => EnvFilter::try_new(&config.log_filter)?,
    };
    let colours = !config.log_disable_ansi_codes && stderr().is_terminal();
    let lines = fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colours);
    let set = match config.log_format {
        LogFormat::Pretty => lines.try_init(),
        LogFormat::Compact => lines.compact().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| anyhow!(error))
}
