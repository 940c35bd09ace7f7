//! CPU time of the smallest attempt: `cargo run -p millrace-invoker --example noop -- [attempts] [at once] [partitions]`.
//!
//! The endpoint and the invoker have a thread each; the invoker's is measured, its connection included.

#[path = "../tests/attempts/support/mod.rs"]
#[allow(dead_code)]
mod support;

use std::{sync::Arc, time::Instant};

use support::{
    Setup,
    endpoint::{Call, Endpoint},
};

fn thread_cpu() -> std::time::Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = stat.split(' ').next().and_then(|n| n.parse().ok()).expect("nanoseconds on the processor");
    std::time::Duration::from_nanos(nanos)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let attempts = arguments.next().unwrap_or(20_000);
    let at_once = arguments.next().unwrap_or(64);
    let partitions = arguments.next().unwrap_or(8);
    let (addresses, address) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let endpoint = Endpoint::start(Call::noop).await;
            addresses.send(endpoint.uri()).expect("the main thread waits");
            std::future::pending::<()>().await;
        });
    });
    let uri = address.recv().expect("the endpoint runs");
    runtime().block_on(async move {
        let node = Arc::new(Setup::new(uri).start());
        node.run_new().await;
        let (started, before) = (Instant::now(), thread_cpu());
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..at_once {
            let node = node.clone();
            tasks.spawn(async move {
                for _ in 0..attempts / at_once {
                    let id = node.leader.create(support::plain(), support::bytes("1"));
                    node.leader.put_into(id, (task % partitions) as u16);
                    node.run(id).await;
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        let count = (attempts / at_once * at_once) as u32;
        let (elapsed, cpu) = (started.elapsed(), thread_cpu() - before);
        println!("{count} attempts: {:?} of CPU each, {:.0}/s", cpu / count, f64::from(count) / elapsed.as_secs_f64());
    });
}
