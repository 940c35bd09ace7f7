//! Identifiers and their text forms (`spec/service-protocol.md` section 7).
//!
//! Text is `<prefix>_1<payload>`; the payload is base62 of fixed width over the bytes read as a
//! *little-endian* number, most significant digit first. There is no checksum.

use std::{fmt, str::FromStr};

use base64::Engine as _;

use crate::key::PartitionKey;

/// An engine partition, `0..N`. Not a Kafka partition: that is a *source partition*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// The log of the metadata, which is no engine partition.
    pub const META: PartitionId = PartitionId(u16::MAX);
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Drawn once when a cluster is created; every announcement carries it, a foreign one stops the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

/// Why a text is not an id. `Display` is the detail that the HTTP APIs show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Prefix or digits are not those of this kind of id.
    #[error("bad format")]
    Format,
    /// The payload has another width.
    #[error("bad length")]
    Length,
}

const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const WIDTH_64: usize = 11;
const WIDTH_128: usize = 22;

fn encode62(mut n: u128, width: usize, out: &mut String) {
    let mut digits = [b'0'; WIDTH_128];
    for digit in digits[..width].iter_mut().rev() {
        *digit = ALPHABET[(n % 62) as usize];
        n /= 62;
    }
    out.push_str(std::str::from_utf8(&digits[..width]).expect("the alphabet is ASCII"));
}

fn decode62(digits: &[u8]) -> Result<u128, IdError> {
    let mut n: u128 = 0;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'z' => digit - b'a' + 10,
            b'A'..=b'Z' => digit - b'A' + 36,
            _ => return Err(IdError::Format),
        };
        n = n.checked_mul(62).and_then(|n| n.checked_add(u128::from(value))).ok_or(IdError::Format)?;
    }
    Ok(n)
}

fn encode_u64(value: u64, out: &mut String) {
    encode62(u128::from(u64::from_le_bytes(value.to_be_bytes())), WIDTH_64, out);
}

fn decode_u64(digits: &[u8]) -> Result<u64, IdError> {
    let n = u64::try_from(decode62(digits)?).map_err(|_| IdError::Format)?;
    Ok(u64::from_be_bytes(n.to_le_bytes()))
}

fn encode_u128(value: u128, out: &mut String) {
    encode62(u128::from_le_bytes(value.to_be_bytes()), WIDTH_128, out);
}

fn decode_u128(digits: &[u8]) -> Result<u128, IdError> {
    Ok(u128::from_be_bytes(decode62(digits)?.to_le_bytes()))
}

fn payload<'a>(text: &'a str, prefix: &str, width: usize) -> Result<&'a [u8], IdError> {
    let payload = text.strip_prefix(prefix).ok_or(IdError::Format)?.as_bytes();
    if payload.len() == width { Ok(payload) } else { Err(IdError::Length) }
}

/// Names one invocation for ever: 8 bytes of partition key, so that anything routes from the id alone, and 16 of its own.
///
/// Ordered like its raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvocationId {
    /// Where it lives.
    pub key: PartitionKey,
    /// Deterministic for records, workflow runs and idempotent calls, else random. Never 0.
    pub unique: u128,
}

impl InvocationId {
    /// Length of [`InvocationId::to_bytes`].
    pub const LEN: usize = 24;

    /// Big-endian bytes: what `Start.id` carries and awakeable ids embed.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.key.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.unique.to_be_bytes());
        bytes
    }

    /// Inverse of [`InvocationId::to_bytes`]; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (key, unique) = bytes.split_first_chunk::<8>()?;
        Some(Self { key: PartitionKey(u64::from_be_bytes(*key)), unique: u128::from_be_bytes(unique.try_into().ok()?) })
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(38);
        text.push_str("inv_1");
        encode_u64(self.key.0, &mut text);
        encode_u128(self.unique, &mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for InvocationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (key, unique) = payload(text, "inv_1", WIDTH_64 + WIDTH_128)?.split_at(WIDTH_64);
        Ok(Self { key: PartitionKey(decode_u64(key)?), unique: decode_u128(unique)? })
    }
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// A ULID: 48 bits of milliseconds since the epoch, then 80 random bits.
            pub fn from_parts(created_ms: u64, random: u128) -> Self {
                Self((u128::from(created_ms) << 80) | (random & ((1 << 80) - 1)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = String::with_capacity($prefix.len() + WIDTH_128);
                text.push_str($prefix);
                encode_u128(self.0, &mut text);
                f.write_str(&text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Ok(Self(decode_u128(payload(text, $prefix, WIDTH_128)?)?))
            }
        }
    };
}

ulid_id!(
    /// A registered endpoint.
    DeploymentId, "dp_1"
);
ulid_id!(
    /// A topic → handler binding.
    SubscriptionId, "sub_1"
);

/// `sign_1…`: a signal index of one invocation, as handlers hand it out for awakeables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwakeableId {
    /// Whose journal gets the signal.
    pub invocation: InvocationId,
    /// Awakeables start at 17.
    pub signal: u32,
}

impl fmt::Display for AwakeableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; InvocationId::LEN + 4];
        bytes[..InvocationId::LEN].copy_from_slice(&self.invocation.to_bytes());
        bytes[InvocationId::LEN..].copy_from_slice(&self.signal.to_be_bytes());
        write!(f, "sign_1{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for AwakeableId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let payload = text.strip_prefix("sign_1").ok_or(IdError::Format)?.trim_end_matches('=');
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).map_err(|_| IdError::Format)?;
        let (invocation, signal) = bytes.split_last_chunk::<4>().ok_or(IdError::Length)?;
        Ok(Self {
            invocation: InvocationId::from_bytes(invocation).ok_or(IdError::Length)?,
            signal: u32::from_be_bytes(*signal),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, key: u64, unique: u128) {
        let id = InvocationId { key: PartitionKey(key), unique };
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(InvocationId::from_bytes(&id.to_bytes()), Some(id));
    }

    #[test]
    fn invocation_ids_are_those_of_the_spec() {
        check("inv_1f6yqe2HuOpp4BCLNlylVWGULadPGf7rHB", 0xefe88c4a0a1ef2af, 0xb34242a32fb61c6715e6b8a4fbef5d97);
        check("inv_1kIao9i5PlCR0yQlTiHIdwxFXQZUBDmN3E", 0x75423ed3a4f93ff1, 0x4625cc7421f30e0ebd92c70d883c7712);
        check("inv_12kpUQONmeFb2WqsVOkAjH4phS34cOyIC8", 0x5164c775648d211b, 0xfc1b0e11991cc94920918243914fad60);
    }

    #[test]
    fn malformed_ids_say_what_is_wrong() {
        for (text, error) in [
            ("xyz", IdError::Format),
            ("inv_1", IdError::Length),
            ("inv_1f6yqe2HuOpp4BCLNlylVWGULadPGf7rH-", IdError::Format),
            ("inv_1ZZZZZZZZZZZ4BCLNlylVWGULadPGf7rHB", IdError::Format),
            ("inv_1f6yqe2HuOppZZZZZZZZZZZZZZZZZZZZZZ", IdError::Format),
        ] {
            assert_eq!(text.parse::<InvocationId>(), Err(error), "{text}");
        }
    }

    #[test]
    fn deployment_ids_are_those_of_the_spec() {
        let id = DeploymentId(0x01a204164beac35e7aa98eb70d73468d);
        assert_eq!(id.to_string(), "dp_14iA72CbiIZazuCK2NHztYd");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn awakeable_ids_are_those_of_the_spec() {
        let text = "sign_1CJyyJkeozQfdqa8J9PVTSnhhwVLEEFncAAAAEQ";
        let id: AwakeableId = text.parse().unwrap();
        assert_eq!(id.signal, 17);
        assert_eq!(id.invocation.key.0, 0x089cb22647a8cd07);
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{text}==").parse(), Ok(id));
    }
}
