use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::message::{self, NotificationMessage};

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn encoded(entry: &Entry) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(entry, &mut out);
    assert_eq!(out[..8], frame::header(super::ty(entry), false, out.len() - 8));
    out[8..].to_vec()
}

fn check(ty: u16, id: NotificationId, result: NotificationResult, hex: &str) {
    let entry = Entry::Notification(Notification { ty, id, result });
    let payload = encoded(&entry);
    assert_eq!(payload, unhex(hex), "{entry:?}");
    let decoded = NotificationMessage::decode(&payload[..]).unwrap();
    assert!(decoded.id.is_some() && decoded.result.is_some(), "{entry:?}");
}

fn value(bytes: &'static [u8]) -> NotificationResult {
    NotificationResult::Value(Bytes::from_static(bytes))
}

#[test]
fn notifications_are_the_captured_bytes() {
    use NotificationId::*;
    check(ty::SLEEP_COMPLETION, Completion(1), NotificationResult::Void, "08 01 22 00");
    check(ty::GET_LAZY_STATE_COMPLETION, Completion(2), NotificationResult::Void, "08 02 22 00");
    check(ty::GET_LAZY_STATE_COMPLETION, Completion(1), value(b"\"v1\""), "08 01 2a 06 0a 04 22 76 31 22");
    let keys = NotificationResult::StateKeys(vec![Bytes::from_static(b"e"), Bytes::from_static(b"k")]);
    check(ty::GET_LAZY_STATE_KEYS_COMPLETION, Completion(3), keys, "08 03 8a 01 06 0a 01 65 0a 01 6b");
    check(ty::RUN_COMPLETION, Completion(2), value(b""), "08 02 2a 00");
    let boom = NotificationResult::Failure(Failure::new(500, "boom"));
    check(ty::RUN_COMPLETION, Completion(1), boom, "08 01 32 09 08 f4 03 12 04 62 6f 6f 6d");
    check(ty::SIGNAL, Signal(1), NotificationResult::Void, "10 01 22 00");
    check(ty::SIGNAL, Named("m".into()), value(b"a"), "1a 01 6d 2a 03 0a 01 61");
    let id = "inv_1f6yqe2HuOpp4BCLNlylVWGULadPGf7rHB";
    let hex: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
    let result = NotificationResult::InvocationId(id.parse().unwrap());
    check(ty::CALL_INVOCATION_ID_COMPLETION, Completion(1), result, &format!("08 01 82 01 26 {hex}"));
}

#[test]
fn every_notification_has_an_id_and_a_result_on_the_wire() {
    use NotificationId::*;
    let failure = || NotificationResult::Failure(Failure::new(409, "x"));
    check(ty::GET_PROMISE_COMPLETION, Completion(300), value(b"x"), "08 ac 02 2a 03 0a 01 78");
    check(ty::PEEK_PROMISE_COMPLETION, Completion(1), NotificationResult::Void, "08 01 22 00");
    check(ty::COMPLETE_PROMISE_COMPLETION, Completion(1), failure(), "08 01 32 06 08 99 03 12 01 78");
    check(ty::CALL_COMPLETION, Completion(2), value(b"x"), "08 02 2a 03 0a 01 78");
    check(ty::ATTACH_INVOCATION_COMPLETION, Completion(2), failure(), "08 02 32 06 08 99 03 12 01 78");
    check(ty::GET_INVOCATION_OUTPUT_COMPLETION, Completion(2), NotificationResult::Void, "08 02 22 00");
    check(ty::GET_LAZY_STATE_KEYS_COMPLETION, Completion(3), NotificationResult::StateKeys(vec![]), "08 03 8a 01 00");
    check(ty::SIGNAL, Signal(17), value(b""), "10 11 2a 00");
    check(ty::SIGNAL, Named("".into()), failure(), "1a 00 32 06 08 99 03 12 01 78");
    check(ty::RUN_COMPLETION, Completion(1), NotificationResult::Failure(Failure::new(0, "")), "08 01 32 00");
    let empty_key = NotificationResult::StateKeys(vec![Bytes::new()]);
    check(ty::GET_LAZY_STATE_KEYS_COMPLETION, Completion(1), empty_key, "08 01 8a 01 02 0a 00");
}

#[test]
fn failure_metadata_goes_out() {
    let failure =
        Failure { code: 418, message: "term".into(), metadata: vec![("a".into(), "b".into()), ("".into(), "".into())] };
    check(
        ty::CALL_COMPLETION,
        NotificationId::Completion(1),
        NotificationResult::Failure(failure),
        "08 01 32 13 08 a2 03 12 04 74 65 72 6d 1a 06 0a 01 61 12 01 62 1a 00",
    );
}

#[test]
fn input_has_the_captured_length_and_decodes() {
    let headers = [
        ("x-restate-ingress-path", "/Greeter/greet"),
        ("user-agent", "curl/7.88.1"),
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("x-my", "hv"),
        ("content-length", "5"),
    ];
    let header = |(name, value): (&str, &str)| Header { name: name.into(), value: value.into() };
    let entry = Entry::Input { headers: headers.map(header).to_vec(), value: Bytes::from_static(b"\"bob\"") };
    let payload = encoded(&entry);
    assert_eq!(payload.len(), 160);
    let decoded = message::InputCommandMessage::decode(&payload[..]).unwrap();
    assert_eq!(decoded.value.unwrap().content, "\"bob\"");
    let pairs =
        decoded.headers.iter().map(|h| (std::str::from_utf8(&h.key).unwrap(), std::str::from_utf8(&h.value).unwrap()));
    assert!(pairs.eq(headers));

    assert_eq!(encoded(&Entry::Input { headers: vec![], value: Bytes::new() }), [0x72, 0]);
}

#[test]
fn commands_go_out_as_they_came() {
    // With a field that nobody knows.
    let raw = Bytes::from_static(b"\x58\x01\x62\x02r1\xfa\x7f\x00");
    assert_eq!(encoded(&Entry::Command { ty: ty::RUN, raw: raw.clone() }), raw);
    assert_eq!(command_name(&raw), Ok("r1"));
    assert_eq!(command_name(b""), Ok(""));
}
