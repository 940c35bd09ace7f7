//! A server with the services of one language, and promises that run on it side by side.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    promises::possible,
    support::{Claim, PATIENCE, Proxy, Response, Server, ServerOptions, Service, eventually, unique},
};

/// One promise; all promises of a stage run at the same time.
const PROMISE_LIMIT: Duration = Duration::from_secs(60);

/// What promises are checked on.
pub struct Stage {
    pub language: String,
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
        Self { language: service.language().to_owned(), server, service, proxy }
    }

    /// A call that goes on while the promise does something else. `input`: null is no body at all.
    pub fn begin(&self, path: &str, input: Value) -> JoinHandle<anyhow::Result<Value>> {
        let (ingress, path) = (self.server.ingress.clone(), format!("/{path}"));
        tokio::spawn(async move {
            let answer =
                if input.is_null() { ingress.post_empty(&path).await } else { ingress.post(&path, &input).await };
            answer?.ok()?.json()
        })
    }

    /// A call of a handler without output.
    pub async fn tell(&self, path: &str, input: Value) {
        self.server.ingress.post(&format!("/{path}"), &input).await.and_then(Response::ok).expect(path);
    }

    /// A call that fails: status and message.
    pub async fn fails(&self, path: &str, input: Value) -> (u16, String) {
        let answer = self.server.ingress.post(&format!("/{path}"), &input).await.expect("an answer");
        assert!(!answer.status.is_success(), "{path} gave {}: {}", answer.status, answer.text());
        failure(&answer)
    }

    /// Waits for the end of an invocation.
    pub async fn attach(&self, id: &str) -> Response {
        self.server.ingress.get(&format!("/restate/invocation/{id}/attach")).await.expect("an answer")
    }

    /// Waits until a handler without input answers this.
    pub async fn until(&self, path: &str, expected: Value) {
        eventually(PATIENCE, path, async || {
            let answer = self.server.query(path).await?;
            anyhow::ensure!(answer == expected, "{path}: {answer} is not {expected}");
            Ok(())
        })
        .await;
    }

    /// The awakeable that `Holder/<key>` holds, as soon as there is one.
    pub async fn held(&self, key: &str) -> String {
        eventually(PATIENCE, "an awakeable is held", async || {
            let held = self.server.query(&format!("Holder/{key}/held")).await?;
            Ok(held.as_str().context("nothing is held")?.to_owned())
        })
        .await
    }

    /// A key that no other promise uses.
    pub fn key(&self) -> String {
        unique("k")
    }
}

/// (code, message) of a terminal error over HTTP.
pub fn failure(answer: &Response) -> (u16, String) {
    let message = answer.json().expect("an error in JSON")["message"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), message)
}

/// Checks all promises at the same time and fails with the names of those that are broken. Gives the proxy back.
pub async fn check(stage: Stage, promises: &[Promise]) -> Option<Proxy> {
    let stage = Arc::new(stage);
    // One thread: waiting for a condition borrows what it looks at.
    let local = tokio::task::LocalSet::new();
    let running: Vec<_> = promises
        .iter()
        .filter(|(name, _)| possible(&stage.language, name))
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
