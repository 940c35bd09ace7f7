//! A server and a service that are killed, and clients that do not give up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{Http, PATIENCE, Response, Server, ServerOptions, Service, pause, seed, tier};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Server,
    Service,
    Both,
}

/// What is killed at random moments.
pub struct World {
    pub server: Server,
    pub service: Service,
    pub rng: StdRng,
}

impl World {
    pub async fn start(language: &str) -> Self {
        Self::start_with(language, ServerOptions::default()).await
    }

    pub async fn start_with(language: &str, options: ServerOptions) -> Self {
        let service = Service::start(language);
        let server = Server::start(options).await;
        server.register(&service).await;
        Self { server, service, rng: StdRng::seed_from_u64(seed()) }
    }

    pub fn client(&self) -> Client {
        Client { ingress: self.server.ingress.clone(), stop: Arc::default(), unknown: Arc::default() }
    }

    /// Kills at a random moment within `within` from now, and starts again what was killed.
    pub async fn kill(&mut self, victim: Victim, within: Duration) {
        pause(self.rng.random_range(Duration::ZERO..within)).await;
        if victim != Victim::Service {
            self.server.kill();
        }
        if victim != Victim::Server {
            self.service.kill();
            self.service.start_again();
        }
        if victim != Victim::Service {
            self.server.start_again().await;
        }
    }

    /// Kills `small` times, or `all` times in the large tier, everybody in turn.
    pub async fn kills(&mut self, small: usize, all: usize) {
        for n in 0..tier(small, all) {
            let victim = [Victim::Server, Victim::Service, Victim::Server, Victim::Both][n % 4];
            self.kill(victim, Duration::from_millis(900)).await;
        }
    }
}

/// Repeats what was not answered.
#[derive(Clone)]
pub struct Client {
    ingress: Http,
    stop: Arc<AtomicBool>,
    unknown: Arc<AtomicU64>,
}

impl Client {
    /// Tells all clones to begin nothing new.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The same idempotent call until it is answered; its output.
    pub async fn call(&self, path: &str, key: &str, input: &Value) -> Value {
        self.repeat(path, key, input).await.json().expect("JSON")
    }

    /// The same idempotent send until it is accepted; the invocation's id.
    pub async fn send(&self, path: &str, key: &str, input: &Value) -> String {
        let answer = self.repeat(&format!("{path}/send"), key, input).await.json().expect("JSON");
        answer["invocationId"].as_str().expect("an id").to_owned()
    }

    /// The result of an invocation, however often the server is killed meanwhile.
    pub async fn attach(&self, id: &str) -> Value {
        let path = format!("/restate/invocation/{id}/attach");
        self.until_answered(Method::GET, &path, &[], "").await.json().expect("JSON")
    }

    /// A read, as above.
    pub async fn query(&self, path: &str) -> Value {
        self.until_answered(Method::POST, &format!("/{path}"), &[], "").await.json().expect("JSON")
    }

    /// One try, without an idempotency key: accepted, or nobody knows.
    pub async fn try_send(&self, path: &str, input: &Value) -> bool {
        match self.ingress.post(&format!("/{path}/send"), input).await {
            Ok(answer) if answer.status == 202 => true,
            Ok(answer) if answer.status == 503 => {
                // It says whether it may have been taken.
                let text = answer.text();
                if !text.contains("\"applied\":\"no\"") {
                    self.unknown.fetch_add(1, Ordering::Relaxed);
                }
                false
            }
            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
            Err(_) => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// How many tries without a key have an unknown outcome.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    async fn repeat(&self, path: &str, key: &str, input: &Value) -> Response {
        let (path, body) = (format!("/{path}"), input.to_string());
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.until_answered(Method::POST, &path, &headers, &body).await
    }

    /// Only "not there" and "not now" are repeated; any other refusal is a failure of the test.
    async fn until_answered(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let give_up = Instant::now() + 2 * PATIENCE;
        loop {
            let problem = match self.ingress.request(method.clone(), path, headers, body.to_owned()).await {
                Ok(answer) if answer.status.is_success() => return answer,
                Ok(answer) if answer.status == 503 => answer.text(),
                Ok(answer) => panic!("{path}: {}: {}", answer.status, answer.text()),
                Err(error) => format!("{error:#}"),
            };
            assert!(Instant::now() < give_up, "no answer to {path}: {problem}");
            pause(Duration::from_millis(50)).await;
        }
    }
}

/// `{"key": …, "n": …}`.
pub fn add(key: &str, n: i64) -> Value {
    json!({"key": key, "n": n})
}
