//! Owning a librdkafka client from async code.
//!
//! A client is made and destroyed on threads that may block. Its callbacks are served by one task per client that
//! sleeps until librdkafka says that its main queue is no longer empty, so an idle client costs no wake-ups of ours.

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka_sys as sys;
use tokio::sync::{Notify, watch};

use crate::config::log_features_once;
use crate::context::{Context, Health};
use crate::error::ClientError;

/// Events served before other tasks get their turn.
const SERVE_EVENTS_MAX: usize = 64;

/// A client of either kind.
pub(crate) enum Native {
    /// Without a group: for reading by assignment and for admin calls.
    Consumer(BaseConsumer<Context>),
    Producer(BaseProducer<Context>),
}

impl Native {
    fn ptr(&self) -> *mut sys::rd_kafka_t {
        match self {
            Self::Consumer(consumer) => consumer.client().native_ptr(),
            Self::Producer(producer) => producer.client().native_ptr(),
        }
    }

    /// Serves one event. Whatever matters of it goes through [`Context`].
    fn serve_one(&self) {
        match self {
            Self::Consumer(consumer) => drop(consumer.poll(Duration::ZERO)),
            Self::Producer(producer) => producer.poll(Duration::ZERO),
        }
    }
}

/// Which client to make.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Consumer,
    Producer,
}

pub(crate) struct Handle {
    /// `None` only while dropping.
    client: Option<Native>,
    /// librdkafka's queue of everything that is not a record, with a reference of ours.
    main: *mut sys::rd_kafka_queue_t,
    health: Arc<Health>,
    wake: Arc<Notify>,
    /// Dropped by the closing thread when the client is gone.
    alive: Option<watch::Sender<()>>,
}

// SAFETY: librdkafka's objects may be used from any thread; `main` is a reference that only `drop` gives back.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// Creates the client; does not wait for a connection.
    pub async fn open(config: ClientConfig, kind: Kind, name: String) -> Result<Arc<Self>, ClientError> {
        log_features_once();
        let create = move || Self::create(&config, kind, name);
        let handle = Arc::new(tokio::task::spawn_blocking(create).await.map_err(stopped)??);
        // Events may have come before the callback was set.
        handle.wake.notify_one();
        tokio::spawn(serve(Arc::downgrade(&handle), handle.wake.clone()));
        Ok(handle)
    }

    fn create(config: &ClientConfig, kind: Kind, name: String) -> Result<Self, ClientError> {
        let context = Context::new(name);
        let health = context.health();
        let client = match kind {
            Kind::Consumer => config.create_with_context(context).map(Native::Consumer),
            Kind::Producer => config.create_with_context(context).map(Native::Producer),
        };
        let client = client.map_err(ClientError::create)?;
        let wake = Arc::new(Notify::new());
        // SAFETY: the client is alive. The reference is given back in `drop`, before the client, and the callback is
        // switched off there; until then `wake` is alive.
        let main = unsafe {
            let main = sys::rd_kafka_queue_get_main(client.ptr());
            sys::rd_kafka_queue_cb_event_enable(main, Some(on_event), Arc::as_ptr(&wake) as *mut c_void);
            main
        };
        Ok(Self { client: Some(client), main, health, wake, alive: Some(watch::Sender::new(())) })
    }

    pub fn client(&self) -> &Native {
        self.client.as_ref().expect("only drop takes it")
    }

    pub fn native(&self) -> *mut sys::rd_kafka_t {
        self.client().ptr()
    }

    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Resolves when the client is gone, which begins when the last reference is dropped.
    pub fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut alive = self.alive.as_ref().expect("only drop takes it").subscribe();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// Serves a few events; false when there are no more.
    fn serve(&self) -> bool {
        for _ in 0..SERVE_EVENTS_MAX {
            // SAFETY: `main` is alive as long as we are.
            if unsafe { sys::rd_kafka_queue_length(self.main) } == 0 {
                return false;
            }
            self.client().serve_one();
        }
        true
    }
}

unsafe extern "C" fn on_event(_: *mut sys::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: set by `Handle::create` to a `Notify` that lives until the callback is switched off.
    unsafe { (*wake.cast::<Notify>()).notify_one() }
}

async fn serve(handle: Weak<Handle>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        loop {
            let Some(handle) = handle.upgrade() else { return };
            if !handle.serve() {
                break;
            }
            drop(handle);
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the queue is alive; no callback runs after this returned.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.main, None, std::ptr::null_mut()) };
        self.wake.notify_one();
        let client = self.client.take();
        let alive = self.alive.take();
        let main = Main(self.main);
        // Destroying a client waits for its threads, which can take a second. If no thread can be had, it is done here.
        let close = move || {
            let main = main;
            // SAFETY: our reference, given back once.
            unsafe { sys::rd_kafka_queue_destroy(main.0) };
            drop(client);
            drop(alive);
        };
        let _ = std::thread::Builder::new().name("kafka-close".into()).spawn(close);
    }
}

struct Main(*mut sys::rd_kafka_queue_t);
// SAFETY: a librdkafka queue may be used from any thread.
unsafe impl Send for Main {}

/// A time-out as librdkafka takes it.
pub(crate) fn millis(limit: Duration) -> c_int {
    c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX)
}

/// A blocking task did not end: the runtime is shutting down.
pub(crate) fn stopped(error: tokio::task::JoinError) -> ClientError {
    ClientError::Closed { operation: "blocking call", reason: error.to_string() }
}
