//! Which SDK answered last, by deployment: what endpoints say in `x-restate-server`.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderMap, HeaderName};
use millrace_model::DeploymentId;
use parking_lot::RwLock;

/// SDK and version.
pub(crate) const SERVER: HeaderName = HeaderName::from_static("x-restate-server");
/// Deployments that are remembered. More of them than that have no live handlers on one node.
const DEPLOYMENTS_MAX: usize = 4096;
/// Bytes of a name that are kept: `restate-sdk-java/1.0.1` is an ordinary one.
const NAME_BYTES_MAX: usize = 128;

/// Looked at with every answer; changed when an endpoint was.
#[derive(Default)]
pub(crate) struct Servers(RwLock<HashMap<DeploymentId, Arc<str>>>);

impl Servers {
    /// An attempt was answered.
    pub(crate) fn answered(&self, deployment: DeploymentId, headers: &HeaderMap) {
        let Some(name) = headers.get(SERVER).and_then(|value| value.to_str().ok()) else { return };
        if name.len() > NAME_BYTES_MAX || self.0.read().get(&deployment).is_some_and(|known| **known == *name) {
            return;
        }
        let mut servers = self.0.write();
        if servers.len() >= DEPLOYMENTS_MAX && !servers.contains_key(&deployment) {
            servers.clear();
        }
        servers.insert(deployment, name.into());
    }

    pub(crate) fn get(&self, deployment: DeploymentId) -> Option<Arc<str>> {
        self.0.read().get(&deployment).cloned()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_last_answer_counts() {
        let servers = Servers::default();
        let deployment = DeploymentId(1);
        let answer = |name: Option<&str>| {
            let mut headers = HeaderMap::new();
            name.map(|name| headers.insert(SERVER, HeaderValue::from_str(name).unwrap()));
            servers.answered(deployment, &headers);
            servers.get(deployment)
        };
        assert_eq!(answer(None), None);
        assert_eq!(answer(Some("a/1")).as_deref(), Some("a/1"));
        assert_eq!(answer(Some("a/2")).as_deref(), Some("a/2"));
        assert_eq!(answer(None).as_deref(), Some("a/2"));
        assert_eq!(answer(Some(&"x".repeat(NAME_BYTES_MAX + 1))).as_deref(), Some("a/2"));
        for other in 0..2 * DEPLOYMENTS_MAX as u128 {
            servers.answered(DeploymentId(other), &HeaderMap::from_iter([(SERVER, HeaderValue::from_static("b"))]));
        }
        assert!(servers.0.read().len() <= DEPLOYMENTS_MAX);
    }
}
