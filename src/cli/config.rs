//! `millrace config`: settings on paper.

use std::process::ExitCode;

use clap::Args;

use super::sources::SourceArgs;
use crate::config::DEFAULTS;

/// Without a flag: `--check`.
#[derive(Debug, Args)]
pub struct Config {
    #[command(flatten)]
    sources: SourceArgs,
    /// Prints every setting with its default and its meaning.
    #[arg(long, conflicts_with_all = ["dump", "check"])]
    defaults: bool,
    /// Prints the effective settings, secrets masked.
    #[arg(long, conflicts_with = "check")]
    dump: bool,
    /// Only says what is wrong.
    #[arg(long)]
    check: bool,
}

impl Config {
    pub fn run(&self) -> ExitCode {
        if self.defaults {
            print!("{DEFAULTS}");
            return ExitCode::SUCCESS;
        }
        let config = match self.sources.load() {
            Ok(config) => config,
            Err(code) => return code,
        };
        for warning in &config.warnings {
            eprintln!("warning: {warning}");
        }
        if self.dump {
            print!("{}", config.dump());
        } else {
            println!("the configuration can be used");
        }
        ExitCode::SUCCESS
    }
}
