use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(manifest: &Value) -> Result<Manifest, DiscoveryError> {
    Manifest::parse(manifest.to_string().as_bytes())
}

fn with_services(services: Value) -> Value {
    json!({"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 7, "services": services})
}

fn with_handler(ty: &str, handler: Value) -> Value {
    with_services(json!([{"name": "S", "ty": ty, "handlers": [handler]}]))
}

/// Message (a part of it), code and HTTP status.
fn check(manifest: &Value, expected: (&str, Option<&str>, u16)) {
    let error = parse(manifest).expect_err("refused");
    let found = (error.code().map(|code| code.id), error.http_status());
    assert_eq!(found, (expected.1, expected.2), "{error}");
    assert!(error.to_string().contains(expected.0), "{error}");
}

#[test]
fn the_accept_header_lists_four_versions() {
    for n in 1..=4 {
        let one = format!("application/vnd.restate.endpointmanifest.v{n}+json");
        assert!(check_content_type(Some(&one)).is_ok());
    }
    assert_eq!(ACCEPT.split(", ").count(), 4);
    for other in [
        None,
        Some("application/json"),
        Some("application/vnd.restate.endpointmanifest.v5+json"),
        Some("application/vnd.restate.endpointmanifest.v3+json; charset=utf-8"),
        Some(""),
    ] {
        let error = check_content_type(other).unwrap_err();
        assert_eq!((error.code().unwrap().id, error.http_status()), ("META0013", 500));
    }
}

#[test]
fn everything_of_version_4_is_read() {
    let all = json!({
        "documentation": "d", "metadata": {"a": "b"}, "inactivityTimeout": 1, "abortTimeout": 2, "journalRetention": 3,
        "enableLazyState": true, "ingressPrivate": true, "retryPolicyInitialInterval": 5, "retryPolicyMaxInterval": 6,
        "retryPolicyMaxAttempts": 0, "retryPolicyExponentiationFactor": 1.5, "retryPolicyOnMaxAttempts": "KILL",
    });
    let merge = |mut base: Value| {
        base.as_object_mut().unwrap().extend(all.as_object().unwrap().clone());
        base
    };
    let mut manifest = with_services(json!([merge(json!({
        "name": "Wf", "ty": "WORKFLOW", "idempotencyRetention": 4, "unknown": {"x": [1]},
        "handlers": [
            merge(json!({
                "name": "run", "ty": "WORKFLOW", "workflowCompletionRetention": 7,
                "input": {"required": true, "contentType": "application/json", "jsonSchema": {"type": "string"}},
                "output": {"contentType": "text/plain", "setContentTypeIfEmpty": true, "jsonSchema": true},
            })),
            {"name": "plain", "ty": "SHARED", "input": {}, "output": {}, "unknown": 1},
            {"name": "silent"},
        ],
    }))]));
    manifest["lambdaCompression"] = json!("zstd");
    manifest["unknown"] = json!(null);
    let manifest = parse(&manifest).unwrap();
    assert_eq!((manifest.min_protocol_version, manifest.max_protocol_version), (5, 7));
    assert_eq!((manifest.protocol_mode, manifest.lambda_zstd), (ProtocolMode::BidiStream, true));

    let expected = Options {
        inactivity_timeout_ms: Some(1),
        abort_timeout_ms: Some(2),
        journal_retention_ms: Some(3),
        idempotency_retention_ms: None,
        enable_lazy_state: Some(true),
        ingress_private: Some(true),
        retry_initial_interval_ms: Some(5),
        retry_max_interval_ms: Some(6),
        retry_max_attempts: Some(0),
        retry_exponentiation_factor: Some(1.5),
        retry_on_max_attempts: Some(OnMaxAttempts::Kill),
    };
    let service = manifest.service("Wf").unwrap();
    assert_eq!(service.ty, ServiceType::Workflow);
    assert_eq!((service.documentation.as_deref(), service.metadata["a"].as_str()), (Some("d"), "b"));
    assert_eq!(service.options, Options { idempotency_retention_ms: Some(4), ..expected.clone() });
    let run = service.handler("run").unwrap();
    assert_eq!((run.kind, run.workflow_completion_retention_ms), (HandlerKind::Workflow, Some(7)));
    assert_eq!(run.options, expected);
    assert_eq!(service.options_of(run), expected);
    assert_eq!((run.input.required, run.input.description()), (true, "application/json"));
    assert_eq!((run.output.set_content_type_if_empty, run.output.description()), (true, "text/plain"));
    assert_eq!(run.input_json_schema, Some(json!({"type": "string"})));
    let plain = service.handler("plain").unwrap();
    assert_eq!((plain.input.description(), plain.output.description()), ("none", "none"));
    assert_eq!(service.options_of(plain), service.options);
    let silent = service.handler("silent").unwrap();
    assert_eq!((silent.kind, silent.input.description()), (HandlerKind::Shared, "*/*"));
    assert_eq!(silent.output.description(), "application/json");

    let stored = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&stored).unwrap(), manifest);
}

#[test]
fn a_manifest_may_be_empty() {
    let manifest = parse(&with_services(json!([]))).unwrap();
    assert!(manifest.services.is_empty());
}

#[test]
fn the_head_is_checked() {
    let base = with_services(json!([]));
    let with = |key: &str, value: Value| {
        let mut manifest = base.clone();
        manifest[key] = value;
        manifest
    };
    for value in [json!(null), json!("BIDI"), json!("bidi_stream")] {
        check(&with("protocolMode", value), ("protocolMode", Some("META0013"), 500));
    }
    check(&with("protocolMode", json!(1)), ("does not parse", Some("META0013"), 500));
    for value in [json!(null), json!(0), json!(-1), json!(2147483648i64), json!(8)] {
        check(&with("minProtocolVersion", value), ("minProtocolVersion", Some("META0013"), 500));
    }
    check(&with("maxProtocolVersion", json!(4)), ("minProtocolVersion", Some("META0013"), 500));
    assert!(parse(&with("maxProtocolVersion", json!(2147483647))).is_ok());
    let mut foreign = with("minProtocolVersion", json!(1));
    foreign["maxProtocolVersion"] = json!(4);
    check(&foreign, ("speaks service protocol 1 to 4, this server 5 to 7", Some("META0012"), 500));
    foreign["minProtocolVersion"] = json!(8);
    foreign["maxProtocolVersion"] = json!(9);
    check(&foreign, ("speaks service protocol 8 to 9", Some("META0012"), 500));
    check(&with("services", json!(null)), ("does not parse", Some("META0013"), 500));
    check(&with("services", json!([[]])), ("does not parse", Some("META0013"), 500));
}

#[test]
fn names_are_checked() {
    let service = |name: &str| with_services(json!([{"name": name, "ty": "SERVICE", "handlers": []}]));
    for name in ["a", "Greeter", "_1", "_a", "a.b-c_d", "A9", "notrestate", "openapi2"] {
        assert!(parse(&service(name)).is_ok(), "{name}");
    }
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    for name in ["", "_", "__a", "1a", ".a", "-a", "a/b", "a b", "ä", "a\n", "a\0", &long] {
        check(&service(name), ("not a name of a service", Some("META0013"), 500));
    }
    for name in ["restate", "RestateX", "RESTATE.a", "openapi", "OpenAPI"] {
        check(&service(name), ("reserved", Some("META0005"), 400));
    }
    let handler = |name: &str| with_handler("SERVICE", json!({"name": name}));
    for name in ["a", "_1", "run_it", "restate"] {
        assert!(parse(&handler(name)).is_ok(), "{name}");
    }
    for name in ["", "_", "a.b", "a-b", "1", &long] {
        check(&handler(name), ("not a name of a handler", Some("META0013"), 500));
    }
}

#[test]
fn kinds_go_by_the_table() {
    use HandlerKind::*;
    for (service, handler, expected) in [
        ("SERVICE", None, Some(Plain)),
        ("SERVICE", Some("SHARED"), Some(Plain)),
        ("SERVICE", Some("EXCLUSIVE"), None),
        ("SERVICE", Some("WORKFLOW"), None),
        ("VIRTUAL_OBJECT", None, Some(Exclusive)),
        ("VIRTUAL_OBJECT", Some("EXCLUSIVE"), Some(Exclusive)),
        ("VIRTUAL_OBJECT", Some("SHARED"), Some(Shared)),
        ("VIRTUAL_OBJECT", Some("WORKFLOW"), None),
        ("WORKFLOW", None, Some(Shared)),
        ("WORKFLOW", Some("SHARED"), Some(Shared)),
        ("WORKFLOW", Some("WORKFLOW"), Some(Workflow)),
        ("WORKFLOW", Some("EXCLUSIVE"), None),
    ] {
        let manifest = with_handler(service, json!({"name": "h", "ty": handler}));
        match expected {
            Some(kind) => assert_eq!(parse(&manifest).unwrap().services[0].handlers[0].kind, kind),
            None => check(&manifest, ("cannot have a handler of type", None, 400)),
        }
    }
    check(&with_handler("SERVICE", json!({"name": "h", "ty": "shared"})), ("does not parse", Some("META0013"), 500));
    check(&with_handler("OBJECT", json!({"name": "h"})), ("does not parse", Some("META0013"), 500));
}

#[test]
fn options_stand_where_they_mean_something() {
    let retention = json!({"name": "h", "workflowCompletionRetention": 1});
    check(&with_handler("SERVICE", retention.clone()), ("workflowCompletionRetention", None, 400));
    check(&with_handler("WORKFLOW", retention), ("workflowCompletionRetention", None, 400));
    let idempotency = json!({"name": "h", "ty": "WORKFLOW", "idempotencyRetention": 1});
    check(&with_handler("WORKFLOW", idempotency), ("idempotencyRetention", None, 400));
    for factor in [json!(0), json!(-1)] {
        let handler = json!({"name": "h", "retryPolicyExponentiationFactor": factor});
        check(&with_handler("SERVICE", handler), ("retryPolicyExponentiationFactor", Some("META0013"), 500));
    }
    for (option, value) in [
        ("inactivityTimeout", json!(-1)),
        ("abortTimeout", json!("1s")),
        ("journalRetention", json!(1.5)),
        ("retryPolicyOnMaxAttempts", json!("STOP")),
        ("metadata", json!({"a": 1})),
        ("enableLazyState", json!("yes")),
    ] {
        check(&with_handler("SERVICE", json!({"name": "h", option: value})), ("does not parse", Some("META0013"), 500));
    }
    let forever = json!({"name": "h", "abortTimeout": u64::MAX, "retryPolicyMaxAttempts": u64::MAX});
    let options = parse(&with_handler("SERVICE", forever)).unwrap().services[0].handlers[0].options.clone();
    assert_eq!((options.abort_timeout_ms, options.retry_max_attempts), (Some(DURATION_MS_MAX), Some(u32::MAX)));
}

#[test]
fn content_types_are_media_types() {
    for content_type in ["json", "", "a/b\r\nx: y", "*/json"] {
        for part in ["input", "output"] {
            let handler = json!({"name": "h", part: {"contentType": content_type}});
            check(&with_handler("SERVICE", handler), ("is not a media type", Some("META0013"), 500));
        }
    }
    let output = json!({"name": "h", "output": {"contentType": "text/plain; charset=\u{1}"}});
    check(&with_handler("SERVICE", output), ("is not a media type", Some("META0013"), 500));
    let output = json!({"name": "h", "output": {"contentType": "text/plain; charset=utf-8"}});
    let manifest = parse(&with_handler("SERVICE", output)).unwrap();
    assert_eq!(manifest.services[0].handlers[0].output.content_type(false), Some("text/plain; charset=utf-8"));
}

#[test]
fn hostile_manifests_are_refused() {
    let services =
        |n: usize| (0..n).map(|i| json!({"name": format!("S{i}"), "ty": "SERVICE", "handlers": []})).collect();
    assert!(parse(&with_services(Value::Array(services(SERVICES_MAX)))).is_ok());
    check(&with_services(Value::Array(services(SERVICES_MAX + 1))), ("more than 1000 services", Some("META0013"), 500));
    let handlers: Vec<_> = (0..=HANDLERS_MAX).map(|i| json!({"name": format!("h{i}")})).collect();
    let many = with_services(json!([{"name": "S", "ty": "SERVICE", "handlers": handlers}]));
    check(&many, ("more than 1000 handlers", Some("META0013"), 500));
    let twice = json!({"name": "S", "ty": "SERVICE", "handlers": []});
    check(&with_services(json!([twice, twice])), ("twice", Some("META0013"), 500));
    let twice = with_services(json!([{"name": "S", "ty": "SERVICE", "handlers": [{"name": "h"}, {"name": "h"}]}]));
    check(&twice, ("S/h is there twice", Some("META0013"), 500));

    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(Manifest::parse(deep.as_bytes()), Err(DiscoveryError::Json(_))));
    let huge = vec![b' '; MANIFEST_BYTES_MAX + 1];
    assert!(matches!(Manifest::parse(&huge), Err(DiscoveryError::TooLarge { .. })));
    for bytes in [&b""[..], b"null", b"[]", b"{", b"\xff\xfe", b"{}{}"] {
        assert!(Manifest::parse(bytes).is_err(), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Manifest::parse(&bytes).is_err());
    }

    #[test]
    fn names_never_panic(name in any::<String>()) {
        let service = parse(&with_services(json!([{"name": name, "ty": "SERVICE", "handlers": []}])));
        let handler = parse(&with_handler("SERVICE", json!({"name": name})));
        if service.is_ok() || handler.is_ok() {
            prop_assert!(name.is_ascii());
        }
    }
}
