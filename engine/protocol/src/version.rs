//! Versions of the service protocol (`spec/service-protocol.md` sections 0 and 2.3).

use std::fmt;

use millrace_model::codes::{self, Code, Coded};

/// A version that this server speaks. A journal is only ever replayed at the version it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum ProtocolVersion {
    /// Commands and notifications in one journal.
    V5 = 5,
    /// Random seed in Start, metadata in failures.
    V6 = 6,
    /// Await trees, acknowledged run proposals, error behavior, scopes.
    V7 = 7,
    /// Reads of state that leave no trace in the journal. Experimental: not offered unless a node is told to.
    V8 = 8,
}

impl ProtocolVersion {
    /// Oldest one spoken.
    pub const MIN: ProtocolVersion = ProtocolVersion::V5;
    /// Newest one spoken with every deployment.
    pub const MAX: ProtocolVersion = ProtocolVersion::V7;

    /// The version of an invocation that is pinned already: also an experimental one, whose journal has no other.
    /// RT0014 if it is not spoken (any more).
    pub fn pinned(number: u32) -> Result<Self, VersionError> {
        Self::from_number(number).ok_or(VersionError::Pinned { number })
    }

    /// The version of a new invocation: the highest that both sides speak. `min` and `max` are the deployment's,
    /// inclusive; `newest` is ours. RT0013 if there is none.
    pub fn choose(min: u32, max: u32, newest: Self) -> Result<Self, VersionError> {
        Self::highest(min, max, newest).ok_or(VersionError::Attempt { min, max })
    }

    /// The check at registration, META0012: the deployment could never be called.
    pub fn check_registration(min: u32, max: u32) -> Result<(), VersionError> {
        Self::highest(min, max, Self::MAX).map(drop).ok_or(VersionError::Registration { min, max })
    }

    fn highest(min: u32, max: u32, newest: Self) -> Option<Self> {
        let version = Self::from_number(max.min(newest as u32))?;
        (min <= version as u32).then_some(version)
    }

    fn from_number(number: u32) -> Option<Self> {
        match number {
            5 => Some(Self::V5),
            6 => Some(Self::V6),
            7 => Some(Self::V7),
            8 => Some(Self::V8),
            _ => None,
        }
    }

    /// The number, as stored in a pin.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// `content-type` and `accept` of an invocation request; an answer must carry exactly this.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V5 => "application/vnd.restate.invocation.v5",
            Self::V6 => "application/vnd.restate.invocation.v6",
            Self::V7 => "application/vnd.restate.invocation.v7",
            Self::V8 => "application/vnd.restate.invocation.v8",
        }
    }

    /// Whether a run proposal can be answered with an acknowledgement in place of the whole result.
    pub fn acknowledges_runs(self) -> bool {
        self >= Self::V7
    }

    /// Whether state can be read without a trace in the journal.
    pub fn reads_ephemerally(self) -> bool {
        self >= Self::V8
    }

    /// Whether Start carries scope, limit key and idempotency key.
    pub fn has_call_context(self) -> bool {
        self >= Self::V7
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// No version in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// When a deployment is registered.
    #[error(
        "the endpoint speaks service protocol {min} to {max}, this server {} to {}",
        ProtocolVersion::MIN,
        ProtocolVersion::MAX
    )]
    Registration { min: u32, max: u32 },
    /// When the first attempt starts.
    #[error(
        "the deployment speaks service protocol {min} to {max}, this server {} to {}",
        ProtocolVersion::MIN,
        ProtocolVersion::MAX
    )]
    Attempt { min: u32, max: u32 },
    /// When a later attempt starts.
    #[error(
        "the invocation runs on service protocol {number}, this server speaks {} to {}",
        ProtocolVersion::MIN,
        ProtocolVersion::MAX
    )]
    Pinned { number: u32 },
}

impl Coded for VersionError {
    fn code(&self) -> Code {
        match self {
            Self::Registration { .. } => codes::META0012,
            Self::Attempt { .. } => codes::RT0013,
            Self::Pinned { .. } => codes::RT0014,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        for (min, max, expected) in [
            (5, 7, Some(7)),
            (5, 6, Some(6)),
            (5, 5, Some(5)),
            (1, 5, Some(5)),
            (6, 8, Some(7)),
            (7, u32::MAX, Some(7)),
            (8, 9, None),
            (1, 4, None),
            (7, 6, None),
        ] {
            let chosen = ProtocolVersion::choose(min, max, ProtocolVersion::MAX);
            assert_eq!(chosen.ok().map(ProtocolVersion::number), expected, "{min}..={max}");
            assert_eq!(ProtocolVersion::check_registration(min, max).is_ok(), expected.is_some());
        }
    }

    #[test]
    fn each_moment_has_its_code() {
        assert_eq!(ProtocolVersion::check_registration(1, 4).unwrap_err().code().id, "META0012");
        assert_eq!(ProtocolVersion::choose(8, 9, ProtocolVersion::MAX).unwrap_err().code().id, "RT0013");
        assert_eq!(ProtocolVersion::pinned(4).unwrap_err().code().id, "RT0014");
        assert_eq!(ProtocolVersion::pinned(6), Ok(ProtocolVersion::V6));
        assert_eq!(ProtocolVersion::pinned(9).unwrap_err().code().id, "RT0014");
    }

    #[test]
    fn the_experimental_version_is_chosen_where_it_is_offered() {
        let newest = ProtocolVersion::V8;
        assert_eq!(ProtocolVersion::choose(5, 8, newest), Ok(ProtocolVersion::V8));
        assert_eq!(ProtocolVersion::choose(8, 9, newest), Ok(ProtocolVersion::V8));
        assert_eq!(ProtocolVersion::choose(5, 7, newest), Ok(ProtocolVersion::V7));
        assert_eq!(ProtocolVersion::choose(5, 8, ProtocolVersion::MAX), Ok(ProtocolVersion::V7));
        assert_eq!(ProtocolVersion::pinned(8), Ok(ProtocolVersion::V8), "its journal is replayed also when it is off");
    }

    #[test]
    fn content_types_carry_the_number() {
        for version in [ProtocolVersion::V5, ProtocolVersion::V6, ProtocolVersion::V7, ProtocolVersion::V8] {
            assert_eq!(version.content_type(), format!("application/vnd.restate.invocation.v{version}"));
        }
    }
}
