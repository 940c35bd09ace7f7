//! The metadata: one small deterministic state machine over the log of `PartitionId::META` (DESIGN.md section 5).
//!
//! ```text
//!  admin ──> decide(schema) ──> Change ──> task ──> log ──> apply(state, record) ──> Arc<Schema> ──> everybody
//!                (pure)                                          (pure)
//! ```
//!
//! What is stored are *objects* with versions. A change names, for every object it touches or relies on, the version it
//! was decided against; if one of them is old, all of it is void for every reader, and its author decides anew. So
//! `apply` knows nothing about deployments and revisions: those rules live in [`register`], [`configure`], [`subscribe`]
//! and [`clusters`], which are pure functions from a [`Schema`] to a [`Change`], and may change between releases.
//!
//! * [`schema`]: what others look at, with the look-ups of ingress and invoker.
//! * [`object`], [`service`]: what is stored.
//! * [`record`], [`apply`]: the log, byte by byte and rule by rule (`engine/cluster/FORMAT.md`).
//! * [`log`], [`snapshot`]: where records and the whole are kept.
//! * [`handle`]: [`Metadata`], by which everybody reads and changes it.

pub mod apply;
pub mod clusters;
pub mod configure;
pub mod discovered;
pub mod error;
pub mod handle;
pub mod log;
pub mod loglet;
pub mod object;
pub mod options;
pub mod record;
pub mod register;
pub mod schema;
pub mod service;
pub mod snapshot;
pub mod subscribe;

mod text;

pub use apply::{Applied, State};
pub use error::{ChangeError, OpenError};
pub use handle::{Decision, HeldBack, Metadata, MetadataTask, OpenOptions};
pub use log::{MetaLog, MetaPosition};
pub use object::{
    Deployment, Function, HttpVersion, KafkaCluster, Object, ObjectRef, Properties, ProtocolMode, Subscription,
};
pub use options::SubscriptionOptions;
pub use record::{Body, Change, Create, Item, Record};
pub use schema::{Handler, Schema, Service};
pub use service::{Defaults, HandlerSchema, Millis, OnMaxAttempts, RetryPolicy, ServiceSchema, ServiceType, Settings};
