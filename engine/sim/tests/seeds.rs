//! Fixed seeds: everything holds, and a seed is a run.

use millrace_sim::{Mutation, run};

/// Seeds of one test; the tests run side by side.
const SEEDS_EACH: u64 = 75;

fn hold(part: u64) {
    let mut work = 0;
    for seed in 1 + part * SEEDS_EACH..=(part + 1) * SEEDS_EACH {
        let report = run(seed, Mutation::None, false);
        if let Some(violation) = report.violation {
            panic!("seed={seed} {violation}\nagain: cargo run -p millrace-sim --bin sim -- --seed {seed} --trace");
        }
        work += report.records;
    }
    assert!(work > SEEDS_EACH * 10, "only {work} records were taken in");
}

#[test]
fn invariants_hold_1() {
    hold(0);
}

#[test]
fn invariants_hold_2() {
    hold(1);
}

#[test]
fn invariants_hold_3() {
    hold(2);
}

#[test]
fn invariants_hold_4() {
    hold(3);
}

#[test]
fn a_seed_is_a_run() {
    for seed in 1..=5 {
        let [one, two] = [(); 2].map(|()| run(seed, Mutation::None, false));
        assert_eq!((one.trace_hash, one.events), (two.trace_hash, two.events), "seed {seed}");
    }
    let [one, two] = [1, 2].map(|seed| run(seed, Mutation::None, false).trace_hash);
    assert_ne!(one, two, "seeds differ");
}
