//! What an attempt waits for (`spec/service-protocol.md` sections 4.4 and 6.1).
//!
//! The flat sets of versions 5 and 6 and the tree of version 7 become one [`AwaitTree`]. It lies in two flat lists:
//! parents stand before their children, the leaves and the children of one node stand together. So neither decoding nor
//! dropping recurses, however deep the handler nested. What is stored of it, and resolves it, is
//! [`millrace_model::awaiting`].

use std::{collections::VecDeque, ops::Range};

pub use millrace_model::awaiting::Combinator;
use millrace_model::{
    Text,
    awaiting::{AwaitNode, Awaiting},
    journal::NotificationId,
};
use prost::DecodeError;

use crate::{
    error::ProtocolError,
    wire::{Field, Fields, malformed},
};

/// Levels of nesting.
pub const AWAIT_DEPTH_MAX: usize = 1000;

/// Leaves and nodes together. As many take as much memory as a message of default size.
pub const AWAIT_ITEMS_MAX: usize = 1 << 20;

/// Waking on any child is right for every combinator that is not known, if sometimes too early.
fn combinator(number: u64) -> Combinator {
    match number {
        1 => Combinator::FirstCompleted,
        2 => Combinator::AllCompleted,
        3 => Combinator::FirstSucceededOrAllFailed,
        4 => Combinator::AllSucceededOrFirstFailed,
        _ => Combinator::Unknown,
    }
}

/// Leaves and nodes of a tree that is stored as such. The row that holds it is written anew with each leaf that comes.
const STORED_ITEMS_MAX: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    combinator: Combinator,
    leaves: Range<u32>,
    children: Range<u32>,
}

/// What an attempt waits for; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitTree {
    /// The root first, then level by level.
    nodes: Vec<Node>,
    leaves: Vec<NotificationId>,
}

impl AwaitTree {
    /// A tree from the payload of Suspension, in either shape.
    ///
    /// That message is a FUTURE whose only nested one is the tree of version 7, so it is read as one.
    pub(crate) fn from_suspension(ty: u16, payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut tree = Builder::default().build(ty, payload, 0)?;
        let root = &mut tree.nodes[0];
        root.combinator = Combinator::Unknown;
        if root.leaves.is_empty() && root.children.len() == 1 {
            tree.nodes.remove(0);
            for node in tree.nodes.iter_mut().filter(|node| !node.children.is_empty()) {
                node.children.start -= 1;
                node.children.end -= 1;
            }
        }
        Ok(tree)
    }

    /// A tree from an encoded FUTURE.
    pub(crate) fn from_future(ty: u16, future: &[u8]) -> Result<Self, ProtocolError> {
        Builder::default().build(ty, future, 1)
    }

    /// A wait for any of `leaves`, as versions 5 and 6 express it. `None` if there are none.
    pub fn any(leaves: Vec<NotificationId>) -> Option<Self> {
        if leaves.is_empty() {
            return None;
        }
        let root =
            Node { combinator: Combinator::Unknown, leaves: 0..u32::try_from(leaves.len()).ok()?, children: 0..0 };
        Some(Self { nodes: vec![root], leaves })
    }

    /// Everything whose arrival can matter, at least one; may name the same thing twice. Waking on any of these is
    /// correct for every SDK, only more often than needed.
    pub fn leaves(&self) -> &[NotificationId] {
        &self.leaves
    }

    /// The tree as it is stored: each leaf once, and how they are combined where that matters.
    ///
    /// A tree that any leaf resolves, or one that is too large to be kept up to date leaf by leaf, is stored as its
    /// leaves alone: any of them wakes.
    pub fn to_awaiting(&self) -> Awaiting {
        let mut awaiting = Awaiting::default();
        for leaf in &self.leaves {
            match leaf {
                NotificationId::Completion(id) => awaiting.completions.push(*id),
                NotificationId::Signal(index) => awaiting.signals.push(*index),
                NotificationId::Named(name) => awaiting.names.push(name.clone()),
            }
        }
        once(&mut awaiting.completions);
        once(&mut awaiting.signals);
        once(&mut awaiting.names);
        let any = |node: &Node| matches!(node.combinator, Combinator::Unknown | Combinator::FirstCompleted);
        if !self.nodes.iter().all(any) && self.nodes.len() + self.leaves.len() <= STORED_ITEMS_MAX {
            awaiting.tree = self.nodes.iter().map(|node| self.stored(node, &awaiting)).collect();
        }
        awaiting
    }

    fn stored(&self, node: &Node, awaiting: &Awaiting) -> AwaitNode {
        let place = |leaf: &NotificationId| {
            let (offset, at) = match leaf {
                NotificationId::Completion(id) => (0, awaiting.completions.binary_search(id)),
                NotificationId::Signal(index) => (awaiting.completions.len(), awaiting.signals.binary_search(index)),
                NotificationId::Named(name) => {
                    (awaiting.completions.len() + awaiting.signals.len(), awaiting.names.binary_search(name))
                }
            };
            index(offset + at.expect("every leaf is in its list"))
        };
        let mut leaves: Vec<u32> = self.leaves[range(&node.leaves)].iter().map(place).collect();
        once(&mut leaves);
        AwaitNode {
            combinator: node.combinator,
            leaves,
            children: node.children.start,
            children_end: node.children.end,
        }
    }
}

fn range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

#[derive(Default)]
struct Builder<'a> {
    nodes: Vec<Node>,
    leaves: Vec<NotificationId>,
    /// Encoded nodes still to read, with their level; the front one becomes the next of `nodes`.
    open: VecDeque<(&'a [u8], usize)>,
}

enum Trouble {
    Malformed(DecodeError),
    Invalid(&'static str),
    TooLarge,
}

impl From<DecodeError> for Trouble {
    fn from(source: DecodeError) -> Self {
        Self::Malformed(source)
    }
}

impl<'a> Builder<'a> {
    fn build(mut self, ty: u16, root: &'a [u8], level: usize) -> Result<AwaitTree, ProtocolError> {
        self.open.push_back((root, level));
        while let Some((future, level)) = self.open.pop_front() {
            self.read(future, level).map_err(|trouble| match trouble {
                Trouble::Malformed(source) => ProtocolError::Malformed { ty, source },
                Trouble::Invalid(what) => ProtocolError::Invalid { ty, what },
                Trouble::TooLarge => {
                    ProtocolError::AwaitTooLarge { depth_max: AWAIT_DEPTH_MAX, items_max: AWAIT_ITEMS_MAX }
                }
            })?;
        }
        Ok(AwaitTree { nodes: self.nodes, leaves: self.leaves })
    }

    fn read(&mut self, future: &'a [u8], level: usize) -> Result<(), Trouble> {
        let first_leaf = self.leaves.len();
        // This node, those read before it and those waiting to be read.
        let first_child = self.nodes.len() + 1 + self.open.len();
        let mut combinator = Combinator::Unknown;
        let mut fields = Fields::new(future);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => self.ids(field, NotificationId::Completion)?,
                2 => self.ids(field, NotificationId::Signal)?,
                3 => self.leaf(NotificationId::Named(Text::from(field.str()?)))?,
                4 => {
                    if level == AWAIT_DEPTH_MAX {
                        return Err(Trouble::TooLarge);
                    }
                    self.room()?;
                    self.open.push_back((field.bytes()?, level + 1));
                }
                5 => match field {
                    Field::Varint(number) => combinator = self::combinator(number),
                    _ => return Err(malformed("combinator").into()),
                },
                _ => {}
            }
        }
        let end = self.nodes.len() + 1 + self.open.len();
        let children = if end == first_child { 0..0 } else { index(first_child)..index(end) };
        let node = Node { combinator, leaves: index(first_leaf)..index(self.leaves.len()), children };
        if node.leaves.is_empty() && node.children.is_empty() {
            return Err(Trouble::Invalid("waits for nothing"));
        }
        self.nodes.push(node);
        Ok(())
    }

    /// A repeated number, packed or not.
    fn ids(&mut self, field: Field<'a>, make: impl Fn(u32) -> NotificationId) -> Result<(), Trouble> {
        let Field::Bytes(packed) = field else {
            return self.leaf(make(field.u32()?));
        };
        let mut numbers = Fields::new(packed);
        while !numbers.is_empty() {
            self.leaf(make(Field::Varint(numbers.varint()?).u32()?))?;
        }
        Ok(())
    }

    fn leaf(&mut self, id: NotificationId) -> Result<(), Trouble> {
        if matches!(id, NotificationId::Completion(0) | NotificationId::Signal(0)) {
            return Err(Trouble::Invalid("waits for id 0"));
        }
        self.room()?;
        self.leaves.push(id);
        Ok(())
    }

    fn room(&self) -> Result<(), Trouble> {
        let items = self.leaves.len() + self.nodes.len() + self.open.len();
        if items < AWAIT_ITEMS_MAX { Ok(()) } else { Err(Trouble::TooLarge) }
    }
}

fn once<T: Ord>(items: &mut Vec<T>) {
    items.sort_unstable();
    items.dedup();
}

fn index(n: usize) -> u32 {
    u32::try_from(n).expect("AWAIT_ITEMS_MAX is far below 2^32")
}

const _: () = assert!(AWAIT_ITEMS_MAX < u32::MAX as usize / 2);

#[cfg(test)]
mod tests;
