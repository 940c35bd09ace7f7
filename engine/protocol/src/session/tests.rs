use millrace_model::journal::{Failure, Header, Notification, NotificationId, NotificationResult};
use proptest::prelude::*;

use super::*;
use crate::message::{AwaitingOnMessage, Future, NotificationMessage, SuspensionMessage};

const LIMIT: u32 = 1 << 16;

fn invocation_id() -> InvocationId {
    "inv_1f6yqe2HuOpp4BCLNlylVWGULadPGf7rHB".parse().unwrap()
}

fn start_info(known_entries: u32) -> StartInfo<'static> {
    StartInfo {
        invocation_id: invocation_id(),
        known_entries,
        state: &[],
        partial_state: true,
        key: "",
        retry_count_since_last_stored_entry: 0,
        duration_since_last_stored_entry: Duration::from_millis(2),
        random_seed: 13066029901014389182,
        scope: Some("s"),
        limit_key: Some("l"),
        idempotency_key: Some("i"),
    }
}

fn input() -> Entry {
    Entry::Input { headers: vec![Header { name: "a".into(), value: "b".into() }], value: Bytes::new() }
}

/// A session whose replay was written: Input and `more`.
fn session(version: ProtocolVersion, mode: Mode, more: &[Entry]) -> Session {
    let commands = 1 + more.iter().filter(|entry| matches!(entry, Entry::Command { .. })).count() as u32;
    let mut session = Session::new(version, mode, commands, LIMIT);
    let mut out = BytesMut::new();
    session.encode_start(&start_info(1 + more.len() as u32), &mut out);
    session.encode_entry(&input(), &mut out);
    for entry in more {
        session.encode_entry(entry, &mut out);
    }
    session
}

fn v7() -> Session {
    session(ProtocolVersion::V7, Mode::BidiStream, &[])
}

fn frames(frames: &[(u16, bool, &[u8])]) -> Bytes {
    let mut out = BytesMut::new();
    for (ty, ack, payload) in frames {
        frame::encode(*ty, *ack, payload, &mut out);
    }
    out.freeze()
}

fn drain(session: &mut Session) -> Result<Vec<Event>, ProtocolError> {
    let mut events = Vec::new();
    while let Some(event) = session.next_event()? {
        events.push(event);
    }
    Ok(events)
}

fn receive(mut session: Session, sent: &[(u16, bool, &[u8])]) -> Result<Vec<Event>, ProtocolError> {
    session.on_bytes(frames(sent));
    drain(&mut session)
}

fn command(command_index: u32, ty: u16, raw: &'static [u8], name: &str, command: Command) -> Event {
    let raw = Bytes::from_static(raw);
    Event::Command(CommandEvent { command_index, ty, raw, ack_requested: false, name: name.into(), command })
}

#[test]
fn start_is_the_captured_one() {
    let mut out = BytesMut::new();
    let mut session = Session::new(ProtocolVersion::V6, Mode::BidiStream, 1, LIMIT);
    session.encode_start(&start_info(1), &mut out);
    assert_eq!(out[..8], [0, 0, 0, 0, 0, 0, 0, 83]);
    let start = StartMessage::decode(&out[8..]).unwrap();
    assert_eq!(start.id[..4], [0xef, 0xe8, 0x8c, 0x4a]);
    assert_eq!(start.debug_id, "inv_1f6yqe2HuOpp4BCLNlylVWGULadPGf7rHB");
    assert_eq!((start.known_entries, start.partial_state, start.duration_since_last_stored_entry), (1, true, 2));
    assert_eq!(start.random_seed, 13066029901014389182);
    assert_eq!((start.scope, start.limit_key, start.idempotency_key), (None, None, None));
}

#[test]
fn start_of_version_7_says_how_it_was_called() {
    let mut out = BytesMut::new();
    let state = [(Bytes::from_static(b"k"), Bytes::new())];
    let info = StartInfo { state: &state, partial_state: false, key: "my key", ..start_info(2) };
    Session::new(ProtocolVersion::V7, Mode::BidiStream, 1, LIMIT).encode_start(&info, &mut out);
    let start = StartMessage::decode(&out[8..]).unwrap();
    assert_eq!(
        (start.scope.as_deref(), start.limit_key.as_deref(), start.idempotency_key.as_deref()),
        (Some("s"), Some("l"), Some("i"))
    );
    assert_eq!((start.key.as_str(), start.partial_state, start.state_map.len()), ("my key", false, 1));
    assert_eq!((&start.state_map[0].key[..], &start.state_map[0].value[..]), (&b"k"[..], &b""[..]));
}

/// The run of version 7 in section 13 of the spec.
const RUN_STREAM: &[(u16, bool, &[u8])] = &[
    (ty::RUN, false, b"\x58\x01\x62\x02r1"),
    (ty::PROPOSE_RUN_COMPLETION, true, b"\x08\x01\x72\x07{\"a\":1}"),
    (ty::AWAITING_ON, false, b"\x0a\x06\x0a\x01\x01\x12\x01\x01\x10\x01"),
    (ty::OUTPUT, false, b"\x72\x00"),
    (ty::END, false, b""),
];

fn run_events() -> Vec<Event> {
    vec![
        command(1, ty::RUN, b"\x58\x01\x62\x02r1", "r1", Command::Run { cid: 1 }),
        Event::RunProposal {
            completion_id: 1,
            result: Completion::Success(Bytes::from_static(b"{\"a\":1}")),
            ack: true,
        },
        Event::AwaitingOn {
            tree: AwaitTree::any(vec![NotificationId::Completion(1), NotificationId::Signal(1)]).unwrap(),
            executing_side_effects: true,
        },
        command(2, ty::OUTPUT, b"\x72\x00", "", Command::Output { result: Completion::Success(Bytes::new()) }),
        Event::End,
    ]
}

#[test]
fn a_stream_gives_the_same_events_however_it_is_split() {
    let bytes = frames(RUN_STREAM);
    for at in 0..=bytes.len() {
        let mut session = v7();
        session.on_bytes(bytes.slice(..at));
        let mut events = drain(&mut session).unwrap();
        session.on_bytes(bytes.slice(at..));
        events.extend(drain(&mut session).unwrap());
        assert_eq!(events, run_events(), "split at {at}");
        assert_eq!(session.on_end(), Ok(()));
    }
    let mut session = v7();
    let mut events = Vec::new();
    for byte in bytes {
        session.on_bytes(Bytes::from(vec![byte]));
        events.extend(drain(&mut session).unwrap());
    }
    assert_eq!(events, run_events());
}

#[test]
fn acknowledgements_are_asked_for_where_they_are_understood() {
    for (version, mode, bit, expected) in [
        (ProtocolVersion::V7, Mode::BidiStream, true, true),
        (ProtocolVersion::V7, Mode::BidiStream, false, false),
        (ProtocolVersion::V7, Mode::RequestResponse, true, false),
        (ProtocolVersion::V6, Mode::BidiStream, true, false),
        (ProtocolVersion::V5, Mode::BidiStream, true, false),
    ] {
        let events = receive(session(version, mode, &[]), &[(ty::PROPOSE_RUN_COMPLETION, bit, b"\x08\x01\x72\x00")]);
        let Ok([Event::RunProposal { ack, .. }]) = events.as_deref() else { panic!("{events:?}") };
        assert_eq!(*ack, expected, "{version} {mode:?} {bit}");
    }
    let mut out = BytesMut::new();
    let mut session = v7();
    session.encode_run_ack(300, &mut out);
    session.encode_command_ack(2, &mut out);
    assert_eq!(out[..], b"\x00\x07\0\0\0\0\0\x03\x08\xac\x02\x00\x04\0\0\0\0\0\x02\x08\x02"[..]);

    let asked = receive(v7(), &[(ty::CLEAR_ALL_STATE, true, b"")]).unwrap();
    assert!(matches!(&asked[..], [Event::Command(CommandEvent { ack_requested: true, command_index: 1, .. })]));
}

#[test]
fn an_acknowledgement_of_a_command_needs_a_stream() {
    let asked = receive(session(ProtocolVersion::V7, Mode::RequestResponse, &[]), &[(ty::CLEAR_ALL_STATE, true, b"")]);
    let error = asked.unwrap_err();
    assert_eq!(error, ProtocolError::AckNeedsStream { ty: ty::CLEAR_ALL_STATE });
    assert_eq!(error.code().id, "RT0017");
}

#[test]
fn state_is_read_ephemerally_on_streams_of_version_8() {
    let ty = ty::GET_STATE_EPHEMERAL;
    let read: &[(u16, bool, &[u8])] = &[(ty, false, b"\x08\x05\x12\x01k"), (ty::CLEAR_ALL_STATE, false, b"")];
    let events = receive(session(ProtocolVersion::V8, Mode::BidiStream, &[]), read).unwrap();
    let expected = Event::GetState { ephemeral_id: 5, key: Bytes::from_static(b"k") };
    assert_eq!(events, [expected, command(1, ty::CLEAR_ALL_STATE, b"", "", Command::ClearAllState)]);
    for (version, mode, error) in [
        (ProtocolVersion::V8, Mode::RequestResponse, ProtocolError::NeedsStream { ty }),
        (ProtocolVersion::V7, Mode::BidiStream, ProtocolError::UnknownType { ty }),
        (ProtocolVersion::V7, Mode::RequestResponse, ProtocolError::UnknownType { ty }),
    ] {
        assert_eq!(error.code().id, "RT0012");
        assert_eq!(receive(session(version, mode, &[]), read), Err(error));
    }
    let v8 = || session(ProtocolVersion::V8, Mode::BidiStream, &[]);
    assert_eq!(
        receive(v8(), &[(ty, false, b"\x12\x01k")]),
        Err(ProtocolError::Invalid { ty, what: "completion id 0" })
    );
    let ty = ty::GET_STATE_EPHEMERAL_ANSWER;
    assert_eq!(receive(v8(), &[(ty, false, b"")]), Err(ProtocolError::WrongDirection { ty }));
    let fresh = Session::new(ProtocolVersion::V8, Mode::BidiStream, 1, LIMIT);
    assert_eq!(receive(fresh, read), Err(ProtocolError::BeforeReplay { ty: ty::GET_STATE_EPHEMERAL }));

    let mut out = BytesMut::new();
    v8().encode_state(5, None, &mut out);
    v8().encode_state(300, Some(Bytes::from_static(b"v")), &mut out);
    v8().encode_state(1, Some(Bytes::new()), &mut out);
    let expected = b"\x03\0\0\0\0\0\0\x04\x08\x05\x22\0\x03\0\0\0\0\0\0\x08\x08\xac\x02\x2a\x03\x0a\x01v\
        \x03\0\0\0\0\0\0\x04\x08\x01\x2a\0";
    assert_eq!(out[..], expected[..]);
}

#[test]
fn proposals_carry_a_result() {
    let failure = receive(v7(), &[(ty::PROPOSE_RUN_COMPLETION, false, b"\x08\x02\x7a\x09\x08\xf4\x03\x12\x04boom")]);
    let result = Completion::Failure(Failure::new(500, "boom"));
    assert_eq!(failure, Ok(vec![Event::RunProposal { completion_id: 2, result, ack: false }]));
    let ty = ty::PROPOSE_RUN_COMPLETION;
    for (payload, what) in [(&b"\x08\x01"[..], "no result"), (b"\x72\x00", "completion id 0")] {
        assert_eq!(receive(v7(), &[(ty, false, payload)]), Err(ProtocolError::Invalid { ty, what }));
    }
}

#[test]
fn commands_are_numbered_from_the_replay_on() {
    let raw = Bytes::from_static(b"\x58\x01");
    let replay = [
        Entry::Command { ty: ty::SLEEP, raw },
        Entry::Notification(Notification {
            ty: ty::SLEEP_COMPLETION,
            id: NotificationId::Completion(1),
            result: NotificationResult::Void,
        }),
    ];
    let events =
        receive(session(ProtocolVersion::V6, Mode::BidiStream, &replay), &[(ty::CLEAR_ALL_STATE, false, &b""[..]); 2]);
    let indices: Vec<_> = events
        .unwrap()
        .iter()
        .map(|event| match event {
            Event::Command(command) => command.command_index,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(indices, [2, 3]);
}

#[test]
fn end_needs_an_output_in_journal_or_stream() {
    assert_eq!(receive(v7(), &[(ty::END, false, b"")]), Err(ProtocolError::EndWithoutOutput));
    let output = Entry::Command { ty: ty::OUTPUT, raw: Bytes::from_static(b"\x72\x00") };
    let replayed = session(ProtocolVersion::V7, Mode::BidiStream, &[output]);
    assert_eq!(receive(replayed, &[(ty::END, false, b"")]), Ok(vec![Event::End]));
}

#[test]
fn suspension_comes_in_both_shapes() {
    let any = |ids: Vec<NotificationId>| Ok(vec![Event::Suspension(AwaitTree::any(ids).unwrap())]);
    use NotificationId::{Completion, Signal};
    let v6 = SuspensionMessage { waiting_completions: vec![1], waiting_signals: vec![1], ..Default::default() };
    let v7_future = Future { waiting_completions: vec![1], waiting_signals: vec![1], ..Default::default() };
    let v7_message = SuspensionMessage { awaiting_on: Some(v7_future), ..Default::default() };
    for message in [v6, v7_message] {
        let payload = message.encode_to_vec();
        let sent: [(u16, bool, &[u8]); 1] = [(ty::SUSPENSION, false, &payload)];
        assert_eq!(receive(v7(), &sent), any(vec![Completion(1), Signal(1)]));
    }
    for (ty, payload) in [
        (ty::SUSPENSION, &b""[..]),
        (ty::SUSPENSION, b"\x22\x00"),
        (ty::AWAITING_ON, b""),
        (ty::AWAITING_ON, b"\x0a\x00"),
        (ty::AWAITING_ON, b"\x10\x01"),
    ] {
        let result = receive(v7(), &[(ty, false, payload)]);
        assert_eq!(result, Err(ProtocolError::Invalid { ty, what: "waits for nothing" }), "{payload:?}");
    }
    let hint = AwaitingOnMessage { awaiting_on: Some(Future::default()), executing_side_effects: false };
    assert!(receive(v7(), &[(ty::AWAITING_ON, false, &hint.encode_to_vec())]).is_err());
}

#[test]
fn errors_are_taken_whole_and_at_any_time() {
    let message = ErrorMessage {
        code: 570,
        message: "m".to_owned(),
        stacktrace: "s".repeat(ERROR_STACKTRACE_BYTES_MAX - 1000),
        related_command_index: Some(3),
        related_command_name: Some("n".to_owned()),
        related_command_type: Some(1041),
        next_retry_delay: Some(u64::MAX),
        behavior: 1,
    };
    let payload = message.encode_to_vec();
    let sent: [(u16, bool, &[u8]); 1] = [(ty::ERROR, false, &payload)];
    let expected = AttemptError {
        code: 570,
        message: "m".to_owned(),
        stacktrace: message.stacktrace.clone(),
        related_command_index: Some(3),
        related_command_name: Some("n".to_owned()),
        related_command_type: Some(ty::RUN),
        next_retry_delay: Some(Duration::from_millis(RETRY_DELAY_MS_MAX)),
        behavior: ErrorBehavior::Pause,
    };
    assert_eq!(expected.code().id, "RT0016");
    let expected = Ok(vec![Event::Error(Box::new(expected))]);
    assert_eq!(receive(v7(), &sent), expected);
    assert_eq!(receive(Session::new(ProtocolVersion::V5, Mode::BidiStream, 1, LIMIT), &sent), expected);

    let minimal = receive(v7(), &[(ty::ERROR, false, b"\x08\xf4\x03")]).unwrap();
    let expected = AttemptError { code: 500, ..AttemptError::default() };
    assert_eq!(expected.code().id, "RT0007");
    assert_eq!(minimal, [Event::Error(Box::new(expected))]);

    let long =
        ErrorMessage { message: "m".repeat(ERROR_MESSAGE_BYTES_MAX + 1), behavior: 77, ..ErrorMessage::default() };
    let events = receive(v7(), &[(ty::ERROR, false, &long.encode_to_vec())]).unwrap();
    let [Event::Error(error)] = &events[..] else { panic!() };
    assert_eq!((error.message.len(), error.behavior), (ERROR_MESSAGE_BYTES_MAX, ErrorBehavior::Retry));
}

#[test]
fn only_an_error_may_come_before_the_replay_is_written() {
    let mut fresh = Session::new(ProtocolVersion::V7, Mode::BidiStream, 1, LIMIT);
    fresh.encode_start(&start_info(1), &mut BytesMut::new());
    for fresh in [Session::new(ProtocolVersion::V7, Mode::BidiStream, 1, LIMIT), fresh] {
        let result = receive(fresh, &[(ty::CLEAR_ALL_STATE, false, b"")]);
        assert_eq!(result, Err(ProtocolError::BeforeReplay { ty: ty::CLEAR_ALL_STATE }));
    }
}

#[test]
fn what_only_the_server_says_is_refused() {
    for ty in 0..=u16::MAX {
        let server_only = ty == ty::START
            || ty == ty::COMMAND_ACK
            || ty == ty::PROPOSE_RUN_COMPLETION_ACK
            || ty == ty::INPUT
            || (ty::is_notification(ty) && ty::name(ty).is_some());
        if server_only {
            assert_eq!(receive(v7(), &[(ty, false, b"")]), Err(ProtocolError::WrongDirection { ty }));
        }
    }
}

#[test]
fn after_the_end_everything_is_ignored() {
    for last in
        [&[(ty::END, false, &b""[..])][..], &[(ty::SUSPENSION, false, b"\x0a\x01\x01")], &[(ty::ERROR, false, b"")]]
    {
        let mut session = v7();
        let mut bytes = BytesMut::from(&frames(&[(ty::OUTPUT, false, b"\x72\x00")])[..]);
        bytes.extend_from_slice(&frames(last));
        bytes.extend_from_slice(b"rest");
        session.on_bytes(bytes.freeze());
        assert_eq!(drain(&mut session).unwrap().len(), 2);
        session.on_bytes(Bytes::from_static(b"garbage, much of it"));
        assert_eq!(session.next_event(), Ok(None));
        assert_eq!(session.ignored_bytes(), 4 + 19);
        assert_eq!(session.on_end(), Ok(()));
    }
}

#[test]
fn after_an_error_nothing_more_comes() {
    let mut session = v7();
    session.on_bytes(frames(&[(ty::END, false, b""), (ty::CLEAR_ALL_STATE, false, b"")]));
    assert!(session.next_event().is_err());
    assert_eq!(session.next_event(), Ok(None));
    assert!(session.is_over());
}

#[test]
fn a_stream_cut_off_is_an_error() {
    let mut session = v7();
    assert_eq!(session.on_end(), Err(ProtocolError::ClosedEarly));
    session.on_bytes(frames(&[(ty::OUTPUT, false, b"\x72\x00")]));
    drain(&mut session).unwrap();
    assert_eq!(session.on_end(), Err(ProtocolError::ClosedEarly));
    session.on_bytes(Bytes::from_static(&[0, 3, 0]));
    assert_eq!(drain(&mut session), Ok(vec![]));
    assert_eq!(session.on_end(), Err(ProtocolError::ClosedEarly));
}

#[test]
fn notifications_follow_the_replay() {
    let mut session = v7();
    let mut out = BytesMut::new();
    let entry = Entry::Notification(Notification {
        ty: ty::SIGNAL,
        id: NotificationId::Signal(17),
        result: NotificationResult::Value(Bytes::from_static(b"v")),
    });
    session.encode_entry(&entry, &mut out);
    assert!(NotificationMessage::decode(&out[8..]).is_ok());
}

#[test]
#[should_panic(expected = "command behind the replay")]
fn commands_do_not_follow_the_replay() {
    v7().encode_entry(&input(), &mut BytesMut::new());
}

proptest! {
    #[test]
    fn garbage_never_panics(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let mut session = v7();
        for chunk in chunks {
            session.on_bytes(chunk.into());
            if drain(&mut session).is_err() {
                prop_assert!(session.is_over());
            }
        }
    }

    /// Well-framed nonsense reaches every decoder.
    #[test]
    fn nonsense_in_frames_never_panics(
        sent in proptest::collection::vec((0u16..0x16, any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 1..10),
    ) {
        let mut session = v7();
        for (low, command, ack, payload) in &sent {
            let ty = if *command { 0x0400 | low } else { low % 8 };
            session.on_bytes(frames(&[(ty, *ack, payload)]));
            let _ = drain(&mut session);
        }
    }

    /// Bytes of real messages with one byte changed.
    #[test]
    fn flipped_bits_never_panic(at in 0usize..60, bit in 0u8..8) {
        let mut bytes = frames(RUN_STREAM).to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let mut session = v7();
        session.on_bytes(bytes.into());
        let _ = drain(&mut session);
    }
}
