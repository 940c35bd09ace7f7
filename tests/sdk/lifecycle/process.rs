//! Signals, a folder in use, and starting again. Settings are in `tests/cli`.

use std::{process::Stdio, time::Duration};

use serde_json::json;

use super::{start, until};
use crate::support::{PATIENCE, Server, ServerOptions, eventually, pause};

#[tokio::test]
async fn sigterm_answers_what_is_under_way() {
    let (mut server, service) = start().await;
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let ingress = server.ingress.clone();
            let input = json!({"n": 4, "delayMs": 100});
            tokio::spawn(async move { (n, ingress.post("/Steps/runSlow", &input).await) })
        })
        .collect();
    eventually(PATIENCE, "all of them run", async || {
        let running = service.steps().iter().filter(|line| line.starts_with("run") && line.ends_with(" 0")).count();
        anyhow::ensure!(running == 20, "{running}");
        Ok(())
    })
    .await;
    server.terminate();
    for call in calls {
        let (n, answer) = call.await.unwrap();
        let answer = answer.unwrap_or_else(|error| panic!("call {n}: {error:#}"));
        assert_eq!(answer.json().unwrap(), 4, "call {n}: {}", answer.text());
    }
    assert_eq!(server.wait().code(), Some(0));
    server.start_again().await;
    assert_eq!(server.call("Greeter/greet", json!("x")).await.unwrap(), "Hello x");
}

#[tokio::test]
async fn what_hangs_does_not_hold_up_the_end_and_goes_on_after_it() {
    let (mut server, service) = start().await;
    let gate = service.file("gate");
    let id = server.send("Gate/k/on", json!({"seq": 1, "hold": gate})).await.unwrap();
    until(&server, &id, "running").await;
    let sleeper = server.send("Sleeper/sleep", json!(800)).await.unwrap();
    assert_eq!(server.stop().code(), Some(0));
    server.start_again().await;
    std::fs::write(gate, "").unwrap();
    assert_eq!(super::attach(&server, &id).await.json().unwrap(), 1);
    assert_eq!(super::attach(&server, &sleeper).await.json().unwrap(), "slept");
    assert_eq!(server.query("Gate/k/seqs").await.unwrap(), json!([1]));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (mut server, service) = start().await;
    server.allow("stopping at once");
    let gate = service.file("gate");
    let held = {
        let ingress = server.ingress.clone();
        let input = json!({"file": gate});
        tokio::spawn(async move { ingress.post("/Gate/k/hold", &input).await })
    };
    eventually(PATIENCE, "it runs", async || {
        let key = server.admin.get("/services/Gate/keys/k").await?.json()?;
        anyhow::ensure!(key["holder"]["status"] == "running", "{key:#}");
        Ok(())
    })
    .await;
    server.terminate();
    eventually(PATIENCE, "it drains", async || {
        anyhow::ensure!(server.log.count("asked to stop") == 1);
        Ok(())
    })
    .await;
    let asked = std::time::Instant::now();
    server.terminate();
    assert_eq!(server.wait().code(), Some(143));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert!(held.await.unwrap().is_err());
    server.start_again().await;
    std::fs::write(gate, "").unwrap();
    eventually(PATIENCE, "the key is free", async || {
        let key = server.admin.get("/services/Gate/keys/k").await?.json()?;
        anyhow::ensure!(key["state"] == "free", "{key:#}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_not_touched() {
    let (mut server, _service) = start().await;
    server.call("Counter/k/add", json!(1)).await.unwrap();
    let mut second = server.command();
    for name in ["MILLRACE_INGRESS__BIND_ADDRESS", "MILLRACE_ADMIN__BIND_ADDRESS", "MILLRACE_BIND_ADDRESS"] {
        second.env(name, "127.0.0.1:0");
    }
    let output = second.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("RT0005"), "{text}");
    assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), 2);
    server.crash().await;
    assert_eq!(server.call("Counter/k/add", json!(1)).await.unwrap(), 3);
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let (mut server, _service) = start().await;
    server.call("Counter/k/add", json!(1)).await.unwrap();
    assert_eq!(server.stop().code(), Some(0));
    let output = server
        .command()
        .env("MILLRACE_DEFAULT_NUM_PARTITIONS", "7")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("partitions"), "{text}");
    // The folder is as it was.
    server.start_again().await;
    assert_eq!(server.query("Counter/k/get").await.unwrap(), 1);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (server, _service) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let output = server
        .command()
        .env("MILLRACE_BASE_DIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("RT0004"), "{text}");
}

/// Idle means idle: no timer of ours wakes a core more often than it must.
#[tokio::test]
async fn an_idle_server_does_nothing() {
    let server = Server::start(ServerOptions::default()).await;
    pause(Duration::from_millis(500)).await;
    let (cpu, batches) = (server.cpu(), server.metric("millrace_log_append_batches_total", "").await.unwrap());
    pause(Duration::from_secs(3)).await;
    let spent = server.cpu() - cpu;
    assert!(spent < Duration::from_millis(150), "{spent:?} of CPU in three idle seconds");
    assert_eq!(server.metric("millrace_log_append_batches_total", "").await.unwrap(), batches);
}
