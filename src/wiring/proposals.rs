//! Attempts propose to the leaders.

use millrace_invoker::{Proposals, ProposalsStopped};
use millrace_model::{InvocationId, command::Attempt};
use millrace_partition::Handle;

/// The handle, as attempts see it.
pub struct ToLeaders(pub Handle);

impl Proposals for ToLeaders {
    async fn propose(&self, attempt: Attempt, lazy: bool, bytes: usize) -> Result<(), ProposalsStopped> {
        self.0.attempt(attempt, lazy, bytes).await.map_err(|_| ProposalsStopped)
    }

    fn closed(&self, id: InvocationId, attempt: u32) {
        self.0.attempt_closed(id, attempt);
    }
}
