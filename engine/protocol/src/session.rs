//! One attempt, server side: what goes out is encoded, what comes in is checked and becomes events.
//!
//! ```text
//!   new ──encode_start──> replay ──last encode_entry──> processing ──End, Suspension, Error──> over
//!                            │ only Error may come          │ commands, proposals, AwaitingOn
//! ```
//!
//! The order in which entries are encoded is the order in which the handler's awaits resolve: encode only what is
//! stored, in the order of the journal. After a terminal event, or an error, everything received is ignored; end the
//! request stream then, because SDKs keep their side open until that is done.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_model::{
    InvocationId, Text,
    codes::{self, Code, Coded},
    journal::{Completion, Entry},
};
use prost::Message;

use crate::{
    command::{self, Command, cid, completion, message, shorten},
    entry,
    error::ProtocolError,
    frame::{self, Decoder, Frame, HEADER_LEN},
    future::AwaitTree,
    message::{
        CommandAckMessage, EphemeralState, ErrorMessage, GetStateEphemeralCommandMessage,
        GetStateEphemeralNotificationMessage, ProposeRunCompletionAckMessage, ProposeRunCompletionMessage,
        StartMessage, StateEntry, Value, Void,
    },
    ty,
    version::ProtocolVersion,
    wire::Fields,
};

/// Bytes that are kept of an error's message.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Bytes that are kept of an error's stack trace.
pub const ERROR_STACKTRACE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that are kept of the name of an error's related command.
const ERROR_NAME_BYTES_MAX: usize = 1024;

/// The longest delay that an error can ask for, 100 years: clocks can be added to it.
const RETRY_DELAY_MS_MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// How the request stream is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It stays open after the replay; notifications follow as they are stored.
    BidiStream,
    /// It ends with the replay; the handler suspends wherever it would wait.
    RequestResponse,
}

/// What Start says.
#[derive(Clone, Debug)]
pub struct StartInfo<'a> {
    pub invocation_id: InvocationId,
    /// Journal entries that follow as replay, commands and notifications; at least 1.
    pub known_entries: u32,
    /// Eager state; keys are UTF-8.
    pub state: &'a [(Bytes, Bytes)],
    /// `state` may lack entries. True also for targets that have no state, else their reads come out "absent".
    pub partial_state: bool,
    /// Empty for unkeyed targets.
    pub key: &'a str,
    /// Attempts that failed since the last command was stored.
    pub retry_count_since_last_stored_entry: u32,
    /// Since the last journal append, cut to milliseconds.
    pub duration_since_last_stored_entry: Duration,
    /// The same on every attempt of the invocation.
    pub random_seed: u64,
    /// This and the next two are sent from version 7 on.
    pub scope: Option<&'a str>,
    pub limit_key: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
}

/// What the endpoint did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "most events are commands: a box would be an allocation for each")]
pub enum Event {
    /// To be stored, then acted upon.
    Command(CommandEvent),
    /// To be stored as the completion of a Run.
    RunProposal {
        completion_id: u32,
        result: Completion,
        /// Once stored, answer with [`Session::encode_run_ack`] in place of the notification.
        ack: bool,
    },
    /// State is to be read as it is now, and answered with [`Session::encode_state`]. Not stored. Only on streams.
    GetState { ephemeral_id: u32, key: Bytes },
    /// A hint; the attempt goes on. May repeat.
    AwaitingOn {
        tree: AwaitTree,
        /// A step is being executed.
        executing_side_effects: bool,
    },
    /// Over: start the next attempt when the tree resolves. What is stored already counts too.
    Suspension(AwaitTree),
    /// Over, failed.
    Error(Box<AttemptError>),
    /// Over: the last Output of journal and stream is the result.
    End,
}

/// A command, decoded and as received.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandEvent {
    /// Its place among commands; Input is 0.
    pub command_index: u32,
    /// One of [`ty`].
    pub ty: u16,
    /// The payload exactly as received: store this, and replay this.
    pub raw: Bytes,
    /// Once stored, answer with [`Session::encode_command_ack`]. Only on streams.
    pub ack_requested: bool,
    /// What the handler calls it; mostly empty.
    pub name: Text,
    pub command: Command,
}

/// What an ErrorMessage says. Texts are cut to what is worth keeping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptError {
    /// 500, or one of the SDKs' own; has no influence on whether it is retried.
    pub code: u32,
    pub message: String,
    pub stacktrace: String,
    /// Index among commands; Input is 0.
    pub related_command_index: Option<u32>,
    pub related_command_name: Option<String>,
    /// One of [`ty`].
    pub related_command_type: Option<u16>,
    /// In place of the computed delay, for the next attempt only.
    pub next_retry_delay: Option<Duration>,
    /// What comes next. Version 7, honoured on all.
    pub behavior: ErrorBehavior,
}

/// What a failed attempt asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorBehavior {
    /// By the retry policy.
    #[default]
    Retry,
    /// Wait for an operator.
    Pause,
    /// End the invocation with this error's code and message.
    Fail,
}

impl Coded for AttemptError {
    fn code(&self) -> Code {
        match self.code {
            570 => codes::RT0016,
            571 => codes::RT0012,
            _ => codes::RT0007,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Bootstrap,
    /// So many entries are still to be encoded.
    Replay(u32),
    Processing,
    Over,
}

/// The state of one attempt.
#[derive(Debug)]
pub struct Session {
    version: ProtocolVersion,
    mode: Mode,
    phase: Phase,
    next_command_index: u32,
    has_output: bool,
    decoder: Decoder,
    ignored: u64,
}

impl Session {
    /// * `replayed_commands`: commands in the journal, Input included; the first new one gets this index.
    /// * `message_limit`: a message of so many bytes, or more, fails the attempt.
    pub fn new(version: ProtocolVersion, mode: Mode, replayed_commands: u32, message_limit: u32) -> Self {
        Self {
            version,
            mode,
            phase: Phase::Bootstrap,
            next_command_index: replayed_commands,
            has_output: false,
            decoder: Decoder::new(message_limit),
            ignored: 0,
        }
    }

    /// The version that this attempt runs at.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The index that the next command will get.
    pub fn next_command_index(&self) -> u32 {
        self.next_command_index
    }

    /// Appends Start, once and first.
    pub fn encode_start(&mut self, info: &StartInfo<'_>, out: &mut BytesMut) {
        assert!(self.phase == Phase::Bootstrap, "a second Start sends the SDK back to its beginning");
        assert!(info.known_entries > 0, "a journal begins with Input");
        self.phase = Phase::Replay(info.known_entries);
        let v7 = |text: Option<&str>| text.filter(|_| self.version.has_call_context()).map(str::to_owned);
        let state_map = info.state.iter().map(|(key, value)| StateEntry { key: key.clone(), value: value.clone() });
        let start = StartMessage {
            id: Bytes::copy_from_slice(&info.invocation_id.to_bytes()),
            debug_id: info.invocation_id.to_string(),
            known_entries: info.known_entries,
            state_map: state_map.collect(),
            partial_state: info.partial_state,
            key: info.key.to_owned(),
            retry_count_since_last_stored_entry: info.retry_count_since_last_stored_entry,
            duration_since_last_stored_entry: info.duration_since_last_stored_entry.as_millis() as u64,
            random_seed: info.random_seed,
            scope: v7(info.scope),
            limit_key: v7(info.limit_key),
            idempotency_key: v7(info.idempotency_key),
        };
        put(ty::START, &start, out);
    }

    /// Appends one journal entry: of the replay, or a notification that was stored since. As long as the last one of
    /// the replay is missing, nothing but Error is accepted from the endpoint.
    pub fn encode_entry(&mut self, entry: &Entry, out: &mut BytesMut) {
        match &mut self.phase {
            Phase::Bootstrap => panic!("Start comes first"),
            Phase::Replay(left) => {
                self.has_output |= entry::ty(entry) == ty::OUTPUT;
                *left -= 1;
                if *left == 0 {
                    self.phase = Phase::Processing;
                }
            }
            Phase::Processing => {
                assert!(matches!(entry, Entry::Notification(_)), "an SDK fails on a command behind the replay");
                assert!(self.mode == Mode::BidiStream, "the request stream ends with the replay");
            }
            // The stream is being closed; the next attempt replays it.
            Phase::Over => return,
        }
        entry::encode(entry, out);
    }

    /// Appends the acknowledgement of a proposal of *this* attempt whose event asked for it. Never part of a replay.
    pub fn encode_run_ack(&mut self, completion_id: u32, out: &mut BytesMut) {
        assert!(self.version.acknowledges_runs(), "SDKs below version 7 fail on it");
        debug_assert!(matches!(self.phase, Phase::Processing | Phase::Over));
        put(ty::PROPOSE_RUN_COMPLETION_ACK, &ProposeRunCompletionAckMessage { completion_id }, out);
    }

    /// Appends the acknowledgement of a command that asked for it; SDKs fail on any other.
    pub fn encode_command_ack(&mut self, command_index: u32, out: &mut BytesMut) {
        debug_assert!(matches!(self.phase, Phase::Processing | Phase::Over));
        put(ty::COMMAND_ACK, &CommandAckMessage { command_index }, out);
    }

    /// Appends the answer to [`Event::GetState`]; `None`: there is no such key.
    pub fn encode_state(&mut self, ephemeral_id: u32, value: Option<Bytes>, out: &mut BytesMut) {
        assert!(self.version.reads_ephemerally(), "SDKs below version 8 fail on it");
        debug_assert!(matches!(self.phase, Phase::Processing | Phase::Over));
        let result = match value {
            Some(content) => EphemeralState::Value(Value { content }),
            None => EphemeralState::Void(Void {}),
        };
        let answer =
            GetStateEphemeralNotificationMessage { ephemeral_completion_id: ephemeral_id, result: Some(result) };
        put(ty::GET_STATE_EPHEMERAL_ANSWER, &answer, out);
    }

    /// Takes bytes of the response body, split anywhere. Then call [`Session::next_event`] until it gives `None`.
    pub fn on_bytes(&mut self, bytes: Bytes) {
        if self.phase == Phase::Over {
            self.ignored += bytes.len() as u64;
        } else {
            self.decoder.push(bytes);
        }
    }

    /// The next whole event. An error fails the attempt, after it there are no more events.
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        if self.phase == Phase::Over {
            return Ok(None);
        }
        let result = match self.decoder.next() {
            Ok(Some(frame)) => self.on_frame(frame).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if matches!(&result, Err(_) | Ok(Some(Event::Suspension(_) | Event::Error(_) | Event::End))) {
            self.phase = Phase::Over;
            self.ignored += self.decoder.buffered() as u64;
            self.decoder = Decoder::new(0);
        }
        result
    }

    /// The response body ended; all events were taken.
    pub fn on_end(&self) -> Result<(), ProtocolError> {
        if self.phase == Phase::Over { Ok(()) } else { Err(ProtocolError::ClosedEarly) }
    }

    /// A terminal event or an error was given out.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Bytes that came after the attempt was over: worth a warning, nothing else.
    pub fn ignored_bytes(&self) -> u64 {
        self.ignored
    }

    fn on_frame(&mut self, frame: Frame) -> Result<Event, ProtocolError> {
        let Frame { ty, ack, payload } = frame;
        if ty::is_ephemeral(ty) && !self.version.reads_ephemerally() {
            return Err(ProtocolError::UnknownType { ty });
        }
        if self.phase != Phase::Processing && ty != ty::ERROR {
            return Err(ProtocolError::BeforeReplay { ty });
        }
        match ty {
            ty::PROPOSE_RUN_COMPLETION => self.run_proposal(ack, payload),
            ty::AWAITING_ON => awaiting_on(&payload),
            ty::SUSPENSION => Ok(Event::Suspension(AwaitTree::from_suspension(ty, &payload)?)),
            ty::ERROR => Ok(Event::Error(Box::new(attempt_error(message(ty, &payload)?)))),
            ty::END if self.has_output => Ok(Event::End),
            ty::END => Err(ProtocolError::EndWithoutOutput),
            ty::GET_STATE_EPHEMERAL => self.ephemeral_read(&payload),
            ty if ty::is_command(ty) => {
                if ack && self.mode != Mode::BidiStream {
                    return Err(ProtocolError::AckNeedsStream { ty });
                }
                let (command, name) = command::decode(ty, &payload)?;
                let command_index = self.next_command_index;
                self.next_command_index += 1;
                self.has_output |= ty == ty::OUTPUT;
                Ok(Event::Command(CommandEvent { command_index, ty, raw: payload, ack_requested: ack, name, command }))
            }
            ty => Err(ProtocolError::WrongDirection { ty }),
        }
    }

    fn ephemeral_read(&self, payload: &Bytes) -> Result<Event, ProtocolError> {
        let ty = ty::GET_STATE_EPHEMERAL;
        if self.mode != Mode::BidiStream {
            return Err(ProtocolError::NeedsStream { ty });
        }
        let GetStateEphemeralCommandMessage { ephemeral_completion_id, key } = message(ty, payload)?;
        Ok(Event::GetState { ephemeral_id: cid(ty, ephemeral_completion_id)?, key })
    }

    fn run_proposal(&self, ack: bool, payload: Bytes) -> Result<Event, ProtocolError> {
        let ty = ty::PROPOSE_RUN_COMPLETION;
        command::check_parts(ty, &payload)?;
        let proposal: ProposeRunCompletionMessage = message(ty, &payload)?;
        let result = completion(proposal.result.ok_or(ProtocolError::Invalid { ty, what: "no result" })?);
        let ack = ack && self.version.acknowledges_runs() && self.mode == Mode::BidiStream;
        Ok(Event::RunProposal { completion_id: cid(ty, proposal.result_completion_id)?, result, ack })
    }
}

fn put(ty: u16, message: &impl Message, out: &mut BytesMut) {
    let length = message.encoded_len();
    out.reserve(HEADER_LEN + length);
    out.extend_from_slice(&frame::header(ty, false, length));
    message.encode(out).expect("a growing buffer has room");
}

fn awaiting_on(payload: &[u8]) -> Result<Event, ProtocolError> {
    let ty = ty::AWAITING_ON;
    let malformed = |source| ProtocolError::Malformed { ty, source };
    let (mut future, mut executing_side_effects) = (None, false);
    let mut fields = Fields::new(payload);
    while let Some((number, field)) = fields.next().map_err(malformed)? {
        match number {
            1 => future = Some(field.bytes().map_err(malformed)?),
            2 => executing_side_effects = field.u32().map_err(malformed)? != 0,
            _ => {}
        }
    }
    let future = future.ok_or(ProtocolError::Invalid { ty, what: "waits for nothing" })?;
    Ok(Event::AwaitingOn { tree: AwaitTree::from_future(ty, future)?, executing_side_effects })
}

fn attempt_error(wire: ErrorMessage) -> AttemptError {
    AttemptError {
        code: wire.code,
        message: shorten(wire.message, ERROR_MESSAGE_BYTES_MAX),
        stacktrace: shorten(wire.stacktrace, ERROR_STACKTRACE_BYTES_MAX),
        related_command_index: wire.related_command_index,
        related_command_name: wire.related_command_name.map(|name| shorten(name, ERROR_NAME_BYTES_MAX)),
        related_command_type: wire.related_command_type.and_then(|ty| u16::try_from(ty).ok()),
        next_retry_delay: wire.next_retry_delay.map(|ms| Duration::from_millis(ms.min(RETRY_DELAY_MS_MAX))),
        behavior: match wire.behavior {
            1 => ErrorBehavior::Pause,
            2 => ErrorBehavior::Fail,
            _ => ErrorBehavior::Retry,
        },
    }
}

#[cfg(test)]
mod tests;
