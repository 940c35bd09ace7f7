//! Answers on the request stream that are in no journal: acknowledgements of commands, and reads of state (version 8).
//!
//! ```text
//!   command with ACK bit ──proposal──> stored so many ──────> CommandAck
//!   GetStateEphemeral ──> asked ──Step::Read──> values ──────> GetStateEphemeralAnswer
//! ```
//!
//! One look at the state at a time, for everything that was asked for until then.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use millrace_model::codes::Coded;
use millrace_protocol::Session;

use crate::{
    shared::{Stored, Values},
    trouble::Trouble,
};

/// Reads, or proposals with commands to be acknowledged, that may wait; with more of them no more is read from the
/// handler until one of them is answered.
const WAITING_MAX: usize = 64;
/// Values after which a look at the state ends.
pub(super) const READ_BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Answers {
    /// Command indices, and what tells how many are stored; in order.
    acks: VecDeque<(Vec<u32>, Stored)>,
    /// Reads that are not answered, with their keys.
    asked: VecDeque<(u32, Bytes)>,
    /// Of the first of them.
    values: Option<Values>,
    /// Of the first of them, looked up and not encoded yet.
    found: VecDeque<Option<Bytes>>,
}

impl Answers {
    pub(super) fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.asked.is_empty()
    }

    /// The handler has to wait until some are answered.
    pub(super) fn is_full(&self) -> bool {
        self.acks.len() >= WAITING_MAX || self.asked.len() >= WAITING_MAX
    }

    /// A proposal is under way.
    pub(super) fn acknowledge(&mut self, commands: Vec<u32>, stored: Stored) {
        self.acks.push_back((commands, stored));
    }

    /// The handler reads a key.
    pub(super) fn ask(&mut self, ephemeral_id: u32, key: Bytes) {
        self.asked.push_back((ephemeral_id, key));
    }

    /// It is time to look, for [`Answers::keys`].
    pub(super) fn wants_read(&self) -> bool {
        self.values.is_none() && self.found.is_empty() && !self.asked.is_empty()
    }

    pub(super) fn keys(&self) -> Vec<Bytes> {
        self.asked.iter().take(WAITING_MAX).map(|(_, key)| key.clone()).collect()
    }

    /// A look is under way.
    pub(super) fn reading(&mut self, values: Values) {
        self.values = Some(values);
    }

    /// Encodes what is there, until `out` holds `out_max`. `true`: there is more, and no room for it.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut Session,
        out: &mut BytesMut,
        out_max: usize,
    ) -> Result<bool, Trouble> {
        let _ = self.poll_acks(cx, session, out, out_max);
        loop {
            while out.len() < out_max
                && let Some(value) = self.found.pop_front()
            {
                let (id, _) = self.asked.pop_front().expect("values are of what was asked for");
                session.encode_state(id, value, out);
            }
            let Some(values) = self.values.as_mut().filter(|_| self.found.is_empty()) else { break };
            let Poll::Ready(values) = values.as_mut().poll(cx) else { break };
            self.values = None;
            match values {
                Ok(values) => self.found = values.into(),
                Err(error) => return Err(Trouble::new(error.code(), format!("reading state: {error}"))),
            }
        }
        Ok(out.len() >= out_max && !self.is_empty())
    }

    fn poll_acks(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut Session,
        out: &mut BytesMut,
        out_max: usize,
    ) -> Poll<()> {
        while out.len() < out_max
            && let Some((_, stored)) = self.acks.front_mut()
        {
            let stored = ready!(stored.as_mut().poll(cx));
            let (commands, _) = self.acks.pop_front().expect("it was there");
            // Of those that are not stored the leader says why, or has stopped.
            for index in commands.into_iter().filter(|index| *index < stored) {
                session.encode_command_ack(index, out);
            }
        }
        Poll::Ready(())
    }
}
