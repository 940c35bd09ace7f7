//! What librdkafka tells on the side: its log lines and its errors about brokers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tracing::{debug, info, warn};

use crate::producer::Delivery;

/// A kind of line is let through this often per [`LOG_WINDOW`]; a broker that is down would say hundreds.
const LOG_LINES_MAX: u32 = 3;
const LOG_WINDOW: Duration = Duration::from_secs(30);

/// Kinds of lines (librdkafka's facility names) that are counted apart; there are a few dozen.
const LOG_KINDS_MAX: usize = 256;

/// How long trouble with one broker explains that all are away.
const CAUSE_AGE_MAX: Duration = Duration::from_secs(60);

/// The last trouble a client had with its brokers.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub at: Instant,
    pub reason: String,
    /// The client failed for good and must be replaced.
    pub fatal: bool,
}

/// Somebody who wants to hear of trouble. Called on whatever thread noticed it; must not block.
pub(crate) trait Listener: Send + Sync {
    fn on_trouble(&self, trouble: &Trouble);
}

/// Receives librdkafka's callbacks for one client.
pub(crate) struct Context {
    name: String,
    limits: Mutex<LogLimits>,
    health: Arc<Health>,
}

/// Shared between a client's callbacks and its handle.
#[derive(Default)]
pub(crate) struct Health {
    last: Mutex<Option<Trouble>>,
    listeners: Mutex<Vec<Weak<dyn Listener>>>,
}

impl Health {
    pub fn last(&self) -> Option<Trouble> {
        lock(&self.last).clone()
    }

    pub fn listen(&self, listener: Weak<dyn Listener>) {
        let mut listeners = lock(&self.listeners);
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(listener);
    }

    fn report(&self, trouble: Trouble) {
        for listener in lock(&self.listeners).iter().filter_map(Weak::upgrade) {
            listener.on_trouble(&trouble);
        }
        *lock(&self.last) = Some(trouble);
    }
}

impl Context {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), limits: Mutex::default(), health: Arc::default() }
    }

    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let Some(held_back) = lock(&self.limits).admit(facility, Instant::now()) else { return };
        let client = &self.name;
        match level {
            // Properties of the other kind of client, or deprecated ones: a cluster's properties are for both kinds.
            _ if facility == "CONFWARN" => debug!(client, facility, line, "kafka client"),
            // Comes as an error as well.
            _ if facility == "FAIL" => debug!(client, facility, line, "kafka client"),
            // The client tries again by itself and callers learn of it by their own errors, so nothing here is an error.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => warn!(client, facility, held_back, line, "kafka client"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                info!(client, facility, held_back, line, "kafka client")
            }
            RDKafkaLogLevel::Debug => debug!(client, facility, held_back, line, "kafka client"),
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {
        // `statistics.interval.ms` is accepted and ignored: parsing the document costs more than what it tells is worth.
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let fatal = matches!(error, KafkaError::Global(RDKafkaErrorCode::Fatal));
        let cause = self.health.last().filter(|last| last.at.elapsed() < CAUSE_AGE_MAX);
        let reason = match (error, &cause) {
            // "1/1 brokers are down" follows what is wrong with the broker, which says more.
            (KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), Some(cause)) => &cause.reason,
            _ => reason,
        };
        if let Some(held_back) = lock(&self.limits).admit("error", Instant::now()) {
            warn!(client = self.name, held_back, reason, fatal, "kafka client in trouble");
        }
        self.health.report(Trouble { at: Instant::now(), reason: reason.to_owned(), fatal });
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Self::DeliveryOpaque) {
        delivery.settle(result);
    }
}

/// Which lines may pass: a few of each kind per window, the rest counted.
#[derive(Default)]
struct LogLimits {
    kinds: BTreeMap<String, Window>,
}

struct Window {
    since: Instant,
    passed: u32,
    held_back: u64,
}

impl LogLimits {
    /// `None` when the line is held back, else how many of its kind were since the last one that passed.
    fn admit(&mut self, kind: &str, now: Instant) -> Option<u64> {
        let kind = if self.kinds.len() >= LOG_KINDS_MAX && !self.kinds.contains_key(kind) { "" } else { kind };
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.to_owned(), Window { since: now, passed: 0, held_back: 0 });
        }
        let window = self.kinds.get_mut(kind)?;
        if now.duration_since(window.since) >= LOG_WINDOW {
            window.since = now;
            window.passed = 0;
        }
        if window.passed == LOG_LINES_MAX {
            window.held_back += 1;
            return None;
        }
        window.passed += 1;
        Some(std::mem::take(&mut window.held_back))
    }
}

/// The data behind a poisoned lock is still whole: every critical section here is a single assignment or push.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_kind_are_limited_and_counted() {
        let mut limits = LogLimits::default();
        let start = Instant::now();
        let admit = |limits: &mut LogLimits, kind: &str, after: Duration| limits.admit(kind, start + after);
        for _ in 0..LOG_LINES_MAX {
            assert_eq!(admit(&mut limits, "FAIL", Duration::ZERO), Some(0));
        }
        assert_eq!(admit(&mut limits, "FAIL", Duration::ZERO), None);
        assert_eq!(admit(&mut limits, "FAIL", Duration::ZERO), None);
        assert_eq!(admit(&mut limits, "OTHER", Duration::ZERO), Some(0));
        assert_eq!(admit(&mut limits, "FAIL", LOG_WINDOW), Some(2));
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let mut limits = LogLimits::default();
        let now = Instant::now();
        for n in 0..2 * LOG_KINDS_MAX {
            limits.admit(&n.to_string(), now);
        }
        assert!(limits.kinds.len() <= LOG_KINDS_MAX + 1);
    }
}
