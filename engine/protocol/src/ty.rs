//! Message type numbers (`spec/service-protocol.md` sections 3 and 4).

macro_rules! types {
    ($($id:ident = $number:literal, $name:literal;)*) => {
        $(#[doc = concat!($name, ".")] pub const $id: u16 = $number;)*

        /// The message's name, `None` if the number is not one of ours.
        pub fn name(ty: u16) -> Option<&'static str> {
            match ty {
                $($id => Some($name),)*
                _ => None,
            }
        }
    };
}

types! {
    START = 0x0000, "Start";
    SUSPENSION = 0x0001, "Suspension";
    ERROR = 0x0002, "Error";
    END = 0x0003, "End";
    COMMAND_ACK = 0x0004, "CommandAck";
    PROPOSE_RUN_COMPLETION = 0x0005, "ProposeRunCompletion";
    AWAITING_ON = 0x0006, "AwaitingOn";
    PROPOSE_RUN_COMPLETION_ACK = 0x0007, "ProposeRunCompletionAck";

    GET_STATE_EPHEMERAL = 0x0200, "GetStateEphemeral";
    GET_STATE_EPHEMERAL_ANSWER = 0x0300, "GetStateEphemeralAnswer";

    INPUT = 0x0400, "Input";
    OUTPUT = 0x0401, "Output";
    GET_LAZY_STATE = 0x0402, "GetLazyState";
    SET_STATE = 0x0403, "SetState";
    CLEAR_STATE = 0x0404, "ClearState";
    CLEAR_ALL_STATE = 0x0405, "ClearAllState";
    GET_LAZY_STATE_KEYS = 0x0406, "GetLazyStateKeys";
    GET_EAGER_STATE = 0x0407, "GetEagerState";
    GET_EAGER_STATE_KEYS = 0x0408, "GetEagerStateKeys";
    GET_PROMISE = 0x0409, "GetPromise";
    PEEK_PROMISE = 0x040A, "PeekPromise";
    COMPLETE_PROMISE = 0x040B, "CompletePromise";
    SLEEP = 0x040C, "Sleep";
    CALL = 0x040D, "Call";
    ONE_WAY_CALL = 0x040E, "OneWayCall";
    SEND_SIGNAL = 0x0410, "SendSignal";
    RUN = 0x0411, "Run";
    ATTACH_INVOCATION = 0x0412, "AttachInvocation";
    GET_INVOCATION_OUTPUT = 0x0413, "GetInvocationOutput";
    COMPLETE_AWAKEABLE = 0x0414, "CompleteAwakeable";

    GET_LAZY_STATE_COMPLETION = 0x8002, "GetLazyStateCompletion";
    GET_LAZY_STATE_KEYS_COMPLETION = 0x8006, "GetLazyStateKeysCompletion";
    GET_PROMISE_COMPLETION = 0x8009, "GetPromiseCompletion";
    PEEK_PROMISE_COMPLETION = 0x800A, "PeekPromiseCompletion";
    COMPLETE_PROMISE_COMPLETION = 0x800B, "CompletePromiseCompletion";
    SLEEP_COMPLETION = 0x800C, "SleepCompletion";
    CALL_COMPLETION = 0x800D, "CallCompletion";
    CALL_INVOCATION_ID_COMPLETION = 0x800E, "CallInvocationIdCompletion";
    RUN_COMPLETION = 0x8011, "RunCompletion";
    ATTACH_INVOCATION_COMPLETION = 0x8012, "AttachInvocationCompletion";
    GET_INVOCATION_OUTPUT_COMPLETION = 0x8013, "GetInvocationOutputCompletion";
    SIGNAL = 0xFBFF, "Signal";
}

/// First number of the range that no specification fills.
pub const CUSTOM_FIRST: u16 = 0xFC00;

/// A command: the handler made it, or it is Input. Counts for command indices.
pub const fn is_command(ty: u16) -> bool {
    matches!(ty, 0x0400..=0x7FFF)
}

/// A notification: the server made it.
pub const fn is_notification(ty: u16) -> bool {
    matches!(ty, 0x8000..=0xFBFF)
}

/// Of the stream only (version 8): neither journaled nor counted.
pub const fn is_ephemeral(ty: u16) -> bool {
    matches!(ty, 0x0200..=0x03FF)
}

/// The name for messages to people; also of numbers that are not ours.
pub fn display(ty: u16) -> String {
    name(ty).map_or_else(|| format!("message {ty:#06x}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_its_range() {
        for number in 0..=u16::MAX {
            match name(number) {
                Some(name) if name.ends_with("Completion") && number != PROPOSE_RUN_COMPLETION => {
                    assert!(is_notification(number), "{name}");
                }
                Some(_) if is_ephemeral(number) => assert!(!is_command(number) && !is_notification(number)),
                Some(_) => assert!(number < 8 || is_command(number) || number == SIGNAL),
                None => assert!(!(INPUT..=ONE_WAY_CALL).contains(&number)),
            }
        }
        assert!(!is_notification(CUSTOM_FIRST) && !is_command(CUSTOM_FIRST));
    }
}
