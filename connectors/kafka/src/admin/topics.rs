//! Topics: their identity, and making and removing them.

use std::ffi::{CString, c_char};
use std::ptr;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::Admin;
use super::call::{c_name, call, error_of, list, ok};
use crate::error::ClientError;
use crate::record::text;

/// What a topic is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// The 16 bytes that Kafka gave the topic when it was created, as a big-endian number. A topic deleted and created
    /// again has another one. `None` on brokers before 2.8.
    pub id: Option<u128>,
    /// Only grows as long as the id stays.
    pub partitions: i32,
}

/// The answer about one topic.
#[derive(Clone, Debug)]
pub struct TopicDescription {
    pub name: String,
    /// `TopicUnknown` for a topic that does not exist.
    pub info: Result<TopicInfo, ClientError>,
}

const DESCRIBE: &str = "topic description";

impl Admin {
    /// Describes topics as of a request that is sent after this call began; in the order of `names`.
    ///
    /// Several may be under way at a time; nothing is answered from a cache of ours. The broker that answers may be
    /// some milliseconds behind another one.
    pub async fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, ClientError> {
        let broker = self.controller_route().await?;
        let described = self.describe(names, broker).await;
        if described.is_err() {
            // The controller may be another one now, or there is one at last.
            self.forget_route();
        }
        described
    }

    /// The same, asked of one broker: its answer is at least as new as everything it sent before the call began.
    ///
    /// So records whose batch names `broker` belong to the topic id that this shows, or to an older one.
    pub async fn describe_topics_at(&self, broker: i32, names: &[&str]) -> Result<Vec<TopicDescription>, ClientError> {
        self.describe(names, Some(broker)).await
    }

    /// Describes one topic.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicInfo, ClientError> {
        let mut described = self.describe_topics(&[name]).await?;
        described.pop().expect("one answer per name").info
    }

    async fn describe(&self, names: &[&str], broker: Option<i32>) -> Result<Vec<TopicDescription>, ClientError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let c_names = names.iter().map(|name| c_name(DESCRIBE, name)).collect::<Result<Vec<_>, _>>()?;
        let described = self.ask(&c_names, broker).await?;
        let find = |name: &&str| {
            let found = described.iter().find(|d| d.name == **name).cloned();
            let missing = || TopicDescription {
                name: (*name).to_owned(),
                info: Err(ClientError::TopicUnknown { topic: (*name).to_owned() }),
            };
            found.unwrap_or_else(missing)
        };
        Ok(names.iter().map(find).collect())
    }

    async fn ask(&self, names: &[CString], broker: Option<i32>) -> Result<Vec<TopicDescription>, ClientError> {
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let answer = call(&self.handle, DESCRIBE, op, broker, self.limit, |request| {
            let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
            // SAFETY: the names live through the call, which copies them.
            unsafe {
                let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
                sys::rd_kafka_DescribeTopics(request.client, topics, request.options, request.queue);
                sys::rd_kafka_TopicCollection_destroy(topics);
            }
        })
        .await?;
        // SAFETY: the answer is alive; a result of another type would be null.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(answer.event());
            let mut count = 0;
            let topics = if result.is_null() {
                ptr::null_mut()
            } else {
                sys::rd_kafka_DescribeTopics_result_topics(result, &mut count)
            };
            Ok(list(topics, count).iter().map(|&topic| self.description(topic)).collect())
        }
    }

    /// # Safety
    /// `topic` is alive.
    unsafe fn description(&self, topic: *const sys::rd_kafka_TopicDescription_t) -> TopicDescription {
        // SAFETY: the caller's promise; everything read belongs to the description.
        unsafe {
            let name = text(sys::rd_kafka_TopicDescription_name(topic));
            let info = match error_of(sys::rd_kafka_TopicDescription_error(topic)) {
                Err((RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic, _)) => {
                    Err(ClientError::TopicUnknown { topic: name.clone() })
                }
                Err((code, reason)) => Err(ClientError::of(DESCRIBE, code, reason, self.limit)),
                Ok(()) => {
                    let id = sys::rd_kafka_TopicDescription_topic_id(topic);
                    let mut partitions = 0;
                    sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
                    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
                    Ok(TopicInfo { id: uuid(id), partitions })
                }
            };
            TopicDescription { name, info }
        }
    }

    /// Creates a topic. `configs` are topic properties such as `retention.ms`. Not on the development broker.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication_factor: i32,
        configs: &[(&str, &str)],
    ) -> Result<(), ClientError> {
        let operation = "creation of a topic";
        let topic = c_name(operation, name)?;
        let pair = |(key, value): &(&str, &str)| Ok((c_name(operation, key)?, c_name(operation, value)?));
        let configs = configs.iter().map(pair).collect::<Result<Vec<_>, ClientError>>()?;
        let mut reason: [c_char; 256] = [0; 256];
        // SAFETY: the name is alive; null tells that the arguments are wrong.
        let new = unsafe {
            let text = reason.as_mut_ptr();
            sys::rd_kafka_NewTopic_new(topic.as_ptr(), partitions, replication_factor, text, reason.len())
        };
        if new.is_null() {
            // SAFETY: librdkafka wrote a C string.
            return Err(ClientError::Invalid { operation, reason: unsafe { text(reason.as_ptr()) } });
        }
        let new = NewTopic(new);
        for (key, value) in &configs {
            // SAFETY: all are alive; the strings are copied.
            unsafe { sys::rd_kafka_NewTopic_set_config(new.0, key.as_ptr(), value.as_ptr()) };
        }
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS;
        let answer = call(&self.handle, operation, op, None, self.limit, move |request| {
            let new = new;
            let mut topics = [new.0];
            // SAFETY: the new topic lives through the call, which copies it.
            unsafe {
                sys::rd_kafka_CreateTopics(request.client, topics.as_mut_ptr(), 1, request.options, request.queue)
            }
        })
        .await?;
        // SAFETY: the answer is alive.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_CreateTopics_result(answer.event());
            let topics = sys::rd_kafka_CreateTopics_result_topics(result, &mut count);
            self.topic_result(operation, name, topics, count)
        }
    }

    /// Deletes a topic with its records. The broker lets go of it a moment after the answer.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let operation = "deletion of a topic";
        let topic = c_name(operation, name)?;
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS;
        let answer = call(&self.handle, operation, op, None, self.limit, |request| {
            // SAFETY: made, used (it is copied) and destroyed here.
            unsafe {
                let mut topics = [sys::rd_kafka_DeleteTopic_new(topic.as_ptr())];
                sys::rd_kafka_DeleteTopics(request.client, topics.as_mut_ptr(), 1, request.options, request.queue);
                sys::rd_kafka_DeleteTopic_destroy(topics[0]);
            }
        })
        .await?;
        // SAFETY: the answer is alive.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteTopics_result(answer.event());
            let topics = sys::rd_kafka_DeleteTopics_result_topics(result, &mut count);
            self.topic_result(operation, name, topics, count)
        }
    }

    /// Adds partitions to a topic until it has `partitions`.
    pub async fn grow_topic(&self, name: &str, partitions: usize) -> Result<(), ClientError> {
        let operation = "growing a topic";
        let topic = c_name(operation, name)?;
        let mut reason: [c_char; 256] = [0; 256];
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS;
        if partitions == 0 {
            return Err(ClientError::Invalid { operation, reason: "a topic has at least one partition".into() });
        }
        let answer = call(&self.handle, operation, op, None, self.limit, |request| {
            // SAFETY: made, used (it is copied) and destroyed here; it is not null for a positive count.
            unsafe {
                let text = reason.as_mut_ptr();
                let mut more = [sys::rd_kafka_NewPartitions_new(topic.as_ptr(), partitions, text, reason.len())];
                sys::rd_kafka_CreatePartitions(request.client, more.as_mut_ptr(), 1, request.options, request.queue);
                sys::rd_kafka_NewPartitions_destroy(more[0]);
            }
        })
        .await?;
        // SAFETY: the answer is alive.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_CreatePartitions_result(answer.event());
            let topics = sys::rd_kafka_CreatePartitions_result_topics(result, &mut count);
            self.topic_result(operation, name, topics, count)
        }
    }

    /// # Safety
    /// `topics` has `count` elements that are alive.
    unsafe fn topic_result(
        &self,
        operation: &'static str,
        name: &str,
        topics: *mut *const sys::rd_kafka_topic_result_t,
        count: usize,
    ) -> Result<(), ClientError> {
        // SAFETY: the caller's promise.
        for &topic in unsafe { list(topics, count) } {
            // SAFETY: as above.
            let (code, reason) = unsafe {
                (sys::rd_kafka_topic_result_error(topic), text(sys::rd_kafka_topic_result_error_string(topic)))
            };
            ok(code).map_err(|code| match code {
                RDKafkaErrorCode::TopicAlreadyExists => ClientError::TopicExists { topic: name.to_owned() },
                RDKafkaErrorCode::UnknownTopicOrPartition => ClientError::TopicUnknown { topic: name.to_owned() },
                code => ClientError::of(operation, code, reason, self.limit),
            })?;
        }
        Ok(())
    }
}

struct NewTopic(*mut sys::rd_kafka_NewTopic_t);
// SAFETY: not bound to a thread.
unsafe impl Send for NewTopic {}

impl Drop for NewTopic {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_NewTopic_destroy(self.0) }
    }
}

/// # Safety
/// `id` is null or alive.
unsafe fn uuid(id: *const sys::rd_kafka_Uuid_t) -> Option<u128> {
    if id.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let (most, least) =
        unsafe { (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id)) };
    let id = (u128::from(most as u64) << 64) | u128::from(least as u64);
    // All zero is Kafka's way of saying "none".
    (id != 0).then_some(id)
}
