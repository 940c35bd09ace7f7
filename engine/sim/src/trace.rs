//! What happened, as a hash that two runs of one seed must share, and as text for people.

use std::fmt::{self, Write as _};

use millrace_machine::ContentHash;

/// Everything that happened so far.
#[derive(Default)]
pub struct Trace {
    hash: ContentHash,
    line: String,
    print: bool,
    lines: u64,
}

impl Trace {
    /// `print`: every line goes to stdout.
    pub fn new(print: bool) -> Self {
        Self { print, ..Self::default() }
    }

    /// Something happened at `now`.
    pub fn add(&mut self, now: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        self.line.write_fmt(what).expect("a string takes everything");
        self.hash.add(&now.to_le_bytes(), self.line.as_bytes());
        self.lines += 1;
        if self.print {
            println!("{now:>8} {}", self.line);
        }
    }

    /// Equal for two runs that did the same.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Things that happened.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}
