use super::*;

fn invoke(path: &str, keyed: bool) -> Result<(String, Option<String>, String, Verb), PathError> {
    let Path::Invoke(invoke) = parse(path)? else { panic!("{path} is not an invocation") };
    let resolved = invoke.resolve(keyed)?;
    Ok((invoke.service.to_owned(), resolved.key.map(Cow::into_owned), resolved.handler.to_owned(), resolved.verb))
}

fn check(path: &str, key: Option<&str>, handler: &str, verb: Verb) {
    let expected = ("S".to_owned(), key.map(str::to_owned), handler.to_owned(), verb);
    assert_eq!(invoke(path, key.is_some()), Ok(expected), "{path}");
}

#[test]
fn handlers() {
    use Verb::{Call, Send};
    check("/S/h", None, "h", Call);
    check("/S/h/", None, "h", Call);
    check("/S/h/send", None, "h", Send);
    check("/S/send", None, "send", Call);
    check("/S/send/send", None, "send", Send);
    check("/S/k/h", Some("k"), "h", Call);
    check("/S/k/send", Some("k"), "send", Call);
    check("/S/k/h/send/", Some("k"), "h", Send);
    check("/S//h", Some(""), "h", Call);
    check("/S/k%2F1%20%C3%A9/h", Some("k/1 é"), "h", Call);
    check("/S/h%20", None, "h%20", Call);
    check("/restate/call/S/h", None, "h", Call);
    check("/restate/send/S/h", None, "h", Send);
    check("/restate/call/S/k/h", Some("k"), "h", Call);
    check("/restate/send/S//h", Some(""), "h", Send);
    check("/restate/call/S/send", None, "send", Call);
}

#[test]
fn not_handlers() {
    for (path, keyed, error) in [
        ("/S/h/nosend", false, PathError::Target),
        ("/S/k/h", false, PathError::Target),
        ("/S/h", true, PathError::Target),
        ("/S/h/send/send", false, PathError::Target),
        ("/S/h/send/x", true, PathError::Target),
        ("/S/k/h/send/x", true, PathError::Target),
        ("/restate/send/S/h/send", false, PathError::Reserved),
        ("/restate/call/S/k/h/send", true, PathError::Reserved),
        ("/restate/call/S", false, PathError::Reserved),
        ("/restate/scope/s1/call/S", false, PathError::Reserved),
    ] {
        assert_eq!(invoke(path, keyed), Err(error), "{path}");
    }
    let Err(PathError::Key(_)) = invoke("/S/%ff/h", true) else { panic!("the key is not UTF-8") };
}

#[test]
fn shapes() {
    for path in ["/", "", "/S", "/S/", "/openapi", "/restate", "/restate/", "*", "x", "a/b/c", "/a/b/c/d/e/f/g/h"] {
        assert_eq!(parse(path), Err(PathError::Shape(path.to_owned())), "{path}");
    }
    for path in ["/openapi/x", "/openapi/S/h", "/restate/nope", "/restate/health/x", "/restate/signals/x/y"] {
        assert_eq!(parse(path), Err(PathError::NotFound), "{path}");
    }
}

#[test]
fn reserved_routes() {
    let workflow = |peek| Path::ByWorkflow { workflow: "W", key: "w%20", peek };
    for (path, expected) in [
        ("/restate/health", Path::Health),
        ("/restate/health/", Path::Health),
        ("/restate/attach", Path::ByTarget(Peek::Attach)),
        ("/restate/output", Path::ByTarget(Peek::Output)),
        ("/restate/attach/x", Path::ById("x", Peek::Attach)),
        ("/restate/output/x", Path::ById("x", Peek::Output)),
        ("/restate/lookup", Path::Lookup),
        ("/restate/invocation/x/attach", Path::ById("x", Peek::Attach)),
        ("/restate/invocation/x/output", Path::ById("x", Peek::Output)),
        ("/restate/workflow/W/w%20/attach", workflow(Peek::Attach)),
        ("/restate/workflow/W/w%20/output", workflow(Peek::Output)),
        ("/restate/awakeables/x/resolve", Path::Awakeable { id: "x", verdict: Verdict::Resolve }),
        ("/restate/a/x/reject", Path::Awakeable { id: "x", verdict: Verdict::Reject }),
    ] {
        assert_eq!(parse(path), Ok(expected), "{path}");
    }
    for (path, error) in [
        ("/restate/call", PathError::Reserved),
        ("/restate/scope/s1", PathError::Reserved),
        ("/restate/scope/s1/nope/S/h", PathError::Reserved),
        ("/restate/attach/x/y", PathError::Reserved),
        ("/restate/lookup/x", PathError::Reserved),
        ("/restate/invocation", PathError::Invocation),
        ("/restate/invocation/x", PathError::Invocation),
        ("/restate/invocation/x/nope", PathError::NotFound),
        ("/restate/invocation/S/h/attach", PathError::Invocation),
        ("/restate/invocation/S/h/i/nope", PathError::NotFound),
        ("/restate/workflow/W", PathError::Workflow),
        ("/restate/workflow/W/w", PathError::Workflow),
        ("/restate/workflow/W/w/nope", PathError::NotFound),
        ("/restate/awakeables", PathError::Awakeable),
        ("/restate/awakeables/x", PathError::Awakeable),
        ("/restate/awakeables/x/nope", PathError::NotFound),
    ] {
        assert_eq!(parse(path), Err(error), "{path}");
    }
}

#[test]
fn scopes_and_idempotent_targets() {
    let Ok(Path::Invoke(invoke)) = parse("/restate/scope/s1/send/S/k/h") else { panic!() };
    assert_eq!((invoke.scope, invoke.service), (Some("s1"), "S"));
    assert_eq!(invoke.resolve(true).unwrap().verb, Verb::Send);

    let Ok(Path::ByIdempotencyKey(path)) = parse("/restate/invocation/S/h/i%20/attach") else { panic!() };
    assert_eq!((path.service, path.peek), ("S", Peek::Attach));
    let target = path.resolve(false).unwrap();
    assert_eq!((target.key.as_deref(), target.handler, &*target.idempotency_key), (None, "h", "i "));
    assert_eq!(path.resolve(true), Err(PathError::Invocation));

    let Ok(Path::ByIdempotencyKey(path)) = parse("/restate/invocation/S/k%20/h/i/output") else { panic!() };
    let target = path.resolve(true).unwrap();
    assert_eq!((target.key.as_deref(), target.handler, &*target.idempotency_key), (Some("k "), "h", "i"));

    let Ok(Path::ByIdempotencyKey(path)) = parse("/restate/invocation/S/h/%ff/output") else { panic!() };
    assert!(matches!(path.resolve(false), Err(PathError::Key(_))), "not UTF-8");
}
