//! A private librdkafka queue that wakes us when it is no longer empty.

use std::ffi::c_void;
use std::sync::Arc;

use rdkafka_sys as sys;

use crate::handle::Handle;

/// What to do when the queue gets its first entry. Runs on librdkafka's threads under the queue's lock:
/// it must neither block nor call librdkafka.
pub(crate) trait Wake: Send + Sync + 'static {
    fn wake(&self);
}

impl Wake for tokio::sync::Notify {
    fn wake(&self) {
        self.notify_one();
    }
}

pub(crate) struct Queue<W: Wake> {
    ptr: *mut sys::rd_kafka_queue_t,
    /// What the callback's pointer points at.
    _wake: Arc<W>,
    /// A queue must not outlive its client.
    handle: Arc<Handle>,
}

// SAFETY: a librdkafka queue may be used from any thread; the callback only touches `W`, which is Sync.
unsafe impl<W: Wake> Send for Queue<W> {}
// SAFETY: as above.
unsafe impl<W: Wake> Sync for Queue<W> {}

unsafe extern "C" fn on_nonempty<W: Wake>(_: *mut sys::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: set by `Queue::new` to a `W` that lives until the callback is switched off.
    unsafe { (*wake.cast::<W>()).wake() }
}

impl<W: Wake> Queue<W> {
    pub fn new(handle: &Arc<Handle>, wake: Arc<W>) -> Self {
        // SAFETY: the client is alive. `wake` is kept in the queue and outlives the callback: switching it off in
        // `drop` takes the queue's lock, under which the callback runs.
        let ptr = unsafe {
            let ptr = sys::rd_kafka_queue_new(handle.native());
            sys::rd_kafka_queue_cb_event_enable(ptr, Some(on_nonempty::<W>), Arc::as_ptr(&wake) as *mut c_void);
            ptr
        };
        Self { ptr, _wake: wake, handle: handle.clone() }
    }

    pub fn ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.ptr
    }

    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    pub fn len(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_length(self.ptr) }
    }
}

impl<W: Wake> Drop for Queue<W> {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once; no callback runs after the first call returned.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.ptr, None, std::ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.ptr);
        }
    }
}
