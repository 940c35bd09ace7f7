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
