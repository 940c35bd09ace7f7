//! The test services of `tests/sdk/services`, as processes.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::{log::Log, process};

const READY_LIMIT: Duration = Duration::from_secs(60);

/// One service process. Killed when dropped.
pub struct Service {
    language: String,
    env: Vec<(String, String)>,
    port: u16,
    child: Option<Child>,
    dir: tempfile::TempDir,
    log: Log,
}

impl Service {
    /// `language`: `typescript`, `python`, `java`, `go` or `rust`. Resolves when it accepts connections.
    pub fn start(language: &str) -> Self {
        Self::start_with(language, &[])
    }

    /// The same with environment variables such as `FAIL_PERCENT`; `STEP_LOG` is always set, see
    /// [`Service::step_log`].
    pub fn start_with(language: &str, env: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("millrace-service-").tempdir().expect("a temporary folder");
        let log = Log::new(dir.path().join("log"));
        let mut env: Vec<_> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        env.push(("STEP_LOG".to_owned(), dir.path().join("steps").display().to_string()));
        let mut service = Self { language: language.to_owned(), env, port: 0, child: None, dir, log };
        service.run();
        service
    }

    fn run(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/services/run");
        let mut command = Command::new(script);
        command
            .arg(&self.language)
            .envs(self.env.iter().cloned())
            .env("PORT", self.port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log.file());
        let mut child = process::spawn(command).expect("the services' script runs");
        let output = child.stdout.take().expect("piped");
        let (sender, ready) = mpsc::sync_channel(1);
        // Reads on after the first line, so that the service never waits for a reader.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(port) = line.strip_prefix("ready ") {
                    let _ = sender.try_send(port.trim().parse::<u16>());
                }
            }
        });
        let port = ready.recv_timeout(READY_LIMIT);
        self.child = Some(child);
        match port {
            Ok(Ok(port)) => self.port = port,
            other => panic!(
                "the {} services did not start ({other:?}): {}\n(built by `cargo build -p millrace-test-services` and `make sdk-deps`)",
                self.language,
                self.log.text()
            ),
        }
    }

    /// What `POST /deployments` gets.
    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// As it was asked for.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// It was started with `HTTP1=1`: to be registered with `use_http_11`.
    pub fn speaks_http1(&self) -> bool {
        self.env.iter().any(|(name, value)| name == "HTTP1" && value == "1")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            process::kill(&mut child);
        }
    }

    /// Runs it again on the same port, after [`Service::kill`].
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        self.run();
    }

    /// File of the step log.
    pub fn step_log(&self) -> PathBuf {
        self.dir.path().join("steps")
    }

    /// Lines of the step log so far.
    pub fn steps(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.step_log()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A path in a folder that ends with this value: for `Gate`, whose handlers wait for a file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        self.log.text()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}
