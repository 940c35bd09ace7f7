//! The in-process broker for development: librdkafka's mock cluster behind a fixed port.
//!
//! It speaks enough Kafka for producers, consumers and `kcat`. It is a conveyor belt, not a log:
//!
//! * It keeps **at most 5 MiB or 100,000 batches per partition** and drops the oldest without a word; a batch above
//!   2.5 MiB can make its partition unreadable. Never the only copy of anything.
//! * Everything is in memory: topics, records, offsets and groups are gone with the process, and topic ids change.
//! * No Admin API beyond descriptions and offsets; topics are made with [`DevBroker::create_topic`] and cannot be
//!   deleted or grown. Transactions are accepted and mean nothing. Plaintext only.
//! * Once a consumer has joined a group, offsets of that group can no longer be committed from outside.
//! * An empty fetch is answered only after `fetch.wait.max.ms`, so [`DevBroker::cluster`] lowers it; external
//!   consumers should do the same.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka_sys as sys;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::debug;

use crate::config::ClusterConfig;
use crate::error::ClientError;
use crate::options::{Origin, Properties};

/// Connections forwarded at a time; the next one waits in the listener's backlog.
const CONNECTIONS_MAX: usize = 256;

/// Latency of a record against idle CPU: at 10 ms a record waits 6 ms in the median, and an idle broker takes 2 % of a core.
const FETCH_WAIT_MS: u32 = 10;

/// Groups are for trying things out, so a member should not wait long for its assignment. librdkafka's default is 3 s.
const REBALANCE_DELAY_MS: i32 = 100;

/// The one broker of the mock cluster; it counts from 1.
const BROKER_ID: i32 = 1;

const START: &str = "start of the development broker";

/// A topic made at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevTopic {
    pub name: String,
    pub partitions: i32,
}

/// A running development broker. Dropping it stops it.
pub struct DevBroker {
    /// The mock cluster lives as long as this client. `None` only while dropping.
    host: Option<BaseProducer>,
    address: SocketAddr,
    forwarder: JoinHandle<()>,
}

impl DevBroker {
    /// Starts a broker on `listen` (port 0 takes a free one) that clients reach under the same address.
    ///
    /// Must be called within a tokio runtime. Errors: `Create` when the port is taken.
    pub async fn start(listen: SocketAddr, topics: &[DevTopic]) -> Result<Self, ClientError> {
        let create = |error: std::io::Error| ClientError::Create { reason: format!("{listen}: {error}") };
        let listener = TcpListener::bind(listen).await.map_err(create)?;
        let address = listener.local_addr().map_err(create)?;
        let (host, backend) = tokio::task::spawn_blocking(move || start_mock(advertised(address)))
            .await
            .map_err(crate::handle::stopped)??;
        let forwarder = tokio::spawn(forward(listener, backend));
        let broker = Self { host: Some(host), address, forwarder };
        for topic in topics {
            broker.create_topic(&topic.name, topic.partitions)?;
        }
        Ok(broker)
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        advertised(self.address).to_string()
    }

    /// The cluster as a client configuration, with the settings that this broker needs.
    pub fn cluster(&self) -> ClusterConfig {
        let properties: Properties = BTreeMap::from([("fetch.wait.max.ms".to_owned(), FETCH_WAIT_MS.to_string())]);
        ClusterConfig::new(&[self.bootstrap()], properties, Origin::Operator).expect("an address and a valid property")
    }

    /// Makes a topic; at any time. Errors: `TopicExists`, `Invalid`.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), ClientError> {
        let operation = "creation of a topic";
        let invalid = |reason: &str| ClientError::Invalid { operation, reason: reason.to_owned() };
        let c_name = CString::new(name).map_err(|_| invalid("a name contains a NUL byte"))?;
        if name.is_empty() || partitions < 1 {
            return Err(invalid("a topic needs a name and at least one partition"));
        }
        let host = self.host.as_ref().expect("only drop takes it");
        // SAFETY: the cluster lives as long as its client.
        let code = unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(host.client().native_ptr());
            sys::rd_kafka_mock_topic_create(cluster, c_name.as_ptr(), partitions, 1)
        };
        match rdkafka::error::RDKafkaErrorCode::from(code) {
            rdkafka::error::RDKafkaErrorCode::NoError => Ok(()),
            rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists => {
                Err(ClientError::TopicExists { topic: name.to_owned() })
            }
            code => Err(ClientError::of(operation, code, code.to_string(), Duration::ZERO)),
        }
    }
}

impl Drop for DevBroker {
    fn drop(&mut self) {
        self.forwarder.abort();
        // Destroying the client waits for its threads.
        let host = self.host.take();
        let _ = std::thread::Builder::new().name("kafka-close".into()).spawn(move || drop(host));
    }
}

/// The address that clients are told: one that listens everywhere is reached on this machine.
fn advertised(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Starts the mock cluster and makes it name `address` as its own. Returns where it really listens.
fn start_mock(address: SocketAddr) -> Result<(BaseProducer, SocketAddr), ClientError> {
    let mut config = ClientConfig::new();
    // The client behind it says that its bootstrap servers are replaced; nobody needs to know.
    config.set("test.mock.num.brokers", "1").set("log_level", "3");
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Error);
    let host: BaseProducer = config.create().map_err(ClientError::create)?;
    let name = CString::new(address.ip().to_string()).expect("an address has no NUL byte");
    // SAFETY: the cluster lives as long as its client; the returned string is its own.
    let bootstrap = unsafe {
        let cluster = sys::rd_kafka_handle_mock_cluster(host.client().native_ptr());
        if cluster.is_null() {
            return Err(ClientError::Unsupported { operation: START, reason: "no mock cluster in this build".into() });
        }
        sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, REBALANCE_DELAY_MS);
        let bootstrap = CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(cluster)).to_string_lossy().into_owned();
        sys::rd_kafka_mock_broker_set_host_port(cluster, BROKER_ID, name.as_ptr(), i32::from(address.port()));
        bootstrap
    };
    let backend = bootstrap.parse().map_err(|_| ClientError::Create { reason: format!("no address: {bootstrap}") })?;
    Ok((host, backend))
}

/// Copies bytes between the fixed port and the mock's own.
async fn forward(listener: TcpListener, backend: SocketAddr) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = slots.clone().acquire_owned().await.expect("never closed");
        let mut client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                // Out of file descriptors, or the peer was gone already.
                debug!(%error, "development broker: accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        tokio::spawn(async move {
            let _slot = slot;
            let copied = async {
                let mut mock = TcpStream::connect(backend).await?;
                client.set_nodelay(true)?;
                mock.set_nodelay(true)?;
                copy_bidirectional(&mut client, &mut mock).await
            };
            if let Err(error) = copied.await {
                debug!(%error, "development broker: connection ended");
            }
        });
    }
}
