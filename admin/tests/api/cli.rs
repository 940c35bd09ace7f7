//! The published command line client against this API.

use std::{path::PathBuf, process::Stdio, time::Duration};

use http::StatusCode;
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
        assert!(output.status.success(), "{args:?} failed:\n{text}");
        text
    }
}

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

    let cluster = json!({"name": "k", "properties": {"bootstrap.servers": "h:9092"}});
    assert_eq!(api.post("/kafka-clusters", cluster).await.0, StatusCode::CREATED);
    let sink = "service://Counter/add";
    let created = api.post("/subscriptions", json!({"source": "kafka://k/orders", "sink": sink})).await;
    assert_eq!(created.0, StatusCode::CREATED);
    let text = cli.run(&["subscriptions", "list"]).await;
    assert!(text.contains("kafka://k/orders"), "{text}");
    let id = created.1["id"].as_str().unwrap();
    cli.run(&["subscriptions", "describe", id]).await;
    cli.run(&["subscriptions", "delete", "--yes", id]).await;
    assert_eq!(api.get("/subscriptions").await.1, json!({"subscriptions": []}));
    cli.run(&["kafka-clusters", "list"]).await;
    cli.run(&["whoami"]).await;
}
