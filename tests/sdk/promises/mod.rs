//! What an SDK's handlers may rely on, whatever language, transport and protocol version they speak.

mod calls;
mod durable;
mod ingress;
mod state;

use crate::stage::Promise;

macro_rules! promises {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), |stage| Box::pin($module::$name(stage)))),*]
    };
}

/// Everything.
pub const ALL: &[Promise] = promises![
    ingress::a_service_answers,
    ingress::raw_bytes_pass_unchanged,
    ingress::headers_reach_the_handler,
    ingress::a_terminal_error_keeps_code_and_message,
    ingress::a_send_is_accepted_and_its_result_kept,
    ingress::a_delayed_send_waits,
    ingress::an_idempotent_call_runs_once,
    state::state_is_kept_per_key,
    state::any_text_is_a_key,
    state::a_large_value_is_kept,
    state::one_at_a_time_per_key_however_often_it_fails,
    durable::steps_run_once_each,
    durable::a_failed_attempt_is_retried,
    durable::a_failed_step_is_retried,
    durable::a_sleeper_is_suspended_and_woken,
    durable::a_sleeper_goes_on_with_the_next_step,
    calls::a_call_returns_the_result,
    calls::a_call_returns_the_terminal_error,
    calls::a_one_way_call_arrives,
    calls::a_delayed_one_way_call_waits,
    calls::the_id_of_a_send_is_its_own,
    calls::calls_nest,
    calls::calls_fan_out,
    calls::many_calls_at_once,
];
