//! A real Kafka: the one of `KAFKA_BOOTSTRAP`, or one of this test binary.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::SystemTime,
};

use millrace_connector_kafka::{
    Acknowledgement, Admin, ClientError, ClusterConfig, Delivered, OffsetQuery, Origin, OutRecord, Producer, Properties,
};

use super::wait::{PATIENCE, eventually};

/// Records that are under way at a time.
const IN_FLIGHT_MAX: usize = 5000;

fn script(name: &str, dir: &Path, args: &[&str], bootstrap: Option<&str>) {
    script_with(name, dir, args, bootstrap, &[]);
}

fn script_with(name: &str, dir: &Path, args: &[&str], bootstrap: Option<&str>, env: &[(&str, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka").join(name);
    let mut command = Command::new(path);
    command.arg(dir).args(args).env("KAFKA_OWNER", std::process::id().to_string()).envs(env.iter().copied());
    match bootstrap {
        Some(bootstrap) => command.env("KAFKA_BOOTSTRAP", bootstrap),
        None => command.env_remove("KAFKA_BOOTSTRAP"),
    };
    let output = command.output().expect("the script runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A broker and what tests do with it.
pub struct Kafka {
    dir: PathBuf,
    bootstrap: String,
    is_own: bool,
}

/// A consumer that is a member of a group, as other people's programs are.
pub struct Group(rdkafka::consumer::StreamConsumer);

impl Kafka {
    /// The broker that all tests of a binary share; tests that stop it start their own with [`Kafka::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        extern "C" fn clean_up() {
            if let Some(kafka) = SHARED.get() {
                kafka.remove();
            }
        }
        SHARED.get_or_init(|| {
            // SAFETY: a plain function; the process is ending.
            unsafe { libc::atexit(clean_up) };
            match std::env::var("KAFKA_BOOTSTRAP") {
                Ok(bootstrap) => Self { dir: PathBuf::new(), bootstrap, is_own: false },
                Err(_) => Self::start(),
            }
        })
    }

    /// One of the test's own, which it may stop. Blocks some seconds.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with listeners for TLS and logins, see `scripts/kafka/start.sh`.
    pub fn start_secured() -> Self {
        Self::start_with(&[("KAFKA_SECURED", "1")])
    }

    /// Three brokers of one cluster, started at the same time. Every topic has three replicas, of which two must have a
    /// record before it is acknowledged. Blocks some seconds.
    pub fn start_three() -> [Self; 3] {
        let voters: Vec<_> = (1..=3).map(|node| format!("{node}@127.0.0.1:{}", super::free_port())).collect();
        let voters = voters.join(",");
        let id = format!("{:022}", std::process::id());
        let settings = "default.replication.factor=3\nmin.insync.replicas=2\noffsets.topic.replication.factor=3\n\
            transaction.state.log.replication.factor=3\nnum.partitions=1\n";
        std::thread::scope(|scope| {
            let starting = [1, 2, 3].map(|node: u32| {
                let (voters, id) = (voters.as_str(), id.as_str());
                scope.spawn(move || {
                    let node = node.to_string();
                    let env = [
                        ("KAFKA_NODE", node.as_str()),
                        ("KAFKA_VOTERS", voters),
                        ("KAFKA_CLUSTER_ID", id),
                        ("KAFKA_SETTINGS", settings),
                    ];
                    Self::start_with(&env)
                })
            });
            starting.map(|starting| starting.join().expect("a broker starts"))
        })
    }

    fn start_with(env: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("millrace-kafka-").tempdir().expect("a temporary folder").keep();
        script_with("start.sh", &dir, &[], None, env);
        let bootstrap = std::fs::read_to_string(dir.join("bootstrap")).expect("written by start.sh");
        Self { dir, bootstrap: bootstrap.trim().to_owned(), is_own: true }
    }

    /// `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `host:port` of a listener of [`Kafka::start_secured`], such as `SASL_SSL`.
    pub fn secured(&self, protocol: &str) -> String {
        let file = self.dir.join(format!("bootstrap.{protocol}"));
        std::fs::read_to_string(file).expect("written by start.sh").trim().to_owned()
    }

    /// Who signed the certificate of such a broker.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// `signal`: `TERM` or `KILL`. Its data stays.
    pub fn stop(&self, signal: &str) {
        assert!(self.is_own, "a broker of somebody else is not stopped");
        script("stop.sh", &self.dir, &[signal], None);
    }

    /// The same port, the same data.
    pub fn start_again(&self) {
        script("start.sh", &self.dir, &[], None);
    }

    fn remove(&self) {
        if self.is_own {
            script("stop.sh", &self.dir, &["KILL"], None);
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    /// For the connector's own clients.
    pub fn cluster(&self) -> ClusterConfig {
        let brokers = [format!("PLAINTEXT://{}", self.bootstrap)];
        ClusterConfig::new(&brokers, Properties::new(), Origin::Operator).expect("an address")
    }

    pub async fn admin(&self) -> Admin {
        Admin::connect(&self.cluster()).await.expect("a client")
    }

    pub async fn producer(&self) -> Producer {
        Producer::start(&self.cluster(), &Properties::new()).await.expect("a client")
    }

    /// Makes a topic with a name that no earlier run has used.
    pub async fn topic(&self, prefix: &str, partitions: i32) -> String {
        let name = unique(prefix);
        self.create_topic(&name, partitions).await;
        name
    }

    /// Makes a topic, as soon as one of that name that was deleted is gone.
    pub async fn create_topic(&self, name: &str, partitions: i32) {
        let admin = self.admin().await;
        eventually(PATIENCE, "the topic is made", async || Ok(admin.create_topic(name, partitions, 1, &[]).await?))
            .await;
    }

    /// Deletes a topic and waits until nobody is told of it any more.
    pub async fn delete_topic(&self, name: &str) {
        let admin = self.admin().await;
        admin.delete_topic(name).await.expect("the topic is deleted");
        eventually(PATIENCE, "the topic is gone", async || match admin.describe_topic(name).await {
            Err(ClientError::TopicUnknown { .. }) => Ok(()),
            other => anyhow::bail!("{other:?}"),
        })
        .await;
    }

    /// Writes records in this order and waits for all acknowledgements.
    pub async fn produce<'a>(&self, records: impl IntoIterator<Item = OutRecord<'a>>) -> Vec<Delivered> {
        produce(&self.producer().await, records).await
    }

    /// (first offset, end) of a source partition.
    pub async fn ends(&self, topic: &str, partition: i32) -> (i64, i64) {
        let admin = self.admin().await;
        let mut ends = Vec::new();
        for query in [OffsetQuery::Earliest, OffsetQuery::Latest] {
            let offset = eventually(PATIENCE, "the ends are known", async || {
                let answers = admin.list_offsets(&[(topic, partition)], query).await?;
                Ok(answers.into_iter().next().expect("one answer").offset?)
            })
            .await;
            ends.push(offset);
        }
        (ends[0], ends[1])
    }

    /// What a group has committed, by partition, as far as it has.
    pub async fn committed(&self, group: &str, topic: &str, partitions: i32) -> anyhow::Result<Vec<Option<i64>>> {
        let admin = self.admin().await;
        let asked: Vec<_> = (0..partitions).map(|partition| (topic, partition)).collect();
        let answers = admin.committed(group, &asked).await?;
        let mut offsets = vec![None; asked.len()];
        for answer in answers {
            offsets[answer.partition as usize] = answer.offset?;
        }
        Ok(offsets)
    }

    /// Joins a group as a member; resolves when it has partitions of the topic. Leaves when dropped.
    pub async fn join(&self, group: &str, topic: &str) -> Group {
        use rdkafka::consumer::Consumer;
        let consumer: rdkafka::consumer::StreamConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("a consumer");
        consumer.subscribe(&[topic]).expect("a topic");
        eventually(PATIENCE, "the member is assigned partitions", async || {
            // Polling drives the join.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(50), consumer.recv()).await;
            anyhow::ensure!(consumer.assignment()?.count() > 0, "no partitions");
            Ok(())
        })
        .await;
        Group(consumer)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.remove();
    }
}

/// See [`Kafka::produce`].
pub async fn produce<'a>(producer: &Producer, records: impl IntoIterator<Item = OutRecord<'a>>) -> Vec<Delivered> {
    let mut delivered = Vec::new();
    let mut waiting: VecDeque<Acknowledgement> = VecDeque::new();
    for record in records {
        if waiting.len() == IN_FLIGHT_MAX {
            delivered.push(waiting.pop_front().expect("not empty").await.expect("delivered"));
        }
        waiting.push_back(producer.send(&record).expect("room"));
    }
    for acknowledgement in waiting {
        delivered.push(acknowledgement.await.expect("delivered"));
    }
    delivered
}

/// A name that no earlier run has used, for a broker that was there before.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    format!("{prefix}-{}-{now}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
