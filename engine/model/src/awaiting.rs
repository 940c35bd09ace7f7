//! What an attempt waits for, as it is stored (`spec/service-protocol.md` sections 4.4 and 6.1).

use crate::{
    codec::{wire_enum, wire_struct},
    journal::NotificationId,
    text::Text,
};

/// When a node of a tree counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combinator {
    /// A child is complete; what that means only the SDK can tell. Also for combinators we do not know.
    Unknown,
    /// A child is complete.
    FirstCompleted,
    /// All children are complete.
    AllCompleted,
    /// A child succeeded, or all failed.
    FirstSucceededOrAllFailed,
    /// All children succeeded, or one failed.
    AllSucceededOrFirstFailed,
}
wire_enum!(Combinator {
    1 => Unknown,
    2 => FirstCompleted,
    3 => AllCompleted,
    4 => FirstSucceededOrAllFailed,
    5 => AllSucceededOrFirstFailed,
});

/// One node of a tree. Parents stand before their children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitNode {
    /// How its children decide.
    pub combinator: Combinator,
    /// The leaves right below it, by their place: completions first, then signals, then names.
    pub leaves: Vec<u32>,
    /// The first of the nodes right below it.
    pub children: u32,
    /// Behind the last of them.
    pub children_end: u32,
}
wire_struct! { AwaitNode { combinator, leaves, children, children_end } }

/// A leaf that has come while the tree as a whole is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivedLeaf {
    /// Its place.
    pub leaf: u32,
    /// Its place in the journal: decides which child was first.
    pub index: u32,
    /// Its result is a failure.
    pub failed: bool,
}
wire_struct! { ArrivedLeaf { leaf, index, failed } }

/// What an attempt waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awaiting {
    /// Completion ids, each once.
    pub completions: Vec<u32>,
    /// Signal indices, each once.
    pub signals: Vec<u32>,
    /// Signal names, each once.
    pub names: Vec<Text>,
    /// How they are combined, the root first. Empty: any of them wakes.
    pub tree: Vec<AwaitNode>,
    /// What has come of a suspended invocation's tree so far, in the order of the journal.
    pub arrived: Vec<ArrivedLeaf>,
}
wire_struct! { Awaiting { completions, signals, names, tree, arrived } }

impl Awaiting {
    /// Is this notification among its leaves?
    pub fn lists(&self, id: &NotificationId) -> bool {
        self.leaf(id).is_some()
    }

    /// The place of a leaf.
    pub fn leaf(&self, id: &NotificationId) -> Option<u32> {
        let (offset, at) = match id {
            NotificationId::Completion(id) => (0, self.completions.iter().position(|of| of == id)),
            NotificationId::Signal(index) => (self.completions.len(), self.signals.iter().position(|of| of == index)),
            NotificationId::Named(name) => {
                (self.completions.len() + self.signals.len(), self.names.iter().position(|of| of == name))
            }
        };
        u32::try_from(offset + at?).ok()
    }
}

/// How a leaf or a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Success,
    Failure,
    /// Only the SDK can tell.
    Unknown,
}

/// A leaf or node that is complete.
#[derive(Clone, Copy)]
struct Done {
    index: u32,
    outcome: Outcome,
}

impl Awaiting {
    /// Takes in a leaf that has come.
    pub fn arrive(&mut self, leaf: u32, index: u32, failed: bool) {
        if self.arrived.iter().all(|arrived| arrived.leaf != leaf) {
            self.arrived.push(ArrivedLeaf { leaf, index, failed });
        }
    }

    /// Whether the handler has something to go on with, by what has arrived. Waking it too early costs an attempt, too
    /// late is a hang: what is not certain counts as done.
    pub fn is_done(&self) -> bool {
        if self.tree.is_empty() {
            return !self.arrived.is_empty();
        }
        let places = self.completions.len() + self.signals.len() + self.names.len();
        let mut leaves = vec![None; places];
        for ArrivedLeaf { leaf, index, failed } in &self.arrived {
            if let Some(place) = leaves.get_mut(*leaf as usize) {
                let outcome = if *failed { Outcome::Failure } else { Outcome::Success };
                *place = Some(Done { index: *index, outcome });
            }
        }
        let mut nodes: Vec<Option<Done>> = vec![None; self.tree.len()];
        // Children stand behind their parents.
        for (i, node) in self.tree.iter().enumerate().rev() {
            let of_leaves = node.leaves.iter().map(|leaf| leaves.get(*leaf as usize).copied().flatten());
            let children = (node.children..node.children_end).map(|child| nodes.get(child as usize).copied().flatten());
            match judge(node.combinator, of_leaves.chain(children)) {
                Judgement::Done(done) => nodes[i] = Some(done),
                Judgement::Pending => {}
                Judgement::Ask => return true,
            }
        }
        nodes[0].is_some()
    }
}

enum Judgement {
    Pending,
    Done(Done),
    /// It hangs on an outcome that only the SDK knows: let it look.
    Ask,
}

fn judge(combinator: Combinator, children: impl Iterator<Item = Option<Done>>) -> Judgement {
    let by_outcome =
        matches!(combinator, Combinator::FirstSucceededOrAllFailed | Combinator::AllSucceededOrFirstFailed);
    let mut complete = Vec::new();
    let mut pending = false;
    for child in children {
        match child {
            Some(Done { outcome: Outcome::Unknown, .. }) if by_outcome => return Judgement::Ask,
            Some(done) => complete.push(done),
            None => pending = true,
        }
    }
    let first = |outcome: Option<Outcome>| {
        let wanted = complete.iter().filter(|done| outcome.is_none_or(|outcome| done.outcome == outcome));
        wanted.min_by_key(|done| done.index).copied()
    };
    let all = |outcome| match complete.iter().map(|done| done.index).max() {
        Some(index) if !pending => Some(Done { index, outcome }),
        _ => None,
    };
    let done = match combinator {
        Combinator::Unknown => first(None).map(|done| Done { outcome: Outcome::Unknown, ..done }),
        Combinator::FirstCompleted => first(None),
        Combinator::AllCompleted => all(Outcome::Success),
        Combinator::FirstSucceededOrAllFailed => first(Some(Outcome::Success)).or_else(|| all(Outcome::Failure)),
        Combinator::AllSucceededOrFirstFailed => first(Some(Outcome::Failure)).or_else(|| all(Outcome::Success)),
    };
    done.map_or(Judgement::Pending, Judgement::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(combinator: Combinator, leaves: &[u32], children: std::ops::Range<u32>) -> AwaitNode {
        AwaitNode { combinator, leaves: leaves.to_vec(), children: children.start, children_end: children.end }
    }

    /// Leaves come in the order given, as 100 plus their place, negative if they fail; `done` is what the tree says after
    /// each.
    fn check(tree: &[AwaitNode], leaves: &[i64], done: &[bool]) {
        let mut awaiting = Awaiting {
            completions: vec![10, 11, 12],
            signals: vec![1, 17],
            names: vec!["go".into()],
            tree: tree.to_vec(),
            ..Awaiting::default()
        };
        assert!(!awaiting.is_done(), "{tree:?}");
        let mut index = 5;
        let said: Vec<bool> = leaves
            .iter()
            .map(|leaf| {
                index += 1;
                awaiting.arrive((leaf.unsigned_abs() - 100) as u32, index, *leaf < 0);
                awaiting.is_done()
            })
            .collect();
        assert_eq!(said, done, "{tree:?} {leaves:?}");
    }

    #[test]
    fn leaves_have_places() {
        let awaiting = Awaiting {
            completions: vec![10, 11],
            signals: vec![1, 17],
            names: vec!["go".into()],
            ..Awaiting::default()
        };
        let places = [
            NotificationId::Completion(11),
            NotificationId::Signal(1),
            NotificationId::Named("go".into()),
            NotificationId::Signal(11),
        ]
        .map(|id| awaiting.leaf(&id));
        assert_eq!(places, [Some(1), Some(2), Some(4), None]);
    }

    #[test]
    fn trees_say_when_they_are_done() {
        use Combinator::*;
        check(&[], &[101], &[true]);
        check(&[node(FirstCompleted, &[0, 1], 0..0)], &[-101], &[true]);
        check(&[node(AllCompleted, &[0, 1, 3], 0..0)], &[-101, 103, 100], &[false, false, true]);
        check(&[node(FirstSucceededOrAllFailed, &[0, 1, 2], 0..0)], &[-101, 100], &[false, true]);
        check(&[node(FirstSucceededOrAllFailed, &[0, 1], 0..0)], &[-101, -100], &[false, true]);
        check(&[node(AllSucceededOrFirstFailed, &[0, 1, 2], 0..0)], &[101, -100], &[false, true]);
        check(&[node(AllSucceededOrFirstFailed, &[0, 1], 0..0)], &[101, 100], &[false, true]);
        // Cancellation or all; what is not listed counts for nothing.
        let cancel_or_all = [node(FirstCompleted, &[3], 1..2), node(AllCompleted, &[0, 1], 0..0)];
        check(&cancel_or_all, &[100, 102, 101], &[false, false, true]);
        check(&cancel_or_all, &[100, 103], &[false, true]);
        // The outcome of a mapped promise is for the SDK to tell.
        let mapped = [node(AllSucceededOrFirstFailed, &[2], 1..2), node(Unknown, &[0], 0..0)];
        check(&mapped, &[100], &[true]);
        check(&mapped, &[102], &[false]);
        let all_mapped = [node(AllCompleted, &[2], 1..2), node(Unknown, &[0], 0..0)];
        check(&all_mapped, &[100, 102], &[false, true]);
        // A race of two alls, one of which fails before the other is complete.
        let race = [
            node(FirstSucceededOrAllFailed, &[], 1..3),
            node(AllSucceededOrFirstFailed, &[0, 1], 0..0),
            node(AllSucceededOrFirstFailed, &[2, 4], 0..0),
        ];
        check(&race, &[-100, 102, 104], &[false, false, true]);
        check(&race, &[-100, -102], &[false, true]);
    }

    #[test]
    fn a_tree_that_is_none_neither_panics_nor_wakes() {
        use Combinator::*;
        check(&[node(AllCompleted, &[99], 7..9)], &[100], &[false]);
        check(&[node(FirstCompleted, &[], 0..1)], &[100], &[false]);
    }
}
