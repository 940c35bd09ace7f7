//! Sources, shuffle and budgets. Invariants 4 and 6 of DESIGN.md.

mod support;

use millrace_machine::Answer;
use millrace_model::{
    Command, InvocationId, PartitionId, TimestampMs,
    command::{Action, Decision, Ingest, IngestRecord, Lane, Message, OpenSource, SeekReason, SeekSource},
    invocation::{AttemptError, HandlerKind, NewInvocation, Status},
    source::{Budget, REJECTED_EXAMPLES_MAX, RejectReason},
    table::{Sources, TimerKey, TimerKind},
};
use support::*;

fn open(world: &mut World, position: i64) -> Answer {
    let now = world.now();
    world.apply(0, Command::OpenSource(OpenSource { source: source_id(), topic: text("t"), position, now })).0
}

fn ingest(world: &mut World, generation: u32, from: i64, to: i64, records: Vec<IngestRecord>) -> Answer {
    let (now, source) = (world.now(), source_id());
    let ingest = Ingest { source, generation, from, to, records, record_at: None, now };
    world.apply(0, Command::Ingest(Box::new(ingest))).0
}

fn invoke(new: &NewInvocation) -> IngestRecord {
    IngestRecord::Invoke(Box::new(new.clone()))
}

#[test]
fn an_ingest_applies_once_and_only_where_the_source_stands() {
    let mut world = World::new(1);
    let record = world.record("k", HandlerKind::Exclusive, 0, 100);
    assert_eq!(ingest(&mut world, 0, 5, 6, vec![invoke(&record)]), Answer::Source(None), "not open");
    assert_eq!(open(&mut world, 5), Answer::Source(Some((0, 5))));
    assert_eq!(open(&mut world, 9), Answer::Source(Some((0, 5))), "the start is fixed once");
    for (generation, from, to) in [(0, 4, 6), (0, 6, 7), (1, 5, 6), (0, 5, 4)] {
        let answer = ingest(&mut world, generation, from, to, vec![invoke(&record)]);
        assert_eq!(answer, Answer::Source(Some((0, 5))), "void: {generation} {from} {to}");
        assert_eq!(world.row(record.id), None);
    }
    // Offsets may skip.
    assert_eq!(ingest(&mut world, 0, 5, 9, vec![invoke(&record)]), Answer::Source(Some((0, 9))));
    assert!(world.row(record.id).is_some());
    let repeat = world.record("k", HandlerKind::Exclusive, 0, 100);
    assert_eq!(ingest(&mut world, 0, 5, 9, vec![invoke(&repeat)]), Answer::Source(Some((0, 9))));
    assert_eq!(world.row(repeat.id), None, "a repeat counts once");
}

#[test]
fn a_seek_voids_what_was_read_before_it() {
    let mut world = World::new(1);
    open(&mut world, 0);
    let seek = |generation| {
        let reason = SeekReason::Trimmed;
        Command::SeekSource(SeekSource { source: source_id(), generation, position: 50, missing: 50, reason })
    };
    assert_eq!(world.apply(0, seek(0)).0, Answer::Source(Some((1, 50))));
    assert_eq!(world.apply(0, seek(0)).0, Answer::Source(Some((1, 50))), "once");
    let record = world.record("k", HandlerKind::Exclusive, 0, 100);
    ingest(&mut world, 0, 50, 51, vec![invoke(&record)]);
    assert_eq!(world.row(record.id), None);
    assert_eq!(world.get::<Sources>(0, &source_id()).unwrap().missing, 50);
    world.apply(0, Command::CloseSource { source: source_id() });
    assert_eq!(ingest(&mut world, 1, 50, 51, vec![invoke(&record)]), Answer::Source(None));
}

#[test]
fn rejected_records_are_counted_and_the_last_ones_remembered() {
    let mut world = World::new(1);
    open(&mut world, 0);
    let reject = |offset| IngestRecord::Reject { offset, reason: RejectReason::NullKey };
    ingest(&mut world, 0, 0, 8, (0..8).map(reject).collect());
    let row = world.get::<Sources>(0, &source_id()).unwrap();
    assert_eq!((row.rejected, row.position, row.examples.len()), (8, 8, REJECTED_EXAMPLES_MAX));
    assert_eq!(row.examples.last().unwrap().offset, 7);
}

#[test]
fn a_delivery_with_a_gap_is_rejected_whole_and_repeats_are_skipped() {
    let mut world = World::new(2);
    let mut messages = Vec::new();
    let mut ids = Vec::new();
    while messages.len() < 4 {
        let new = world.exclusive(&format!("key-{}", messages.len() * 31 + ids.len()));
        ids.push(new.id);
        messages.push(Message::Invoke(Box::new(new)));
    }
    let deliver = |world: &mut World, first: u64, range: std::ops::Range<usize>| {
        let (from, now) = (PartitionId(1), world.now());
        let messages = messages[range].to_vec();
        world.apply(0, Command::Deliver { from, lane: Lane::Events, first, messages, now }).0
    };
    let there = |world: &World, id: &InvocationId| world.get::<millrace_model::table::Invocations>(0, id).is_some();
    assert_eq!(deliver(&mut world, 2, 1..3), Answer::Delivered { next: 1 });
    assert!(!there(&world, &ids[1]));
    assert_eq!(deliver(&mut world, 1, 0..2), Answer::Delivered { next: 3 });
    assert_eq!(deliver(&mut world, 1, 0..2), Answer::Delivered { next: 3 });
    assert_eq!(deliver(&mut world, 1, 0..3), Answer::Delivered { next: 4 }, "takes what is new of it");
    assert_eq!(deliver(&mut world, 5, 0..1), Answer::Delivered { next: 4 });
    assert_eq!(deliver(&mut world, 4, 3..4), Answer::Delivered { next: 5 });
    assert!(ids.iter().all(|id| there(&world, id)));
    // The lanes have sequences of their own.
    let (from, now) = (PartitionId(1), world.now());
    let control = Command::Deliver { from, lane: Lane::Control, first: 5, messages: vec![], now };
    assert_eq!(world.apply(0, control).0, Answer::Delivered { next: 1 });
}

#[test]
fn a_keys_records_beyond_its_share_are_held() {
    let mut world = World::new(1);
    open(&mut world, 0);
    let records: Vec<_> = (0..5).map(|_| world.record("hot", HandlerKind::Exclusive, 0, 3)).collect();
    ingest(&mut world, 0, 0, 5, records.iter().map(invoke).collect());
    let budget = |ready, held| Budget {
        ready_records: ready,
        ready_bytes: ready * 10,
        held_records: held,
        held_bytes: held * 10,
    };
    assert_eq!(world.budget(0), budget(3, 2));
    world.end(records[0].id);
    assert_eq!(world.budget(0), budget(3, 1));
    // A head that fails holds everything behind it, itself included; a good end frees it.
    let error =
        AttemptError { code: text("RT0007"), status: 500, message: text(""), stacktrace: text(""), related: None };
    let at = TimestampMs(world.now + 10);
    let fail = Action::Fail { decision: Decision::RetryAt(at), error, counts: true };
    world.attempt(records[1].id, 1, vec![fail]);
    assert_eq!(world.budget(0), budget(0, 4));
    world.now += 10;
    let timers = vec![TimerKey { at, id: records[1].id, kind: TimerKind::Retry }];
    let now = world.now();
    world.apply(0, Command::FireTimers { now, timers });
    assert_eq!(world.row(records[1].id).unwrap().status, Status::Running);
    world.end(records[1].id);
    assert_eq!(world.budget(0), budget(3, 0));
    for record in &records[2..] {
        world.end(record.id);
    }
    assert_eq!(world.budget(0), Budget::ZERO);
}

/// Random records, ends, failures and kills over partitions: the readers' budgets always add up to what is not
/// settled (messages under way counted), and to nothing in the end.
#[test]
fn budgets_add_up_to_what_is_not_settled() {
    for seed in 1..60u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) % n
        };
        let n = 1 + (seed % 3) as u16;
        let mut world = World::new(n);
        open(&mut world, 0);
        let mut position = 0;
        let mut alive: Vec<InvocationId> = Vec::new();
        for _ in 0..120 {
            match next(4) {
                0 => {
                    let count = 1 + next(4) as i64;
                    let records: Vec<_> = (0..count)
                        .map(|_| {
                            let kind = [HandlerKind::Exclusive, HandlerKind::Shared][next(4) as usize / 3];
                            world.record(&format!("k{}", next(5)), kind, 0, 2)
                        })
                        .collect();
                    alive.extend(records.iter().map(|r| r.id));
                    let answer =
                        ingest(&mut world, 0, position, position + count, records.iter().map(invoke).collect());
                    position += count;
                    assert_eq!(answer, Answer::Source(Some((0, position))));
                }
                1 => world.shuffle(),
                what => {
                    let running: Vec<_> = alive
                        .iter()
                        .copied()
                        .filter(|id| world.row(*id).is_some_and(|row| row.status == Status::Running))
                        .collect();
                    if running.is_empty() {
                        continue;
                    }
                    let id = running[next(running.len() as u64) as usize];
                    if what == 2 || next(3) > 0 {
                        world.end(id);
                        alive.retain(|other| *other != id);
                    } else {
                        let victim = alive[next(alive.len() as u64) as usize];
                        if world.row(victim).is_some() {
                            let now = world.now();
                            let mode = millrace_model::command::TerminateMode::Kill;
                            let owner = world.owner(victim);
                            world.apply(owner, Command::Terminate { id: victim, mode, now });
                            alive.retain(|other| *other != victim);
                        }
                    }
                }
            }
        }
        world.shuffle();
        let budget = world.budget(0);
        assert_eq!(budget.ready_records + budget.held_records, alive.len() as i64, "seed {seed}");
        assert_eq!(budget.ready_bytes + budget.held_bytes, alive.len() as i64 * 10, "seed {seed}");
        while let Some(id) =
            alive.iter().copied().find(|id| world.row(*id).is_some_and(|row| row.status == Status::Running))
        {
            world.end(id);
            alive.retain(|other| *other != id);
        }
        world.shuffle();
        assert!(alive.is_empty(), "seed {seed}: {} wait for ever", alive.len());
        assert_eq!(world.budget(0), Budget::ZERO, "seed {seed}");
    }
}
