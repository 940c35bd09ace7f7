//! `ONCE=1 make demo` says by its exit code whether it kept the promises, on a machine where all usual ports may be taken.

use std::process::{Command, Stdio};

#[test]
fn the_demo_checks_what_it_shows() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let out = Command::new(env!("CARGO_BIN_EXE_millrace-demo"))
        .args(["--any-ports", "--folder"])
        .arg(folder.path())
        .env("ONCE", "1")
        .env("COLUMNS", "80")
        .stdin(Stdio::null())
        .output()
        .expect("the demo was built");
    let shown = String::from_utf8_lossy(&out.stdout);
    let log = std::fs::read_to_string(folder.path().join("demo/server.log")).unwrap_or_default();
    assert!(out.status.success(), "{}\n{shown}\n{}\n{log}", out.status, String::from_utf8_lossy(&out.stderr));

    assert!(shown.contains("Checked: 60 orders of 8 customers"), "{shown}");
    for command in ["/deployments", "/subscriptions", "/Customer/ada/account"] {
        assert!(shown.lines().any(|line| line.contains("$ curl") && line.contains(command)), "{command}: {shown}");
    }
    // Results stand several in a line, and no line of them is longer than the screen.
    let results: Vec<_> = shown.lines().filter(|line| line.contains(" #")).collect();
    assert!((12..30).contains(&results.len()) && results.iter().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(log.contains("millrace serves"), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}
