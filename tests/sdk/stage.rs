//! A server with the services of one language, and promises that run on it side by side.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use serde_json::json;

use crate::support::{Claim, Proxy, Server, ServerOptions, Service, unique};

/// One promise; all promises of a stage run at the same time.
const PROMISE_LIMIT: Duration = Duration::from_secs(60);

/// What promises are checked on.
pub struct Stage {
    pub server: Server,
    pub service: Service,
    pub proxy: Option<Proxy>,
}

/// A promise with its name.
pub type Promise = (&'static str, fn(Arc<Stage>) -> Pin<Box<dyn Future<Output = ()>>>);

impl Stage {
    /// Streaming over HTTP/2.
    pub async fn start(language: &str) -> Self {
        let service = Service::start(language);
        let uri = service.uri();
        Self::with(service, &uri, None).await
    }

    /// One request and one response at a time, over HTTP/1.1.
    pub async fn http1(language: &str) -> Self {
        let service = Service::start_with(language, &[("HTTP1", "1")]);
        let uri = service.uri();
        Self::with(service, &uri, None).await
    }

    /// Behind a proxy that says something else about the service.
    pub async fn proxied(language: &str, claim: Claim) -> Self {
        let service = Service::start(language);
        let proxy = Proxy::start(&service.uri(), claim).await;
        let uri = proxy.uri();
        Self::with(service, &uri, Some(proxy)).await
    }

    async fn with(service: Service, uri: &str, proxy: Option<Proxy>) -> Self {
        let server = Server::start(ServerOptions::default()).await;
        let body = json!({"uri": uri, "use_http_11": service.speaks_http1()});
        let made = server.admin.post("/deployments", &body).await.expect("an answer");
        assert_eq!(made.status, 201, "{}", made.text());
        // Before version 7 nobody says that waiting will be long: a handler is asked to suspend when it is silent.
        let patience = json!({"inactivity_timeout": "200ms"});
        let patched = server.admin.patch("/services/Sleeper", &patience).await.expect("an answer");
        assert_eq!(patched.status, 200, "{}", patched.text());
        Self { server, service, proxy }
    }

    /// A key that no other promise uses.
    pub fn key(&self) -> String {
        unique("k")
    }
}

/// Checks all promises at the same time and fails with the names of those that are broken. Gives the proxy back.
pub async fn check(stage: Stage, promises: &[Promise]) -> Option<Proxy> {
    let stage = Arc::new(stage);
    // One thread: waiting for a condition borrows what it looks at.
    let local = tokio::task::LocalSet::new();
    let running: Vec<_> = promises
        .iter()
        .map(|(name, promise)| {
            let promise = promise(Arc::clone(&stage));
            (*name, local.spawn_local(tokio::time::timeout(PROMISE_LIMIT, promise)))
        })
        .collect();
    let broken = local.run_until(async {
        let mut broken = Vec::new();
        for (name, promise) in running {
            match promise.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => broken.push(format!("{name}: not within {PROMISE_LIMIT:?}")),
                // The panic has printed itself.
                Err(_) => broken.push(name.to_owned()),
            }
        }
        broken
    });
    let broken = broken.await;
    drop(local);
    let mut stage = Arc::into_inner(stage).expect("all promises are over");
    let services = stage.service.log();
    assert!(broken.is_empty(), "broken promises: {broken:#?}\n--- log of the services:\n{services}");
    assert!(stage.server.stop().success());
    stage.proxy
}
