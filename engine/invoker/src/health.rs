//! Says once that a deployment is away, now and then that it still is, and once that it is back.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use millrace_model::{DeploymentId, codes};
use parking_lot::Mutex;

use crate::{registry::DeploymentInfo, transport::TransportError, trouble::chain};

/// Between two lines about the same deployment.
const INTERVAL: Duration = Duration::from_secs(60);
/// Deployments that may be away at the same time; more of them are not told of.
const AWAY_MAX: usize = 1024;
/// One that was not tried for so long is forgotten: nobody needs it, or it is gone.
const FORGET: Duration = Duration::from_secs(60 * 60);

struct Away {
    since: Instant,
    told: Instant,
    tried: Instant,
    attempts: u64,
}

/// What is known of the deployments of a node.
#[derive(Default)]
pub(crate) struct Health {
    away: Mutex<BTreeMap<DeploymentId, Away>>,
    /// How many are away: looked at for every attempt.
    count: AtomicUsize,
}

/// What to tell of an attempt that got no answer.
#[derive(Debug, PartialEq, Eq)]
enum Tell {
    Nothing,
    Away { attempts: u64 },
}

impl Health {
    /// An attempt got no answer.
    pub(crate) fn lost(&self, deployment: &DeploymentInfo, error: &TransportError) {
        if !error.is_absence() {
            return self.answered(deployment);
        }
        if let Tell::Away { attempts } = self.note(deployment.id, Instant::now()) {
            tracing::warn!(
                deployment_id = %deployment.id,
                endpoint = %deployment.endpoint,
                error_code = codes::RT0010.id,
                error = %chain(error),
                attempts,
                "deployment cannot be reached"
            );
        }
    }

    fn note(&self, id: DeploymentId, now: Instant) -> Tell {
        let mut away = self.away.lock();
        let tell = if let Some(known) = away.get_mut(&id) {
            known.attempts += 1;
            known.tried = now;
            if now.saturating_duration_since(known.told) < INTERVAL {
                Tell::Nothing
            } else {
                known.told = now;
                Tell::Away { attempts: known.attempts }
            }
        } else {
            away.retain(|_, other| now.saturating_duration_since(other.tried) < FORGET);
            if away.len() < AWAY_MAX {
                away.insert(id, Away { since: now, told: now, tried: now, attempts: 1 });
                Tell::Away { attempts: 1 }
            } else {
                Tell::Nothing
            }
        };
        self.count.store(away.len(), Ordering::Relaxed);
        tell
    }

    /// An attempt got an answer, whatever it says.
    pub(crate) fn answered(&self, deployment: &DeploymentInfo) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(Away { since, attempts, .. }) = self.take(deployment.id) {
            tracing::info!(
                deployment_id = %deployment.id,
                endpoint = %deployment.endpoint,
                attempts,
                away_seconds = since.elapsed().as_secs(),
                "deployment answers again"
            );
        }
    }

    fn take(&self, id: DeploymentId) -> Option<Away> {
        let mut away = self.away.lock();
        let known = away.remove(&id);
        self.count.store(away.len(), Ordering::Relaxed);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_once_and_then_now_and_then() {
        let health = Health::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = DeploymentId(1);
        assert_eq!(health.note(id, at(0)), Tell::Away { attempts: 1 });
        assert_eq!(health.note(id, at(1)), Tell::Nothing);
        assert_eq!(health.note(DeploymentId(2), at(2)), Tell::Away { attempts: 1 });
        assert_eq!(health.note(id, at(59)), Tell::Nothing);
        assert_eq!(health.note(id, at(60)), Tell::Away { attempts: 4 });
        assert_eq!(health.take(id).map(|away| away.attempts), Some(4));
        assert!(health.take(id).is_none());
        assert_eq!(health.note(id, at(61)), Tell::Away { attempts: 1 });
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let health = Health::default();
        let start = Instant::now();
        for id in 0..AWAY_MAX as u128 {
            assert_eq!(health.note(DeploymentId(id), start), Tell::Away { attempts: 1 });
        }
        let one_more = DeploymentId(AWAY_MAX as u128);
        assert_eq!(health.note(one_more, start), Tell::Nothing);
        assert_eq!(health.note(one_more, start + FORGET), Tell::Away { attempts: 1 });
    }
}
