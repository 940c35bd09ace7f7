//! One admin request and its answer.

use std::ffi::{CString, c_char};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use tokio::sync::Notify;

use crate::error::ClientError;
use crate::handle::{Handle, millis};
use crate::queue::Queue;
use crate::record::text;

/// librdkafka ends every request itself; this is for the case that it does not.
const GRACE: Duration = Duration::from_secs(2);

/// An answer; whatever is read out of it lives as long as it does.
pub(super) struct Answer(*mut sys::rd_kafka_event_t);

// SAFETY: an event is not bound to a thread.
unsafe impl Send for Answer {}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

impl Answer {
    pub fn event(&self) -> *mut sys::rd_kafka_event_t {
        self.0
    }
}

/// What a request is made with. Valid during [`call`]'s `submit` only.
pub(super) struct Request {
    pub client: *mut sys::rd_kafka_t,
    pub options: *mut sys::rd_kafka_AdminOptions_t,
    pub queue: *mut sys::rd_kafka_queue_t,
}

/// Makes a request and waits for its answer, `limit` at most.
///
/// * `broker`: send it to this broker instead of where librdkafka would.
/// * `submit`: makes the one admin call. librdkafka copies what it is given.
pub(super) async fn call(
    handle: &Arc<Handle>,
    operation: &'static str,
    op: sys::rd_kafka_admin_op_t,
    broker: Option<i32>,
    limit: Duration,
    submit: impl FnOnce(&Request),
) -> Result<Answer, ClientError> {
    let wake = Arc::new(Notify::new());
    let queue = Queue::new(handle, wake.clone());
    make(handle, op, broker, limit, &queue, submit);
    let wait = async {
        loop {
            // SAFETY: the queue is alive; time-out 0 does not wait.
            let event = unsafe { sys::rd_kafka_queue_poll(queue.ptr(), 0) };
            if event.is_null() {
                wake.notified().await;
            } else {
                break Answer(event);
            }
        }
    };
    let answer =
        tokio::time::timeout(limit + GRACE, wait).await.map_err(|_| ClientError::TimedOut { operation, limit })?;
    // SAFETY: the event is alive.
    let (code, reason) =
        unsafe { (sys::rd_kafka_event_error(answer.0), text(sys::rd_kafka_event_error_string(answer.0))) };
    match ok(code) {
        Ok(()) => Ok(answer),
        Err(code) => Err(ClientError::of(operation, code, reason, limit)),
    }
}

fn make(
    handle: &Arc<Handle>,
    op: sys::rd_kafka_admin_op_t,
    broker: Option<i32>,
    limit: Duration,
    queue: &Queue<Notify>,
    submit: impl FnOnce(&Request),
) {
    let mut text: [c_char; 256] = [0; 256];
    // SAFETY: client and queue are alive; the options are made, used and destroyed here.
    unsafe {
        let options = sys::rd_kafka_AdminOptions_new(handle.native(), op);
        // Both can only refuse values that are out of range, and then the default stands.
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(limit), text.as_mut_ptr(), text.len());
        if let Some(broker) = broker {
            sys::rd_kafka_AdminOptions_set_broker(options, broker, text.as_mut_ptr(), text.len());
        }
        submit(&Request { client: handle.native(), options, queue: queue.ptr() });
        sys::rd_kafka_AdminOptions_destroy(options);
    }
}

pub(super) fn ok(code: sys::rd_kafka_resp_err_t) -> Result<(), RDKafkaErrorCode> {
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(code.into()) }
}

/// The error in an error object, which may be null.
///
/// # Safety
/// `error` is null or alive.
pub(super) unsafe fn error_of(error: *const sys::rd_kafka_error_t) -> Result<(), (RDKafkaErrorCode, String)> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { ok(sys::rd_kafka_error_code(error)).map_err(|code| (code, text(sys::rd_kafka_error_string(error)))) }
}

/// A name for librdkafka.
pub(super) fn c_name(operation: &'static str, name: &str) -> Result<CString, ClientError> {
    CString::new(name).map_err(|_| ClientError::Invalid { operation, reason: "a name contains a NUL byte".into() })
}

/// A list of librdkafka as a slice; null with length 0 is empty.
///
/// # Safety
/// `list` is null or points at `len` elements that live for `'a`.
pub(super) unsafe fn list<'a, T>(list: *const T, len: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    if list.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(list, len) } }
}
