use std::sync::Arc;

use bytes::Bytes;
use millrace_model::{
    DeploymentId, Lsn, PartitionKey,
    invocation::{HandlerKind, Milestones, Retries, Source, Status},
    journal::{Failure, Notification, NotificationResult},
    ranges::IndexRanges,
};
use millrace_protocol::{AwaitTree, Command, CommandEvent, ty};

use super::*;
use crate::registry::{AttemptPolicy, DeploymentInfo, HandlerInfo};

const NOW: TimestampMs = TimestampMs(1_000_000);

struct Nothing;

impl Registry for Nothing {
    fn deployment_for(&self, _: &str) -> Option<Arc<DeploymentInfo>> {
        None
    }
    fn deployment(&self, _: DeploymentId) -> Option<Arc<DeploymentInfo>> {
        None
    }
    fn handler(&self, _: &str, _: &str) -> Option<HandlerInfo> {
        None
    }
    fn policy(&self, _: &str, _: &str) -> AttemptPolicy {
        AttemptPolicy::default()
    }
}

impl Env for Nothing {
    fn now(&self) -> TimestampMs {
        NOW
    }
    fn random(&self) -> u64 {
        4
    }
}

fn target() -> Target {
    Target { service: "S".into(), handler: "h".into(), key: "k".into(), kind: HandlerKind::Exclusive }
}

fn invocation(pending: Vec<(u32, Pending)>) -> Invocation {
    Invocation {
        created_lsn: Lsn(1),
        created_at: NOW,
        modified_at: NOW,
        milestones: Milestones::default(),
        target: target(),
        source: Source::Ingress,
        idempotency_key: None,
        completion_retention: 0,
        journal_retention: 0,
        random_seed: 0,
        traceparent: None,
        status: Status::Running,
        journal_len: 1,
        commands: 1,
        last_notification: 0,
        awakeables: IndexRanges::default(),
        last_entry_at: NOW,
        attempt: 1,
        last_start_at: None,
        refused: false,
        pin: None,
        pending,
        awaiting: None,
        output: None,
        sinks: Vec::new(),
        retries: Retries::default(),
        last_error: None,
    }
}

struct Case {
    plan: Plan,
    index: u32,
}

impl Case {
    fn new(pending: Vec<(u32, Pending)>) -> Self {
        Self { plan: Plan::new(&invocation(pending)), index: 0 }
    }

    fn event(&mut self, event: Event) -> Result<(), Trouble> {
        let target = target();
        let id = InvocationId { key: PartitionKey(1), unique: 1 };
        let who = Who { id, target: &target, traceparent: None, registry: &Nothing, env: &Nothing };
        self.plan.on_event(event, 5, NOW, &who)
    }

    fn command(&mut self, ty: u16, command: Command) {
        self.index += 1;
        let raw = Bytes::from_static(b"raw");
        let event =
            CommandEvent { command_index: self.index, ty, raw, ack_requested: false, name: Text::default(), command };
        self.event(Event::Command(event)).unwrap();
    }

    fn sleep(&mut self, cid: u32, ms: u64) {
        self.command(ty::SLEEP, Command::Sleep { wake_up_time_ms: NOW.0 + ms, cid });
    }

    fn run(&mut self, cid: u32) {
        self.command(ty::RUN, Command::Run { cid });
    }

    fn run_result(&mut self, completion_id: u32) {
        self.try_run_result(completion_id).unwrap();
    }

    fn try_run_result(&mut self, completion_id: u32) -> Result<(), Trouble> {
        let result = Completion::Failure(Failure::new(500, "x"));
        self.event(Event::RunProposal { completion_id, result, ack: true })
    }

    fn clear(&mut self) {
        self.command(ty::CLEAR_ALL_STATE, Command::ClearAllState);
    }

    fn awaits(&mut self, completions: &[u32], executing_side_effects: bool) {
        let mut leaves: Vec<_> = completions.iter().map(|id| NotificationId::Completion(*id)).collect();
        leaves.push(NotificationId::Signal(1));
        let tree = AwaitTree::any(leaves).unwrap();
        self.event(Event::AwaitingOn { tree, executing_side_effects }).unwrap();
    }

    fn sent(&mut self, completion: u32) {
        let id = NotificationId::Completion(completion);
        let result = NotificationResult::Void;
        self.plan.on_sent(&Entry::Notification(Notification { ty: ty::SLEEP_COMPLETION, id, result }));
    }
}

fn awaiting(completions: &[u32]) -> Option<Awaiting> {
    Some(Awaiting { completions: completions.to_vec(), signals: vec![1], ..Awaiting::default() })
}

#[test]
fn what_nobody_waits_for_is_held_until_something_is() {
    let mut case = Case::new(vec![]);
    case.clear();
    case.run(1);
    assert!(case.plan.is_holding() && !case.plan.is_urgent());
    case.run_result(1);
    assert!(case.plan.is_urgent());
    let batch = case.plan.take();
    assert_eq!(batch.actions.len(), 3);
    assert!(!batch.lazy && !case.plan.is_holding() && !case.plan.is_urgent());
    assert_eq!(case.plan.take(), Batch { lazy: true, ..Batch::default() });
}

#[test]
fn a_step_has_one_result() {
    let mut case = Case::new(vec![(7, Pending::Run), (8, Pending::Sleep { wake_at: NOW })]);
    case.run(1);
    case.run_result(7);
    case.run_result(1);
    for completion in [1, 7, 8, 9] {
        assert_eq!(case.try_run_result(completion).unwrap_err().code.id, "RT0012", "{completion}");
    }
    assert_eq!(case.plan.take_last().actions.len(), 3);
}

#[test]
fn a_step_that_takes_its_time_needs_no_batch_of_its_own() {
    let mut case = Case::new(vec![]);
    case.run(1);
    assert!(case.plan.take().lazy);
    case.clear();
    assert!(!case.plan.take().lazy);
    case.awaits(&[9], false);
    assert!(case.plan.take().lazy);
}

#[test]
fn a_timer_is_urgent_only_if_it_is_near() {
    let mut case = Case::new(vec![]);
    case.sleep(1, FAR_MS + 1);
    assert!(!case.plan.is_urgent());
    case.sleep(2, FAR_MS);
    assert!(case.plan.is_urgent());
}

#[test]
fn only_far_timers_and_signals_are_worth_a_suspension() {
    let sleeping = |ms| vec![(1, Pending::Sleep { wake_at: NOW.after(ms) }), (2, Pending::Run)];
    for (pending, completions, side_effects, expected) in [
        (sleeping(5000), &[1][..], false, true),
        (sleeping(FAR_MS), &[1], false, false),
        (sleeping(5000), &[1, 2], false, false),
        (sleeping(5000), &[2], false, false),
        (sleeping(5000), &[1], true, false),
        (sleeping(5000), &[], false, true),
    ] {
        let mut case = Case::new(pending);
        case.awaits(completions, side_effects);
        assert_eq!(case.plan.may_suspend(NOW), expected, "{completions:?} {side_effects}");
    }
    let mut case = Case::new(vec![]);
    assert!(!case.plan.may_suspend(NOW), "it said nothing yet");
    case.sleep(1, 5000);
    case.awaits(&[1], false);
    assert!(case.plan.may_suspend(NOW));
    case.sent(1);
    assert!(!case.plan.may_suspend(NOW), "what it waits for is on the way");
}

#[test]
fn a_hint_is_proposed_once_and_not_behind_what_changed_it() {
    let mut case = Case::new(vec![]);
    case.awaits(&[1], false);
    case.awaits(&[2], false);
    let hint = |completions| Action::AwaitingOn { awaiting: awaiting(completions), seen: 5 };
    assert_eq!(case.plan.take().actions, [hint(&[2])]);
    case.awaits(&[2], false);
    assert!(!case.plan.is_holding(), "the leader has it");
    case.awaits(&[3], false);
    case.sent(3);
    assert!(!case.plan.is_holding(), "it will say something else");
    case.awaits(&[4], false);
    case.run(5);
    assert!(matches!(&*case.plan.take().actions, [Action::Command { .. }]));
    // A command clears what the leader has.
    case.awaits(&[2], false);
    assert_eq!(case.plan.take().actions, [hint(&[2])]);
    case.awaits(&[2, 9], true);
    assert_eq!(case.plan.take().actions, [Action::AwaitingOn { awaiting: None, seen: 5 }]);
    case.awaits(&[2], true);
    assert!(!case.plan.is_holding());
}

#[test]
fn the_last_batch_has_no_hint() {
    let mut case = Case::new(vec![]);
    case.sleep(1, 60_000);
    case.awaits(&[1], false);
    case.event(Event::Suspension(AwaitTree::any(vec![NotificationId::Completion(1)]).unwrap())).unwrap();
    assert!(case.plan.is_over());
    let batch = case.plan.take_last();
    assert!(matches!(&*batch.actions, [Action::Command { .. }]) && !batch.lazy);
    assert!(matches!(case.plan.terminal(), Some(Terminal::Suspension(_))));
}

#[test]
fn what_is_held_has_limits() {
    let mut case = Case::new(vec![]);
    for _ in 0..ACTIONS_MAX {
        assert!(!case.plan.is_full());
        case.clear();
    }
    assert!(case.plan.is_full());
    case.plan.take();
    assert!(!case.plan.is_full());
}

#[test]
fn what_was_good_before_a_failure_stays_good() {
    let mut case = Case::new(vec![]);
    case.clear();
    let event = CommandEvent {
        command_index: 2,
        ty: ty::GET_PROMISE,
        raw: Bytes::new(),
        ack_requested: false,
        name: "p".into(),
        command: Command::GetPromise { key: "p".into(), cid: 1 },
    };
    let trouble = case.event(Event::Command(event)).unwrap_err();
    assert_eq!(trouble.code.id, "RT0017");
    assert_eq!(case.plan.take_last().actions.len(), 1);
}
