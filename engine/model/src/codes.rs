//! Every error code, once. A code is permanent: never reused, its page is `engine/model/codes/<id>.md`.

/// What a caller can do about an error. HTTP status is derived from it, in [`Kind::http_status`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The input is wrong: change it.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// Another leader has taken over.
    Fenced,
    /// Not now: try again later.
    Unavailable,
    /// A limit is reached.
    Exhausted,
    /// Stored bytes are not what was written.
    Corrupt,
    /// A defect of ours.
    Internal,
}

impl Kind {
    /// The status that our own HTTP answers carry for this kind.
    pub fn http_status(self) -> u16 {
        match self {
            Kind::Invalid => 400,
            Kind::NotFound => 404,
            Kind::Conflict => 409,
            Kind::Fenced | Kind::Unavailable => 503,
            Kind::Exhausted => 429,
            Kind::Corrupt | Kind::Internal => 500,
        }
    }
}

/// May the caller repeat blindly?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing happened.
    No,
    /// It may have happened, or may still happen.
    Unknown,
}

/// A permanent error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Area and four digits.
    pub id: &'static str,
    /// What the caller can do.
    pub kind: Kind,
    /// Whether it may have happened all the same.
    pub applied: Applied,
}

/// An error that has a code.
pub trait Coded {
    /// Its code.
    fn code(&self) -> Code;
}

macro_rules! codes {
    ($($(#[$doc:meta])* $id:ident: $kind:ident, $applied:ident;)*) => {
        $($(#[$doc])* pub const $id: Code = Code { id: stringify!($id), kind: Kind::$kind, applied: Applied::$applied };)*
        /// All codes, in the order of this file.
        pub const ALL: &[Code] = &[$($id),*];
        /// The page of a code: what happened, likely causes, what to do.
        pub fn page(id: &str) -> Option<&'static str> {
            match id {
                $(stringify!($id) => Some(include_str!(concat!("../codes/", stringify!($id), ".md"))),)*
                _ => None,
            }
        }
    };
}

codes! {
    // The log.
    /// The log was written by another leader since.
    LOG0001: Fenced, No;
    /// Writing or syncing failed; the log is closed.
    LOG0002: Unavailable, Unknown;
    /// Stored bytes are damaged where they had been synced.
    LOG0003: Corrupt, No;
    /// The disk has no room for another segment.
    LOG0004: Exhausted, No;
    /// A batch above the largest size.
    LOG0005: Exhausted, No;
    /// The log does not hold the record that the store says it applied.
    LOG0007: Corrupt, No;
    /// The position asked for has been trimmed.
    LOG0008: NotFound, No;
    /// The log holds a record of another cluster.
    LOG0009: Conflict, No;
    /// More waits for the log than may wait.
    LOG0010: Exhausted, No;
    /// The log was sealed here and goes on in its next segment.
    LOG0011: Fenced, No;
    /// The log's folder or files cannot be opened or read.
    LOG0012: Unavailable, No;

    // The store.
    /// Stored bytes of a partition are not what was written.
    STO0001: Corrupt, No;
    /// A partition's store cannot be opened, read or written; the partition stops.
    STO0002: Unavailable, Unknown;
    /// The store was written by a newer release.
    STO0003: Conflict, No;
    /// The folder holds the store of another partition.
    STO0004: Conflict, No;
    /// The disk has no room for the store.
    STO0005: Exhausted, Unknown;

    // Metadata, deployments and subscriptions (numbers of the product documentation).
    /// Discovery could not reach the endpoint.
    META0003: Unavailable, No;
    /// The endpoint is registered already.
    META0004: Conflict, No;
    /// A service name that cannot be used, or stored metadata that is damaged.
    META0005: Invalid, No;
    /// An incompatible change of a service.
    META0006: Conflict, No;
    /// A subscription's source, sink or options are not usable.
    META0009: Invalid, No;
    /// The metadata was written by an incompatible release.
    META0010: Conflict, No;
    /// The metadata's folder has no version marker.
    META0011: Corrupt, No;
    /// No service protocol version in common.
    META0012: Invalid, No;
    /// The discovery answer is not a manifest.
    META0013: Invalid, No;
    /// The endpoint seems to speak HTTP/1.1 only.
    META0014: Invalid, No;
    /// Bidirectional streaming over a transport that cannot.
    META0015: Invalid, No;
    /// An in-place update with something that is not similar enough.
    META0016: Invalid, No;
    /// Two deployments share the address that is to be overwritten.
    META0017: Conflict, No;
    /// A limit on the number or size of metadata objects is reached.
    META0018: Exhausted, No;
    /// The metadata's log holds what this server cannot follow.
    META0019: Corrupt, No;
    /// The metadata was changed by others at the same time, or the change contradicts it.
    META0021: Conflict, No;
    /// The metadata's snapshot cannot be read or written.
    META0022: Unavailable, No;

    // The admin API.
    /// A request that cannot be understood.
    ADM0001: Invalid, No;
    /// No such resource.
    ADM0002: NotFound, No;
    /// The resource's state does not allow it.
    ADM0003: Conflict, No;
    /// Not part of this release.
    ADM0004: Unavailable, No;
    /// More requests than may be served at once.
    ADM0005: Exhausted, No;

    // Running.
    /// The abort timeout fired.
    RT0001: Unavailable, Unknown;
    /// The configuration cannot be used.
    RT0002: Invalid, No;
    /// A message above the size limit.
    RT0003: Exhausted, No;
    /// A listen address cannot be bound.
    RT0004: Conflict, No;
    /// The data folder is locked by another process.
    RT0005: Conflict, No;
    /// An attempt failed for no more specific reason.
    RT0006: Internal, Unknown;
    /// The handler reported a retryable error.
    RT0007: Unavailable, Unknown;
    /// The store of a partition has no version marker.
    RT0009: Corrupt, No;
    /// Network trouble with the endpoint.
    RT0010: Unavailable, Unknown;
    /// No deployment serves the service.
    RT0011: NotFound, No;
    /// The endpoint broke the service protocol.
    RT0012: Invalid, Unknown;
    /// No service protocol version in common any more.
    RT0013: Invalid, No;
    /// The invocation is pinned to a version this server does not speak.
    RT0014: Invalid, No;
    /// The endpoint refused the negotiated version.
    RT0015: Invalid, No;
    /// The handler did something else than its journal says.
    RT0016: Conflict, Unknown;
    /// A command that may not be used here.
    RT0017: Invalid, No;
    /// A call to an unknown service or handler.
    RT0018: NotFound, No;
    /// The endpoint answered "payload too large".
    RT0019: Exhausted, Unknown;
    /// The endpoint asked to slow down.
    RT0023: Unavailable, No;
    /// Scopes and limit keys, which this server does not have.
    RT0024: Invalid, No;
    /// Too much work is waiting.
    ENG0001: Exhausted, No;
    /// The outcome is not known.
    ENG0002: Unavailable, Unknown;
    /// The server is shutting down.
    ENG0003: Unavailable, No;
    /// An await nested too deep or with too many parts.
    RT0025: Exhausted, No;

    // Subscriptions.
    /// The consumer group to be adopted has members.
    SUB0001: Conflict, No;
    /// The Kafka cluster did not answer as it should.
    SUB0002: Unavailable, No;
    /// The topic does not exist.
    SUB0003: NotFound, No;
    /// The Kafka client is of no more use and is made again.
    SUB0004: Unavailable, No;
    /// The handler of the sink is not registered.
    SUB0005: NotFound, No;
    /// There is no offset to start from.
    SUB0006: NotFound, No;
    /// A dead letter cannot be written.
    SUB0007: Unavailable, No;
}
