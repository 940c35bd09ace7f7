//! Payload to [`Command`], with everything checked that needs no knowledge of services or state.

use bytes::Bytes;
use millrace_model::{
    AwakeableId, IdError, Text,
    journal::{Completion, Failure, Header, NotificationId, NotificationResult},
};
use prost::Message;

use super::{AttachTarget, Callee, Command};
use crate::{
    error::ProtocolError,
    message::*,
    ty,
    wire::{Field, Fields},
};

/// Repeated parts (headers, metadata pairs) of one command.
pub const PARTS_MAX: usize = 4096;

/// Below this size the decoded form of even the densest payload is small, and parts are not counted.
const PARTS_UNCOUNTED_BYTES: usize = 16 * 1024;

/// Decodes a command that came from an endpoint: its meaning and its name.
///
/// Fails for everything that could not be acted upon or would break the handler's replay later. `ty` is one of the
/// command types other than Input.
pub fn decode(ty: u16, payload: &Bytes) -> Result<(Command, Text), ProtocolError> {
    check_parts(ty, payload)?;
    let invalid = |what| ProtocolError::Invalid { ty, what };
    let (command, name) = match ty {
        ty::OUTPUT => {
            let m: OutputCommandMessage = message(ty, payload)?;
            (Command::Output { result: completion(m.result.ok_or(invalid("no result"))?) }, m.name)
        }
        ty::GET_LAZY_STATE => {
            let m: GetLazyStateCommandMessage = message(ty, payload)?;
            (Command::GetLazyState { key: state_key(ty, m.key)?, cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::GET_LAZY_STATE_KEYS => {
            let m: GetLazyStateKeysCommandMessage = message(ty, payload)?;
            (Command::GetLazyStateKeys { cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::GET_EAGER_STATE => {
            let m: GetEagerStateCommandMessage = message(ty, payload)?;
            m.result.ok_or(invalid("no result"))?;
            (Command::GetEagerState { key: state_key(ty, m.key)? }, m.name)
        }
        ty::GET_EAGER_STATE_KEYS => {
            let (name, answered) = eager_keys(payload).map_err(|source| ProtocolError::Malformed { ty, source })?;
            if !answered {
                return Err(invalid("no result"));
            }
            (Command::GetEagerStateKeys, name)
        }
        ty::SET_STATE => {
            let m: SetStateCommandMessage = message(ty, payload)?;
            let value = m.value.ok_or(invalid("no value"))?.content;
            (Command::SetState { key: state_key(ty, m.key)?, value }, m.name)
        }
        ty::CLEAR_STATE => {
            let m: ClearStateCommandMessage = message(ty, payload)?;
            (Command::ClearState { key: state_key(ty, m.key)? }, m.name)
        }
        ty::CLEAR_ALL_STATE => {
            let m: ClearAllStateCommandMessage = message(ty, payload)?;
            (Command::ClearAllState, m.name)
        }
        ty::SLEEP => {
            let m: SleepCommandMessage = message(ty, payload)?;
            (Command::Sleep { wake_up_time_ms: m.wake_up_time, cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::CALL => call(message(ty, payload)?)?,
        ty::ONE_WAY_CALL => one_way_call(message(ty, payload)?)?,
        ty::RUN => {
            let m: RunCommandMessage = message(ty, payload)?;
            (Command::Run { cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::GET_PROMISE => {
            let m: GetPromiseCommandMessage = message(ty, payload)?;
            (Command::GetPromise { key: m.key.into(), cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::PEEK_PROMISE => {
            let m: PeekPromiseCommandMessage = message(ty, payload)?;
            (Command::PeekPromise { key: m.key.into(), cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::COMPLETE_PROMISE => {
            let m: CompletePromiseCommandMessage = message(ty, payload)?;
            let result = completion(m.completion.ok_or(invalid("no result"))?);
            (Command::CompletePromise { key: m.key.into(), result, cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::SEND_SIGNAL => send_signal(message(ty, payload)?)?,
        ty::ATTACH_INVOCATION => {
            let m: AttachInvocationCommandMessage = message(ty, payload)?;
            let target = attach_target(ty, m.target)?;
            (Command::AttachInvocation { target, cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::GET_INVOCATION_OUTPUT => {
            let m: GetInvocationOutputCommandMessage = message(ty, payload)?;
            let target = attach_target(ty, m.target)?;
            (Command::GetInvocationOutput { target, cid: cid(ty, m.result_completion_id)? }, m.name)
        }
        ty::COMPLETE_AWAKEABLE => {
            let m: CompleteAwakeableCommandMessage = message(ty, payload)?;
            let result = completion(m.result.ok_or(invalid("no result"))?);
            (Command::CompleteAwakeable { id: awakeable_id(m.awakeable_id)?, result }, m.name)
        }
        _ => return Err(ProtocolError::WrongDirection { ty }),
    };
    Ok((command, name.into()))
}

/// Name, and whether the keys are there. They may be many and nobody here reads them.
fn eager_keys(payload: &[u8]) -> Result<(String, bool), prost::DecodeError> {
    let (mut name, mut answered) = ("", false);
    let mut fields = Fields::new(payload);
    while let Some((number, field)) = fields.next()? {
        match number {
            12 => name = field.str()?,
            14 => {
                field.bytes()?;
                answered = true;
            }
            _ => {}
        }
    }
    Ok((name.to_owned(), answered))
}

fn call(m: CallCommandMessage) -> Result<(Command, String), ProtocolError> {
    let invocation_id_cid = cid(ty::CALL, m.invocation_id_notification_idx)?;
    let result_cid = cid(ty::CALL, m.result_completion_id)?;
    if invocation_id_cid == result_cid {
        return Err(ProtocolError::Invalid { ty: ty::CALL, what: "one completion id for two results" });
    }
    let callee = Callee {
        service: text(ty::CALL, m.service_name)?,
        handler: text(ty::CALL, m.handler_name)?,
        key: text(ty::CALL, m.key)?,
        parameter: m.parameter,
        headers: headers(ty::CALL, m.headers)?,
        idempotency_key: m.idempotency_key.map(Text::from),
        scope: m.scope.map(Text::from),
        limit_key: m.limit_key.map(Text::from),
    };
    Ok((Command::Call { callee: Box::new(callee), invocation_id_cid, result_cid }, m.name))
}

fn one_way_call(m: OneWayCallCommandMessage) -> Result<(Command, String), ProtocolError> {
    let invocation_id_cid = cid(ty::ONE_WAY_CALL, m.invocation_id_notification_idx)?;
    let callee = Callee {
        service: text(ty::ONE_WAY_CALL, m.service_name)?,
        handler: text(ty::ONE_WAY_CALL, m.handler_name)?,
        key: text(ty::ONE_WAY_CALL, m.key)?,
        parameter: m.parameter,
        headers: headers(ty::ONE_WAY_CALL, m.headers)?,
        idempotency_key: m.idempotency_key.map(Text::from),
        scope: m.scope.map(Text::from),
        limit_key: m.limit_key.map(Text::from),
    };
    let invoke_time_ms = m.invoke_time;
    Ok((Command::OneWayCall { callee: Box::new(callee), invoke_time_ms, invocation_id_cid }, m.name))
}

fn send_signal(m: SendSignalCommandMessage) -> Result<(Command, String), ProtocolError> {
    let invalid = |what| ProtocolError::Invalid { ty: ty::SEND_SIGNAL, what };
    let signal = match m.signal_id.ok_or(invalid("no signal id"))? {
        SignalIdMessage::Idx(0) => return Err(invalid("signal index 0")),
        SignalIdMessage::Idx(index) => NotificationId::Signal(index),
        SignalIdMessage::Name(name) => NotificationId::Named(name.into()),
    };
    let result = match m.result.ok_or(invalid("no result"))? {
        SignalResult::Void(Void {}) => NotificationResult::Void,
        SignalResult::Value(value) => NotificationResult::Value(value.content),
        SignalResult::Failure(failure) => NotificationResult::Failure(failure_from(failure)),
    };
    let target = parse_id(ty::SEND_SIGNAL, m.target_invocation_id)?;
    Ok((Command::SendSignal { target, signal, result }, m.entry_name))
}

fn attach_target(ty: u16, target: Option<TargetMessage>) -> Result<AttachTarget, ProtocolError> {
    Ok(match target.ok_or(ProtocolError::Invalid { ty, what: "no target" })? {
        TargetMessage::InvocationId(id) => AttachTarget::Invocation(parse_id(ty, id)?),
        TargetMessage::IdempotentRequestTarget(t) => AttachTarget::Idempotent {
            service: t.service_name.into(),
            key: t.service_key.map(Text::from),
            handler: t.handler_name.into(),
            idempotency_key: t.idempotency_key.into(),
            scope: t.scope.map(Text::from),
        },
        TargetMessage::WorkflowTarget(t) => {
            let (workflow, key) = (t.workflow_name.into(), t.workflow_key.into());
            AttachTarget::Workflow { workflow, key, scope: t.scope.map(Text::from) }
        }
    })
}

fn awakeable_id(id: String) -> Result<Option<AwakeableId>, ProtocolError> {
    if id.starts_with("prom_1") {
        return Ok(None);
    }
    parse_id(ty::COMPLETE_AWAKEABLE, id).map(Some)
}

fn parse_id<T: std::str::FromStr<Err = IdError>>(ty: u16, id: String) -> Result<T, ProtocolError> {
    id.parse().map_err(|_| ProtocolError::BadId { ty, id: shorten(id, ID_SHOWN_BYTES) })
}

/// An id in an error message; the longest of ours has 44 characters.
const ID_SHOWN_BYTES: usize = 128;

/// The text without what is beyond `max` bytes.
pub(crate) fn shorten(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.shrink_to_fit();
    }
    text
}

pub(crate) fn message<M: Message + Default>(ty: u16, payload: &Bytes) -> Result<M, ProtocolError> {
    M::decode(payload.clone()).map_err(|source| ProtocolError::Malformed { ty, source })
}

/// Proto3 leaves 0 out, so that the notification would have no id.
pub(crate) fn cid(ty: u16, id: u32) -> Result<u32, ProtocolError> {
    if id == 0 { Err(ProtocolError::Invalid { ty, what: "completion id 0" }) } else { Ok(id) }
}

/// An entry with another key would make every later Start of this object undecodable.
fn state_key(ty: u16, key: Bytes) -> Result<Bytes, ProtocolError> {
    match std::str::from_utf8(&key) {
        Ok(_) => Ok(key),
        Err(_) => Err(ProtocolError::Invalid { ty, what: "state key is not UTF-8" }),
    }
}

fn text(ty: u16, bytes: Bytes) -> Result<Text, ProtocolError> {
    Text::from_utf8(bytes).ok_or(ProtocolError::Invalid { ty, what: "text is not UTF-8" })
}

fn headers(ty: u16, headers: Vec<HeaderMessage>) -> Result<Vec<Header>, ProtocolError> {
    headers.into_iter().map(|h| Ok(Header { name: text(ty, h.key)?, value: text(ty, h.value)? })).collect()
}

fn failure_from(wire: FailureMessage) -> Failure {
    let metadata = wire.metadata.into_iter().map(|pair| (pair.key.into(), pair.value.into())).collect();
    Failure { code: wire.code, message: wire.message.into(), metadata }
}

/// Three messages carry value or failure, numbered in their own ways.
pub(crate) fn completion(wire: impl Into<ValueOrFailure>) -> Completion {
    match wire.into() {
        ValueOrFailure::Value(value) => Completion::Success(value),
        ValueOrFailure::Failure(failure) => Completion::Failure(failure_from(failure)),
    }
}

pub(crate) enum ValueOrFailure {
    Value(Bytes),
    Failure(FailureMessage),
}

impl From<OutputResult> for ValueOrFailure {
    fn from(wire: OutputResult) -> Self {
        match wire {
            OutputResult::Value(value) => Self::Value(value.content),
            OutputResult::Failure(failure) => Self::Failure(failure),
        }
    }
}

impl From<PromiseCompletion> for ValueOrFailure {
    fn from(wire: PromiseCompletion) -> Self {
        match wire {
            PromiseCompletion::Value(value) => Self::Value(value.content),
            PromiseCompletion::Failure(failure) => Self::Failure(failure),
        }
    }
}

impl From<ProposedResult> for ValueOrFailure {
    fn from(wire: ProposedResult) -> Self {
        match wire {
            ProposedResult::Value(value) => Self::Value(value),
            ProposedResult::Failure(failure) => Self::Failure(failure),
        }
    }
}

/// Refuses payloads whose decoded form would be many times their size: an empty header takes 2 bytes on the wire and
/// 48 in memory.
pub(crate) fn check_parts(ty: u16, payload: &[u8]) -> Result<(), ProtocolError> {
    if payload.len() < PARTS_UNCOUNTED_BYTES {
        return Ok(());
    }
    let counted = match ty {
        ty::CALL => count(payload, 4, None),
        ty::ONE_WAY_CALL => count(payload, 5, None),
        // Failure metadata.
        ty::OUTPUT | ty::PROPOSE_RUN_COMPLETION => count(payload, 15, Some(3)),
        ty::COMPLETE_PROMISE | ty::COMPLETE_AWAKEABLE => count(payload, 3, Some(3)),
        ty::SEND_SIGNAL => count(payload, 6, Some(3)),
        _ => return Ok(()),
    };
    match counted.map_err(|source| ProtocolError::Malformed { ty, source })? {
        n if n > PARTS_MAX => Err(ProtocolError::TooManyParts { ty, limit: PARTS_MAX }),
        _ => Ok(()),
    }
}

/// How often a field occurs; or, inside of all its occurrences, the `inner` one.
fn count(message: &[u8], number: u32, inner: Option<u32>) -> Result<usize, prost::DecodeError> {
    let mut fields = Fields::new(message);
    let mut n = 0;
    while let Some((found, field)) = fields.next()? {
        match (found == number, inner, field) {
            (true, Some(inner), Field::Bytes(part)) => n += count(part, inner, None)?,
            (true, None, _) => n += 1,
            _ => {}
        }
    }
    Ok(n)
}
