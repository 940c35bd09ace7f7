//! What an endpoint can do wrong. Each of these fails the attempt; none ends the invocation.

use millrace_model::codes::{self, Code, Coded};

use crate::ty;

/// Why the bytes of an attempt cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Refused by its header, before any of it was kept.
    #[error("{} of {length} bytes, the limit is {limit} bytes", ty::display(*ty))]
    TooLarge { ty: u16, length: u32, limit: u32 },
    /// A number that no version up to ours has.
    #[error("unknown message type {ty:#06x}")]
    UnknownType { ty: u16 },
    /// The custom range has no meaning here.
    #[error("custom command {ty:#06x} is not supported")]
    Custom { ty: u16 },
    /// Not the protobuf message that its type says.
    #[error("{} does not decode", ty::display(*ty))]
    Malformed { ty: u16, source: prost::DecodeError },
    /// Decodes, but says what has no meaning.
    #[error("{}: {what}", ty::display(*ty))]
    Invalid { ty: u16, what: &'static str },
    /// Names something by a text that is no id.
    #[error("{}: '{id}' is not an id of that kind", ty::display(*ty))]
    BadId { ty: u16, id: String },
    /// More repeated parts than any handler needs.
    #[error("{} with more than {limit} parts of one kind", ty::display(*ty))]
    TooManyParts { ty: u16, limit: usize },
    /// An await that we do not take apart.
    #[error("await tree above {depth_max} levels or {items_max} parts")]
    AwaitTooLarge { depth_max: usize, items_max: usize },
    /// Only the server sends this.
    #[error("{} from the endpoint", ty::display(*ty))]
    WrongDirection { ty: u16 },
    /// What can only be answered on a stream that stays open.
    #[error("{} in request-response mode", ty::display(*ty))]
    NeedsStream { ty: u16 },
    /// Nobody could answer it.
    #[error("{}: acknowledgements of commands are not supported in request-response mode", ty::display(*ty))]
    AckNeedsStream { ty: u16 },
    /// Nothing but Error may come before the replay is written.
    #[error("{} before the end of the replay", ty::display(*ty))]
    BeforeReplay { ty: u16 },
    /// The invocation would end without a result.
    #[error("End without Output")]
    EndWithoutOutput,
    /// The stream ended in the middle.
    #[error("the endpoint closed the stream before End, Suspension or Error")]
    ClosedEarly,
}

impl Coded for ProtocolError {
    fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => codes::RT0003,
            Self::Custom { .. } | Self::BadId { .. } | Self::AckNeedsStream { .. } => codes::RT0017,
            Self::AwaitTooLarge { .. } => codes::RT0025,
            Self::ClosedEarly => codes::RT0010,
            Self::UnknownType { .. }
            | Self::Malformed { .. }
            | Self::Invalid { .. }
            | Self::TooManyParts { .. }
            | Self::WrongDirection { .. }
            | Self::NeedsStream { .. }
            | Self::BeforeReplay { .. }
            | Self::EndWithoutOutput => codes::RT0012,
        }
    }
}
