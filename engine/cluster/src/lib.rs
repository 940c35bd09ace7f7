//! What a node knows of its cluster. For now the metadata; ownership, routing, snapshots and trimming come with the
//! first cluster of several nodes.
//!
//! * [`meta`]: deployments, services, subscriptions and Kafka clusters, replicated over a log of their own.

pub mod meta;

pub use meta::{Metadata, Schema};
