//! What is wrong with a configuration.

use std::fmt;

use millrace_model::codes::{self, Code, Coded};

use super::Origin;

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Dotted.
    pub key: String,
    /// Where it was set, if it was.
    pub origin: Option<Origin>,
    /// What is wrong. Carries no secret.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", codes::RT0002.id, self.key)?;
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All of them, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, key: impl Into<String>, origin: Option<Origin>, message: impl Into<String>) {
        self.0.push(Fault { key: key.into(), origin, message: message.into() });
    }

    #[cfg(test)]
    pub fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|fault| fault.key.as_str()).collect()
    }

    /// `value`, if there is no fault.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let end = if i + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "{fault}{end}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl Coded for Faults {
    fn code(&self) -> Code {
        codes::RT0002
    }
}
