//! Sizes and durations as people write them in settings: the one place that reads and prints them.
//!
//! [`ByteSize`] and [`Span`] are types for fields; [`duration`] and [`size`] are for `#[serde(with = …)]` where a field
//! is a plain `Duration` or `u64`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written `64MiB`, `1.5 GB` or plain. Units: B, KB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB,
/// TiB (powers of 1024), in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Largest first, so that printing finds the shortest exact form.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Digits behind the point that count: more are below a byte of the largest unit that anybody writes.
const FRACTION_DIGITS_MAX: usize = 12;

impl ByteSize {
    /// So many times 1024 x 1024 bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// As a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A text is not a number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size such as 64MiB")]
pub struct ByteSizeError(String);

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        parse_size(text.trim()).map(Self).ok_or_else(|| ByteSizeError(text.to_owned()))
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "" => 1,
        unit => u128::from(SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let part = u128::from(fraction.parse::<u64>().ok()?) * unit / 10u128.pow(fraction.len() as u32);
    let bytes = u128::from(whole.parse::<u64>().ok()?) * unit + part;
    u64::try_from(bytes).ok()
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |unit: u64| self.0 >= unit && self.0.is_multiple_of(unit);
        let (name, unit) = SIZES.iter().find(|(_, unit)| exact(*unit)).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 64MiB")
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

/// A `u64` of bytes, written like a [`ByteSize`].
pub mod size {
    use super::*;

    /// For `#[serde(with = …)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        ByteSize::deserialize(deserializer).map(|size| size.0)
    }
}

/// A length of time, written `90s`, `1h 30m`, `2 days` or `PT90S`; not negative. A day has 24 hours, a week 7 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

/// A text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// None of the forms.
    #[error("{0:?} is not a duration such as 90s, 1h 30m or PT90S")]
    Malformed(String),
    /// Months and years.
    #[error("months and years have no fixed length, use days")]
    Calendar,
    /// Before zero.
    #[error("a duration is not negative")]
    Negative,
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let text = text.trim();
        if text == "0" {
            return Ok(Self::default());
        }
        let malformed = || SpanError::Malformed(text.to_owned());
        let span: jiff::Span = text.parse().map_err(|_| malformed())?;
        if span.get_years() != 0 || span.get_months() != 0 {
            return Err(SpanError::Calendar);
        }
        if span.is_negative() {
            return Err(SpanError::Negative);
        }
        let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| malformed())?;
        Duration::try_from(length).map(Self).map_err(|_| malformed())
    }
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
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A `Duration`, written like a [`Span`].
pub mod duration {
    use super::*;

    /// For `#[serde(with = …)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Span::deserialize(deserializer).map(|span| span.0)
    }
}

/// A limit on how often something is tried: a number, or `unlimited`, which is none.
pub mod attempts {
    use super::*;

    /// For `#[serde(with = …)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Option<u32>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of attempts, or \"unlimited\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<u32>, E> {
                u32::try_from(number).map(Some).map_err(|_| E::custom("so many attempts are \"unlimited\""))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Option<u32>, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u32>, E> {
                if text == "unlimited" { Ok(None) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes, printed) in [
            ("0", 0, "0B"),
            ("17", 17, "17B"),
            ("17B", 17, "17B"),
            ("64MiB", 64 << 20, "64MiB"),
            ("64 mib", 64 << 20, "64MiB"),
            ("6.0 GiB", 6 << 30, "6GiB"),
            ("1.5GiB", 3 << 29, "1536MiB"),
            ("1.5kB", 1500, "1500B"),
            ("2TB", 2_000_000_000_000, "2TB"),
            ("0.0000000000009TiB", 0, "0B"),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), printed);
        }
        for text in ["", "MiB", "-1", "1 XB", "1..2MB", "99999999999TiB", "1.2.3", ".", "1.", ".5MiB", "1e3"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for size in [0, 1, 1023, 1 << 10, 3 << 20, 5 << 30, u64::MAX] {
            assert_eq!(ByteSize(size).to_string().parse(), Ok(ByteSize(size)));
        }
    }

    #[test]
    fn spans_are_read() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1h 30m", 5_400_000),
            ("1h, 30m", 5_400_000),
            ("PT5H", 18_000_000),
            ("5 hours", 18_000_000),
            ("1d", 86_400_000),
            ("P1DT1H", 90_000_000),
            ("2 weeks", 14 * 86_400_000),
            ("1s 500ms", 1500),
            ("1.5s", 1500),
            ("0s", 0),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "10", "x", "1e3s", "99999999999999999999s"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError::Malformed(text.to_owned())), "{text}");
        }
        assert_eq!("-1s".parse::<Span>(), Err(SpanError::Negative));
        for text in ["1 month", "P1Y"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError::Calendar), "{text}");
        }
    }
}
