//! `millrace explain`: the page of an error code.

use std::process::ExitCode;

use clap::Args;
use millrace_model::codes;

use super::FAILED;

/// Says what an error code means and what to do about it.
#[derive(Debug, Args)]
pub struct Explain {
    /// Such as RT0002. Without it: all there are.
    code: Option<String>,
}

impl Explain {
    pub fn run(&self) -> ExitCode {
        let Some(code) = &self.code else {
            for code in codes::ALL {
                println!("{}", code.id);
            }
            return ExitCode::SUCCESS;
        };
        match codes::page(&code.to_ascii_uppercase()) {
            Some(page) => {
                println!("{}", page.trim_end());
                ExitCode::SUCCESS
            }
            None => {
                eprintln!("there is no error code {code}; `millrace explain` lists all");
                ExitCode::from(FAILED)
            }
        }
    }
}
