//! How often something may happen (`[worker.invoker.invocation-throttling]`, `[worker.invoker.action-throttling]`).

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A token bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ThrottlingConfig {
    /// How often on average: `5/s`, `100/min`, `1000/hour`; a bare number is per second. Default: no limit. Restart
    /// needed. Since 0.1.
    pub rate: Option<Rate>,
    /// How often in a burst. At least 1. Default: the number in the rate. Restart needed. Since 0.1.
    pub capacity: Option<u32>,
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub(crate) tokens: NonZeroU32,
    /// In which time.
    pub(crate) per: Duration,
}

impl Rate {
    /// The time of one.
    pub(crate) fn interval(self) -> Duration {
        self.per / self.tokens.get()
    }
}

/// A text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a rate such as 5/s, 100/min or 1000/hour")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hr" | "hour" => 60 * 60,
            _ => return Err(RateError(text.to_owned())),
        };
        let tokens = number.trim().parse().map_err(|_| RateError(text.to_owned()))?;
        Ok(Self { tokens, per: Duration::from_secs(seconds) })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as \"5/s\", \"100/min\" or \"1000/hour\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Rate, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Rate, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, millis) in [
            ("5/s", 200),
            ("5", 200),
            ("2/sec", 500),
            ("4 / second", 250),
            ("60/m", 1000),
            ("30/min", 2000),
            ("60/minute", 1000),
            ("3600/h", 1000),
            ("1800/hr", 2000),
            ("1/hour", 3_600_000),
        ] {
            assert_eq!(text.parse().map(Rate::interval), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "/s", "0/s", "-1/s", "1.5/s", "5/", "5/d", "5/s/s", "99999999999/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        let read = |text| toml::from_str::<ThrottlingConfig>(text);
        assert_eq!(read("").unwrap(), ThrottlingConfig::default());
        assert_eq!(read("rate = 5\ncapacity = 9").unwrap().rate, "5/s".parse().ok());
        assert!(read("rate = 0").is_err() && read("rat = 1").is_err());
    }
}
