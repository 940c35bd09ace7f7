//! What the front door wants of the engine.

use std::future::Future;

use millrace_machine::{Answer, Refusal};
use millrace_model::{
    InvocationId,
    command::Known,
    invocation::NewInvocation,
    journal::{NotificationId, NotificationResult},
};
use millrace_partition::{Accepted, Ended, Handle, Output, ProposeError};

/// The way to the leaders. Dropping a future takes back nothing that was proposed.
pub trait Backend: Send + Sync + 'static {
    /// Makes an invocation; resolves when it has ended.
    fn call(&self, invocation: NewInvocation, known: Known)
    -> impl Future<Output = Result<Ended, ProposeError>> + Send;

    /// Makes an invocation; resolves when it is in the log.
    fn invoke(
        &self,
        invocation: NewInvocation,
        known: Known,
    ) -> impl Future<Output = Result<Accepted, ProposeError>> + Send;

    /// Resolves when the invocation has ended; `None` if it is not known.
    fn attach(&self, id: InvocationId) -> impl Future<Output = Result<Option<Ended>, ProposeError>> + Send;

    /// The result, if it is there.
    fn output(&self, id: InvocationId) -> impl Future<Output = Result<Output, ProposeError>> + Send;

    /// Gives a signal to an invocation; resolves when it is in the log. `Ok(Err(_))`: why not.
    fn signal(
        &self,
        id: InvocationId,
        signal: NotificationId,
        result: NotificationResult,
    ) -> impl Future<Output = Result<Result<(), Refusal>, ProposeError>> + Send;
}

impl Backend for Handle {
    fn call(
        &self,
        invocation: NewInvocation,
        known: Known,
    ) -> impl Future<Output = Result<Ended, ProposeError>> + Send {
        Handle::call(self, invocation, known)
    }

    fn invoke(
        &self,
        invocation: NewInvocation,
        known: Known,
    ) -> impl Future<Output = Result<Accepted, ProposeError>> + Send {
        Handle::invoke(self, invocation, known)
    }

    async fn attach(&self, id: InvocationId) -> Result<Option<Ended>, ProposeError> {
        match Handle::attach(self, id).await? {
            // A leader that stops lets go of all who wait: that is not "no such invocation".
            None if self.admission() == Err(ProposeError::Stopped) => Err(ProposeError::Stopped),
            ended => Ok(ended),
        }
    }

    fn output(&self, id: InvocationId) -> impl Future<Output = Result<Output, ProposeError>> + Send {
        Handle::output(self, id)
    }

    async fn signal(
        &self,
        id: InvocationId,
        signal: NotificationId,
        result: NotificationResult,
    ) -> Result<Result<(), Refusal>, ProposeError> {
        Ok(match Handle::signal(self, id, signal, result).await? {
            Answer::Refused(refusal) => Err(refusal),
            _ => Ok(()),
        })
    }
}
