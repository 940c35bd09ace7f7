//! Offsets of partitions and of groups.

use std::ptr;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys as sys;

use super::Admin;
use super::call::{c_name, call, error_of, list, ok};
use crate::error::ClientError;

/// Which end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The first offset that is still there.
    Earliest,
    /// The offset after the last record.
    Latest,
    /// The same, but not past the first record of a transaction that is still open.
    LatestStable,
}

/// The answer about one partition.
#[derive(Clone, Debug)]
pub struct PartitionOffset {
    pub topic: String,
    pub partition: i32,
    pub offset: Result<i64, ClientError>,
}

/// What a group has committed for one partition.
#[derive(Clone, Debug)]
pub struct Committed {
    pub topic: String,
    pub partition: i32,
    /// `None`: nothing is committed.
    pub offset: Result<Option<i64>, ClientError>,
    /// What the writer left with it; empty if nothing.
    pub metadata: String,
}

/// A position to be written for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    pub metadata: &'a str,
}

const LIST: &str = "partition offsets";
const COMMITTED: &str = "committed offsets";
const COMMIT: &str = "offset commit";

impl Admin {
    /// One end of each of many partitions, asked of their leaders in one request per leader.
    ///
    /// A partition that does not exist has an error of its own; the order of the answers is not that of `partitions`.
    pub async fn list_offsets(
        &self,
        partitions: &[(&str, i32)],
        query: OffsetQuery,
    ) -> Result<Vec<PartitionOffset>, ClientError> {
        use sys::rd_kafka_IsolationLevel_t as Isolation;
        use sys::rd_kafka_OffsetSpec_t as Spec;
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let (spec, isolation) = match query {
            OffsetQuery::Earliest => {
                (Spec::RD_KAFKA_OFFSET_SPEC_EARLIEST, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED)
            }
            OffsetQuery::Latest => {
                (Spec::RD_KAFKA_OFFSET_SPEC_LATEST, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED)
            }
            OffsetQuery::LatestStable => {
                (Spec::RD_KAFKA_OFFSET_SPEC_LATEST, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED)
            }
        };
        let asked = partition_list(LIST, partitions.iter().map(|&(topic, partition)| (topic, partition)))?;
        // SAFETY: the list is alive and has the elements that were added.
        for element in unsafe { elements_mut(&asked) } {
            element.offset = spec as i64;
        }
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
        let answer = call(&self.handle, LIST, op, None, self.limit, |request| {
            // SAFETY: the list lives through the call, which copies it. The level is one of the two there are.
            unsafe {
                let error = sys::rd_kafka_AdminOptions_set_isolation_level(request.options, isolation);
                if !error.is_null() {
                    sys::rd_kafka_error_destroy(error);
                }
                sys::rd_kafka_ListOffsets(request.client, asked.ptr(), request.options, request.queue);
            }
        })
        .await?;
        // SAFETY: the answer is alive, and with it everything read from it.
        unsafe {
            let result = sys::rd_kafka_event_ListOffsets_result(answer.event());
            let mut count = 0;
            let infos = if result.is_null() {
                ptr::null_mut()
            } else {
                sys::rd_kafka_ListOffsets_result_infos(result, &mut count)
            };
            let read = |&info: &*const sys::rd_kafka_ListOffsetsResultInfo_t| {
                let element = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(info);
                let (topic, error) = self.element(LIST, element);
                let partition = element.partition;
                PartitionOffset { topic, partition, offset: error.map(|()| element.offset) }
            };
            Ok(list(infos, count).iter().map(read).collect())
        }
    }

    /// What `group` has committed for `partitions`. A group that does not exist has committed nothing.
    pub async fn committed(&self, group: &str, partitions: &[(&str, i32)]) -> Result<Vec<Committed>, ClientError> {
        self.once_coordinated(|| self.read_committed(group, partitions)).await
    }

    async fn read_committed(&self, group: &str, partitions: &[(&str, i32)]) -> Result<Vec<Committed>, ClientError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let asked = partition_list(COMMITTED, partitions.iter().map(|&(topic, partition)| (topic, partition)))?;
        let group_name = c_name(COMMITTED, group)?;
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
        let answer = call(&self.handle, COMMITTED, op, None, self.limit, |request| {
            // SAFETY: made, used (it is copied) and destroyed here.
            unsafe {
                let mut groups = [sys::rd_kafka_ListConsumerGroupOffsets_new(group_name.as_ptr(), asked.ptr())];
                sys::rd_kafka_ListConsumerGroupOffsets(
                    request.client,
                    groups.as_mut_ptr(),
                    1,
                    request.options,
                    request.queue,
                );
                sys::rd_kafka_ListConsumerGroupOffsets_destroy(groups[0]);
            }
        })
        .await?;
        // SAFETY: the answer is alive, and with it everything read from it.
        unsafe {
            let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.event());
            let mut count = 0;
            let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
            let elements = self.group_result(COMMITTED, group, groups, count)?;
            let read = |element: &sys::rd_kafka_topic_partition_t| {
                let (topic, error) = self.element(COMMITTED, element);
                let offset = error.map(|()| (element.offset >= 0).then_some(element.offset));
                let metadata = list(element.metadata.cast::<u8>(), element.metadata_size);
                let metadata = String::from_utf8_lossy(metadata).into_owned();
                Committed { topic, partition: element.partition, offset, metadata }
            };
            Ok(elements.iter().map(read).collect())
        }
    }

    /// Writes positions for a group that nobody is a member of; all of `commits` in one request.
    ///
    /// * Errors: `GroupHasMembers`, nothing was written. An error about one partition says nothing about the others.
    /// * Nobody checks the offsets: one past the end or a step back is stored as it is.
    pub async fn commit(&self, group: &str, commits: &[Commit<'_>]) -> Result<(), ClientError> {
        self.once_coordinated(|| self.write_committed(group, commits)).await
    }

    async fn write_committed(&self, group: &str, commits: &[Commit<'_>]) -> Result<(), ClientError> {
        if commits.is_empty() {
            return Ok(());
        }
        let mut positions = TopicPartitionList::with_capacity(commits.len());
        for commit in commits {
            c_name(COMMIT, commit.topic)?;
            let invalid = |error| ClientError::Invalid { operation: COMMIT, reason: format!("{error}") };
            positions
                .add_partition_offset(commit.topic, commit.partition, Offset::Offset(commit.offset))
                .map_err(invalid)?;
            let mut added =
                positions.find_partition(commit.topic, commit.partition).expect("it was added a moment ago");
            added.set_metadata(commit.metadata);
        }
        let group_name = c_name(COMMIT, group)?;
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
        let answer = call(&self.handle, COMMIT, op, None, self.limit, |request| {
            // SAFETY: made, used (it is copied) and destroyed here.
            unsafe {
                let mut groups = [sys::rd_kafka_AlterConsumerGroupOffsets_new(group_name.as_ptr(), positions.ptr())];
                sys::rd_kafka_AlterConsumerGroupOffsets(
                    request.client,
                    groups.as_mut_ptr(),
                    1,
                    request.options,
                    request.queue,
                );
                sys::rd_kafka_AlterConsumerGroupOffsets_destroy(groups[0]);
            }
        })
        .await
        .map_err(|error| membership(error, group))?;
        // SAFETY: the answer is alive, and with it everything read from it.
        unsafe {
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.event());
            let mut count = 0;
            let groups = sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count);
            let elements = self.group_result(COMMIT, group, groups, count)?;
            elements.iter().try_for_each(|element| self.element(COMMIT, element).1).map_err(|e| membership(e, group))
        }
    }

    /// # Safety
    /// `groups` has `count` elements that are alive for `'a`.
    unsafe fn group_result<'a>(
        &self,
        operation: &'static str,
        group: &str,
        groups: *mut *const sys::rd_kafka_group_result_t,
        count: usize,
    ) -> Result<&'a [sys::rd_kafka_topic_partition_t], ClientError> {
        // SAFETY: the caller's promise.
        unsafe {
            let Some(&result) = list(groups, count).first() else {
                return Err(ClientError::Broker {
                    operation,
                    code: RDKafkaErrorCode::Fail,
                    reason: "an empty answer".into(),
                });
            };
            error_of(sys::rd_kafka_group_result_error(result))
                .map_err(|(code, reason)| membership(ClientError::of(operation, code, reason, self.limit), group))?;
            let partitions = sys::rd_kafka_group_result_partitions(result);
            Ok(if partitions.is_null() { &[] } else { list((*partitions).elems, (*partitions).cnt as usize) })
        }
    }

    /// Topic and error of an element.
    fn element(
        &self,
        operation: &'static str,
        element: &sys::rd_kafka_topic_partition_t,
    ) -> (String, Result<(), ClientError>) {
        // SAFETY: an element's topic is a C string as long as the element lives.
        let topic = unsafe { crate::record::text(element.topic) };
        let error = ok(element.err)
            .map_err(|code| ClientError::of_partition(operation, &topic, element.partition, code, self.limit));
        (topic, error)
    }
}

/// The codes by which brokers say that a group has members, as the error that says so.
fn membership(error: ClientError, group: &str) -> ClientError {
    use RDKafkaErrorCode as C;
    match error {
        ClientError::Broker {
            code:
                C::UnknownMemberId
                | C::NonEmptyGroup
                | C::IllegalGeneration
                | C::RebalanceInProgress
                | C::StaleMemberEpoch
                | C::FencedMemberEpoch,
            ..
        } => ClientError::GroupHasMembers { group: group.to_owned() },
        other => other,
    }
}

fn partition_list<'a>(
    operation: &'static str,
    partitions: impl Iterator<Item = (&'a str, i32)>,
) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        c_name(operation, topic)?;
        list.add_partition(topic, partition);
    }
    Ok(list)
}

/// # Safety
/// Nobody else looks at the elements meanwhile.
#[allow(clippy::mut_from_ref)]
unsafe fn elements_mut(list: &TopicPartitionList) -> &mut [sys::rd_kafka_topic_partition_t] {
    // SAFETY: the list is alive; the caller's promise.
    unsafe {
        let raw = &*list.ptr();
        if raw.cnt == 0 { &mut [] } else { std::slice::from_raw_parts_mut(raw.elems, raw.cnt as usize) }
    }
}
