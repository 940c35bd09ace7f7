//! Services that take requests of one server only, with the checks of their SDKs.

use std::path::Path;

use serde_json::json;

use crate::support::{
    PATIENCE, Server, ServerOptions, Service, eventually,
    lambda::{ARN, Lambda},
};

const KEY_FILE: &str = "MILLRACE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIGpOscQf4l7igdfZjINP6g6PVe06a+koKSu90HImy2mq\n\
    -----END PRIVATE KEY-----\n";
const KEY_ID: &str = "publickeyv1_6J6TbDuiDuGdF83KWKinDxXeeDriZcAizNR38EURq93P";
const OTHER_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIGpOscQf4l7igdfZjINP6g6PVe06a+koKSu90HImy2mr\n\
    -----END PRIVATE KEY-----\n";

fn key_file(folder: &Path, pem: &str) -> String {
    let path = folder.join("key.pem");
    std::fs::write(&path, pem).unwrap();
    path.display().to_string()
}

/// Signed requests pass, of handlers with and without a key; those of a server without the key do not.
async fn only_signed_requests_pass(language: &str) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(language, &[("IDENTITY_KEY", KEY_ID)]);
    let mut server = Server::start(ServerOptions::default().env(KEY_FILE, &key_file(folder.path(), PEM))).await;
    // People copy it from there.
    assert_eq!(server.log.count(KEY_ID), 1, "{}", server.log.text());
    server.register(&service).await;
    assert_eq!(server.call("Greeter/greet", json!("Ann")).await.unwrap(), "Hello Ann");
    assert_eq!(server.call("Counter/my%20key%2F%C3%A9/add", json!(2)).await.unwrap(), 2);
    assert_eq!(server.call("Steps/run", json!(2)).await.unwrap(), 2);

    // Another key is none.
    for (key, pem) in [("a", None), ("b", Some(OTHER_PEM))] {
        server.options_mut().env.retain(|(name, _)| name != KEY_FILE);
        if let Some(pem) = pem {
            server.options_mut().env.push((KEY_FILE.to_owned(), key_file(folder.path(), pem)));
        }
        assert!(server.stop().success());
        server.start_again().await;
        let id = server.send(&format!("Counter/{key}/add"), json!(1)).await.unwrap();
        eventually(PATIENCE, "the refused attempt shows", async || {
            let look = server.admin.get(&format!("/invocations/{id}")).await?.ok()?.json()?;
            let failure = &look["last_failure"];
            let message = failure["message"].as_str().unwrap_or_default();
            let told = message.contains("401") && message.contains("request-identity-private-key-pem-file");
            anyhow::ensure!(failure["code"] == "RT0010" && told, "{look:#}");
            Ok(())
        })
        .await;
        let refused = server.admin.post("/deployments", &json!({"uri": service.uri(), "force": true})).await.unwrap();
        let error = refused.json().unwrap();
        assert_eq!((refused.status.as_u16(), &error["restate_code"]), (500, &json!("META0003")), "{error}");
        assert!(error["message"].as_str().unwrap().contains("401"), "{error}");
    }

    // What was refused goes on with the right key.
    server.options_mut().env.retain(|(name, _)| name != KEY_FILE);
    server.options_mut().env.push((KEY_FILE.to_owned(), key_file(folder.path(), PEM)));
    assert!(server.stop().success());
    server.start_again().await;
    eventually(PATIENCE, "both calls are done", async || {
        let counts = [server.query("Counter/a/get").await?, server.query("Counter/b/get").await?];
        anyhow::ensure!(counts == [1, 1], "{counts:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn typescript_services_take_signed_requests_only() {
    only_signed_requests_pass("typescript").await;
}

#[tokio::test]
async fn python_services_take_signed_requests_only() {
    only_signed_requests_pass("python").await;
}

#[tokio::test]
async fn rust_services_take_signed_requests_only() {
    only_signed_requests_pass("rust").await;
}

#[tokio::test]
async fn functions_take_signed_requests_only() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with("typescript-lambda", &[("IDENTITY_KEY", KEY_ID)]);
    let lambda = Lambda::start(&service.uri()).await;
    let mut server = Server::start(lambda.options().env(KEY_FILE, &key_file(folder.path(), PEM))).await;
    let made = server.admin.post("/deployments", &json!({"arn": ARN})).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(server.call("Counter/k/add", json!(2)).await.unwrap(), 2);
    server.options_mut().env.retain(|(name, _)| name != KEY_FILE);
    assert!(server.stop().success());
    server.start_again().await;
    let refused = server.admin.post("/deployments", &json!({"arn": ARN, "force": true})).await.unwrap();
    assert!(refused.status == 500 && refused.text().contains("401"), "{}", refused.text());
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(ServerOptions::default()).await;
    let other = tempfile::tempdir().unwrap();
    let twice = format!("{PEM}{PEM}");
    for (pem, what) in
        [(None, "cannot be read"), (Some(&*twice), "has 2 private keys"), (Some(""), "has 0 private keys")]
    {
        let path = match pem {
            Some(pem) => key_file(folder.path(), pem),
            None => folder.path().join("missing.pem").display().to_string(),
        };
        let mut command = server.command();
        command.env(KEY_FILE, &path).env("MILLRACE_BASE_DIR", other.path());
        let output =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("RT0002: request-identity-private-key-pem-file"), "{text}");
        assert!(text.contains(what) && text.contains(&path), "{text}");
    }
}
