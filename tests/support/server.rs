//! The real `millrace` binary as a process of a test.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    Service,
    http::Http,
    log::Log,
    process,
    wait::{PATIENCE, eventually},
};

/// SIGTERM drains; this is for the case that it does not.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Engine partitions.
    pub partitions: u16,
    /// `host:port` of the Kafka cluster `c`.
    pub bootstrap: Option<String>,
    /// More environment, such as `MILLRACE_WORKER__CLEANUP_INTERVAL`.
    pub env: Vec<(String, String)>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { partitions: 4, bootstrap: None, env: Vec::new() }
    }
}

impl ServerOptions {
    /// With the Kafka cluster `c` at this address.
    pub fn kafka(bootstrap: &str) -> Self {
        Self { bootstrap: Some(bootstrap.to_owned()), ..Self::default() }
    }

    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// One server on ports of its own, with a folder of its own, over all its restarts. Killed when dropped; then its log
/// is judged.
pub struct Server {
    options: ServerOptions,
    dir: Option<tempfile::TempDir>,
    child: Option<Child>,
    ports: Ports,
    pub ingress: Http,
    pub admin: Http,
    /// The node port: `/metrics`.
    pub node: Http,
    pub log: Log,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    ingress: u16,
    admin: u16,
    node: u16,
}

impl Server {
    /// Starts one; resolves when it serves.
    pub async fn start(options: ServerOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("millrace-test-").tempdir().expect("a temporary folder");
        let ports = Ports { ingress: process::free_port(), admin: process::free_port(), node: process::free_port() };
        let http = |port| Http::new(format!("http://127.0.0.1:{port}"));
        let mut server = Self {
            log: Log::new(dir.path().join("log")),
            dir: Some(dir),
            child: None,
            ingress: http(ports.ingress),
            admin: http(ports.admin),
            node: http(ports.node),
            ports,
            options,
        };
        server.start_again().await;
        server
    }

    /// Everything on disk.
    pub fn base_dir(&self) -> PathBuf {
        self.dir().join("base")
    }

    fn dir(&self) -> &Path {
        self.dir.as_ref().expect("until it is dropped").path()
    }

    /// Changes what the next start is made with.
    pub fn options_mut(&mut self) -> &mut ServerOptions {
        &mut self.options
    }

    /// What starts the server, for tests that run it in another way.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        let address = |port: u16| format!("127.0.0.1:{port}");
        // The environment of whoever runs the tests must not reach the server.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MILLRACE_")) {
            command.env_remove(name);
        }
        for name in ["HTTP_PROXY", "NO_PROXY", "AWS_EXTERNAL_ID", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
            .arg("serve")
            .env("MILLRACE_BASE_DIR", self.base_dir())
            .env("MILLRACE_INGRESS__BIND_ADDRESS", address(self.ports.ingress))
            .env("MILLRACE_ADMIN__BIND_ADDRESS", address(self.ports.admin))
            .env("MILLRACE_BIND_ADDRESS", address(self.ports.node))
            .env("MILLRACE_DEFAULT_NUM_PARTITIONS", self.options.partitions.to_string())
            .env(
                "MILLRACE_LOG_FILTER",
                std::env::var("MILLRACE_TESTS_LOG").unwrap_or_else(|_| "warn,millrace=info".to_owned()),
            )
            .env("MILLRACE_LOG_FORMAT", "compact")
            .env("NO_COLOR", "1");
        if let Some(bootstrap) = &self.options.bootstrap {
            let clusters = format!("[{{name=\"c\",brokers=[\"PLAINTEXT://{bootstrap}\"]}}]");
            command.env("MILLRACE_INGRESS__KAFKA_CLUSTERS", clusters);
        }
        command.envs(self.options.env.iter().cloned());
        command.current_dir(self.dir()).stdin(Stdio::null()).stdout(self.log.file()).stderr(self.log.file());
        command
    }

    /// Starts it on the folder it had; resolves when it serves.
    pub async fn start_again(&mut self) {
        self.spawn();
        self.serves().await;
    }

    /// Starts the process, no more.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        self.child = Some(process::spawn(self.command()).expect("the server's binary runs"));
    }

    /// Resolves when it serves.
    pub async fn serves(&mut self) {
        let give_up = std::time::Instant::now() + PATIENCE;
        loop {
            if let Ok(answer) = self.admin.get("/health").await
                && answer.status.is_success()
            {
                return;
            }
            let ended = self.child.as_mut().expect("started").try_wait().expect("our child");
            assert!(ended.is_none(), "the server ended at once: {ended:?}");
            assert!(std::time::Instant::now() < give_up, "the server did not serve within {PATIENCE:?}");
            super::pause(Duration::from_millis(20)).await;
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::kill(&mut child);
        }
    }

    /// `kill -9`, then starts it on the same folder.
    pub async fn crash(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// SIGTERM; how the process ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        process::terminate(self.child.as_ref().expect("it runs"));
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        process::wait(&mut child, STOP_LIMIT, "the server's end")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        process::rss(self.pid())
    }

    /// CPU time since it was started.
    pub fn cpu(&self) -> Duration {
        process::cpu(self.pid())
    }

    /// Threads now.
    pub fn threads(&self) -> usize {
        process::threads(self.pid())
    }

    /// Address of the ingress.
    pub fn ingress_uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.ingress)
    }

    /// (ingress, admin, node), for tests that speak to them without HTTP.
    pub fn ports(&self) -> [u16; 3] {
        [self.ports.ingress, self.ports.admin, self.ports.node]
    }

    /// A `WARN` or `ERROR` line with this text is expected.
    pub fn allow(&self, text: &str) {
        self.log.allow(text);
    }

    /// Registers a service; the deployment as the API shows it.
    pub async fn register(&self, service: &Service) -> Value {
        let answer = self.admin.post("/deployments", &json!({ "uri": service.uri() })).await;
        answer.and_then(|answer| answer.ok()?.json()).expect("the services register")
    }

    /// Calls a handler; its JSON output. `path`: such as `Counter/key/add`.
    pub async fn call(&self, path: &str, input: Value) -> anyhow::Result<Value> {
        self.ingress.post(&format!("/{path}"), &input).await?.ok()?.json().with_context(|| path.to_owned())
    }

    /// Calls a handler that takes no input.
    pub async fn query(&self, path: &str) -> anyhow::Result<Value> {
        self.ingress.post_empty(&format!("/{path}")).await?.ok()?.json().with_context(|| path.to_owned())
    }

    /// Starts an invocation; its id.
    pub async fn send(&self, path: &str, input: Value) -> anyhow::Result<String> {
        let answer = self.ingress.post(&format!("/{path}/send"), &input).await?.ok()?.json()?;
        Ok(answer["invocationId"].as_str().context("an invocation id")?.to_owned())
    }

    /// Makes a subscription; its id.
    pub async fn subscribe(&self, topic: &str, sink: &str, options: &[(&str, &str)]) -> String {
        self.try_subscribe(topic, sink, options).await.expect("the subscription is made")
    }

    pub async fn try_subscribe(&self, topic: &str, sink: &str, options: &[(&str, &str)]) -> anyhow::Result<String> {
        let options: serde_json::Map<_, _> = options.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect();
        let body = json!({
            "source": format!("kafka://c/{topic}"),
            "sink": format!("service://{sink}"),
            "options": options,
        });
        let made = self.admin.post("/subscriptions", &body).await?.ok()?.json()?;
        Ok(made["id"].as_str().context("a subscription id")?.to_owned())
    }

    /// What the API shows of a subscription.
    pub async fn subscription(&self, id: &str) -> anyhow::Result<Value> {
        self.admin.get(&format!("/subscriptions/{id}")).await?.ok()?.json()
    }

    pub async fn unsubscribe(&self, id: &str) {
        let answer = self.admin.delete(&format!("/subscriptions/{id}")).await;
        answer.and_then(super::Response::ok).expect("the subscription is deleted");
    }

    /// Waits until what a subscription shows satisfies `look`.
    pub async fn until_subscription(&self, id: &str, what: &str, look: impl Fn(&Value) -> bool) -> Value {
        eventually(PATIENCE, what, async || {
            let shown = self.subscription(id).await?;
            ensure!(look(&shown), "the subscription shows {shown:#}");
            Ok(shown)
        })
        .await
    }

    /// The sum of a metric over all label sets that contain `labels`, such as `code="SUB0001"`.
    pub async fn metric(&self, name: &str, labels: &str) -> anyhow::Result<f64> {
        let text = self.node.get("/metrics").await?.ok()?.text();
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(labels)
        });
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::env::var("MILLRACE_TESTS_KEEP").is_ok()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("kept {}", dir.keep().display());
        }
        self.log.judge("the server");
    }
}
