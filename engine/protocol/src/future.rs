//! What an attempt waits for (`spec/service-protocol.md` sections 4.4 and 6.1).
//!
//! The flat sets of versions 5 and 6 and the tree of version 7 become one [`AwaitTree`]. It lies in two flat lists:
//! parents stand before their children, the leaves and the children of one node stand together. So neither decoding,
//! nor resolving, nor dropping recurses, however deep the handler nested.

use std::{collections::VecDeque, ops::Range};

use millrace_model::{
    Text,
    journal::{Awaiting, NotificationId},
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

/// When a node counts as done.
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

impl Combinator {
    fn from_number(number: u64) -> Self {
        match number {
            1 => Self::FirstCompleted,
            2 => Self::AllCompleted,
            3 => Self::FirstSucceededOrAllFailed,
            4 => Self::AllSucceededOrFirstFailed,
            // Waking on any child is right for every combinator, if sometimes too early.
            _ => Self::Unknown,
        }
    }
}

/// A stored notification, as far as waiting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Place in the journal; decides which child was first.
    pub position: u64,
    /// Its result is a failure.
    pub failed: bool,
}

/// Whether an attempt has something to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Pending,
    Success,
    Failure,
    /// Done, in a way that only the SDK can tell.
    Undecidable,
}

impl Resolution {
    /// The next attempt should start.
    pub fn wakes(self) -> bool {
        self != Resolution::Pending
    }
}

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

    /// The leaves as they are stored, each once.
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
        awaiting
    }

    /// Judges the tree by what is in the journal. `arrived` is asked once for each leaf.
    pub fn resolve(&self, mut arrived: impl FnMut(&NotificationId) -> Option<Arrived>) -> Resolution {
        let leaves: Vec<Option<Done>> = self
            .leaves
            .iter()
            .map(|id| {
                arrived(id).map(|Arrived { position, failed }| Done {
                    position,
                    resolution: if failed { Resolution::Failure } else { Resolution::Success },
                })
            })
            .collect();
        let mut nodes: Vec<Option<Done>> = vec![None; self.nodes.len()];
        // Children stand behind their parents.
        for (i, node) in self.nodes.iter().enumerate().rev() {
            let children = leaves[range(&node.leaves)].iter().chain(&nodes[range(&node.children)]);
            match judge(node.combinator, children) {
                Judgement::Done(done) => nodes[i] = Some(done),
                Judgement::Pending => {}
                Judgement::Ask => return Resolution::Undecidable,
            }
        }
        nodes[0].map_or(Resolution::Pending, |done| done.resolution)
    }
}

/// A completed leaf or node; `resolution` is never `Pending`.
#[derive(Clone, Copy)]
struct Done {
    position: u64,
    resolution: Resolution,
}

enum Judgement {
    Pending,
    Done(Done),
    /// The outcome of the whole hangs on one that only the SDK knows: let it look.
    Ask,
}

fn judge<'a>(combinator: Combinator, children: impl Iterator<Item = &'a Option<Done>>) -> Judgement {
    let (mut first, mut last, mut pending) = (None::<Done>, None::<Done>, false);
    let mut first_of = [None::<Done>; 2];
    for child in children {
        let Some(done) = *child else {
            pending = true;
            continue;
        };
        let earlier =
            |than: Option<Done>| if than.is_none_or(|t| done.position < t.position) { Some(done) } else { than };
        first = earlier(first);
        if last.is_none_or(|l| done.position >= l.position) {
            last = Some(done);
        }
        match done.resolution {
            Resolution::Success => first_of[0] = earlier(first_of[0]),
            Resolution::Failure => first_of[1] = earlier(first_of[1]),
            Resolution::Undecidable if decides_by_outcome(combinator) => return Judgement::Ask,
            _ => {}
        }
    }
    let all = |resolution| match last {
        Some(last) if !pending => Some(Done { position: last.position, resolution }),
        _ => None,
    };
    let done = match combinator {
        Combinator::Unknown => first.map(|done| Done { resolution: Resolution::Undecidable, ..done }),
        Combinator::FirstCompleted => first,
        Combinator::AllCompleted => all(Resolution::Success),
        Combinator::FirstSucceededOrAllFailed => first_of[0].or_else(|| all(Resolution::Failure)),
        Combinator::AllSucceededOrFirstFailed => first_of[1].or_else(|| all(Resolution::Success)),
    };
    done.map_or(Judgement::Pending, Judgement::Done)
}

fn decides_by_outcome(combinator: Combinator) -> bool {
    matches!(combinator, Combinator::FirstSucceededOrAllFailed | Combinator::AllSucceededOrFirstFailed)
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
                    Field::Varint(number) => combinator = Combinator::from_number(number),
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
