//! What the state machine reads.

use bytes::Bytes;
use millrace_model::{Text, invocation::ObjectKey, table::Table};

/// The committed state of a partition. Implemented by the store, and in memory by
/// [`MemoryView`](crate::MemoryView); `engine/store/tests/contract.rs` holds both to the same.
pub trait StateView {
    /// Why it could not be read; nothing of the batch is kept then.
    type Error;

    /// The committed row, if there is one.
    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, Self::Error>;

    /// All committed state of an object: key and value, sorted bytewise by key.
    fn state(&self, object: &ObjectKey) -> Result<Vec<(Bytes, Bytes)>, Self::Error>;

    /// Names of all committed promises of a workflow.
    fn promises(&self, object: &ObjectKey) -> Result<Vec<Text>, Self::Error>;
}
