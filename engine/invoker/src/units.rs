//! Durations and sizes as people write them in the configuration.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// `1m`, `1h 30m`, `500ms` or ISO 8601 (`PT1M`); not negative.
pub(crate) mod duration {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.parse::<jiff::SignedDuration>().map_err(D::Error::custom)?;
        Duration::try_from(parsed).map_err(|_| D::Error::custom("a duration is not negative"))
    }
}

/// `64MiB`, `1.5 GB` or a plain number of bytes.
pub(crate) mod size {
    use super::*;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }

    const UNITS: [(&str, u64); 10] = [
        ("", 1),
        ("b", 1),
        ("kb", 1000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
    ];

    fn parse(text: &str) -> Option<u64> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let bytes = number.parse::<f64>().ok()? * unit as f64;
        // Above it, a number has no exact place among floats any more.
        (bytes <= (1u64 << 53) as f64).then_some(bytes as u64)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        match Size::deserialize(deserializer)? {
            Size::Bytes(bytes) => Ok(bytes),
            Size::Text(text) => parse(&text).ok_or_else(|| D::Error::custom("a size is written like 64MiB")),
        }
    }
}

/// A number, or `unlimited`.
pub(crate) mod attempts {
    use super::*;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Attempts {
        Number(u32),
        Text(String),
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
        match Attempts::deserialize(deserializer)? {
            Attempts::Number(number) => Ok(Some(number)),
            Attempts::Text(text) if text == "unlimited" => Ok(None),
            Attempts::Text(_) => Err(D::Error::custom("a number of attempts, or \"unlimited\"")),
        }
    }
}
