//! What a command does, with everything checked that must be right before it is in the log
//! (`spec/service-protocol.md` section 5.4).

use bytes::Bytes;
use millrace_model::{
    AwakeableId, Env, InvocationId, Text, TimestampMs, codes,
    command::{Callee, CommandEffect, Slice},
    invocation::{HandlerKind, NewInvocation, Source, Target},
    journal::{Completion, NotificationId, NotificationResult, SIGNAL_AWAKEABLE_FIRST, SIGNAL_CANCEL},
    key,
};
use millrace_protocol::{AttachTarget, Command, CommandEvent, command::Callee as WireCallee, ty};

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
    decide(command, &event.raw, caller).map_err(|(code, what)| {
        let message = format!("{}: {what}", ty::display(event.ty));
        Trouble::about(code, message, event.command_index, &event.name, event.ty)
    })
}

fn decide(command: Command, raw: &Bytes, caller: &Caller<'_>) -> Result<CommandEffect, Refused> {
    let slice = |part: &Bytes| Slice::of(part, raw).ok_or((codes::RT0006, "part of another message".to_owned()));
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
        Command::GetPromise { key, cid } => {
            has_promises(caller)?;
            CommandEffect::GetPromise { key, completion: cid }
        }
        Command::PeekPromise { key, cid } => {
            has_promises(caller)?;
            CommandEffect::PeekPromise { key, completion: cid }
        }
        Command::CompletePromise { key, result, cid } => {
            has_promises(caller)?;
            CommandEffect::CompletePromise { key, result, completion: cid }
        }
        Command::SendSignal { target, signal, result } => {
            // A cancellation says nothing but that it is one.
            let cancels = signal == NotificationId::Signal(SIGNAL_CANCEL);
            let result = if cancels { NotificationResult::Void } else { result };
            CommandEffect::SendSignal { target, signal, result }
        }
        Command::CompleteAwakeable { id, result } => match id {
            Some(AwakeableId { invocation, signal }) if signal >= SIGNAL_AWAKEABLE_FIRST => CommandEffect::SendSignal {
                target: invocation,
                signal: NotificationId::Signal(signal),
                result: result.into(),
            },
            Some(_) => return refused("the id names a signal that is no awakeable"),
            None => return refused("the id is one of an older protocol, in which nobody waits any more"),
        },
        Command::AttachInvocation { target, cid } => {
            CommandEffect::Attach { target: attached(target, caller.registry)?, completion: cid }
        }
        Command::GetInvocationOutput { target, cid } => {
            CommandEffect::GetOutput { target: attached(target, caller.registry)?, completion: cid }
        }
        _ => return refused("not supported"),
    })
}

fn has_promises(caller: &Caller<'_>) -> Result<(), Refused> {
    let Target { service, handler, kind, .. } = caller.target;
    // What a shared handler is of only the metadata tells, if they still know it.
    let workflow = match kind {
        HandlerKind::Workflow => true,
        HandlerKind::Shared => caller.registry.handler(service, handler).is_none_or(|info| info.of_workflow),
        HandlerKind::Plain | HandlerKind::Exclusive => false,
    };
    if workflow { Ok(()) } else { refused("only workflows have promises") }
}

/// The invocation that is meant: every name has one id, so nothing is looked up.
fn attached(target: AttachTarget, registry: &dyn Registry) -> Result<InvocationId, Refused> {
    match target {
        AttachTarget::Invocation(id) => Ok(id),
        AttachTarget::Workflow { workflow, key, scope } => {
            unscoped(scope.is_some())?;
            Ok(key::workflow_invocation(&workflow, &key, ""))
        }
        AttachTarget::Idempotent { service, key, handler, idempotency_key, scope } => {
            unscoped(scope.is_some())?;
            if idempotency_key.is_empty() {
                return refused("the idempotency key is empty");
            }
            // Not every SDK says that there is no key by leaving it out, or the other way round.
            let key = match registry.handler(&service, &handler).map(|info| info.kind.is_keyed()) {
                Some(true) => Some(key.unwrap_or_default()),
                Some(false) => None,
                None => key,
            };
            Ok(key::idempotent_invocation(&service, key.as_deref(), &handler, &idempotency_key, ""))
        }
    }
}

fn unscoped(scoped: bool) -> Result<(), Refused> {
    if scoped { Err((codes::RT0024, "scopes and limit keys are not supported".to_owned())) } else { Ok(()) }
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
    unscoped(scope.is_some() || limit_key.is_some())?;
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
    let target = Target { service, handler, key, kind: info.kind };
    let (id, _) = key::call_invocation(&target, idempotency_key.as_deref(), caller.env);
    let retention = info.retention(idempotency_key.is_some());
    Ok(NewInvocation {
        id,
        source: Source::Caller { id: caller.id, target: caller.target.clone(), completion },
        created_at: caller.now,
        execute_at,
        completion_retention: retention.completion,
        journal_retention: retention.journal,
        idempotency_key,
        random_seed: caller.env.random(),
        traceparent: caller.traceparent.cloned(),
        headers,
        value: Bytes::new(),
        target,
    })
}

#[cfg(test)]
mod tests;
