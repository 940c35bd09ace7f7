//! Key/value state as it is edited from outside.

use std::{fmt, str::FromStr};

use base64::Engine as _;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    codec::{DecodeError, Input, Wire, wire_struct},
    ids::IdError,
};

/// Names the whole state of a key: what an edit was made against (`spec/admin-api.md` section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateVersion(pub [u8; 32]);

impl StateVersion {
    /// Of all state of a key, sorted bytewise.
    pub fn of<'a>(entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut hasher = Sha256::new();
        for (i, (key, value)) in entries.into_iter().enumerate() {
            hasher.update((i as u64).to_be_bytes());
            hasher.update([1]);
            hasher.update(key);
            hasher.update([2]);
            hasher.update(value);
            hasher.update([3]);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for StateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for StateVersion {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| IdError::Format)?;
        Ok(Self(bytes.try_into().map_err(|_| IdError::Length)?))
    }
}

impl Wire for StateVersion {
    fn put(&self, out: &mut Vec<u8>) {
        let (high, low) = self.0.split_at(16);
        for half in [high, low] {
            u128::from_be_bytes(half.try_into().expect("half of 32 bytes")).put(out);
        }
    }
    fn get(input: &mut Input) -> Result<Self, DecodeError> {
        let mut bytes = [0; 32];
        for half in bytes.chunks_exact_mut(16) {
            half.copy_from_slice(&u128::get(input)?.to_be_bytes());
        }
        Ok(Self(bytes))
    }
}

/// An edit from outside: all state of a key becomes `entries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEdit {
    /// What the state must be before it; otherwise nothing happens.
    pub expected: Option<StateVersion>,
    /// All state afterwards.
    pub entries: Vec<(Bytes, Bytes)>,
}
wire_struct! { StateEdit { expected, entries } }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_spec() {
        let version = StateVersion::of([(&b"count"[..], &b"5"[..])]);
        assert_eq!(version.to_string(), "S6MyUcVGhqv_Nm54F5guL_XKfJMeFCOXIi7QEc5GZZA");
        assert_eq!(version.to_string().parse(), Ok(version));
        assert_eq!(StateVersion::decode(version.encode()), Ok(version));
        assert_eq!("".parse::<StateVersion>(), Err(IdError::Length));
        assert_eq!("?".parse::<StateVersion>(), Err(IdError::Format));
    }
}
