//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// Long enough for a busy machine; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(25);

/// Calls `look` until it says `Ok`, at most for `deadline`; then fails with `what` and the last `Err`.
#[track_caller]
pub fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let give_up = Instant::now() + deadline;
        loop {
            match look().await {
                Ok(found) => return found,
                Err(error) if Instant::now() >= give_up => {
                    panic!("not within {deadline:?}: {what}: {error:#} (waited for at {caller})")
                }
                Err(_) => tokio::time::sleep(INTERVAL).await,
            }
        }
    }
}

/// The same without a runtime.
#[track_caller]
pub fn eventually_blocking<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> anyhow::Result<T>) -> T {
    let give_up = Instant::now() + deadline;
    loop {
        match look() {
            Ok(found) => return found,
            Err(error) if Instant::now() >= give_up => panic!("not within {deadline:?}: {what}: {error:#}"),
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// Lets time pass where time itself is the point: a moment at random for a kill, or a while in which something must
/// *not* happen. Never to wait for something: that is [`eventually`].
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
