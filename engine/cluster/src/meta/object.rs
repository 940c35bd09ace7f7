//! What is stored: objects, each with a version of its own.

use std::{collections::BTreeMap, fmt, ops::Deref};

use millrace_model::{DeploymentId, SubscriptionId, TimestampMs};
use serde::{Deserialize, Serialize};

use super::{service::ServiceSchema, text};

/// Options, properties and headers by name. `Debug` does not show values that look like secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(pub BTreeMap<String, String>);

/// What is shown in place of a secret.
pub const MASK: &str = "***";

/// True for properties whose value must not be shown, logged or returned.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    match key.as_str() {
        "sasl.mechanism" | "sasl.mechanisms" => false,
        "authorization" | "proxy-authorization" | "cookie" => true,
        _ => {
            key.starts_with("sasl.")
                || key.starts_with("ssl.key")
                || key.starts_with("ssl_key")
                || ["password", "secret", "token", "passphrase", "private"].iter().any(|word| key.contains(word))
        }
    }
}

impl Properties {
    /// For people: secrets replaced by [`MASK`].
    pub fn masked(&self) -> BTreeMap<String, String> {
        let mask = |(key, value): (&String, &String)| {
            (key.clone(), if is_secret(key) { MASK.to_owned() } else { value.clone() })
        };
        self.0.iter().map(mask).collect()
    }
}

impl Properties {
    /// What was read as [`MASK`] and comes back so is what it was.
    pub fn unmasked(mut self, before: &Properties) -> Self {
        for (key, value) in &mut self.0 {
            if value == MASK
                && let Some(known) = before.0.get(key)
            {
                value.clone_from(known);
            }
        }
        self
    }
}

impl Deref for Properties {
    type Target = BTreeMap<String, String>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.masked().fmt(f)
    }
}

/// The HTTP version that answered discovery; attempts use it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[serde(rename = "HTTP/1.1")]
    Http11,
    /// HTTP/2: prior knowledge for `http://`, ALPN for `https://`.
    #[serde(rename = "HTTP/2.0")]
    Http2,
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        })
    }
}

/// How an endpoint streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtocolMode {
    /// Both directions at once.
    BidiStream,
    /// The request ends before the response begins.
    RequestResponse,
}

/// How a function of AWS Lambda is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Function {
    /// The role to call it as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role_arn: Option<String>,
    /// It takes and gives bodies compressed with zstd, as it announced.
    pub zstd: bool,
}

/// A registered endpoint and what it announced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Deployment {
    /// Stays when it is registered again by force.
    #[serde(with = "text::display")]
    pub id: DeploymentId,
    /// Absolute, normalised; of a function its qualified ARN.
    pub uri: String,
    /// It is a function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Function>,
    /// How to speak to it.
    pub http_version: HttpVersion,
    /// How it streams.
    pub mode: ProtocolMode,
    /// Sent with every request to it; names in lower case.
    #[serde(default)]
    pub additional_headers: Properties,
    /// Free-form.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Of the last discovery that was taken.
    #[serde(with = "text::timestamp")]
    pub created_at: TimestampMs,
    /// Service protocol.
    pub min_protocol_version: u32,
    /// Service protocol; may be above what this server speaks.
    pub max_protocol_version: u32,
    /// `name/version`, for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdk_version: Option<String>,
    /// With the revisions that they got here. No name twice.
    pub services: Vec<ServiceSchema>,
}

impl Deployment {
    /// One of its services.
    pub fn service(&self, name: &str) -> Option<&ServiceSchema> {
        self.services.iter().find(|service| service.name == name)
    }
}

/// Counts the revisions of a service name, for ever: also when all its deployments are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Revisions {
    /// The service's name.
    pub service: String,
    /// The highest that was given out.
    pub last: u32,
}

/// A topic → handler binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Subscription {
    /// Its name for ever.
    #[serde(with = "text::display")]
    pub id: SubscriptionId,
    /// Name of the Kafka cluster.
    pub cluster: String,
    /// Topic.
    pub topic: String,
    /// Name of the service, object or workflow.
    pub service: String,
    /// Its handler.
    pub handler: String,
    /// librdkafka properties and our own `millrace.*`, with what the server filled in.
    pub options: Properties,
    /// When it was created.
    #[serde(with = "text::timestamp")]
    pub created_at: TimestampMs,
    /// It was deleted: what is left of it is its last offsets, which have still to be committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

impl Subscription {
    /// `kafka://cluster/topic`.
    pub fn source(&self) -> String {
        format!("kafka://{}/{}", self.cluster, self.topic)
    }

    /// `service://Service/handler`.
    pub fn sink(&self) -> String {
        format!("service://{}/{}", self.service, self.handler)
    }

    /// `group.id`, which the server fills in when it is created.
    pub fn group_id(&self) -> Option<&str> {
        self.options.get("group.id").map(String::as_str)
    }
}

/// Where a Kafka cluster is described.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterOrigin {
    /// In the metadata, through the API.
    #[default]
    Api,
    /// In the configuration of the node: not in the log, not changeable.
    Config,
}

/// A Kafka cluster and the properties that all its clients share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KafkaCluster {
    /// Like a host name.
    pub name: String,
    /// librdkafka properties; the address is `bootstrap.servers` or `metadata.broker.list`.
    pub properties: Properties,
    /// When it was created; 0 for one of the configuration.
    #[serde(with = "text::timestamp")]
    pub created_at: TimestampMs,
    /// Where it is described. Those of the configuration are never stored.
    #[serde(skip)]
    pub origin: ClusterOrigin,
}

impl KafkaCluster {
    /// Addresses, separated by commas.
    pub fn bootstrap(&self) -> Option<&str> {
        let named = self.properties.get("bootstrap.servers").or_else(|| self.properties.get("metadata.broker.list"));
        named.map(String::as_str)
    }
}

/// Any object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A deployment with its services.
    Deployment(Box<Deployment>),
    /// A service's revisions.
    Revisions(Revisions),
    /// A subscription.
    Subscription(Box<Subscription>),
    /// A Kafka cluster.
    KafkaCluster(KafkaCluster),
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectRef {
    /// A deployment.
    Deployment(#[serde(with = "text::display")] DeploymentId),
    /// Revisions, by service name.
    Revisions(String),
    /// A subscription.
    Subscription(#[serde(with = "text::display")] SubscriptionId),
    /// A Kafka cluster, by name.
    KafkaCluster(String),
}

impl Object {
    /// Its name.
    pub fn reference(&self) -> ObjectRef {
        match self {
            Self::Deployment(deployment) => ObjectRef::Deployment(deployment.id),
            Self::Revisions(revisions) => ObjectRef::Revisions(revisions.service.clone()),
            Self::Subscription(subscription) => ObjectRef::Subscription(subscription.id),
            Self::KafkaCluster(cluster) => ObjectRef::KafkaCluster(cluster.name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_secrets() {
        let properties: Properties =
            [("sasl.password", "hunter2"), ("ssl.key.pem", "hunter3"), ("client.id", "a")].into_iter().collect();
        let text = format!("{properties:?}");
        assert!(!text.contains("hunter") && text.contains("client.id"), "{text}");
        assert_eq!(properties.masked()["sasl.password"], MASK);
    }

    #[test]
    fn secrets_that_come_back_masked_stay() {
        let before: Properties = [("sasl.password", "hunter2"), ("client.id", "a")].into_iter().collect();
        let back: Properties =
            [("sasl.password", MASK), ("client.id", "b"), ("ssl.key.pem", MASK)].into_iter().collect();
        let after: Properties =
            [("sasl.password", "hunter2"), ("client.id", "b"), ("ssl.key.pem", MASK)].into_iter().collect();
        assert_eq!(back.unmasked(&before), after);
    }
}
