//! The log of a process that a test runs, and the judgement over it.

use std::{fs::File, path::PathBuf, sync::Mutex};

/// Lines shown of the log of a failed test.
const TAIL_LINES: usize = 80;

/// A file that gets both outputs of a process, over all its restarts.
pub struct Log {
    path: PathBuf,
    allowed: Mutex<Vec<String>>,
}

impl Log {
    pub fn new(path: PathBuf) -> Self {
        Self { path, allowed: Mutex::default() }
    }

    /// For one output of a process; appends.
    pub fn file(&self) -> File {
        File::options().create(true).append(true).open(&self.path).expect("a log file can be opened")
    }

    /// Everything so far, without colours.
    pub fn text(&self) -> String {
        let text = std::fs::read(&self.path).unwrap_or_default();
        without_colours(&String::from_utf8_lossy(&text))
    }

    /// A `WARN` or `ERROR` line with this text is expected, before or after this call.
    pub fn allow(&self, text: &str) {
        self.allowed.lock().expect("nobody panics with it").push(text.to_owned());
    }

    /// How many lines have this text.
    pub fn count(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }

    /// Lines that nobody allowed. A panic counts, whatever its level.
    pub fn unexpected(&self) -> Vec<String> {
        let allowed = self.allowed.lock().expect("nobody panics with it");
        let is_bad = |line: &&str| {
            let words = || line.split_whitespace().take(3);
            let says =
                |level: &str| words().any(|word| word == level) || line.contains(&format!("\"level\":\"{level}\""));
            (says("ERROR") || says("WARN") || line.contains("panicked at"))
                && !line.contains(SERVICE_AWAY)
                && !allowed.iter().any(|text| line.contains(text.as_str()))
        };
        self.text().lines().filter(is_bad).map(str::to_owned).collect()
    }

    /// For the end of a test: shows the tail if it has failed, fails it if there are unexpected lines.
    pub fn judge(&self, who: &str) {
        if std::thread::panicking() {
            let text = self.text();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- end of the log of {who}:");
            for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
                eprintln!("{line}");
            }
            return;
        }
        let unexpected = self.unexpected();
        let shown = &unexpected[..unexpected.len().min(20)];
        assert!(unexpected.is_empty(), "{who} logged {} unexpected lines:\n{}", unexpected.len(), shown.join("\n"));
    }
}

/// Tests stop, kill and mute services as they like; the server says so.
const SERVICE_AWAY: &str = "deployment cannot be reached";

/// Drops terminal sequences `ESC [ … m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}
