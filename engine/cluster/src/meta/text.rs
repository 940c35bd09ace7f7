//! Ids and shared text in JSON: as people write them.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// For `#[serde(with = "text::display")]`: ids in their text form.
pub(crate) mod display {
    use super::*;

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// For `ClusterId`: 32 hexadecimal digits.
pub(crate) mod cluster_id {
    use millrace_model::ClusterId;

    use super::*;

    pub fn serialize<S: Serializer>(id: &ClusterId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:032x}", id.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ClusterId, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        u128::from_str_radix(&text, 16).map(ClusterId).map_err(D::Error::custom)
    }
}

/// For `TimestampMs`: a number.
pub(crate) mod timestamp {
    use millrace_model::TimestampMs;

    use super::*;

    pub fn serialize<S: Serializer>(at: &TimestampMs, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TimestampMs, D::Error> {
        u64::deserialize(from).map(TimestampMs)
    }
}
