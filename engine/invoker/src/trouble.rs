//! Why an attempt failed.

use std::{error::Error, fmt::Write as _, time::Duration};

use millrace_model::{
    Text,
    codes::{self, Code, Coded},
    invocation::{AttemptError, RelatedCommand},
};
use millrace_protocol::{
    ProtocolError,
    session::{AttemptError as SdkError, ErrorBehavior},
    version::VersionError,
};

use crate::transport::TransportError;

/// What an endpoint asks for after a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Nothing: the policy decides.
    #[default]
    None,
    /// The next attempt after this delay, however many there were: a retry policy of the handler's own.
    Delay(Duration),
    /// The next attempt, if there is one, after this delay: the endpoint wants to be spared.
    SlowDown(Duration),
    /// Wait for an operator.
    Pause,
    /// End the invocation with this failure.
    Fail,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Which kind.
    pub code: Code,
    /// HTTP-like, of the SDK or the endpoint.
    pub status: u32,
    /// User code may have run.
    pub counts: bool,
    /// What the endpoint asks for.
    pub wish: Wish,
    /// What people want to know.
    pub details: Box<Details>,
}

/// What people want to know of a failed attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// What happened.
    pub message: String,
    /// Of user code.
    pub stacktrace: String,
    /// The command concerned.
    pub related: Option<RelatedCommand>,
}

/// Status of a failure that has none of its own.
const STATUS_DEFAULT: u32 = 500;
/// What SDKs use for violations of the protocol.
const STATUS_PROTOCOL: u32 = 571;

impl Trouble {
    /// A failure that user code may have seen the beginning of.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            status: STATUS_DEFAULT,
            counts: true,
            wish: Wish::None,
            details: Box::new(Details { message: message.into(), ..Details::default() }),
        }
    }

    /// User code cannot have run.
    pub fn before_user_code(self) -> Self {
        Self { counts: false, ..self }
    }

    /// A command that the handler may not use.
    pub fn about(code: Code, message: impl Into<String>, index: u32, name: &Text, ty: u16) -> Self {
        let name = Some(name).filter(|name| !name.is_empty()).map(Text::detached);
        let mut trouble = Self::new(code, message);
        trouble.details.related = Some(RelatedCommand { index: Some(index), name, ty: Some(ty.into()) });
        trouble
    }

    /// What is stored with the invocation.
    pub fn into_error(self) -> AttemptError {
        let Details { message, stacktrace, related } = *self.details;
        AttemptError {
            code: Text::constant(self.code.id),
            status: self.status,
            message: message.into(),
            stacktrace: stacktrace.into(),
            related,
        }
    }
}

impl From<ProtocolError> for Trouble {
    fn from(error: ProtocolError) -> Self {
        let status = if error.code() == codes::RT0012 { STATUS_PROTOCOL } else { STATUS_DEFAULT };
        Self { status, ..Self::new(error.code(), chain(&error)) }
    }
}

impl From<VersionError> for Trouble {
    fn from(error: VersionError) -> Self {
        Self::new(error.code(), chain(&error)).before_user_code()
    }
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        if let TransportError::Lambda(error) = error {
            return error.into();
        }
        let counts = error.request_may_have_run();
        let message = match error.looks_like_http1() {
            true => "the endpoint seems to speak HTTP/1.1 only: register it again, with use_http_11".to_owned(),
            false => chain(&error),
        };
        Self { counts, ..Self::new(codes::RT0010, message) }
    }
}

impl From<SdkError> for Trouble {
    fn from(error: SdkError) -> Self {
        let code = error.code();
        let related = (error.related_command_index.is_some()
            || error.related_command_name.is_some()
            || error.related_command_type.is_some())
        .then(|| RelatedCommand {
            index: error.related_command_index,
            name: error.related_command_name.map(Text::from),
            ty: error.related_command_type.map(u32::from),
        });
        let wish = match (error.behavior, error.next_retry_delay) {
            (ErrorBehavior::Pause, _) => Wish::Pause,
            (ErrorBehavior::Fail, _) => Wish::Fail,
            (ErrorBehavior::Retry, Some(delay)) => Wish::Delay(delay),
            (ErrorBehavior::Retry, None) => Wish::None,
        };
        let details = Details { message: error.message, stacktrace: error.stacktrace, related };
        Self { code, status: error.code, counts: true, wish, details: Box::new(details) }
    }
}

/// What the leader refused: its own words.
impl From<AttemptError> for Trouble {
    fn from(error: AttemptError) -> Self {
        let code = codes::ALL.iter().find(|code| *code.id == *error.code).copied().unwrap_or(codes::RT0006);
        let details = Details {
            message: error.message.as_str().to_owned(),
            stacktrace: error.stacktrace.as_str().to_owned(),
            related: error.related,
        };
        Self { code, status: error.status, counts: true, wish: Wish::None, details: Box::new(details) }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many libraries repeat their cause.
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
