//! What can go wrong between us and a Kafka cluster, by what the caller can do about it.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::options::OptionFault;

/// A failed call to a cluster.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// librdkafka refused the properties; every fault is listed.
    #[error("{}", OptionFault::list(.0))]
    Options(Vec<OptionFault>),
    /// librdkafka could not build a client of valid properties (a missing certificate file, a feature not built in).
    #[error("kafka client could not be created: {reason}")]
    Create { reason: String },
    /// No answer in time. A write may or may not have happened.
    #[error("no answer to {operation} within {limit:?}")]
    TimedOut { operation: &'static str, limit: Duration },
    /// No broker can be reached, or the connection was lost in between.
    #[error("{operation}: no broker can be reached ({reason})")]
    Unreachable { operation: &'static str, reason: String },
    #[error("topic {topic} does not exist")]
    TopicUnknown { topic: String },
    #[error("topic {topic} already exists")]
    TopicExists { topic: String },
    #[error("partition {partition} of topic {topic} does not exist")]
    PartitionUnknown { topic: String, partition: i32 },
    /// Offsets of a group can be written from outside only while it is empty.
    #[error("consumer group {group} has members")]
    GroupHasMembers { group: String },
    /// Authentication failed or an ACL is missing.
    #[error("{operation}: not allowed by the cluster ({reason})")]
    Denied { operation: &'static str, reason: String },
    /// The broker (or the development broker) has no such function.
    #[error("{operation} is not supported by this broker ({reason})")]
    Unsupported { operation: &'static str, reason: String },
    /// The source partition is read by somebody else through the same reader.
    #[error("partition {partition} of topic {topic} is already assigned")]
    AlreadyAssigned { topic: String, partition: i32 },
    /// A local limit is reached; the request was not made.
    #[error("{what} limit of {limit} is reached")]
    LimitReached { what: &'static str, limit: usize },
    /// An argument that cannot be sent, such as a name with a NUL byte or a negative offset.
    #[error("{operation}: {reason}")]
    Invalid { operation: &'static str, reason: String },
    /// The client was closed, or failed for good; build a new one.
    #[error("{operation}: the client is closed ({reason})")]
    Closed { operation: &'static str, reason: String },
    /// Anything else the broker or librdkafka answered.
    #[error("{operation}: {reason}")]
    Broker { operation: &'static str, code: RDKafkaErrorCode, reason: String },
}

impl ClientError {
    /// True when the same call may succeed later without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        use RDKafkaErrorCode as C;
        match self {
            Self::TimedOut { .. } | Self::Unreachable { .. } | Self::LimitReached { .. } => true,
            Self::Broker { code, .. } => matches!(
                code,
                C::NotLeaderForPartition
                    | C::LeaderNotAvailable
                    | C::ReplicaNotAvailable
                    | C::CoordinatorLoadInProgress
                    | C::CoordinatorNotAvailable
                    | C::NotCoordinator
                    | C::NotEnoughReplicas
                    | C::NotEnoughReplicasAfterAppend
                    | C::NetworkException
                    | C::NotController
                    | C::RebalanceInProgress
                    | C::KafkaStorageError
                    | C::UnstableOffsetCommit
                    | C::ThrottlingQuotaExceeded
                    | C::OffsetNotAvailable
                    | C::FencedLeaderEpoch
                    | C::UnknownLeaderEpoch
                    | C::UnknownTopicId
                    | C::QueueFull
                    | C::InProgress
                    | C::PreviousInProgress
                    | C::WaitingForCoordinator
                    | C::Retry
            ),
            _ => false,
        }
    }

    /// The group's coordinator is loading or has moved: nothing was done.
    pub(crate) fn is_uncoordinated(&self) -> bool {
        use RDKafkaErrorCode as C;
        let Self::Broker { code, .. } = self else { return false };
        matches!(code, C::CoordinatorLoadInProgress | C::CoordinatorNotAvailable | C::NotCoordinator)
    }

    /// Sorts an error code into what a caller can do. `limit` is the time the call had.
    pub(crate) fn of(operation: &'static str, code: RDKafkaErrorCode, reason: String, limit: Duration) -> Self {
        use RDKafkaErrorCode as C;
        match code {
            C::OperationTimedOut | C::RequestTimedOut | C::TimedOutQueue | C::MessageTimedOut => {
                Self::TimedOut { operation, limit }
            }
            C::BrokerTransportFailure | C::AllBrokersDown | C::Resolve | C::BrokerNotAvailable | C::NodeUpdate => {
                Self::Unreachable { operation, reason }
            }
            C::Authentication
            | C::SSL
            | C::TopicAuthorizationFailed
            | C::GroupAuthorizationFailed
            | C::ClusterAuthorizationFailed
            | C::TransactionalIdAuthorizationFailed
            | C::SaslAuthenticationFailed => Self::Denied { operation, reason },
            C::UnsupportedFeature | C::UnsupportedVersion | C::NotImplemented | C::UnsupportedSASLMechanism => {
                Self::Unsupported { operation, reason }
            }
            C::InvalidArgument | C::InvalidTopic | C::InvalidPartitions | C::InvalidReplicationFactor => {
                Self::Invalid { operation, reason }
            }
            C::InvalidGroupId => Self::Invalid { operation, reason },
            C::Fatal | C::BrokerDestroy => Self::Closed { operation, reason },
            _ => Self::Broker { operation, code, reason },
        }
    }

    /// The same for an answer about one partition.
    pub(crate) fn of_partition(
        operation: &'static str,
        topic: &str,
        partition: i32,
        code: RDKafkaErrorCode,
        limit: Duration,
    ) -> Self {
        use RDKafkaErrorCode as C;
        match code {
            C::UnknownTopic => Self::TopicUnknown { topic: topic.to_owned() },
            C::UnknownTopicOrPartition | C::UnknownPartition => {
                Self::PartitionUnknown { topic: topic.to_owned(), partition }
            }
            other => Self::of(operation, other, other.to_string(), limit),
        }
    }

    pub(crate) fn create(error: KafkaError) -> Self {
        Self::Create { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_can_be_done() {
        let of = |code: RDKafkaErrorCode| ClientError::of("call", code, String::new(), Duration::from_secs(1));
        assert!(of(RDKafkaErrorCode::AllBrokersDown).is_retriable());
        assert!(of(RDKafkaErrorCode::OperationTimedOut).is_retriable());
        assert!(of(RDKafkaErrorCode::NotCoordinator).is_retriable());
        assert!(of(RDKafkaErrorCode::CoordinatorLoadInProgress).is_uncoordinated());
        assert!(!of(RDKafkaErrorCode::RebalanceInProgress).is_uncoordinated());
        assert!(!of(RDKafkaErrorCode::SaslAuthenticationFailed).is_retriable());
        assert!(!of(RDKafkaErrorCode::InvalidTopic).is_retriable());
        assert!(!ClientError::GroupHasMembers { group: "g".into() }.is_retriable());
    }
}
