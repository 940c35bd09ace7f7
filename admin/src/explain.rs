//! Why does it wait? From rows to an answer for people. Pure.

use millrace_model::{
    InvocationId,
    invocation::{AttemptError, Completed, Invocation, Lock, ObjectKey, Pending, Pin, Source, Status, Target},
    journal::{Awaiting, Completion},
};
use millrace_protocol::ty;
use serde_json::{Map, Value, json};

use crate::{
    engine::{InvocationLook, JournalLine, KeyLook},
    text::ApiTime,
};

/// `GET /invocations/{id}`.
pub(crate) fn invocation(id: InvocationId, look: &InvocationLook) -> Value {
    match look {
        InvocationLook::Active { row, journal, attempt, lock } => active(id, row, journal, *attempt, lock.as_ref()),
        InvocationLook::Ended { row, journal } => ended(id, row, journal),
    }
}

fn active(
    id: InvocationId,
    row: &Invocation,
    journal: &[JournalLine],
    attempt: Option<u32>,
    lock: Option<&Lock>,
) -> Value {
    let mut view = common(id, &row.target, &row.source, row.pin.as_ref());
    let mut set = |key: &str, value: Value| view.insert(key.to_owned(), value);
    set("status", status(&row.status).into());
    set("waits_for", waits_for(id, row, attempt, lock).into());
    set("created_at", json!(ApiTime(row.created_at)));
    set("modified_at", json!(ApiTime(row.modified_at)));
    set("attempt", row.attempt.into());
    set("running_attempt", attempt.into());
    set("retry_count", row.retries.failed.into());
    if let Status::BackingOff { at } = row.status {
        set("next_retry_at", json!(ApiTime(at)));
    }
    if let Status::Scheduled { at } = row.status {
        set("scheduled_start_at", json!(ApiTime(at)));
    }
    if let Some(key) = &row.idempotency_key {
        set("idempotency_key", key.as_str().into());
    }
    if let Some(error) = &row.last_error {
        set("last_failure", failure(error));
    }
    let pending = row.pending.iter().map(|(completion, pending)| pending_view(*completion, pending));
    set("pending", pending.collect());
    if let Some(awaiting) = &row.awaiting {
        let names: Vec<_> = awaiting.names.iter().map(|name| name.as_str()).collect();
        set(
            "awaiting",
            json!({"completions": awaiting.completions, "signals": awaiting.signals, "named_signals": names}),
        );
    }
    set("journal", journal_view(row.journal_len, journal));
    Value::Object(view)
}

fn ended(id: InvocationId, row: &Completed, journal: &[JournalLine]) -> Value {
    let mut view = common(id, &row.target, &row.source, row.pin.as_ref());
    let mut set = |key: &str, value: Value| view.insert(key.to_owned(), value);
    set("status", "completed".into());
    set("created_at", json!(ApiTime(row.created_at)));
    set("completed_at", json!(ApiTime(row.completed_at)));
    set("attempt", row.attempts.into());
    if let Some(key) = &row.idempotency_key {
        set("idempotency_key", key.as_str().into());
    }
    match &row.result {
        Completion::Success(value) => {
            set("completion_result", "success".into());
            set("completion_bytes", value.len().into());
        }
        Completion::Failure(failure) => {
            set("completion_result", "failure".into());
            set("completion_failure", format!("[{}] {}", failure.code, failure.message).into());
        }
    }
    set("result_until", json!(ApiTime(row.result_until)));
    set("expires_at", json!(ApiTime(row.expires_at)));
    set("journal", journal_view(row.journal_len, journal));
    Value::Object(view)
}

fn common(id: InvocationId, target: &Target, source: &Source, pin: Option<&Pin>) -> Map<String, Value> {
    let mut view = Map::new();
    let mut set = |key: &str, value: Value| view.insert(key.to_owned(), value);
    set("id", id.to_string().into());
    set("target", target_text(target).into());
    set("target_service_name", target.service.as_str().into());
    if target.kind.is_keyed() {
        set("target_service_key", target.key.as_str().into());
    }
    set("target_handler_name", target.handler.as_str().into());
    match source {
        Source::Ingress => {
            set("invoked_by", "ingress".into());
        }
        Source::Record(record) => {
            set("invoked_by", "subscription".into());
            set("invoked_by_subscription_id", record.subscription.to_string().into());
        }
        Source::Caller { id, target, .. } => {
            set("invoked_by", "service".into());
            set("invoked_by_id", id.to_string().into());
            set("invoked_by_target", target_text(target).into());
        }
        Source::RestartAsNew { from } => {
            set("invoked_by", "restart_as_new".into());
            set("restarted_from", from.to_string().into());
        }
    }
    if let Some(pin) = pin {
        set("pinned_deployment_id", pin.deployment.to_string().into());
        set("pinned_service_protocol_version", pin.protocol_version.into());
    }
    view
}

fn target_text(target: &Target) -> String {
    match target.kind.is_keyed() {
        true => format!("{}/{}/{}", target.service, target.key, target.handler),
        false => format!("{}/{}", target.service, target.handler),
    }
}

fn status(status: &Status) -> &'static str {
    match status {
        Status::Scheduled { .. } => "scheduled",
        Status::Inboxed { .. } => "inboxed",
        Status::Running => "running",
        Status::Suspended => "suspended",
        Status::BackingOff { .. } => "backing-off",
        Status::Paused => "paused",
    }
}

fn failure(error: &AttemptError) -> Value {
    let mut view = json!({
        "code": error.code.as_str(), "status": error.status, "message": error.message.as_str(),
    });
    if let Some(related) = &error.related {
        view["related_command"] = json!({
            "index": related.index,
            "name": related.name.as_ref().map(|name| name.as_str()),
            "type": related.ty.map(frame_type),
        });
    }
    view
}

fn frame_type(ty: u32) -> String {
    u16::try_from(ty).map_or_else(|_| format!("{ty:#x}"), |ty| ty::display(ty).to_string())
}

fn pending_view(completion: u32, pending: &Pending) -> Value {
    match pending {
        Pending::Run => json!({"completion": completion, "kind": "run"}),
        Pending::Sleep { wake_at } => {
            json!({"completion": completion, "kind": "sleep", "wake_at": ApiTime(*wake_at)})
        }
        Pending::Call { id } => json!({"completion": completion, "kind": "call", "invocation_id": id.to_string()}),
        Pending::Attach { id } => json!({"completion": completion, "kind": "attach", "invocation_id": id.to_string()}),
        Pending::Output { id } => json!({"completion": completion, "kind": "output", "invocation_id": id.to_string()}),
        Pending::Promise { name } => json!({"completion": completion, "kind": "promise", "name": name.as_str()}),
    }
}

fn journal_view(len: u32, lines: &[JournalLine]) -> Value {
    let entries = lines.iter().map(|line| {
        json!({
            "index": line.index,
            "type": ty::display(line.ty).to_string(),
            "command": line.command,
            "bytes": line.bytes,
            "appended_at": ApiTime(line.appended_at),
        })
    });
    json!({"length": len, "last_entries": entries.collect::<Vec<_>>()})
}

/// One sentence.
fn waits_for(id: InvocationId, row: &Invocation, attempt: Option<u32>, lock: Option<&Lock>) -> String {
    match &row.status {
        Status::Scheduled { at } => format!("its start at {}", ApiTime(*at)),
        Status::Inboxed { seq } => match lock {
            Some(lock) => {
                // Places of invocations that were killed are empty, so this is the most there can be.
                let before = seq.saturating_sub(lock.head);
                let blocked = if lock.blocked { ", which fails or is paused" } else { "" };
                format!("its key: {} runs{blocked}, and at most {before} wait before it", lock.holder)
            }
            None => "its key".to_owned(),
        },
        Status::Running => match (attempt, awaited(row)) {
            (Some(attempt), Some(awaited)) => format!("{awaited}, with attempt {attempt} running"),
            (Some(attempt), None) => format!("its handler: attempt {attempt} is running"),
            (None, _) => "a free slot for its next attempt".to_owned(),
        },
        Status::Suspended => awaited(row).unwrap_or_else(|| "a notification".to_owned()),
        Status::BackingOff { at } => {
            let why = row.last_error.as_ref().map_or_else(String::new, |error| format!(" ({})", error.message));
            format!("its next attempt at {}, after {} failed{why}", ApiTime(*at), row.retries.failed)
        }
        Status::Paused => {
            let why = row.last_error.as_ref().map_or_else(String::new, |error| format!(" ({})", error.message));
            format!("an operator: it is paused{why}; PATCH /invocations/{id}/resume goes on with it")
        }
    }
}

/// What the handler waits for, if it said so.
fn awaited(row: &Invocation) -> Option<String> {
    let awaiting: &Awaiting = row.awaiting.as_ref()?;
    let mut parts = Vec::new();
    for completion in &awaiting.completions {
        parts.push(match row.pending.iter().find(|(id, _)| id == completion) {
            Some((_, Pending::Run)) => "a step".to_owned(),
            Some((_, Pending::Sleep { wake_at })) => format!("a timer at {}", ApiTime(*wake_at)),
            Some((_, Pending::Call { id } | Pending::Attach { id } | Pending::Output { id })) => {
                format!("the result of {id}")
            }
            Some((_, Pending::Promise { name })) => format!("promise '{name}'"),
            None => format!("result {completion}"),
        });
    }
    // 1 is the cancellation, which every handler lists.
    parts.extend(awaiting.signals.iter().filter(|index| **index != 1).map(|index| match index {
        17.. => format!("an awakeable (signal {index})"),
        _ => format!("signal {index}"),
    }));
    parts.extend(awaiting.names.iter().map(|name| format!("signal '{name}'")));
    (!parts.is_empty()).then(|| parts.join(" or "))
}

/// `GET /services/{service}/keys/{key}`.
pub(crate) fn key(object: &ObjectKey, look: &KeyLook) -> Value {
    let mut view = Map::new();
    let mut set = |key: &str, value: Value| view.insert(key.to_owned(), value);
    set("service", object.service.as_str().into());
    set("key", object.key.as_str().into());
    let Some(lock) = &look.lock else {
        set("state", "free".into());
        set("waits_for", Value::Null);
        set("inbox_length", 0.into());
        return Value::Object(view);
    };
    set("state", if lock.blocked { "blocked" } else { "locked" }.into());
    let mut holder = Map::new();
    holder.insert("id".into(), lock.holder.to_string().into());
    if let Some(row) = &look.holder {
        holder.insert("target".into(), target_text(&row.target).into());
        holder.insert("status".into(), status(&row.status).into());
        holder.insert("waits_for".into(), waits_for(lock.holder, row, look.attempt, None).into());
        holder.insert("retry_count".into(), row.retries.failed.into());
        if let Some(error) = &row.last_error {
            holder.insert("last_failure".into(), failure(error));
        }
    }
    set("holder", Value::Object(holder));
    let places = lock.tail.saturating_sub(lock.head);
    set("inbox_length", places.into());
    set("inbox_first", look.waiting.iter().map(InvocationId::to_string).collect());
    let because = match &look.holder {
        Some(row) => waits_for(lock.holder, row, look.attempt, None),
        None => "its holder".to_owned(),
    };
    set("waits_for", if places == 0 { Value::Null } else { format!("{}: {because}", lock.holder).into() });
    let records = lock.loads.iter().map(|load| {
        json!({
            "subscription": load.subscription.to_string(),
            "partition": load.reader.0,
            "records": load.records,
            "bytes": load.bytes,
        })
    });
    set("unsettled_records", records.collect());
    Value::Object(view)
}

#[cfg(test)]
pub(crate) mod tests;
