//! The published command line client against this API.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde_json::json;
use tokio::{process::Command, time::timeout};

use crate::support::{Api, COUNTER, GREETER};

const PACKAGE: &str = "@restatedev/restate@1.7.12";
/// Downloading takes seconds, unless the network is slow.
const INSTALL_MAX: Duration = Duration::from_secs(300);
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// The client, installed once per build folder; `None` without npm.
async fn client() -> Option<PathBuf> {
    let npm = Command::new("npm").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if !npm.is_ok_and(|status| status.success()) {
        return None;
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("restate-cli-1.7.12");
    let client = folder.join("node_modules/.bin/restate");
    if !client.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let install = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
            .arg(&folder)
            .arg(PACKAGE)
            .status();
        assert!(timeout(INSTALL_MAX, install).await.expect("npm is done in time").unwrap().success());
    }
    Some(client)
}

struct Cli {
    client: PathBuf,
    home: tempfile::TempDir,
    admin: String,
}

impl Cli {
    /// What it printed, without colours; panics if it failed.
    async fn run(&self, args: &[&str]) -> String {
        let (success, text) = self.end(args).await;
        assert!(success, "{args:?} failed:\n{text}");
        text
    }

    /// What it printed; panics if it did not fail.
    async fn fails(&self, args: &[&str]) -> String {
        let (success, text) = self.end(args).await;
        assert!(!success, "{args:?} did not fail:\n{text}");
        text
    }

    async fn end(&self, args: &[&str]) -> (bool, String) {
        let command = Command::new(&self.client)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("NO_COLOR", "1")
            .env("RESTATE_ADMIN_URL", &self.admin)
            .env("DO_NOT_TRACK", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(COMMAND_MAX, command).await.expect("the client is done in time").unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }
}

const LESS: &str = r#"{"protocolMode":"BIDI_STREAM","minProtocolVersion":5,"maxProtocolVersion":7,"services":[
    {"name":"Counter","ty":"VIRTUAL_OBJECT","handlers":[{"name":"add","ty":"EXCLUSIVE"}]}]}"#;

#[tokio::test]
async fn published_client_registers_and_lists_skipped_without_npm() {
    let Some(client) = client().await else {
        eprintln!("skipped: there is no npm to install the client with");
        return;
    };
    let api = Api::start().await;
    let admin = format!("http://{}", api.address);
    let cli = Cli { client, home: tempfile::tempdir().unwrap(), admin };
    let (old, new) = ("http://127.0.0.1:9080/", "http://127.0.0.1:9081/");
    api.endpoint(old, GREETER);
    api.endpoint(new, GREETER);
    api.endpoint("http://127.0.0.1:9082/", COUNTER);

    let text = cli.run(&["deployments", "register", "--yes", "http://127.0.0.1:9080"]).await;
    assert!(text.contains("Greeter"), "{text}");
    assert_eq!(api.get("/services/Greeter").await.1["revision"], 1);
    // Known already, forced, a new revision elsewhere, another service.
    cli.run(&["deployments", "register", "--yes", old]).await;
    assert_eq!(api.get("/services/Greeter").await.1["revision"], 1);
    cli.run(&["deployments", "register", "--yes", "--force", old]).await;
    cli.run(&["deployments", "register", "--yes", new]).await;
    cli.run(&["deployments", "register", "--yes", "http://127.0.0.1:9082"]).await;
    assert_eq!(api.get("/services/Greeter").await.1["revision"], 3);

    let text = cli.run(&["deployments", "list"]).await;
    assert!(text.contains("127.0.0.1:9080") && text.contains("127.0.0.1:9081"), "{text}");
    let id = api.get("/services/Counter").await.1["deployment_id"].as_str().unwrap().to_owned();
    let text = cli.run(&["deployments", "describe", &id]).await;
    assert!(text.contains("Counter"), "{text}");
    let text = cli.run(&["services", "list"]).await;
    assert!(text.contains("Greeter") && text.contains("Counter"), "{text}");
    let text = cli.run(&["services", "describe", "Counter"]).await;
    assert!(text.contains("add"), "{text}");
    cli.run(&["services", "config", "view", "Counter"]).await;
    cli.run(&["services", "config", "patch", "--yes", "Counter", "--public", "false"]).await;
    assert_eq!(api.get("/services/Counter").await.1["public"], false);
    cli.run(&["services", "config", "patch", "--yes", "Counter", "--public", "true"]).await;

    let retention = ["--idempotency-retention", "5d 1h", "--journal-retention", "PT30M"];
    cli.run(&[&["services", "config", "patch", "--yes", "Counter"][..], &retention].concat()).await;
    let service = api.get("/services/Counter").await.1;
    assert_eq!((&service["idempotency_retention"], &service["journal_retention"]), (&json!("5d 1h"), &json!("30m")));
    // What breaks callers has to be said.
    api.endpoint("http://127.0.0.1:9083/", LESS);
    let text = cli.fails(&["deployments", "register", "--yes", "http://127.0.0.1:9083"]).await;
    assert!(text.contains("META0006"), "{text}");
    cli.run(&["deployments", "register", "--yes", "--breaking", "http://127.0.0.1:9083"]).await;
    assert_eq!(api.get("/services/Counter").await.1["revision"], 2);

    cli.run(&["kafka-clusters", "create", "--yes", "k", "bootstrap.servers=h:9092"]).await;
    cli.run(&["kafka-clusters", "patch", "--yes", "k", "--set", "bootstrap.servers=h:9093"]).await;
    let text = cli.run(&["kafka-clusters", "describe", "k"]).await;
    assert!(text.contains("h:9093"), "{text}");
    let sink = "service://Counter/add";
    cli.run(&["subscriptions", "create", "--yes", "kafka://k/orders", sink, "auto.offset.reset=earliest"]).await;
    let text = cli.run(&["subscriptions", "list"]).await;
    assert!(text.contains("kafka://k/orders"), "{text}");
    let created = api.get("/subscriptions").await.1["subscriptions"][0].clone();
    assert_eq!(created["options"]["auto.offset.reset"], "earliest");
    let id = created["id"].as_str().unwrap();
    cli.run(&["subscriptions", "describe", id]).await;
    cli.run(&["subscriptions", "delete", "--yes", id]).await;
    assert_eq!(api.get("/subscriptions").await.1, json!({"subscriptions": []}));
    cli.run(&["kafka-clusters", "list"]).await;
    cli.run(&["kafka-clusters", "delete", "--yes", "k"]).await;
    assert_eq!(api.get("/kafka-clusters").await.1, json!({"clusters": []}));
    cli.run(&["whoami"]).await;
}
