//! Whether somebody is in a consumer group.

use std::ffi::c_char;
use std::ptr;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::Admin;
use super::call::{c_name, call, error_of, list};
use crate::error::ClientError;

/// Who is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// Nobody, with or without committed offsets: offsets can be read and written.
    Empty,
    /// Offsets cannot be written from outside.
    HasMembers { members: usize },
    /// The broker cannot tell (the development broker); a commit will show.
    Unknown,
}

const DESCRIBE: &str = "group description";

impl Admin {
    /// Who is in `group` now. A group that does not exist is empty.
    pub async fn group_state(&self, group: &str) -> Result<GroupState, ClientError> {
        self.once_coordinated(|| self.describe_group(group)).await
    }

    async fn describe_group(&self, group: &str) -> Result<GroupState, ClientError> {
        let name = c_name(DESCRIBE, group)?;
        let op = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
        let answer = call(&self.handle, DESCRIBE, op, None, self.limit, |request| {
            let mut names: [*const c_char; 1] = [name.as_ptr()];
            // SAFETY: the name lives through the call, which copies it.
            unsafe {
                sys::rd_kafka_DescribeConsumerGroups(
                    request.client,
                    names.as_mut_ptr(),
                    1,
                    request.options,
                    request.queue,
                );
            }
        })
        .await;
        let answer = match answer {
            Err(ClientError::Unsupported { .. }) => return Ok(GroupState::Unknown),
            other => other?,
        };
        // SAFETY: the answer is alive, and with it everything read from it.
        unsafe {
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(answer.event());
            let mut count = 0;
            let groups = if result.is_null() {
                ptr::null_mut()
            } else {
                sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count)
            };
            let Some(&described) = list(groups, count).first() else { return Ok(GroupState::Unknown) };
            match error_of(sys::rd_kafka_ConsumerGroupDescription_error(described)) {
                Err((RDKafkaErrorCode::GroupIdNotFound, _)) => return Ok(GroupState::Empty),
                Err((RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion, _)) => {
                    return Ok(GroupState::Unknown);
                }
                Err((code, reason)) => return Err(ClientError::of(DESCRIBE, code, reason, self.limit)),
                Ok(()) => {}
            }
            use sys::rd_kafka_consumer_group_state_t as State;
            let members = sys::rd_kafka_ConsumerGroupDescription_member_count(described);
            Ok(match sys::rd_kafka_ConsumerGroupDescription_state(described) {
                State::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD | State::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => {
                    GroupState::Empty
                }
                State::RD_KAFKA_CONSUMER_GROUP_STATE_UNKNOWN if members == 0 => GroupState::Unknown,
                _ => GroupState::HasMembers { members },
            })
        }
    }
}
