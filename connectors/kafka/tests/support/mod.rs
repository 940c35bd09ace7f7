//! A real Kafka for the tests of this folder, and what they all do with it.
#![allow(dead_code)] // Each test binary uses a part.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use millrace_connector_kafka::{
    Acknowledgement, Admin, ClientError, ClusterConfig, ConsumerConfig, Event, Feed, Origin, OutRecord, Producer,
    Properties, Reader, RecordBatch,
};

/// Long enough for a busy machine; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn script(name: &str, dir: &Path, args: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/kafka").join(name);
    let output = Command::new(path)
        .arg(dir)
        .args(args)
        .env("KAFKA_OWNER", std::process::id().to_string())
        .env_remove("KAFKA_BOOTSTRAP")
        .output()
        .expect("the script runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A broker of this process alone.
pub struct Broker {
    dir: PathBuf,
}

impl Broker {
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("millrace-kafka-").tempdir().expect("a temporary folder").keep();
        script("start.sh", &dir, &[]);
        Self { dir }
    }

    pub fn bootstrap(&self) -> String {
        std::fs::read_to_string(self.dir.join("bootstrap")).expect("written by start.sh").trim().to_owned()
    }

    pub fn stop(&self, signal: &str) {
        script("stop.sh", &self.dir, &[signal]);
    }

    /// The same port, the same data.
    pub fn start_again(&self) {
        script("start.sh", &self.dir, &[]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop("KILL");
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The broker that all tests of a binary share: the one of `KAFKA_BOOTSTRAP`, or one that ends with the process.
pub fn shared() -> ClusterConfig {
    show_logs();
    static BOOTSTRAP: OnceLock<String> = OnceLock::new();
    let bootstrap = BOOTSTRAP.get_or_init(|| {
        if let Ok(running) = std::env::var("KAFKA_BOOTSTRAP") {
            return running;
        }
        let broker = Broker::start();
        let bootstrap = broker.bootstrap();
        extern "C" fn clean_up() {
            let dir = DIR.get().expect("set before");
            script("stop.sh", dir, &["KILL"]);
            let _ = std::fs::remove_dir_all(dir);
        }
        static DIR: OnceLock<PathBuf> = OnceLock::new();
        DIR.set(broker.dir.clone()).expect("set once");
        std::mem::forget(broker);
        // SAFETY: a plain function without unwinding that matters: the process is ending.
        unsafe { libc::atexit(clean_up) };
        bootstrap
    });
    cluster(bootstrap)
}

/// What the crate logs, as `RUST_LOG` says.
fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

pub fn cluster(bootstrap: &str) -> ClusterConfig {
    ClusterConfig::new(&[format!("PLAINTEXT://{bootstrap}")], Properties::new(), Origin::Operator).expect("an address")
}

/// A name that no earlier run has used, for a broker that was there before.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    format!("{prefix}-{}-{now}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub async fn topic(admin: &Admin, prefix: &str, partitions: i32) -> String {
    let name = unique(prefix);
    admin.create_topic(&name, partitions, 1, &[]).await.expect("a new topic");
    name
}

pub fn consumer(cluster: &ClusterConfig, options: &[(&str, &str)]) -> ConsumerConfig {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ConsumerConfig::new(cluster, &options, &unique("group")).expect("valid options")
}

pub async fn reader(cluster: &ClusterConfig) -> Reader {
    Reader::start(&consumer(cluster, &[])).await.expect("a reader")
}

/// Writes `count` records of `size` bytes, round robin over `partitions`, and waits for all acknowledgements. The value
/// begins with the record's number within its partition.
pub async fn fill(cluster: &ClusterConfig, topic: &str, partitions: i32, count: usize, size: usize) {
    let producer = Producer::start(cluster, &Properties::new()).await.expect("a producer");
    let mut waiting = VecDeque::new();
    for n in 0..count {
        let partition = (n % partitions as usize) as i32;
        let mut value = format!("{:08}", n / partitions as usize).into_bytes();
        value.resize(size.max(value.len()), b'.');
        let key = format!("k{}", n % 1000);
        let record = OutRecord {
            topic,
            partition: Some(partition),
            key: Some(key.as_bytes()),
            value: Some(&value),
            ..OutRecord::default()
        };
        if waiting.len() == 5000 {
            let oldest: Acknowledgement = waiting.pop_front().expect("not empty");
            oldest.await.expect("delivered");
        }
        waiting.push_back(producer.send(&record).expect("room"));
    }
    for delivery in waiting {
        delivery.await.expect("delivered");
    }
    producer.close().await;
}

pub async fn next(feed: &mut Feed) -> Event {
    tokio::time::timeout(PATIENCE, feed.next()).await.expect("an event in time")
}

/// The next batch, past informational events.
pub async fn next_batch(feed: &mut Feed) -> RecordBatch {
    loop {
        match next(feed).await {
            Event::Records(batch) => return batch,
            Event::BrokerDown { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Repeats a call that a broker answers only after a moment.
pub async fn eventually<T, F: Future<Output = Result<T, ClientError>>>(mut call: impl FnMut() -> F) -> T {
    let give_up = std::time::Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(std::time::Instant::now() < give_up, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // tidy: allow polls a broker until a deadline
    }
}

/// CPU time of this process so far, librdkafka's threads included.
pub fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
