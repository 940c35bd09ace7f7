//! Joins the crates: every trait of one that another implements, with nothing else in between.

mod catalog;
mod discovery;
mod env;
mod options;
mod subscriptions;

pub use catalog::Catalog;
pub use discovery::EndpointDiscoverer;
pub use env::SystemEnv;
pub use options::LibrdkafkaOptions;
pub use subscriptions::SubscriptionReports;
