//! Settings of the log.

use std::{fmt, str::FromStr};

use millrace_model::codes::{self, Code, Coded};
use serde::{Deserialize, Deserializer, de};

/// A number of bytes, written `64MiB`, `1.5GB` or plain. Units: B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB,
/// TiB (powers of 1024), in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many times 1024 x 1024 bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

const UNITS: [(&str, u64); 12] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("k", 1 << 10),
    ("m", 1 << 20),
];

/// A text is not a number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size like 64MiB")]
pub struct ByteSizeError(String);

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let error = || ByteSizeError(text.to_owned());
        let digits = text.trim().find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.trim().len());
        let (number, unit) = text.trim().split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().map_err(|_| error())?;
        let mut bytes = u128::from(whole) * u128::from(*unit);
        if !fraction.is_empty() {
            // Nine digits are below a byte of the largest unit that anybody writes.
            let digits: u64 = fraction.get(..fraction.len().min(9)).and_then(|d| d.parse().ok()).ok_or_else(error)?;
            bytes += u128::from(*unit) * u128::from(digits) / 10u128.pow(fraction.len().min(9) as u32);
        }
        u64::try_from(bytes).map(Self).map_err(|_| error())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |shift: u32| self.0 > 0 && self.0.trailing_zeros() >= shift;
        match () {
            () if exact(30) => write!(f, "{}GiB", self.0 >> 30),
            () if exact(20) => write!(f, "{}MiB", self.0 >> 20),
            () if exact(10) => write!(f, "{}KiB", self.0 >> 10),
            () => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size like 64MiB")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

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
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("1.5kB", 1500),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1 XB", "1..2MB", "99999999999TiB", "1.2.3", "."] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for size in [0, 1, 1023, 1 << 10, 3 << 20, 5 << 30] {
            assert_eq!(ByteSize(size).to_string().parse(), Ok(ByteSize(size)));
        }
    }

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
