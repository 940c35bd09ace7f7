//! Edits of a key's state from outside, in turn with its handlers.

use millrace_model::{
    invocation::{ObjectKey, Waiting},
    state::{StateEdit, StateVersion},
    table::{Inbox, Locks, State},
};

use crate::{Answer, Refusal, StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    /// At once if nobody holds the key, else behind what waits for it already.
    pub(super) fn mutate_state(&mut self, object: ObjectKey, edit: StateEdit) -> Result<Answer, V::Error> {
        let Some(mut lock) = self.get::<Locks>(&object)? else {
            let done = self.edit_state(&object, &edit)?;
            return Ok(if done { Answer::Done } else { Answer::Refused(Refusal::StateChanged) });
        };
        let seq = lock.tail;
        lock.tail += 1;
        self.put::<Inbox>((object.clone(), seq), Waiting::Edit(Box::new(edit)));
        self.put::<Locks>(object, lock);
        Ok(Answer::Asynchronous)
    }

    /// Replaces all state. `false`: it is not what the edit was made against, and nothing happened.
    pub(crate) fn edit_state(&mut self, object: &ObjectKey, edit: &StateEdit) -> Result<bool, V::Error> {
        let before = self.state(object)?;
        if let Some(expected) = edit.expected
            && expected != StateVersion::of(before.iter().map(|(key, value)| (&key[..], &value[..])))
        {
            return Ok(false);
        }
        for key in before.into_keys() {
            self.delete::<State>((object.clone(), key));
        }
        for (key, value) in &edit.entries {
            self.put::<State>((object.clone(), key.clone()), value.clone());
        }
        Ok(true)
    }
}
