//! A disk that fills up under a running server.

use std::process::{Child, Command};

use http::Method;
use serde_json::json;

use crate::support::{PATIENCE, Server, ServerOptions, Service, eventually, process};

/// Room for the log's reserved segments and some dozen bodies, in the log, in journals and in state.
const DISK: &str = "size=512m";
const BODY: usize = 2 << 20;

/// The server's command in a mount namespace in which its folder is a small file system of its own; `None` where that
/// is not allowed, as in some containers.
fn on_a_small_disk(server: &Server) -> Option<Command> {
    let namespace = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let mount = format!("mkdir -p \"$0\" && mount -t tmpfs -o {DISK} small \"$0\"");
    let tried = Command::new("unshare").args(namespace).arg(&mount).arg(server.base_dir()).output();
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped, there are no mount namespaces here: {tried:?}");
        return None;
    }
    let inner = server.command();
    let mut command = Command::new("unshare");
    command.args(namespace).arg(format!("{mount} && exec \"$@\"")).arg(server.base_dir());
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdout(server.log.file()).stderr(server.log.file());
    Some(command)
}

/// Ends with the value: a namespace may have cut the tie that ends it with this process.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        process::kill(&mut self.0);
    }
}

/// New work is refused with the code that says why, before anything fails; who asks whether the server lives is told so,
/// and it ends in good order.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_full_disk_stops_admission_and_nothing_else() {
    let options = ServerOptions::default()
        .partitions(2)
        .env("MILLRACE_LOG__LOCAL__SEGMENT_SIZE", "8MiB")
        .env("MILLRACE_LOG__LOCAL__FLUSH_BEHIND", "64MiB")
        .env("MILLRACE_WORKER__STORAGE__ROCKSDB_TOTAL_MEMORY_SIZE", "64MiB")
        .env("MILLRACE_WORKER__STORAGE__WRITE_BUFFER_SIZE", "4MiB");
    let service = Service::start("rust");
    let mut server = Server::start(options).await;
    assert!(server.stop().success());
    let Some(command) = on_a_small_disk(&server) else { return };
    let mut running = Running(process::spawn(command).expect("the server runs"));
    eventually(PATIENCE, "it serves", async || server.admin.get("/health").await?.ok()).await;
    server.register(&service).await;
    server.allow("the disk is almost full");
    server.allow("no room");

    let headers = [("content-type", "application/octet-stream")];
    let mut taken = 0;
    let refused = eventually(PATIENCE, "the disk is full", async || {
        let body: Vec<u8> = (0..BODY).map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15 + taken) as u8).collect();
        let path = format!("/Events/k{taken}/onRaw");
        let answer = server.ingress.request(Method::POST, &path, &headers, body).await?;
        taken += 1;
        anyhow::ensure!(!answer.status.is_success(), "{taken} were taken");
        Ok(answer)
    })
    .await;
    println!("{taken} bodies: {} {}", refused.status, refused.text());
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("LOG0004"), "{}", refused.text());
    assert!(taken > 3);
    // It stays so, and the server stays up.
    let again = server.ingress.post("/Counter/k/add", &json!(1)).await.expect("an answer");
    assert_eq!(again.status, 503, "{}", again.text());
    assert_eq!(server.admin.get("/health").await.expect("an answer").status, 200);
    let looked = server.admin.get("/services/Events/keys/k0").await.expect("an answer");
    assert_eq!(looked.status, 200, "{}", looked.text());
    process::terminate(&running.0);
    let ended = process::wait(&mut running.0, PATIENCE, "the server's end");
    assert!(ended.success(), "{ended:?}");
}
