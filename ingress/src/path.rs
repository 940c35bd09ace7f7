//! Paths, without a look at headers, methods or the catalogue of services (`spec/ingress-api.md` section 1).
//!
//! Whether a segment is an object key depends on the service, so an invocation path is read in two steps: [`parse`]
//! finds the service, [`Invoke::resolve`] splits the rest once the service's type is known.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Fewest and most slashes of a path that is looked at, behind the one trailing slash that is cut off.
const SLASHES_MIN: usize = 2;
const SLASHES_MAX: usize = 7;

/// What a path asks for. Everything in it is as sent, not percent-decoded, except where a type says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path<'a> {
    /// A handler.
    Invoke(Invoke<'a>),
    /// The result of an invocation, by its id.
    ById(&'a str, Peek),
    /// The result of an idempotent call.
    ByIdempotencyKey(Idempotent<'a>),
    /// The result of a workflow's run.
    ByWorkflow {
        /// The service.
        workflow: &'a str,
        /// The workflow id, percent-encoded.
        key: &'a str,
        /// Wait or look.
        peek: Peek,
    },
    /// The result of what the body names.
    ByTarget(Peek),
    /// The id of what the body names.
    Lookup,
    /// Completing an awakeable.
    Awakeable {
        /// Its id.
        id: &'a str,
        /// How it is completed.
        verdict: Verdict,
    },
    /// Liveness.
    Health,
}

/// Whether to wait for a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Waits.
    Attach,
    /// Looks.
    Output,
}

/// How an awakeable is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With a value.
    Resolve,
    /// With a failure.
    Reject,
}

/// Whether a handler's result is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is.
    Call,
    /// One way.
    Send,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `/{service}/…`
    Plain,
    /// `/restate/call/{service}/…` and `/restate/send/…`
    Named(Verb),
}

/// Path of a handler: the service is known, the rest depends on its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invoke<'a> {
    /// To look up before [`Invoke::resolve`].
    pub service: &'a str,
    /// Of a scoped invocation.
    pub scope: Option<&'a str>,
    form: Form,
    rest: Segments<'a>,
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// Decoded; `None` for a plain service.
    pub key: Option<Cow<'a, str>>,
    /// Its handler.
    pub handler: &'a str,
    /// Call or send.
    pub verb: Verb,
}

/// Path of the result of an idempotent call: the rest depends on the service's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotent<'a> {
    /// To look up before [`Idempotent::resolve`].
    pub service: &'a str,
    /// Wait or look.
    pub peek: Peek,
    rest: Segments<'a>,
}

/// Names an idempotent call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentTarget<'a> {
    /// Decoded; `None` for a plain service.
    pub key: Option<Cow<'a, str>>,
    /// Need not exist.
    pub handler: &'a str,
    /// Decoded.
    pub idempotency_key: Cow<'a, str>,
}

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Too few or too many segments for anything.
    #[error("bad path: {0}")]
    Shape(String),
    /// No such route.
    #[error("not found")]
    NotFound,
    /// Not a handler's path.
    #[error("bad path, expected either /:service-name/:handler or /:object-name/:object-key/:handler")]
    Target,
    /// Not a path below `/restate/call`, `send`, `scope`, `attach`, `output` or `lookup`.
    #[error(
        "bad path, expected /restate/call/:service/:handler, /restate/send/:service/:handler, \
         /restate/scope/:scope/call/:service/:handler, /restate/attach/:invocation_id, \
         /restate/output/:invocation_id, or /restate/lookup"
    )]
    Reserved,
    /// Not a path of an invocation.
    #[error(
        "bad path, expected either /restate/invocation/:invocation_id/attach, \
         /restate/invocation/:service/:handler/:idempotency_key/attach or \
         /restate/invocation/:object/:key/:handler/:idempotency_key/attach, or one of these with output"
    )]
    Invocation,
    /// Not a path of a workflow.
    #[error(
        "bad path, expected either /restate/workflow/:workflow/:key/attach or /restate/workflow/:workflow/:key/output"
    )]
    Workflow,
    /// Not a path of an awakeable.
    #[error("bad path, expected either /restate/awakeables/:id/resolve or /restate/awakeables/:id/reject")]
    Awakeable,
    /// The key is not percent-encoded UTF-8.
    #[error("bad path, cannot decode key: {0}")]
    Key(std::str::Utf8Error),
}

/// Segments of a path in place, at most [`SLASHES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segments<'a> {
    all: [&'a str; SLASHES_MAX],
    from: usize,
    end: usize,
}

impl<'a> Segments<'a> {
    fn get(&self) -> &[&'a str] {
        &self.all[self.from..self.end]
    }

    /// Without the first `n` and the last `m` segments.
    fn inner(mut self, n: usize, m: usize) -> Self {
        self.from += n;
        self.end -= m;
        self
    }
}

/// Reads a request's path.
pub fn parse(path: &str) -> Result<Path<'_>, PathError> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let slashes = trimmed.bytes().filter(|b| *b == b'/').count();
    let shape = || PathError::Shape(path.to_owned());
    if !(SLASHES_MIN..=SLASHES_MAX).contains(&slashes) {
        return Err(shape());
    }
    let mut segments = Segments { all: [""; SLASHES_MAX], from: 0, end: slashes };
    for (slot, segment) in segments.all.iter_mut().zip(trimmed.strip_prefix('/').ok_or_else(shape)?.split('/')) {
        *slot = segment;
    }
    match segments.get()[0] {
        "restate" => reserved(segments.inner(1, 0)),
        "openapi" => Err(PathError::NotFound),
        service => Ok(Path::Invoke(Invoke { service, scope: None, form: Form::Plain, rest: segments.inner(1, 0) })),
    }
}

fn reserved(segments: Segments<'_>) -> Result<Path<'_>, PathError> {
    match segments.get() {
        ["health"] => Ok(Path::Health),
        ["call", ..] => named(segments.inner(1, 0), Verb::Call, None),
        ["send", ..] => named(segments.inner(1, 0), Verb::Send, None),
        ["scope", scope, "call", ..] => named(segments.inner(3, 0), Verb::Call, Some(scope)),
        ["scope", scope, "send", ..] => named(segments.inner(3, 0), Verb::Send, Some(scope)),
        ["scope", ..] => Err(PathError::Reserved),
        ["attach"] => Ok(Path::ByTarget(Peek::Attach)),
        ["output"] => Ok(Path::ByTarget(Peek::Output)),
        ["attach", id] => Ok(Path::ById(id, Peek::Attach)),
        ["output", id] => Ok(Path::ById(id, Peek::Output)),
        ["lookup"] => Ok(Path::Lookup),
        ["attach" | "output" | "lookup", ..] => Err(PathError::Reserved),
        ["invocation", id, last] => Ok(Path::ById(id, peek(last)?)),
        ["invocation", service, _, _, last] | ["invocation", service, _, _, _, last] => {
            let rest = segments.inner(2, 1);
            Ok(Path::ByIdempotencyKey(Idempotent { service, peek: peek(last)?, rest }))
        }
        ["invocation", ..] => Err(PathError::Invocation),
        ["workflow", workflow, key, last] => Ok(Path::ByWorkflow { workflow, key, peek: peek(last)? }),
        ["workflow", ..] => Err(PathError::Workflow),
        ["awakeables" | "a", id, "resolve"] => Ok(Path::Awakeable { id, verdict: Verdict::Resolve }),
        ["awakeables" | "a", id, "reject"] => Ok(Path::Awakeable { id, verdict: Verdict::Reject }),
        ["awakeables" | "a", _, _] => Err(PathError::NotFound),
        ["awakeables" | "a", ..] => Err(PathError::Awakeable),
        _ => Err(PathError::NotFound),
    }
}

fn named<'a>(segments: Segments<'a>, verb: Verb, scope: Option<&'a str>) -> Result<Path<'a>, PathError> {
    let service = segments.get().first().ok_or(PathError::Reserved)?;
    Ok(Path::Invoke(Invoke { service, scope, form: Form::Named(verb), rest: segments.inner(1, 0) }))
}

fn peek(last: &str) -> Result<Peek, PathError> {
    match last {
        "attach" => Ok(Peek::Attach),
        "output" => Ok(Peek::Output),
        _ => Err(PathError::NotFound),
    }
}

impl<'a> Invoke<'a> {
    /// `keyed`: the service is an object or a workflow.
    pub fn resolve(&self, keyed: bool) -> Result<Resolved<'a>, PathError> {
        let (verb, target) = match (self.form, self.rest.get()) {
            (Form::Plain, [target @ .., "send"]) if target.len() == 1 + usize::from(keyed) => (Verb::Send, target),
            (Form::Plain, target) => (Verb::Call, target),
            (Form::Named(verb), target) => (verb, target),
        };
        match (keyed, target) {
            (false, [handler]) => Ok(Resolved { key: None, handler, verb }),
            (true, [key, handler]) => Ok(Resolved { key: Some(decode_key(key)?), handler, verb }),
            _ if self.form == Form::Plain => Err(PathError::Target),
            _ => Err(PathError::Reserved),
        }
    }
}

impl<'a> Idempotent<'a> {
    /// `keyed`: the service is an object or a workflow.
    pub fn resolve(&self, keyed: bool) -> Result<IdempotentTarget<'a>, PathError> {
        let (key, handler, idempotency_key) = match (keyed, self.rest.get()) {
            (false, [handler, idempotency_key]) => (None, handler, idempotency_key),
            (true, [key, handler, idempotency_key]) => (Some(decode_key(key)?), handler, idempotency_key),
            _ => return Err(PathError::Invocation),
        };
        Ok(IdempotentTarget { key, handler, idempotency_key: decode_key(idempotency_key)? })
    }
}

/// Object keys, workflow ids and idempotency keys are the only segments that are percent-decoded.
pub fn decode_key(key: &str) -> Result<Cow<'_, str>, PathError> {
    percent_decode_str(key).decode_utf8().map_err(PathError::Key)
}

#[cfg(test)]
mod tests;
