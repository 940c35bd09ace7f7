//! Rules broken on purpose: each is noticed, by the right checker, within few seeds.

use millrace_sim::{Invariant, Mutation, run};

/// Seeds within which it must be noticed.
const SEEDS: u64 = 60;

fn caught(mutation: Mutation, invariant: Invariant) {
    for seed in 1..=SEEDS {
        if let Some(violation) = run(seed, mutation, false).violation {
            println!("seed={seed} {violation}");
            // A reader that trusts the wrong topic may also come to a stop.
            if violation.invariant == Invariant::Drain {
                continue;
            }
            assert_eq!(violation.invariant, invariant, "seed={seed} {violation}");
            return;
        }
    }
    panic!("{mutation:?} was not noticed");
}

#[test]
fn records_of_a_deposed_leader_count() {
    caught(Mutation::OlderEpoch, Invariant::Leaders);
}

#[test]
fn a_gap_in_a_sequence_is_taken() {
    caught(Mutation::AcceptGap, Invariant::Once);
}

#[test]
fn a_step_is_acknowledged_before_it_is_committed() {
    caught(Mutation::AckBeforeCommit, Invariant::Journal);
}

#[test]
fn a_stale_step_result_is_acknowledged() {
    caught(Mutation::AckStale, Invariant::Journal);
}

#[test]
fn a_letter_is_noted_that_nobody_has_written() {
    caught(Mutation::NoteUnwritten, Invariant::Sources);
}

#[test]
fn what_is_kept_expires_too_early() {
    caught(Mutation::ExpireEarly, Invariant::Durable);
}

#[test]
fn records_are_taken_from_another_topic_of_that_name() {
    caught(Mutation::SkipTopicCheck, Invariant::Sources);
}
