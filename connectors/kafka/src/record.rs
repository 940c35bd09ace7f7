//! Records as they leave the client library.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;
use std::time::Instant;
use std::{ptr, slice};

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use crate::reader::SourceId;

/// One record. Its bytes share one buffer with the rest of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    /// Milliseconds since the epoch, by the producer's or the broker's clock as the topic says; `None` if there is none.
    pub timestamp_ms: Option<i64>,
    /// `None` is a null key, which differs from an empty one.
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    /// In the order of the record; names may repeat.
    pub headers: Vec<Header>,
}

/// A record header. Names are UTF-8 by Kafka's rules, which nobody enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: Bytes,
    /// `None` is a null value, which differs from an empty one.
    pub value: Option<Bytes>,
}

impl Header {
    pub fn name_str(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.name)
    }
}

/// Consecutive records of one source partition.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    pub source: SourceId,
    pub topic: Arc<str>,
    pub source_partition: i32,
    /// The position before this batch: the assigned offset, or `to` of the batch before.
    pub from: i64,
    /// The position after it: the next offset to read. Larger than the last offset plus one where transaction markers
    /// follow, so `records` may be empty with `from < to`.
    pub to: i64,
    /// In offset order, all in `from..to`. Offsets may skip (compaction, transactions).
    pub records: Vec<Record>,
    /// Keys, values and headers together.
    pub bytes: usize,
    /// Every record was fetched before this instant.
    pub received_at: Instant,
    /// The broker that all of them were fetched from. Its view of the topic is at least as new as the one it served
    /// them from, which another broker's need not be: [`Admin::describe_topics_at`](crate::Admin::describe_topics_at).
    /// `None` for a batch without records.
    pub broker: Option<i32>,
}

/// What came out of a source's queue.
pub(crate) enum Fetched {
    Record(Message),
    Error(RDKafkaErrorCode, String),
}

impl Fetched {
    /// Takes the next entry of a queue without waiting; `None` when there is none.
    ///
    /// # Safety
    /// `queue` is alive and gets records of partitions only.
    pub unsafe fn take(queue: *mut sys::rd_kafka_queue_t) -> Option<Self> {
        loop {
            // SAFETY: the caller's promise; time-out 0 takes what is there.
            let event = unsafe { sys::rd_kafka_queue_poll(queue, 0) };
            if event.is_null() {
                return None;
            }
            let event = Event(event);
            // SAFETY: the event is alive; a fetch event has one message, which lives as long as the event.
            unsafe {
                match sys::rd_kafka_event_type(event.0) {
                    sys::RD_KAFKA_EVENT_FETCH => {
                        let message = sys::rd_kafka_event_message_next(event.0);
                        if !message.is_null() {
                            return Some(Self::Record(Message { message, _event: event }));
                        }
                    }
                    sys::RD_KAFKA_EVENT_ERROR => {
                        let code = sys::rd_kafka_event_error(event.0).into();
                        return Some(Self::Error(code, text(sys::rd_kafka_event_error_string(event.0))));
                    }
                    _ => {}
                }
            }
        }
    }
}

struct Event(*mut sys::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

/// One record in librdkafka's memory.
pub(crate) struct Message {
    message: *const sys::rd_kafka_message_t,
    _event: Event,
}

// SAFETY: librdkafka's messages are not bound to a thread.
unsafe impl Send for Message {}
// SAFETY: parsing the headers changes the message, so it is shared with no other thread: see `copy_out`'s caller,
// which has `&mut` of the queue that holds it.
unsafe impl Sync for Message {}

impl Message {
    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: alive as long as its event.
        unsafe { &*self.message }
    }

    pub fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// The broker that sent it.
    pub fn broker(&self) -> i32 {
        // SAFETY: the message is alive.
        unsafe { sys::rd_kafka_message_broker_id(self.message) }
    }

    fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let at = unsafe { sys::rd_kafka_message_timestamp(self.message, &mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && at >= 0).then_some(at)
    }

    fn key(&self) -> Option<&[u8]> {
        // SAFETY: librdkafka's pointer and length belong together; null means null.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    fn value(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// Calls `f` with the name and value of each header.
    fn each_header(&self, mut f: impl FnMut(&[u8], Option<&[u8]>)) {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive; the headers stay its own.
        let code = unsafe { sys::rd_kafka_message_headers(self.message, &mut headers) };
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) = (ptr::null(), ptr::null(), 0);
            // SAFETY: as above; the call fails past the last header.
            let code = unsafe { sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            // SAFETY: a C string and a buffer owned by the message.
            unsafe { f(CStr::from_ptr(name).to_bytes(), bytes(value, size)) }
        }
    }

    /// Keys, values and headers together.
    pub fn size(&self) -> usize {
        let mut size = self.key().map_or(0, <[u8]>::len) + self.value().map_or(0, <[u8]>::len);
        self.each_header(|name, value| size += name.len() + value.map_or(0, <[u8]>::len));
        size
    }
}

/// Copies records out of librdkafka into one buffer. `size` is the sum of their sizes.
pub(crate) fn copy_out(messages: &[Message], size: usize) -> Vec<Record> {
    let mut buffer = Vec::with_capacity(size);
    for message in messages {
        buffer.extend_from_slice(message.key().unwrap_or_default());
        buffer.extend_from_slice(message.value().unwrap_or_default());
        message.each_header(|name, value| {
            buffer.extend_from_slice(name);
            buffer.extend_from_slice(value.unwrap_or_default());
        });
    }
    let mut rest = Bytes::from(buffer);
    // In the order in which they were copied.
    let mut take = |part: Option<&[u8]>| part.map(|part| rest.split_to(part.len()));
    let record = |message: &Message| {
        let key = take(message.key());
        let value = take(message.value());
        let mut headers = Vec::new();
        message.each_header(|name, value| {
            let name = take(Some(name)).unwrap_or_default();
            headers.push(Header { name, value: take(value) });
        });
        Record { offset: message.offset(), timestamp_ms: message.timestamp_ms(), key, value, headers }
    };
    messages.iter().map(record).collect()
}

/// # Safety
/// `data` is null or points at `len` bytes that live for `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    if data.is_null() { None } else { Some(unsafe { slice::from_raw_parts(data.cast(), len) }) }
}

/// # Safety
/// `text` is null or a C string.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
