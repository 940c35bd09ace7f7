use millrace_model::{command::Slice, journal::Failure};

use super::*;
use crate::{error::ProtocolError, ty};

const INV: &str = "inv_1f6yqe2HuOpp4BCLNlylVWGULadPGf7rHB";
const SIGN: &str = "sign_1CJyyJkeozQfdqa8J9PVTSnhhwVLEEFncAAAAEQ";

/// Parts joined: bytes of tags and lengths, texts in between.
fn join(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

fn check(ty: u16, payload: &[&[u8]], name: &str, expected: Command) {
    let payload = join(payload);
    assert_eq!(decode(ty, &payload), Ok((expected, name.into())), "{}", ty::display(ty));
    // What a newer SDK adds does not matter.
    let newer = join(&[&payload, b"\xfa\x7f\x03new\xf0\x7f\x01"]);
    assert!(decode(ty, &newer).is_ok());
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn output() {
    let success = |text| Command::Output { result: Completion::Success(bytes(text)) };
    check(ty::OUTPUT, &[b"\x72\x00"], "", success(""));
    check(ty::OUTPUT, &[b"\x62\x01n\x72\x05\x0a\x03abc"], "n", success("abc"));
    let failure = Failure { code: 409, message: "Cancelled".into(), metadata: vec![("a".into(), "b".into())] };
    let payload: &[&[u8]] = &[b"\x7a\x16\x08\x99\x03\x12\x09Cancelled\x1a\x06\x0a\x01a\x12\x01b"];
    check(ty::OUTPUT, payload, "", Command::Output { result: Completion::Failure(failure) });
}

#[test]
fn state() {
    let key = || bytes("k");
    check(ty::GET_LAZY_STATE, &[b"\x0a\x01k\x58\x02"], "", Command::GetLazyState { key: key(), cid: 2 });
    check(ty::GET_LAZY_STATE_KEYS, &[b"\x58\x03"], "", Command::GetLazyStateKeys { cid: 3 });
    check(ty::GET_EAGER_STATE, &[b"\x0a\x01k\x6a\x00"], "", Command::GetEagerState { key: key() });
    check(ty::GET_EAGER_STATE, &[b"\x0a\x01k\x72\x00"], "", Command::GetEagerState { key: key() });
    check(ty::GET_EAGER_STATE_KEYS, &[b"\x72\x03\x0a\x01k"], "", Command::GetEagerStateKeys);
    check(ty::GET_EAGER_STATE_KEYS, &[b"\x62\x01n\x72\x00"], "n", Command::GetEagerStateKeys);
    check(ty::SET_STATE, &[b"\x0a\x01k\x1a\x03\x0a\x01v"], "", Command::SetState { key: key(), value: bytes("v") });
    check(ty::SET_STATE, &[b"\x1a\x00"], "", Command::SetState { key: bytes(""), value: bytes("") });
    check(ty::CLEAR_STATE, &[b"\x0a\x01k"], "", Command::ClearState { key: key() });
    check(ty::CLEAR_ALL_STATE, &[b""], "", Command::ClearAllState);
}

#[test]
fn sleep_and_run() {
    let sleep = Command::Sleep { wake_up_time_ms: 1 << 40, cid: 1 };
    check(ty::SLEEP, &[b"\x08\x80\x80\x80\x80\x80\x20\x58\x01\x62\x03nap"], "nap", sleep);
    check(ty::RUN, &[b"\x58\x01\x62\x02r1"], "r1", Command::Run { cid: 1 });
}

#[test]
fn calls_number_their_fields_differently() {
    let callee = |parameter| Callee {
        service: "S".into(),
        handler: "h".into(),
        key: "k".into(),
        parameter,
        headers: vec![
            Header { name: "X-A".into(), value: "1".into() },
            Header { name: "X-A".into(), value: "".into() },
        ],
        idempotency_key: Some("".into()),
        scope: Some("sc".into()),
        limit_key: Some("l".into()),
    };
    let call: &[u8] = b"\x0a\x01S\x12\x01h\x1a\x02{}\x22\x08\x0a\x03X-A\x12\x011\x22\x05\x0a\x03X-A\x2a\x01k\x32\x00\
        \x3a\x02sc\x42\x01l\x50\x01\x58\x02\x62\x01n";
    let expected = Command::Call { callee: Box::new(callee(bytes("{}"))), invocation_id_cid: 1, result_cid: 2 };
    check(ty::CALL, &[call], "n", expected);

    let one_way: &[u8] =
        b"\x0a\x01S\x12\x01h\x20\xe8\x07\x2a\x08\x0a\x03X-A\x12\x011\x2a\x05\x0a\x03X-A\x32\x01k\x3a\x00\
        \x42\x02sc\x4a\x01l\x50\x07\x62\x01n";
    let callee = Box::new(callee(Bytes::new()));
    let expected = Command::OneWayCall { callee, invoke_time_ms: 1000, invocation_id_cid: 7 };
    check(ty::ONE_WAY_CALL, &[one_way], "n", expected);

    let (command, _) = decode(ty::CALL, &join(&[b"\x0a\x01S\x12\x01h\x50\x01\x58\x02"])).unwrap();
    let plain = Callee { service: "S".into(), handler: "h".into(), ..Callee::default() };
    assert_eq!(command, Command::Call { callee: Box::new(plain), invocation_id_cid: 1, result_cid: 2 });
}

#[test]
fn promises() {
    check(ty::GET_PROMISE, &[b"\x0a\x01p\x58\x02"], "", Command::GetPromise { key: "p".into(), cid: 2 });
    check(ty::PEEK_PROMISE, &[b"\x0a\x01p\x58\x02"], "", Command::PeekPromise { key: "p".into(), cid: 2 });
    let complete = |result| Command::CompletePromise { key: "p".into(), result, cid: 3 };
    let success = complete(Completion::Success(bytes("v")));
    check(ty::COMPLETE_PROMISE, &[b"\x0a\x01p\x12\x03\x0a\x01v\x58\x03"], "", success);
    let failure = complete(Completion::Failure(Failure::new(1, "")));
    check(ty::COMPLETE_PROMISE, &[b"\x0a\x01p\x1a\x02\x08\x01\x58\x03"], "", failure);
}

#[test]
fn signals_and_awakeables() {
    let target = INV.parse().unwrap();
    let send = |signal, result| Command::SendSignal { target, signal, result };
    let to: &[u8] = &[b"\x0a\x26", INV.as_bytes()].concat();
    let cancel = send(NotificationId::Signal(1), NotificationResult::Void);
    check(ty::SEND_SIGNAL, &[to, b"\x10\x01\x22\x00\x62\x01n"], "n", cancel);
    let named = send(NotificationId::Named("go".into()), NotificationResult::Value(bytes("")));
    check(ty::SEND_SIGNAL, &[to, b"\x1a\x02go\x2a\x00"], "", named);
    let failed = send(NotificationId::Signal(17), NotificationResult::Failure(Failure::new(0, "")));
    check(ty::SEND_SIGNAL, &[to, b"\x10\x11\x32\x00"], "", failed);

    let complete = |id, result| Command::CompleteAwakeable { id, result };
    let id: &[u8] = &[b"\x0a\x2c", SIGN.as_bytes()].concat();
    let resolved = complete(SIGN.parse().ok(), Completion::Success(bytes("v")));
    check(ty::COMPLETE_AWAKEABLE, &[id, b"\x12\x03\x0a\x01v"], "", resolved);
    let rejected = complete(SIGN.parse().ok(), Completion::Failure(Failure::new(7, "")));
    check(ty::COMPLETE_AWAKEABLE, &[id, b"\x1a\x02\x08\x07"], "", rejected);
    let old = complete(None, Completion::Success(bytes("")));
    check(ty::COMPLETE_AWAKEABLE, &[b"\x0a\x0aprom_1AAAA\x12\x00"], "", old);
}

#[test]
fn attaching() {
    let id: &[u8] = &[b"\x0a\x26", INV.as_bytes()].concat();
    let by_id = || AttachTarget::Invocation(INV.parse().unwrap());
    check(ty::ATTACH_INVOCATION, &[id, b"\x58\x01"], "", Command::AttachInvocation { target: by_id(), cid: 1 });
    check(ty::GET_INVOCATION_OUTPUT, &[id, b"\x58\x01"], "", Command::GetInvocationOutput { target: by_id(), cid: 1 });
    let target = AttachTarget::Idempotent {
        service: "S".into(),
        key: Some("".into()),
        handler: "h".into(),
        idempotency_key: "i".into(),
        scope: None,
    };
    let payload: &[&[u8]] = &[b"\x1a\x0b\x0a\x01S\x12\x00\x1a\x01h\x22\x01i\x58\x01"];
    check(ty::ATTACH_INVOCATION, payload, "", Command::AttachInvocation { target, cid: 1 });
    let target = AttachTarget::Workflow { workflow: "W".into(), key: "w1".into(), scope: Some("s".into()) };
    let payload: &[&[u8]] = &[b"\x22\x0a\x0a\x01W\x12\x02w1\x1a\x01s\x58\x02"];
    check(ty::GET_INVOCATION_OUTPUT, payload, "", Command::GetInvocationOutput { target, cid: 2 });
}

#[test]
fn byte_strings_are_slices_of_the_payload() {
    let slice = |part: &Bytes, whole: &Bytes| Slice::of(part, whole).expect("a slice").within(whole) == *part;
    let payload = join(&[b"\x0a\x01k\x1a\x03\x0a\x01v"]);
    let Ok((Command::SetState { key, value }, _)) = decode(ty::SET_STATE, &payload) else { panic!() };
    assert!(slice(&key, &payload) && slice(&value, &payload));
    let payload = join(&[b"\x62\x01n\x72\x05\x0a\x03abc"]);
    let Ok((Command::Output { result: Completion::Success(value) }, _)) = decode(ty::OUTPUT, &payload) else {
        panic!()
    };
    assert!(slice(&value, &payload));
    let payload = join(&[b"\x0a\x01S\x12\x01h\x1a\x02{}\x22\x08\x0a\x03X-A\x12\x011\x50\x01\x58\x02"]);
    let Ok((Command::Call { callee, .. }, _)) = decode(ty::CALL, &payload) else { panic!() };
    for part in [&callee.parameter, callee.service.bytes(), callee.handler.bytes(), callee.headers[0].value.bytes()] {
        assert!(slice(part, &payload));
    }
}

#[test]
fn what_cannot_be_acted_upon_is_refused() {
    let other: &[u8] = b"\x0a\x03xyz";
    for (ty, payload, code) in [
        (ty::OUTPUT, &b""[..], "RT0012"),
        (ty::OUTPUT, b"\x72", "RT0012"),
        (ty::OUTPUT, b"\x7a\x04\x12\x02\xff\xfe", "RT0012"),
        (ty::GET_LAZY_STATE, b"\x0a\x01k", "RT0012"),
        (ty::GET_LAZY_STATE, b"\x0a\x01\xff\x58\x01", "RT0012"),
        (ty::GET_LAZY_STATE_KEYS, b"\x58\x00", "RT0012"),
        (ty::GET_EAGER_STATE, b"\x0a\x01k", "RT0012"),
        (ty::GET_EAGER_STATE_KEYS, b"", "RT0012"),
        (ty::SET_STATE, b"\x0a\x01k", "RT0012"),
        (ty::SET_STATE, b"\x0a\x01\xff\x1a\x00", "RT0012"),
        (ty::SLEEP, b"\x08\x01", "RT0012"),
        (ty::RUN, b"", "RT0012"),
        (ty::CALL, b"\x0a\x01S\x12\x01h\x50\x01", "RT0012"),
        (ty::CALL, b"\x0a\x01S\x12\x01h\x58\x01", "RT0012"),
        (ty::CALL, b"\x0a\x01S\x12\x01h\x50\x01\x58\x01", "RT0012"),
        (ty::CALL, b"\x0a\x01\xff\x12\x01h\x50\x01\x58\x02", "RT0012"),
        (ty::CALL, b"\x0a\x01S\x12\x01h\x22\x03\x0a\x01\xff\x50\x01\x58\x02", "RT0012"),
        (ty::ONE_WAY_CALL, b"\x0a\x01S\x12\x01h", "RT0012"),
        (ty::COMPLETE_PROMISE, b"\x0a\x01p\x58\x03", "RT0012"),
        (ty::SEND_SIGNAL, b"\x22\x00", "RT0012"),
        (ty::SEND_SIGNAL, b"\x10\x00\x22\x00", "RT0012"),
        (ty::SEND_SIGNAL, b"\x10\x01", "RT0012"),
        (ty::SEND_SIGNAL, b"\x0a\x03xyz\x10\x01\x22\x00", "RT0017"),
        (ty::ATTACH_INVOCATION, b"\x58\x01", "RT0012"),
        (ty::ATTACH_INVOCATION, b"\x0a\x03xyz\x58\x01", "RT0017"),
        (ty::COMPLETE_AWAKEABLE, other, "RT0012"),
        (ty::COMPLETE_AWAKEABLE, b"\x0a\x03xyz\x12\x00", "RT0017"),
        (ty::INPUT, b"\x72\x00", "RT0012"),
    ] {
        use millrace_model::Coded as _;
        let error = decode(ty, &Bytes::copy_from_slice(payload)).expect_err("refused");
        assert_eq!(error.code().id, code, "{} {payload:02x?}: {error}", ty::display(ty));
    }
}

#[test]
fn dense_payloads_are_refused_before_they_are_decoded() {
    let many = |part: &[u8], rest: &[u8]| join(&[&part.repeat(20_000), rest]);
    let headers = many(b"\x22\x00", b"\x0a\x01S\x12\x01h\x50\x01\x58\x02");
    assert_eq!(decode(ty::CALL, &headers), Err(ProtocolError::TooManyParts { ty: ty::CALL, limit: PARTS_MAX }));
    let metadata = many(b"\x7a\x02\x1a\x00", b"");
    assert_eq!(decode(ty::OUTPUT, &metadata), Err(ProtocolError::TooManyParts { ty: ty::OUTPUT, limit: PARTS_MAX }));
    // Large is not dense.
    let large = join(&[b"\x72\x83\x80\x04\x0a\xff\xff\x03", &vec![b'x'; 65535]]);
    assert!(decode(ty::OUTPUT, &large).is_ok());
}

#[test]
fn long_texts_are_cut_at_a_character() {
    assert_eq!(shorten("aäb".to_owned(), 2), "a");
    assert_eq!(shorten("aäb".to_owned(), 3), "aä");
    assert_eq!(shorten("aäb".to_owned(), 4), "aäb");
}
