use proptest::prelude::*;
use prost::Message as _;

use super::{Combinator::*, NotificationId::*, *};
use crate::{
    message::{Future, SuspensionMessage},
    ty::{AWAITING_ON, SUSPENSION},
    wire::put_bytes_field,
};

fn leaf(cid: u32) -> Future {
    Future { waiting_completions: vec![cid], ..Future::default() }
}

fn node(combinator: u32, nested: Vec<Future>) -> Future {
    Future { combinator_type: combinator, nested_futures: nested, ..Future::default() }
}

fn tree(future: &Future) -> AwaitTree {
    AwaitTree::from_future(AWAITING_ON, &future.encode_to_vec()).unwrap()
}

/// `levels` nodes inside each other, the innermost with one leaf.
fn nest(levels: usize) -> Vec<u8> {
    let mut inner = vec![0x0a, 1, 1];
    for _ in 1..levels {
        let mut outer = bytes::BytesMut::new();
        put_bytes_field(4, &inner, &mut outer);
        inner = outer.to_vec();
    }
    inner
}

#[test]
fn both_shapes_of_suspension_become_a_tree() {
    let flat = SuspensionMessage {
        waiting_completions: vec![1, 300],
        waiting_signals: vec![1, 17],
        waiting_named_signals: vec!["go".to_owned()],
        awaiting_on: None,
    };
    assert_eq!(flat.encode_to_vec(), b"\x0a\x03\x01\xac\x02\x12\x02\x01\x11\x1a\x02go");
    let flat = AwaitTree::from_suspension(SUSPENSION, &flat.encode_to_vec()).unwrap();
    assert_eq!(flat.leaves(), [Completion(1), Completion(300), Signal(1), Signal(17), Named("go".into())]);
    assert_eq!(flat.nodes.len(), 1);

    // The captured race of two mapped timers.
    let mapped = |cid| node(0, vec![]).with(cid);
    let future = Future { waiting_signals: vec![1], ..node(1, vec![node(1, vec![mapped(1), mapped(2)])]) };
    let v7 = SuspensionMessage { awaiting_on: Some(future.clone()), ..SuspensionMessage::default() };
    let v7 = AwaitTree::from_suspension(SUSPENSION, &v7.encode_to_vec()).unwrap();
    assert_eq!(v7, tree(&future));
    assert_eq!(v7.leaves(), [Signal(1), Completion(1), Completion(2)]);
    let combinators: Vec<_> = v7.nodes.iter().map(|node| node.combinator).collect();
    assert_eq!(combinators, [FirstCompleted, FirstCompleted, Unknown, Unknown]);
}

impl Future {
    fn with(mut self, cid: u32) -> Self {
        self.waiting_completions.push(cid);
        self
    }
}

#[test]
fn unpacked_lists_are_the_same() {
    let unpacked = AwaitTree::from_suspension(SUSPENSION, &[0x08, 1, 0x08, 2, 0x10, 1]).unwrap();
    assert_eq!(unpacked.leaves(), [Completion(1), Completion(2), Signal(1)]);
}

#[test]
fn leaves_are_stored_once_and_a_tree_only_where_it_matters() {
    // Any leaf resolves it: a race of (signal 1, timers).
    let race = Future { waiting_signals: vec![1], ..node(1, vec![leaf(2), leaf(1), leaf(2)]) };
    let leaves = Awaiting { completions: vec![1, 2], signals: vec![1], ..Awaiting::default() };
    assert_eq!(tree(&race).to_awaiting(), leaves);

    let all = Future { waiting_named_signals: vec!["n".to_owned(), "m".to_owned()], ..node(4, vec![leaf(2), leaf(1)]) };
    let race = Future { waiting_signals: vec![1], ..node(1, vec![all]) };
    let stored = |combinator, leaves: &[u32], children: std::ops::Range<u32>| AwaitNode {
        combinator,
        leaves: leaves.to_vec(),
        children: children.start,
        children_end: children.end,
    };
    let expected = Awaiting {
        names: vec!["m".into(), "n".into()],
        tree: vec![
            stored(FirstCompleted, &[2], 1..2),
            stored(AllSucceededOrFirstFailed, &[3, 4], 2..4),
            stored(Unknown, &[1], 0..0),
            stored(Unknown, &[0], 0..0),
        ],
        ..leaves
    };
    let awaiting = tree(&race).to_awaiting();
    assert_eq!(awaiting, expected);
    assert_eq!(awaiting.leaf(&Named("n".into())), Some(4));

    // Too large to be written anew with each leaf.
    let many = Future { waiting_completions: (1..=5000).collect(), ..node(2, vec![]) };
    assert_eq!(tree(&many).to_awaiting().tree, []);
}

#[test]
fn what_waits_for_nothing_is_refused() {
    for bytes in
        [&b""[..], b"\x22\x00", b"\x0a\x00", b"\x22\x02\x0a\x00", b"\x0a\x01\x01\x22\x00", b"\x0a\x01\x00", b"\x10\x00"]
    {
        assert!(
            matches!(AwaitTree::from_suspension(SUSPENSION, bytes), Err(ProtocolError::Invalid { .. })),
            "{bytes:?}"
        );
    }
    for bytes in [
        &b"\x0a"[..],
        b"\x0a\x01\x80",
        b"\x1a\x01\xff",
        b"\x22\x05",
        b"\x0a\x06\xff\xff\xff\xff\xff\x01",
        b"\x2a\x00",
        b"\x20\x01",
    ] {
        assert!(
            matches!(AwaitTree::from_suspension(SUSPENSION, bytes), Err(ProtocolError::Malformed { .. })),
            "{bytes:?}"
        );
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = AwaitTree::from_future(AWAITING_ON, &nest(AWAIT_DEPTH_MAX)).unwrap();
    assert_eq!(deep.leaves(), [Completion(1)]);
    assert_eq!(extremes(&deep, false), [false, true]);
    for levels in [AWAIT_DEPTH_MAX + 1, 5000] {
        let result = AwaitTree::from_future(AWAITING_ON, &nest(levels));
        let error = result.expect_err("too large");
        assert!(matches!(error, ProtocolError::AwaitTooLarge { .. }));
        assert_eq!(millrace_model::Coded::code(&error).id, "RT0025");
    }
    let mut suspension = bytes::BytesMut::new();
    put_bytes_field(4, &nest(AWAIT_DEPTH_MAX), &mut suspension);
    assert_eq!(AwaitTree::from_suspension(SUSPENSION, &suspension), Ok(deep));
}

#[test]
fn size_is_bounded() {
    for (n, ok) in [(AWAIT_ITEMS_MAX, true), (AWAIT_ITEMS_MAX + 1, false)] {
        let mut list = bytes::BytesMut::new();
        put_bytes_field(1, &vec![1; n], &mut list);
        assert_eq!(AwaitTree::from_suspension(SUSPENSION, &list).is_ok(), ok);
    }
}

/// `done` are completion ids in the order of arrival; negative ones failed.
fn check(future: &Future, done: &[i32], expected: bool) {
    let mut awaiting = tree(future).to_awaiting();
    for (index, cid) in done.iter().enumerate() {
        if let Some(leaf) = awaiting.leaf(&Completion(cid.unsigned_abs())) {
            awaiting.arrive(leaf, index as u32, *cid < 0);
        }
    }
    assert_eq!(awaiting.is_done(), expected, "{future:?} {done:?}");
}

#[test]
fn stored_trees_resolve_as_the_table_says() {
    for combinator in 0..=5 {
        check(&node(combinator, vec![leaf(1), leaf(2)]), &[], false);
    }
    let two = |combinator| node(combinator, vec![]).with(1).with(2);
    for combinator in [0, 1, 9] {
        check(&two(combinator), &[2], true);
        check(&two(combinator), &[-1], true);
    }
    check(&two(2), &[-1], false);
    check(&two(2), &[-1, -2], true);
    check(&two(3), &[-1], false);
    check(&two(3), &[-1, 2], true);
    check(&two(3), &[-1, -2], true);
    check(&two(4), &[1], false);
    check(&two(4), &[1, -2], true);
    check(&two(4), &[1, 2], true);

    // First of (all of 1 and 2) and (all of 3 and 4).
    let race = node(1, vec![two(4), node(4, vec![]).with(3).with(4)]);
    check(&race, &[1, 3], false);
    check(&race, &[1, 3, 4], true);
    check(&race, &[1, -2], true);

    // An undecidable child of 3 or 4 wakes the whole; below others it does not.
    let all = |combinator| node(combinator, vec![leaf(1).unknown(), leaf(2)]);
    check(&all(3), &[1], true);
    check(&all(4), &[1], true);
    check(&all(2), &[1], false);
    check(&all(2), &[1, 2], true);
    check(&node(2, vec![all(4), leaf(9)]), &[1], true);
}

impl Future {
    fn unknown(self) -> Self {
        Future { combinator_type: 0, ..self }
    }
}

/// Whether the tree is done without anything, and with everything that it names.
fn extremes(tree: &AwaitTree, failed: bool) -> [bool; 2] {
    let mut awaiting = tree.to_awaiting();
    let nothing = awaiting.is_done();
    for (index, id) in tree.leaves().iter().enumerate() {
        awaiting.arrive(awaiting.leaf(id).unwrap(), index as u32, failed);
    }
    [nothing, awaiting.is_done()]
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(tree) = AwaitTree::from_suspension(SUSPENSION, &bytes) {
            prop_assert!(!tree.leaves().is_empty());
            prop_assert_eq!(extremes(&tree, false), [false, true]);
        }
        let _ = AwaitTree::from_future(AWAITING_ON, &bytes);
    }

    #[test]
    fn a_tree_waits_for_something_and_not_for_ever(shape in proptest::collection::vec((0u32..6, 1u32..9), 1..30)) {
        let mut future = leaf(1);
        for (combinator, cid) in shape {
            future = node(combinator, vec![future]).with(cid);
        }
        prop_assert_eq!(extremes(&tree(&future), true), [false, true]);
    }
}
