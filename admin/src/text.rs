//! Durations and times as the API reads and writes them.

use std::{fmt, time::Duration};

use jiff::{Span, SpanRelativeTo, Timestamp};
use millrace_cluster::meta::Millis;
use millrace_model::TimestampMs;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Written compactly (`1d`, `1m 30s`, `0s`), read from that and from much friendlier forms, and from ISO 8601.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ApiDuration(pub Duration);

impl ApiDuration {
    pub(crate) fn millis(self) -> Millis {
        self.0.into()
    }
}

impl From<Millis> for ApiDuration {
    fn from(millis: Millis) -> Self {
        Self(millis.into())
    }
}

impl fmt::Display for ApiDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        let mut separator = "";
        for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            let count = rest / millis;
            rest %= millis;
            if count > 0 {
                write!(f, "{separator}{count}{unit}")?;
                separator = " ";
            }
        }
        Ok(())
    }
}

impl Serialize for ApiDuration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl std::str::FromStr for ApiDuration {
    type Err = jiff::Error;

    /// A day has 24 hours, a week 7 days; months and years have no length.
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        let span: Span = text.parse()?;
        let signed = span.to_duration(SpanRelativeTo::days_are_24_hours())?;
        Duration::try_from(signed).map(Self)
    }
}

impl<'de> Deserialize<'de> for ApiDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// `2026-11-22T16:36:14.574000000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiTime(pub TimestampMs);

impl fmt::Display for ApiTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.0.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        write!(f, "{:.9}", at.unwrap_or(Timestamp::MAX))
    }
}

impl Serialize for ApiTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_compactly() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (30_000, "30s"),
            (60_000, "1m"),
            (90_000, "1m 30s"),
            (7_200_000, "2h"),
            (86_400_000, "1d"),
            (30 * 86_400_000, "30d"),
            (86_400_001, "1d 1ms"),
        ] {
            assert_eq!(ApiDuration(Duration::from_millis(millis)).to_string(), text);
            assert_eq!(text.parse::<ApiDuration>().unwrap().0, Duration::from_millis(millis));
        }
    }

    #[test]
    fn durations_are_read_in_many_forms() {
        for (text, seconds) in [
            ("2 hours", Some(7200)),
            ("1day", Some(86_400)),
            ("30s", Some(30)),
            ("PT30S", Some(30)),
            ("P1D", Some(86_400)),
            ("1 week", Some(604_800)),
            ("1 month", None),
            ("P1Y", None),
            ("-5s", None),
            ("soon", None),
            ("", None),
        ] {
            let read = text.parse::<ApiDuration>().ok();
            assert_eq!(read, seconds.map(|s| ApiDuration(Duration::from_secs(s))), "{text}");
        }
    }

    #[test]
    fn times_have_nine_digits() {
        for (millis, text) in
            [(1_795_365_374_574, "2026-11-22T16:36:14.574000000Z"), (0, "1970-01-01T00:00:00.000000000Z")]
        {
            assert_eq!(ApiTime(TimestampMs(millis)).to_string(), text);
        }
        assert!(ApiTime(TimestampMs(u64::MAX)).to_string().starts_with("9999"));
    }
}
