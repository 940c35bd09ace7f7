//! Kafka clients that subscriptions share: one for questions to each cluster, and as few as possible that read.
//!
//! A client costs about six threads and a connection to every broker, whatever it reads. Two subscriptions read through
//! one if librdkafka runs with the same properties for both (the group does not count, it is never joined) and their
//! topics differ: a client has one position for each source partition. Their source partitions have queues of their own,
//! so one that stands still holds up no other.

use std::{collections::BTreeSet, sync::Arc};

use millrace_cluster::meta::object::KafkaCluster;
use millrace_connector_kafka::{Admin, ClientError, ClusterConfig, ConsumerConfig, Properties, Reader};
use tokio::sync::Mutex;

struct Asking {
    cluster: Arc<KafkaCluster>,
    admin: Admin,
}

struct Reading {
    /// Never used twice.
    number: u64,
    /// Everything that the client runs with.
    properties: Properties,
    reader: Reader,
    /// Who reads through it.
    topics: BTreeSet<String>,
}

#[derive(Default)]
struct Inner {
    asking: Vec<Asking>,
    reading: Vec<Reading>,
    made: u64,
}

/// All clients of this node's subscriptions. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<Mutex<Inner>>);

/// A client through which one topic is read. To be given back with [`Clients::give_back`].
pub(crate) struct Lease {
    number: u64,
    topic: String,
    pub(crate) reader: Reader,
}

impl Clients {
    /// The client for questions to a cluster.
    pub(crate) async fn admin(
        &self,
        cluster: &Arc<KafkaCluster>,
        config: &ClusterConfig,
    ) -> Result<Admin, ClientError> {
        let mut inner = self.0.lock().await;
        if let Some(known) = inner.asking.iter().find(|known| Arc::ptr_eq(&known.cluster, cluster)) {
            return Ok(known.admin.clone());
        }
        let admin = Admin::connect(config).await?;
        inner.asking.push(Asking { cluster: Arc::clone(cluster), admin: admin.clone() });
        Ok(admin)
    }

    /// Lets go of clients of clusters that are not what they were, or that nobody reads any more.
    pub(crate) async fn retain(&self, is_used: impl Fn(&Arc<KafkaCluster>) -> bool) {
        self.0.lock().await.asking.retain(|known| is_used(&known.cluster));
    }

    /// A client that reads `topic` for nobody else.
    pub(crate) async fn reader(&self, config: &ConsumerConfig, topic: &str) -> Result<Lease, ClientError> {
        let properties = config.reader_properties();
        let mut inner = self.0.lock().await;
        let fits = |known: &&mut Reading| known.properties == properties && !known.topics.contains(topic);
        if let Some(known) = inner.reading.iter_mut().find(fits) {
            known.topics.insert(topic.to_owned());
            let (number, reader) = (known.number, known.reader.clone());
            return Ok(Lease { number, topic: topic.to_owned(), reader });
        }
        let reader = Reader::start(config).await?;
        inner.made += 1;
        let number = inner.made;
        let topics = BTreeSet::from([topic.to_owned()]);
        inner.reading.push(Reading { number, properties, reader: reader.clone(), topics });
        Ok(Lease { number, topic: topic.to_owned(), reader })
    }

    /// The client goes when nobody reads through it any more.
    pub(crate) async fn give_back(&self, lease: Lease) {
        let mut inner = self.0.lock().await;
        if let Some(known) = inner.reading.iter_mut().find(|known| known.number == lease.number) {
            known.topics.remove(&lease.topic);
        }
        inner.reading.retain(|known| !known.topics.is_empty());
    }

    /// The client is of no more use: nobody gets it again.
    pub(crate) async fn retire(&self, lease: Lease) {
        self.0.lock().await.reading.retain(|known| known.number != lease.number);
    }
}
