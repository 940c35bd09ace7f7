//! What an SDK's handlers may rely on, whatever language, transport and protocol version they speak.

mod awakeables;
mod calls;
mod cancelling;
mod combining;
mod durable;
mod failing;
mod generic;
mod ingress;
mod programs;
mod signals;
mod state;
mod workflows;

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
    generic::any_handler_is_called_by_name,
    generic::a_generic_send_arrives,
    generic::a_delayed_send_leaves_the_key_free,
    generic::an_idempotent_call_of_a_handler_runs_once,
    generic::an_idempotent_send_of_a_handler_runs_once,
    generic::headers_of_a_handler_arrive,
    generic::sends_to_a_key_keep_their_order,
    generic::failures_among_many_calls_are_told_apart,
    state::a_key_stays_locked_while_its_handler_sleeps,
    state::lists_grow,
    state::every_access_to_state_works_eager_and_lazy,
    state::a_handler_sees_its_own_changes_eager_and_lazy,
    awakeables::a_handler_resolves_an_awakeable,
    awakeables::a_handler_rejects_an_awakeable,
    awakeables::awakeables_are_completed_over_http,
    awakeables::an_early_completion_is_kept,
    awakeables::an_awakeable_times_out,
    workflows::a_workflow_waits_for_a_promise,
    workflows::a_promise_may_be_resolved_first,
    workflows::a_rejected_promise_fails_the_waiter,
    workflows::a_promise_is_completed_once,
    workflows::a_workflow_runs_once,
    workflows::all_handlers_wait_for_one_promise,
    workflows::a_workflow_starts_another,
    cancelling::a_tree_is_cancelled_from_the_root,
    cancelling::a_tree_is_undone_from_the_leaf,
    cancelling::a_handler_cancels_a_tree,
    cancelling::a_killed_tree_undoes_nothing,
    failing::retries_of_a_step_are_used_up,
    failing::the_time_of_a_step_is_used_up,
    failing::a_step_fails_for_good,
    failing::chance_is_the_same_in_every_attempt,
    failing::the_clock_is_the_same_in_every_attempt,
    failing::a_replay_logs_nothing,
    failing::errors_are_mapped_to_terminal_ones,
    failing::finished_steps_are_not_repeated_when_another_fails,
    failing::what_was_journaled_cannot_be_changed,
    combining::all_wait_for_the_last,
    combining::any_takes_the_first_success,
    combining::race_takes_the_first,
    combining::all_are_settled,
    combining::select_names_the_first,
    combining::sleeps_end_in_order,
    combining::a_timeout_ends_waiting,
    combining::the_winner_stays_the_winner,
    combining::the_loser_is_cancelled,
    signals::a_named_signal_arrives,
    signals::a_rejected_signal_fails_the_waiter,
    signals::a_repeated_signal_arrives_twice,
    signals::a_handler_attaches_to_an_invocation,
    signals::a_handler_reads_an_output,
    programs::every_command_does_what_the_contract_says,
];

/// Promises that need what an SDK does not have: the table of `services/README.md`.
const IMPOSSIBLE: &[(&str, &[&str])] = &[
    ("typescript", &["a_handler_reads_an_output"]),
    ("python", &["a_handler_reads_an_output", "errors_are_mapped_to_terminal_ones"]),
    (
        "rust",
        &[
            "a_handler_reads_an_output",
            "errors_are_mapped_to_terminal_ones",
            "the_clock_is_the_same_in_every_attempt",
            "finished_steps_are_not_repeated_when_another_fails",
        ],
    ),
    (
        "java",
        &[
            "a_named_signal_arrives",
            "a_rejected_signal_fails_the_waiter",
            "a_repeated_signal_arrives_twice",
            "errors_are_mapped_to_terminal_ones",
            "the_clock_is_the_same_in_every_attempt",
        ],
    ),
    (
        "go",
        &["a_handler_reads_an_output", "errors_are_mapped_to_terminal_ones", "the_clock_is_the_same_in_every_attempt"],
    ),
];

/// Whether the SDK of this language has what a promise needs.
pub fn possible(language: &str, promise: &str) -> bool {
    IMPOSSIBLE.iter().all(|(of, promises)| !language.starts_with(of) || !promises.contains(&promise))
}
