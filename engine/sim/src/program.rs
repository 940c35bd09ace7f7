//! What handlers do: a short list of steps that follows from the input alone.

use bytes::Bytes;

use crate::rng::{Rng, mix};

/// State key to which every run of an object handler appends its number.
pub const LOG_KEY: &[u8] = b"log";
/// Name of the workflow.
pub const WORKFLOW: &str = "Flow";
/// Calls go from services of one depth to those of the next, so that no two keys wait for each other.
pub const DEPTH_MAX: u8 = 2;

/// The input of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its own number: of the record, the request or the call.
    pub number: u64,
    /// Chooses the steps.
    pub seed: u64,
    /// Index of the service.
    pub depth: u8,
    /// Of an object: appends its number to the object's state.
    pub keyed: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads the object's list; lazily or from what the attempt was started with.
    Read {
        /// Sends a command that the server answers.
        lazy: bool,
    },
    /// Writes the list with the own number behind it.
    Append,
    /// A side effect.
    Run,
    /// Milliseconds.
    Sleep(u64),
    /// Calls another handler and perhaps waits for it.
    Call {
        /// Key of the callee; `None`: a plain service.
        key: Option<u64>,
        /// Waits for the result.
        wait: bool,
        /// Milliseconds until it may start.
        delay: u64,
    },
    /// Waits for an awakeable, which somebody may complete, but no longer than these milliseconds.
    Listen(u64),
    /// Attaches to what the last one-way call made, or looks at its output.
    Watch {
        /// Waits for the result.
        wait: bool,
    },
    /// Sends a signal to what the last one-way call made.
    Poke {
        /// A cancellation; else it completes its awakeable.
        cancel: bool,
    },
    /// Asks for a promise of its key, without waiting for it yet.
    Promise,
    /// Completes the promise of the last [`Op::Promise`], and waits until it has heard of it.
    Fulfil,
    /// Ends.
    Output {
        /// With a terminal failure.
        fail: bool,
    },
}

impl Program {
    /// The input.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(18);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend_from_slice(&[self.depth, u8::from(self.keyed)]);
        bytes.into()
    }

    /// Inverse of [`Program::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        let (seed, rest) = rest.split_first_chunk::<8>()?;
        let &[depth, keyed] = rest else { return None };
        let (number, seed) = (u64::from_le_bytes(*number), u64::from_le_bytes(*seed));
        Some(Self { number, seed, depth, keyed: keyed == 1 })
    }

    /// The steps; the last one is [`Op::Output`]. `keys`: how many objects each service has.
    pub fn ops(&self, keys: u64) -> Vec<Op> {
        let mut rng = Rng::new(self.seed);
        let mut ops = Vec::new();
        for _ in 0..rng.below(4) {
            let op = match rng.below(if self.depth < DEPTH_MAX { 7 } else { 5 }) {
                0 | 1 => Op::Run,
                2 => Op::Sleep(rng.delay(200)),
                3 => Op::Listen(rng.delay(300)),
                4 => match self.keyed {
                    true => {
                        ops.push(Op::Promise);
                        Op::Fulfil
                    }
                    false => Op::Run,
                },
                5 => Op::Call { key: Self::callee(&mut rng, keys), wait: true, delay: 0 },
                _ => {
                    let delay = if rng.chance(300) { rng.between(1, 1500) } else { 0 };
                    let call = Op::Call { key: Self::callee(&mut rng, keys), wait: false, delay };
                    ops.push(call);
                    match rng.below(5) {
                        0 => Op::Watch { wait: true },
                        1 => Op::Watch { wait: false },
                        2 => Op::Poke { cancel: true },
                        3 => Op::Poke { cancel: false },
                        _ => Op::Run,
                    }
                }
            };
            ops.push(op);
        }
        if self.keyed {
            let read = rng.index(ops.len() + 1);
            ops.insert(read, Op::Read { lazy: rng.chance(500) });
            let append = read + 1 + rng.index(ops.len() - read);
            ops.insert(append, Op::Append);
        }
        ops.push(Op::Output { fail: rng.chance(40) });
        ops
    }

    fn callee(rng: &mut Rng, keys: u64) -> Option<u64> {
        rng.chance(700).then(|| rng.below(keys))
    }

    /// The input of what step `op` calls.
    pub fn callee_of(&self, op: usize, keyed: bool) -> Self {
        let op = op as u64 + 1;
        Self { number: mix(self.number, op), seed: mix(self.seed, op), depth: self.depth + 1, keyed }
    }

    /// Name of the service at a depth.
    pub fn service(depth: u8, keyed: bool) -> String {
        format!("{}{depth}", if keyed { "Object" } else { "Plain" })
    }
}
