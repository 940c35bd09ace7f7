//! The published command line client against the real binary. Everything it can do is tried in `admin/tests/api/cli.rs`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::start;
use crate::support::eventually_blocking;

const PACKAGE: &str = "@restatedev/restate@1.7.12";
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Installed once per build folder; the same place as that of the admin crate's tests. `None` without npm.
fn install() -> Option<PathBuf> {
    let npm = || {
        let mut npm = Command::new("npm");
        npm.stdout(Stdio::null()).stderr(Stdio::null());
        npm
    };
    if !npm().arg("--version").status().is_ok_and(|status| status.success()) {
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("restate-cli-1.7.12");
    let client = folder.join("node_modules/.bin/restate");
    if !client.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let arguments = ["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"];
        assert!(npm().args(arguments).arg(&folder).arg(PACKAGE).status().unwrap().success());
    }
    Some(client)
}

#[tokio::test]
async fn the_published_client_registers_and_lists_skipped_without_npm() {
    let Some(client) = install() else {
        eprintln!("skipped: there is no npm to install the client with");
        return;
    };
    let (server, service) = start().await;
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = home.path().join("output");
        let file = std::fs::File::create(&output).unwrap();
        let mut child = Command::new(&client)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("NO_COLOR", "1")
            .env("DO_NOT_TRACK", "1")
            .env("RESTATE_ADMIN_URL", format!("http://127.0.0.1:{}", server.ports()[1]))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let status = eventually_blocking(COMMAND_LIMIT, "the client is done", || {
            child.try_wait()?.ok_or_else(|| anyhow::anyhow!("it still runs"))
        });
        let text = std::fs::read_to_string(output).unwrap();
        assert!(status.success(), "{arguments:?}: {text}");
        text
    };
    let text = run(&["deployments", "register", "--yes", "--force", &service.uri()]);
    assert!(text.contains("Greeter") && text.contains("Counter"), "{text}");
    let text = run(&["deployments", "list"]);
    assert!(text.contains(&service.uri().replace("http://", "")), "{text}");
    let text = run(&["services", "list"]);
    assert!(text.contains("Greeter") && text.contains("Counter"), "{text}");
}
