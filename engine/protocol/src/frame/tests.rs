use proptest::prelude::*;

use super::*;

const LIMIT: u32 = 1 << 20;

fn frames(decoder: &mut Decoder) -> Result<Vec<Frame>, ProtocolError> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next()? {
        frames.push(frame);
    }
    Ok(frames)
}

/// Type, ACK bit, payload.
type Sent<'a> = (u16, bool, &'a [u8]);

fn check(bytes: &[u8], expected: Result<&[Sent], ProtocolError>) {
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(Bytes::copy_from_slice(bytes));
    let expected = expected.map(|frames| {
        let frame = |(ty, ack, payload): &Sent| Frame { ty: *ty, ack: *ack, payload: Bytes::copy_from_slice(payload) };
        frames.iter().map(frame).collect::<Vec<_>>()
    });
    assert_eq!(frames(&mut decoder), expected, "{bytes:02x?}");
}

#[test]
fn captured_frames_decode() {
    check(&[4, 1, 0, 0, 0, 0, 0, 2, 0x72, 0], Ok(&[(ty::OUTPUT, false, &[0x72, 0])]));
    check(&[0, 3, 0, 0, 0, 0, 0, 0], Ok(&[(ty::END, false, &[])]));
    check(
        b"\x00\x05\x80\x00\x00\x00\x00\x0b\x08\x01\x72\x07{\"a\":1}",
        Ok(&[(ty::PROPOSE_RUN_COMPLETION, true, b"\x08\x01\x72\x07{\"a\":1}")]),
    );
}

#[test]
fn reserved_bits_are_ignored() {
    check(&[0, 3, 0x7f, 0xff, 0, 0, 0, 0], Ok(&[(ty::END, false, &[])]));
    check(&[0, 3, 0xff, 0xff, 0, 0, 0, 0], Ok(&[(ty::END, true, &[])]));
}

#[test]
fn a_header_alone_is_enough_to_refuse() {
    let too_large = |length| Err(ProtocolError::TooLarge { ty: ty::OUTPUT, length, limit: LIMIT });
    check(&[4, 1, 0, 0, 0, 0x10, 0, 0], too_large(LIMIT));
    check(&[4, 1, 0, 0, 0xff, 0xff, 0xff, 0xff], too_large(u32::MAX));
    check(&[4, 1, 0, 0, 0, 0x0f, 0xff, 0xff], Ok(&[]));
    for ty in [0x0008, 0x0201, 0x0301, 0x040f, 0x0415, 0x7fff, 0x8000, 0xfbfe] {
        check(&header(ty, false, 0), Err(ProtocolError::UnknownType { ty }));
    }
    for ty in [0xfc00, 0xffff] {
        check(&header(ty, false, 0), Err(ProtocolError::Custom { ty }));
    }
}

#[test]
fn a_payload_within_a_chunk_is_a_slice_of_it() {
    let mut out = BytesMut::new();
    encode(ty::SET_STATE, false, b"one", &mut out);
    encode(ty::SET_STATE, false, b"two", &mut out);
    let chunk = out.freeze();
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(chunk.clone());
    for frame in frames(&mut decoder).unwrap() {
        assert!(chunk.as_ptr_range().contains(&frame.payload.as_ptr()));
    }
}

#[test]
fn a_spanning_frame_grows_with_what_arrives() {
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(Bytes::copy_from_slice(&header(ty::OUTPUT, false, LIMIT as usize - 1)));
    assert_eq!(decoder.next(), Ok(None));
    assert_eq!(decoder.partial.capacity(), 0);
    let mut left = LIMIT as usize - 1;
    while left > 0 {
        let part = left.min(1000);
        decoder.push(Bytes::from(vec![7; part]));
        left -= part;
        let frame = decoder.next().unwrap();
        assert_eq!(frame.is_some(), left == 0);
        assert!(decoder.partial.capacity() <= (2 * decoder.partial.len()).max(JOIN_BYTES_MIN));
        assert!(decoder.partial.capacity() < LIMIT as usize);
    }
    assert_eq!(decoder.buffered(), 0);
}

proptest! {
    #[test]
    fn frames_survive_any_split(
        sent in proptest::collection::vec((0usize..4, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        cuts in proptest::collection::vec(0usize..20, 0..40),
    ) {
        let types = [ty::OUTPUT, ty::END, ty::SIGNAL, ty::RUN];
        let mut out = BytesMut::new();
        let mut expected = Vec::new();
        for (i, ack, payload) in sent {
            encode(types[i], ack, &payload, &mut out);
            expected.push(Frame { ty: types[i], ack, payload: payload.into() });
        }
        let mut rest = out.freeze();
        let mut decoder = Decoder::new(LIMIT);
        let mut got = Vec::new();
        for cut in cuts {
            decoder.push(rest.split_to(cut.min(rest.len())));
            // Now and then two chunks are pushed before anything is taken.
            if cut % 3 != 0 {
                got.extend(frames(&mut decoder).unwrap());
            }
        }
        decoder.push(rest);
        got.extend(frames(&mut decoder).unwrap());
        prop_assert_eq!(got, expected);
        prop_assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn garbage_is_bounded(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..64)) {
        let mut decoder = Decoder::new(64);
        for chunk in chunks {
            decoder.push(chunk.into());
            match frames(&mut decoder) {
                Ok(frames) => prop_assert!(frames.iter().all(|frame| frame.payload.len() < 64)),
                Err(_) => break,
            }
            prop_assert!(decoder.partial.capacity() <= 64);
        }
    }
}
