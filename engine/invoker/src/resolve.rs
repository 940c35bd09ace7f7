//! What a command does, with everything checked that must be right before it is in the log
//! (`spec/service-protocol.md` section 5.4).

use bytes::Bytes;
use millrace_model::{
    Env, InvocationId, PartitionKey, Text, TimestampMs, codes,
    command::{Callee, CommandEffect, Slice},
    invocation::{HandlerKind, NewInvocation, Source, Target},
    journal::Completion,
    key,
};
use millrace_protocol::{Command, CommandEvent, command::Callee as WireCallee, ty};

use crate::{registry::Registry, trouble::Trouble};

/// Who sends commands, and by what they are judged.
pub(crate) struct Caller<'a> {
    pub(crate) id: InvocationId,
    pub(crate) target: &'a Target,
    pub(crate) traceparent: Option<&'a Text>,
    pub(crate) registry: &'a dyn Registry,
    pub(crate) env: &'a dyn Env,
    pub(crate) now: TimestampMs,
}

/// Why a command may not be used; what it is about is added by [`effect`].
type Refused = (codes::Code, String);

fn refused<T>(what: impl Into<String>) -> Result<T, Refused> {
    Err((codes::RT0017, what.into()))
}

/// What the command does besides being stored. An error fails the attempt, and the command is not stored.
pub(crate) fn effect(event: &mut CommandEvent, caller: &Caller<'_>) -> Result<CommandEffect, Trouble> {
    let command = std::mem::replace(&mut event.command, Command::GetEagerStateKeys);
    let result = if event.ack_requested {
        refused("acknowledgements of commands are not supported")
    } else {
        decide(command, &event.raw, caller)
    };
    result.map_err(|(code, what)| {
        let message = format!("{}: {what}", ty::display(event.ty));
        Trouble::about(code, message, event.command_index, &event.name, event.ty)
    })
}

fn decide(command: Command, raw: &Bytes, caller: &Caller<'_>) -> Result<CommandEffect, Refused> {
    let slice = |part: &Bytes| Slice::of(part, raw).ok_or((codes::RT0006, "part of another message".to_owned()));
    let not_yet = || refused("not supported yet");
    Ok(match command {
        Command::Output { result: Completion::Success(value) } => {
            CommandEffect::Output { value: Some(slice(&value)?), failure: None }
        }
        Command::Output { result: Completion::Failure(failure) } => {
            CommandEffect::Output { value: None, failure: Some(failure) }
        }
        Command::GetLazyState { key, cid } => {
            reads_state(caller.target)?;
            CommandEffect::GetState { key: slice(&key)?, completion: cid }
        }
        Command::GetLazyStateKeys { cid } => {
            reads_state(caller.target)?;
            CommandEffect::GetStateKeys { completion: cid }
        }
        Command::GetEagerState { .. } | Command::GetEagerStateKeys => {
            reads_state(caller.target)?;
            CommandEffect::None
        }
        Command::SetState { key, value } => {
            writes_state(caller.target)?;
            CommandEffect::SetState { key: slice(&key)?, value: slice(&value)? }
        }
        Command::ClearState { key } => {
            writes_state(caller.target)?;
            CommandEffect::ClearState { key: slice(&key)? }
        }
        Command::ClearAllState => {
            writes_state(caller.target)?;
            CommandEffect::ClearAllState
        }
        Command::Sleep { wake_up_time_ms, cid } => {
            CommandEffect::Sleep { wake_at: TimestampMs(wake_up_time_ms), completion: cid }
        }
        Command::Run { cid } => CommandEffect::Run { completion: cid },
        Command::Call { callee, invocation_id_cid, result_cid } => {
            let parameter = slice(&callee.parameter)?;
            let invocation = call(*callee, None, Some(result_cid), caller)?;
            CommandEffect::Call(Box::new(Callee {
                invocation,
                parameter,
                id_completion: invocation_id_cid,
                result_completion: Some(result_cid),
            }))
        }
        Command::OneWayCall { callee, invoke_time_ms, invocation_id_cid } => {
            let parameter = slice(&callee.parameter)?;
            let execute_at = Some(TimestampMs(invoke_time_ms)).filter(|at| *at > caller.now);
            let invocation = call(*callee, execute_at, None, caller)?;
            CommandEffect::Call(Box::new(Callee {
                invocation,
                parameter,
                id_completion: invocation_id_cid,
                result_completion: None,
            }))
        }
        Command::GetPromise { .. } | Command::PeekPromise { .. } | Command::CompletePromise { .. } => {
            if caller.target.kind == HandlerKind::Plain {
                return refused("only workflows have promises");
            }
            return not_yet();
        }
        Command::SendSignal { .. }
        | Command::AttachInvocation { .. }
        | Command::GetInvocationOutput { .. }
        | Command::CompleteAwakeable { .. } => return not_yet(),
        _ => return not_yet(),
    })
}

fn reads_state(target: &Target) -> Result<(), Refused> {
    if target.kind.is_keyed() { Ok(()) } else { refused("a service has no state") }
}

fn writes_state(target: &Target) -> Result<(), Refused> {
    match target.kind {
        HandlerKind::Exclusive | HandlerKind::Workflow => Ok(()),
        HandlerKind::Shared => refused("a shared handler only reads state"),
        HandlerKind::Plain => refused("a service has no state"),
    }
}

/// The invocation that a call makes, or the one that it repeats: both have the same id.
fn call(
    callee: WireCallee,
    execute_at: Option<TimestampMs>,
    completion: Option<u32>,
    caller: &Caller<'_>,
) -> Result<NewInvocation, Refused> {
    let WireCallee { service, handler, key, headers, idempotency_key, scope, limit_key, .. } = callee;
    if scope.is_some() || limit_key.is_some() {
        return refused("scopes and limit keys are not supported");
    }
    if idempotency_key.as_ref().is_some_and(|key| key.is_empty()) {
        return refused("the idempotency key is empty");
    }
    let Some(info) = caller.registry.handler(&service, &handler) else {
        return Err((codes::RT0018, format!("there is no handler {service}/{handler}")));
    };
    if !info.kind.is_keyed() && !key.is_empty() {
        return refused(format!("{service} is a service without keys, and the call has a key"));
    }
    // A workflow's key names its one run; nothing is left for another key to tell apart.
    let idempotency_key = idempotency_key.filter(|_| info.kind != HandlerKind::Workflow);
    let id = match (&idempotency_key, info.kind) {
        (_, HandlerKind::Workflow) => key::workflow_invocation(&service, &key, ""),
        (Some(idempotency_key), kind) => {
            let object = kind.is_keyed().then_some(&*key);
            key::idempotent_invocation(&service, object, &handler, idempotency_key, "")
        }
        (None, kind) => {
            let partition_key = if kind.is_keyed() {
                PartitionKey::new(&service, key.as_bytes())
            } else {
                PartitionKey::new(&service, &caller.env.random().to_be_bytes())
            };
            InvocationId { key: partition_key, unique: caller.env.random_unique() }
        }
    };
    Ok(NewInvocation {
        id,
        source: Source::Caller { id: caller.id, target: caller.target.clone(), completion },
        created_at: caller.now,
        execute_at,
        completion_retention: info.completion_retention(idempotency_key.is_some()),
        journal_retention: info.journal_retention,
        idempotency_key,
        random_seed: caller.env.random(),
        traceparent: caller.traceparent.cloned(),
        headers,
        value: Bytes::new(),
        target: Target { service, handler, key, kind: info.kind },
    })
}

#[cfg(test)]
mod tests;
