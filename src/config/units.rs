//! Durations as people write them.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// `1h 30m`, `2 days` or `PT90S`; not negative. A day has 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 90s, 1h 30m or PT90S");
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("months and years have no fixed length, use days".to_owned());
    }
    let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
    let hours = days * 24 + i64::from(span.get_hours());
    // The largest span is some 20,000 years: far below what 64 bits of seconds hold.
    let seconds = (hours * 60 + span.get_minutes()) * 60 + span.get_seconds();
    let micros = i128::from(span.get_milliseconds()) * 1000 + i128::from(span.get_microseconds());
    let nanos = i128::from(seconds) * 1_000_000_000 + micros * 1000 + i128::from(span.get_nanoseconds());
    let nanos = u128::try_from(nanos).map_err(|_| "a duration is not negative".to_owned())?;
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| wrong())?;
    Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"90s\", \"1h 30m\" or \"PT90S\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                parse(text).map(Span).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1h 30m", 5_400_000),
            ("PT5H", 18_000_000),
            ("5 hours", 18_000_000),
            ("1d", 86_400_000),
            ("1s 500ms", 1500),
            ("0s", 0),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "-1s", "x", "1 month", "P1Y"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
