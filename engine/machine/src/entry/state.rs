//! Key/value state of an object.

use bytes::Bytes;
use millrace_model::{invocation::Invocation, journal::NotificationResult, table::State};

use crate::{StateView, Txn};

impl<V: StateView> Txn<'_, V> {
    /// Only the holder of the lock writes; what else the log holds is ignored.
    pub(super) fn set_state(&mut self, invocation: &Invocation, key: Bytes, value: Option<Bytes>) {
        if let Some(object) = invocation.target.object().filter(|_| invocation.target.kind.is_exclusive()) {
            match value {
                Some(value) => self.put::<State>((object, key), value),
                None => self.delete::<State>((object, key)),
            }
        }
    }

    pub(super) fn clear_state(&mut self, invocation: &Invocation) -> Result<(), V::Error> {
        if let Some(object) = invocation.target.object().filter(|_| invocation.target.kind.is_exclusive()) {
            for key in self.state(&object)?.into_keys() {
                self.delete::<State>((object.clone(), key));
            }
        }
        Ok(())
    }

    pub(super) fn read_state(&self, invocation: &Invocation, key: Bytes) -> Result<NotificationResult, V::Error> {
        let value = match invocation.target.object() {
            Some(object) => self.get::<State>(&(object, key))?,
            None => None,
        };
        Ok(value.map_or(NotificationResult::Void, NotificationResult::Value))
    }

    pub(super) fn list_state(&self, invocation: &Invocation) -> Result<NotificationResult, V::Error> {
        let keys = match invocation.target.object() {
            Some(object) => self.state(&object)?.into_keys().collect(),
            None => Vec::new(),
        };
        Ok(NotificationResult::StateKeys(keys))
    }
}
