//! From settings to what a node is started with.

use std::time::Duration;

use millrace_cluster::meta::service::{Defaults, OnMaxAttempts as Stored, RetryPolicy};
use millrace_invoker::OnMaxAttempts;

use super::Config;
use crate::serve::Settings;

impl Config {
    /// What a node is started with.
    pub fn settings(&self) -> Settings {
        Settings {
            base_dir: self.node.base_dir.clone(),
            node_name: self.node.name(),
            advertised_address: self.node.address(),
            cluster_name: self.node.cluster_name.clone(),
            partitions: self.node.default_num_partitions,
            ingress: self.ingress.config(self.node.shutdown_timeout.0),
            advertised_ingress: self.ingress.advertised_ingress_endpoint.clone(),
            admin: self.admin.clone(),
            invoker: self.invoker.clone(),
            client: self.client.clone(),
            store: self.store.clone(),
            log: self.log.clone(),
            defaults: self.defaults(),
            kafka_clusters: self.kafka_clusters.clone(),
            timers_in_memory: self.worker.num_timers_in_memory_limit,
            cleanup_interval: self.worker.cleanup_interval.0,
            disk_watermark: self.node.disk_watermark,
        }
    }

    /// Where neither handler nor service says anything.
    fn defaults(&self) -> Defaults {
        let retry = self.retry.policy();
        Defaults {
            journal_retention: self.node.default_journal_retention.0,
            journal_retention_max: self.node.max_journal_retention.map(|max| max.0),
            inactivity_timeout: self.invoker.inactivity_timeout,
            abort_timeout: self.invoker.abort_timeout,
            lazy_state: self.invoker.disable_eager_state,
            retry: RetryPolicy {
                initial_interval: retry.initial_interval,
                max_interval: retry.max_interval,
                max_attempts: retry.max_attempts,
                factor: retry.factor,
                on_max_attempts: match retry.on_max_attempts {
                    OnMaxAttempts::Pause => Stored::Pause,
                    OnMaxAttempts::Kill => Stored::Kill,
                },
            },
            max_attempts_max: self.node.max_retry_policy_max_attempts,
            ..Defaults::default()
        }
    }

    /// How long a stop may take.
    pub fn shutdown_timeout(&self) -> Duration {
        self.node.shutdown_timeout.0
    }
}
