//! The command line: one file per verb.

mod config;
mod explain;
mod serve;
mod sources;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Kafka topics as durable, per-key queues in front of ordinary handlers.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts a node.
    Serve(serve::Serve),
    /// Checks or prints settings.
    Config(config::Config),
    /// Says what an error code means and what to do about it.
    Explain(explain::Explain),
}

/// What went wrong is on stderr.
const FAILED: u8 = 1;
/// The settings cannot be used; every fault is on stderr.
const MISCONFIGURED: u8 = 2;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match Cli::parse().verb {
        Verb::Serve(serve) => serve.run(),
        Verb::Config(config) => config.run(),
        Verb::Explain(explain) => explain.run(),
    }
}
