//! The binary as people and supervisors meet it: settings, error pages, ports, signals.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

fn millrace(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    // Settings of whoever runs the tests are not ours.
    for (name, _) in std::env::vars_os() {
        let name_of_all = ["RUST_LOG", "HTTP_PROXY", "NO_PROXY", "AWS_EXTERNAL_ID"].iter().any(|known| name == **known);
        if name.to_string_lossy().starts_with("MILLRACE_") || name_of_all {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(environment.iter().copied());
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = millrace(arguments, environment).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn error_codes_are_explained() {
    let (code, page, _) = run(&["explain", "rt0002"], &[]);
    assert!(code == 0 && page.starts_with("# RT0002"), "{page}");
    let (code, _, error) = run(&["explain", "NOPE1"], &[]);
    assert!(code == 1 && error.contains("NOPE1"), "{error}");
    let (code, all, _) = run(&["explain"], &[]);
    assert!(code == 0 && all.lines().any(|line| line == "RT0002"), "{all}");
}

#[test]
fn defaults_load_and_dump_as_themselves() {
    let (code, defaults, _) = run(&["config", "--defaults"], &[]);
    assert_eq!(code, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("millrace.toml");
    std::fs::write(&file, defaults).unwrap();
    let file = file.to_str().unwrap();
    let from_file = run(&["config", "--dump", "--config-file", file], &[]);
    assert_eq!(from_file, run(&["config", "--dump"], &[]));
    assert_eq!(from_file, run(&["config", "--dump"], &[("MILLRACE_CONFIG", file)]));
    assert_eq!(from_file, run(&["serve", "--dump-config", "--config-path", file], &[]));
}

/// A start script of the documentation's works as it is.
#[test]
fn documented_flags_without_effect_are_warned_of() {
    let (code, _, warnings) = run(&["config", "--production", "--tracing-endpoint", "http://localhost:4317"], &[]);
    assert_eq!(code, 0, "{warnings}");
    for key in ["auto-provision", "tracing-endpoint"] {
        let begin = format!("warning: {key} (command line) has no effect: ");
        assert!(warnings.lines().any(|line| line.starts_with(&begin)), "{key} in {warnings}");
    }
}

#[test]
fn every_fault_is_reported_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let base_dir = folder.path().join("data");
    let environment = [
        ("MILLRACE_BASE_DIR", base_dir.to_str().unwrap()),
        ("MILLRACE_NOPE", "1"),
        ("MILLRACE_ADMIN__BIND_ADDRESS", "here"),
    ];
    for verb in [&["serve"][..], &["config", "--check"]] {
        let mut arguments = verb.to_vec();
        arguments.extend(["--set", "log.local.segment-size=1B", "--log-format", "xml"]);
        let (code, _, errors) = run(&arguments, &environment);
        assert_eq!(code, 2, "{errors}");
        for key in ["nope", "admin.bind-address", "log.local.segment-size", "log-format"] {
            let begin = format!("RT0002: {key}");
            assert!(errors.lines().any(|line| line.starts_with(&begin)), "{key} in {errors}");
        }
    }
    assert!(!base_dir.exists());
}

/// A node on free ports. Killed when dropped.
struct Node {
    process: Child,
    ingress: String,
    port: String,
    lines: BufReader<std::process::ChildStderr>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Node {
    fn start(base_dir: &Path) -> Self {
        let mut process = millrace(&["serve", "--log-format", "json"], &[])
            .env("MILLRACE_BASE_DIR", base_dir)
            .env("MILLRACE_BIND_ADDRESS", "127.0.0.1:0")
            .env("MILLRACE_INGRESS__BIND_ADDRESS", "127.0.0.1:0")
            .env("MILLRACE_ADMIN__BIND_ADDRESS", "127.0.0.1:0")
            .env("MILLRACE_DEFAULT_NUM_PARTITIONS", "2")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        // Both listen before either line is written; the order of the lines is not promised.
        let mut found = [None, None];
        while found.iter().any(Option::is_none) {
            let line = line(&mut lines, "listens");
            let message = line["message"].as_str().unwrap();
            let slot = match message {
                "ingress listens" => 0,
                "node port listens" => 1,
                _ => continue,
            };
            found[slot] = Some(line["address"].as_str().unwrap().to_owned());
        }
        let [ingress, port] = found.map(Option::unwrap);
        Self { process, ingress, port, lines }
    }

    /// Has exited, with what.
    fn code(mut self) -> Option<i32> {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).unwrap();
        self.process.wait().unwrap().code()
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

/// The next log line whose message contains `part`.
fn line(lines: &mut impl BufRead, part: &str) -> Value {
    loop {
        let mut text = String::new();
        assert_ne!(lines.read_line(&mut text).unwrap(), 0, "the process ended before it said {part:?}");
        let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
        if value["message"].as_str().is_some_and(|message| message.contains(part)) {
            return value;
        }
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_node_serves_and_stops_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path());
    let health = get(&node.ingress, "/restate/health");
    assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with("{\"services\":[]}"), "{health}");
    let metrics = get(&node.port, "/metrics");
    for name in ["millrace_ingress_requests_total{", "millrace_build_info{", "process_cpu_seconds_total"] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    assert!(get(&node.port, "/health").starts_with("HTTP/1.1 200 "));
    node.signal("-USR1");
    let mut shown = String::new();
    while !shown.starts_with("cluster-name") {
        shown.clear();
        assert_ne!(node.lines.read_line(&mut shown).unwrap(), 0);
    }
    node.signal("-TERM");
    line(&mut node.lines, "asked to stop");
    assert_eq!(node.code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path());
    // A request whose body never comes keeps the drain waiting for its seconds.
    let mut slow = TcpStream::connect(&node.ingress).unwrap();
    let head = b"POST /restate/lookup HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    slow.write_all(head).unwrap();
    // The body is being waited for.
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    node.signal("-TERM");
    line(&mut node.lines, "asked to stop");
    node.signal("-INT");
    assert_eq!(node.code(), Some(143));
}

#[test]
fn a_port_in_use_is_named_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["MILLRACE_INGRESS__BIND_ADDRESS", "MILLRACE_ADMIN__BIND_ADDRESS", "MILLRACE_BIND_ADDRESS"] {
        let mut environment = vec![("MILLRACE_BASE_DIR", folder.path().to_str().unwrap())];
        for other in ["MILLRACE_INGRESS__BIND_ADDRESS", "MILLRACE_ADMIN__BIND_ADDRESS", "MILLRACE_BIND_ADDRESS"] {
            environment.push((other, if other == key { &address } else { "127.0.0.1:0" }));
        }
        let (code, _, log) = run(&["serve", "--log-format", "json"], &environment);
        assert_eq!(code, 1, "{key}: {log}");
        assert!(log.contains("RT0004") && log.contains(&address), "{key}: {log}");
    }
}
