//! The `millrace` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    millrace::cli::run()
}
