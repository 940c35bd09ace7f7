//! Settings of the log.

use millrace_model::{
    ByteSize,
    codes::{self, Code, Coded},
};
use serde::Deserialize;

/// The embedded log (`[log.local]`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LocalLogConfig {
    /// Size of a segment file; files that exist keep theirs. 1MiB to 4GiB. Default 64MiB. Restart needed. Since 0.1.
    pub segment_size: ByteSize,
    /// Untrimmed log above which the partitions that hold it back are flushed. 64MiB to 64GiB. Default 256MiB.
    /// Restart needed. Since 0.1.
    pub flush_behind: ByteSize,
}

impl Default for LocalLogConfig {
    fn default() -> Self {
        Self { segment_size: ByteSize::mib(64), flush_behind: ByteSize::mib(256) }
    }
}

/// A setting that cannot be used. Code `RT0002`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log.local.{key} is {value}, must be {min} to {max}")]
pub struct ConfigFault {
    /// Name of the setting in its section.
    pub key: &'static str,
    /// As set.
    pub value: ByteSize,
    /// Smallest allowed.
    pub min: ByteSize,
    /// Largest allowed.
    pub max: ByteSize,
}

impl Coded for ConfigFault {
    fn code(&self) -> Code {
        codes::RT0002
    }
}

impl LocalLogConfig {
    /// Everything that is wrong with it.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let ranges = [
            ("segment-size", self.segment_size, ByteSize::mib(1), ByteSize::mib(4 << 10)),
            ("flush-behind", self.flush_behind, ByteSize::mib(64), ByteSize::mib(64 << 10)),
        ];
        let outside = ranges.into_iter().filter(|(_, value, min, max)| !(min..=max).contains(&value));
        outside.map(|(key, value, min, max)| ConfigFault { key, value, min, max }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section() {
        let config: LocalLogConfig = toml::from_str("segment-size = \"128MiB\"\nflush-behind = 268435456").unwrap();
        assert_eq!(config, LocalLogConfig { segment_size: ByteSize::mib(128), flush_behind: ByteSize::mib(256) });
        assert_eq!(toml::from_str::<LocalLogConfig>("").unwrap(), LocalLogConfig::default());
        assert!(toml::from_str::<LocalLogConfig>("segment-sise = 1").is_err());
        assert!(LocalLogConfig::default().faults().is_empty());
    }

    #[test]
    fn all_faults_at_once() {
        let config = LocalLogConfig { segment_size: ByteSize(1), flush_behind: ByteSize(2) };
        let faults: Vec<_> = config.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "log.local.segment-size is 1B, must be 1MiB to 4GiB",
                "log.local.flush-behind is 2B, must be 64MiB to 64GiB"
            ]
        );
    }
}
